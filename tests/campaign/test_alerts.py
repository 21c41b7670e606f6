"""Which alerts are sent, when, and how often: over a ledger, an org and an Oracle that is really killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moved_clock import MovedClock
from oracle_source import OracleServer, road_settings, start_oracle
from sqlalchemy import insert

from kpc.campaign.alerts import deliver, known_environment, look, report_failure
from kpc.errors import Transient
from kpc.ledger import AlertMessage, Ledger, open_ledger
from kpc.ledger.database import utc_now
from kpc.ledger.schema import quota_entry
from kpc.ledger.states import AlertEvent, AlertKind, DeliveryState, StageState
from kpc.partition import Partition, find_partition
from kpc.settings import AlertSettings, SalesforceSettings, Settings
from kpc.stages.context import PartitionContext
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED
from kpc.stages.workspace import Workspace

CHANNELS = ("email", "webhook")
MONTHS = [find_partition("KPS_T_SALES_M", f"2024-0{month}") for month in range(1, 7)]
DEAD_ORACLE = "127.0.0.1:9/KPCDB"


class Desk:
    """A migration whose systems are known to the ledger, its clock, and the messages that arrived."""

    def __init__(self, settings: Settings) -> None:
        self.clock = MovedClock(utc_now())
        self.settings = settings
        self.workspace = self.open()
        endpoints = self.ledger.endpoints
        endpoints.remember("oracle", f"{settings.oracle.user}@{settings.oracle.dsn}", "ora-1")
        endpoints.remember("salesforce", settings.salesforce.base_url, "00D1")
        self.arrived: list[AlertMessage] = []

    def open(self) -> Workspace:
        ledger = open_ledger(self.settings.ledger_url.get_secret_value(), clock=self.clock)
        return Workspace(self.settings, ledger, "run-1", "test", clock=self.clock)

    @property
    def ledger(self) -> Ledger:
        return self.workspace.ledger

    def context(self, partition: Partition) -> PartitionContext:
        return PartitionContext(self.workspace, partition)

    def run(self, partition: Partition, stage: str, state: StageState, *, cause: str = "") -> int:
        """A run of a stage as the ledger stores it."""
        environment = known_environment(self.workspace)
        assert environment is not None
        facts: dict[str, Any] = {"run_id": "run-1", "actor": "test", "mode": "full"}
        ledger = self.ledger
        with ledger.leases.hold(environment, partition, stage, owner="run-1", ttl_s=60, wait_s=0) as lease:
            number = ledger.stages.start(
                environment, partition, stage, generation=None, mapping_version=None, **facts, lease=lease
            )
            if state is StageState.FAILED:
                ledger.stages.fail(number, "It failed for s3cret.", cause=cause)
            elif state is not StageState.RUNNING:
                ledger.stages.finish(number, state=state, rows=1, bytes=1, detail={}, lease=lease)
            ledger.leases.release(lease)
        return number

    def report(self, partition: Partition, cause: str, *, is_final: bool = True, stage: str = ORACLE_EXTRACT) -> None:
        dag_id = f"{partition.table.slug}__{stage}"
        report_failure(self.context(partition), stage, cause=cause, is_final=is_final, dag_id=dag_id)

    def tell(self) -> list[tuple[str, str]]:
        """One check and one delivery: event and title of the messages that arrive by webhook."""
        before = len(self.arrived)
        look(self.workspace, CHANNELS)
        senders = dict.fromkeys(CHANNELS, self.arrived.append)
        deliver(self.workspace, senders)
        new = self.arrived[before:]
        assert {m.title for m in new if m.channel == "email"} == {m.title for m in new if m.channel == "webhook"}
        return [(m.event.value, m.title) for m in new if m.channel == "webhook"]

    def wait(self, **span: float) -> None:
        self.clock.advance(**span)


@pytest.fixture
def desk(tmp_path: Path, salesforce: SalesforceSettings) -> Iterator[Desk]:
    oracle = Settings().oracle.model_copy(update={"dsn": DEAD_ORACLE, "user": "KPC", "retry_s": 0.0})
    settings = road_settings(tmp_path, oracle, salesforce)
    alerts = AlertSettings(disk_free_bytes=0)
    made = Desk(settings.model_copy(update={"alerts": alerts}))
    yield made
    made.workspace.close()


def test_thirty_failed_tries_of_one_outage_are_one_message(desk: Desk) -> None:
    """It says how many wait; later checks send nothing until it is repeated with the current number."""
    assert desk.tell() == []
    for partition in MONTHS[:3]:
        desk.report(partition, "OracleDown", is_final=False)
    assert desk.tell() == [("opened", "Oracle cannot be reached: 3 partitions wait")]
    for partition in MONTHS:
        desk.report(partition, "OracleDown")
    assert desk.tell() == []
    desk.wait(hours=5)
    assert desk.tell() == [("repeated", "Still: Oracle cannot be reached: 6 partitions wait")]
    message = desk.arrived[-1]
    assert "KPS_T_SALES_M 2024-01" in message.body
    assert "and 1 more" in message.body
    assert "kpc preflight --airflow" in message.body
    assert "/dags/kps_t_sales_m__oracle_extract" in message.body


def test_the_end_of_an_outage_names_what_it_left_behind(
    oracles: Callable[..., OracleServer], tmp_path: Path, salesforce: SalesforceSettings
) -> None:
    """An emulator is ended and started again: partitions that Airflow gave up meanwhile are not reported twice."""
    server = oracles("--rows", "0")
    settings = road_settings(tmp_path, server.settings, salesforce)
    desk = Desk(settings.model_copy(update={"alerts": AlertSettings(disk_free_bytes=0)}))
    desk.report(MONTHS[0], "OracleDown", is_final=False)
    assert desk.tell() == []  # it answers: Airflow's next try is all that is needed
    server.stop()
    assert desk.tell() == [("opened", "Oracle cannot be reached: 1 partition waits")]
    desk.report(MONTHS[0], "OracleDown")
    secret = tmp_path / "password"
    secret.write_text(server.settings.password.get_secret_value())
    port = server.settings.dsn.partition("/")[0].rpartition(":")[2]
    again = start_oracle(tmp_path / "again", "--rows", "0", "--password-file", str(secret), "--port", port)
    try:
        assert desk.tell() == [("closed", "Over: Oracle answers again")]
        assert "1 partition failed for good during it" in desk.arrived[-1].body
        assert "kpc rerun KPS_T_SALES_M 2024-01 --stage oracle_extract" in desk.arrived[-1].body
        assert desk.tell() == []
        desk.wait(hours=5)
        assert desk.tell()[0][0] == "repeated"
        desk.run(MONTHS[0], ORACLE_EXTRACT, StageState.DONE)
        assert [event for event, _ in desk.tell()] == ["closed"]
    finally:
        again.stop()
        desk.workspace.close()


def test_failures_for_good_are_grouped_by_stage_and_cause(desk: Desk) -> None:
    """Transient failures send no alert; starting the partition again ends the alert."""
    desk.report(MONTHS[0], "JobFailed", stage=SF_LOADED)
    desk.report(MONTHS[1], "JobFailed", stage=SF_LOADED)
    desk.report(MONTHS[2], "SnapshotLost", is_final=False)
    desk.run(MONTHS[3], ORACLE_EXTRACT, StageState.FAILED, cause="ConfigError")
    desk.run(MONTHS[4], ORACLE_EXTRACT, StageState.FAILED, cause="LeaseLost")
    found = desk.tell()
    assert sorted(found) == [
        ("opened", "oracle_extract failed for good in 1 partition: a setting, a log-in or a right is wrong"),
        ("opened", "sf_loaded failed for good in 2 partitions: Salesforce failed an ingest job"),
    ]
    assert all("s3cret" not in message.body for message in desk.arrived)
    desk.wait(minutes=1)
    for partition in MONTHS[:2]:
        desk.run(partition, SF_LOADED, StageState.RUNNING)
    assert [event for event, _ in desk.tell()] == ["closed"]


def test_a_mismatch_is_told_by_table_until_it_is_compared_again(desk: Desk) -> None:
    desk.run(MONTHS[0], RECONCILED, StageState.MISMATCH)
    desk.report(MONTHS[0], "Mismatch", stage=RECONCILED)
    assert desk.tell() == [("opened", "Source and target differ in 1 partition of KPS_T_SALES_M")]
    desk.wait(minutes=1)
    desk.run(MONTHS[0], RECONCILED, StageState.RECONCILED)
    assert [event for event, _ in desk.tell()] == ["closed"]


def test_a_used_up_quota_ends_only_when_there_is_room_to_work(desk: Desk) -> None:
    """A few batches that become free are used at once, so they do not end the alert."""
    now = desk.clock()
    for batches, hours in ((100, 23), (14_900, 1)):
        with desk.ledger.database.writing() as connection:
            connection.execute(
                insert(quota_entry).values(
                    target_id="00D1", kind="job", rows=0, batches=batches, calls=0, state="debited",
                    counted_utc=now - timedelta(hours=hours),
                )
            )  # fmt: skip
    ((event, title),) = desk.tell()
    assert event == "opened"
    assert title.startswith("The org's quota of 24 hours is used up until ")
    desk.wait(hours=2)
    assert desk.tell() == []
    desk.wait(hours=22)
    assert [event for event, _ in desk.tell()] == ["closed"]


def test_a_stage_without_progress_is_told_and_a_paused_one_is_not(desk: Desk) -> None:
    desk.run(MONTHS[0], ORACLE_EXTRACT, StageState.RUNNING)
    desk.run(MONTHS[1], ORACLE_EXTRACT, StageState.DONE)
    assert desk.tell() == []
    desk.wait(minutes=70)
    titles = {title for _, title in desk.tell()}
    assert titles == {
        "1 partition made no progress at oracle_extract for 60 min",
        "1 partition made no progress at staged_csv for 60 min",
    }
    environment = known_environment(desk.workspace)
    assert environment is not None
    desk.ledger.pauses.start(environment, "all", "all", actor="test")  # type: ignore[arg-type]  # its value
    assert {event for event, _ in desk.tell()} == {"closed"}


def test_little_room_on_the_staging_disk_is_told(desk: Desk) -> None:
    Path(desk.settings.staging.root).mkdir()
    settings = desk.settings.model_copy(update={"alerts": AlertSettings(disk_free_bytes=10**18)})
    desk.workspace.settings = settings
    ((event, title),) = desk.tell()
    assert (event, title.startswith("The staging disk (")) == ("opened", True)
    desk.workspace.settings = desk.settings
    assert [event for event, _ in desk.tell()] == ["closed"]


def test_two_processes_that_look_at_once_leave_one_message(desk: Desk) -> None:
    """Each has its own connection to the ledger; both check eight times, one message goes to each channel."""
    desk.report(MONTHS[0], "ConfigError")
    workspaces = [desk.open(), desk.open()]
    start = threading.Barrier(2)

    def work(workspace: Workspace) -> None:
        start.wait()
        for _ in range(4):
            look(workspace, CHANNELS)
            deliver(workspace, dict.fromkeys(CHANNELS, desk.arrived.append))

    threads = [threading.Thread(target=work, args=(workspace,)) for workspace in workspaces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for workspace in workspaces:
        workspace.close()
    assert sorted(message.channel for message in desk.arrived) == sorted(CHANNELS)


def test_a_channel_that_is_down_delays_nobody_and_keeps_its_order(desk: Desk) -> None:
    """Its messages are retried, later each time; the other channel got them long before."""
    taken: list[AlertMessage] = []
    is_down = True

    def webhook(message: AlertMessage) -> None:
        if is_down:
            raise Transient("The connection alert_hook did not take the message (HTTP 503).")
        taken.append(message)

    senders = {"email": desk.arrived.append, "webhook": webhook}
    desk.report(MONTHS[0], "ConfigError")
    look(desk.workspace, CHANNELS)
    assert deliver(desk.workspace, senders).failed.keys() == {"webhook"}
    assert deliver(desk.workspace, senders).failed == {}  # not due yet
    desk.wait(minutes=2)
    desk.run(MONTHS[0], ORACLE_EXTRACT, StageState.DONE)
    look(desk.workspace, CHANNELS)
    assert deliver(desk.workspace, senders).failed.keys() == {"webhook"}
    is_down = False
    desk.wait(minutes=10)
    assert deliver(desk.workspace, senders).sent == 2
    assert [message.event for message in taken] == [AlertEvent.OPENED, AlertEvent.CLOSED]
    assert [message.event for message in desk.arrived] == [AlertEvent.OPENED, AlertEvent.CLOSED]


def test_what_cannot_be_delivered_for_a_day_is_given_up(desk: Desk) -> None:
    def refuse(_message: AlertMessage) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    desk.report(MONTHS[0], "ConfigError")
    look(desk.workspace, ("email",))
    for _ in range(3):
        deliver(desk.workspace, {"email": refuse})
        desk.wait(hours=13)
    environment = known_environment(desk.workspace)
    assert environment is not None
    (alert,) = desk.ledger.alerts.all(environment, is_open=True)
    (message,) = desk.ledger.alerts.messages([alert.id])
    assert (alert.kind, message.state) == (AlertKind.FAILURE, DeliveryState.GIVEN_UP)
    assert message.error == "ConnectionRefusedError: Connection refused"


def test_a_sender_that_died_is_followed_by_another(desk: Desk) -> None:
    """Its claim ends after a few minutes; until then nobody else sends the message."""
    desk.report(MONTHS[0], "ConfigError")
    look(desk.workspace, ("email",))
    assert desk.ledger.alerts.claim("email", "a worker that dies now") is not None
    assert deliver(desk.workspace, {"email": desk.arrived.append}).sent == 0
    desk.wait(minutes=6)
    assert deliver(desk.workspace, {"email": desk.arrived.append}).sent == 1
