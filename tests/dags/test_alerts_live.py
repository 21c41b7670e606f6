"""Alerts through a real Airflow: Oracle dies amid a campaign, people get one message, and another at its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from message_sinks import Sink, http_sink, smtp_sink
from typer.testing import CliRunner

from kpc.airflow_client.dag_preflight import run_preflight
from kpc.catalog import find_table
from kpc.cli import app
from kpc.demo.servers import Data, World, started
from kpc.partition import month_keys
from kpc.stages.names import ALERTS, ORACLE_EXTRACT, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1200)]

PATIENCE_S = 400.0
MONTHS = month_keys("2024-01", 6)
T = TypeVar("T")


@dataclass
class Told:
    """The running servers with their sinks."""

    world: World
    email: Sink
    webhook: Sink
    slack: Sink


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A campaign's servers, and a channel of each kind; tries of tasks follow each other soon."""
    with ExitStack() as scope:
        world = scope.enter_context(started(tmp_path_factory.mktemp("world"), Data(rows=600, months=MONTHS)))
        email, webhook, slack = (scope.enter_context(sink()) for sink in (smtp_sink, http_sink, http_sink))
        world.api.ensure_pools()
        wait_for(lambda: ALERTS in world.api.dag_ids())
        settings = world.config.read_text().replace("[oracle]", "[oracle]\nretry_s = 1\nconnect_timeout_s = 5")
        settings += (
            '\n[alerts]\nsmtp_conn_id = "alert_mail"\nsmtp_to = "duty@example.com"\nsmtp_from = "kpc@example.com"\n'
            'slack_conn_id = "alert_slack"\nwebhook_conn_id = "alert_hook"\ndisk_free_bytes = 0\n'
        )
        world.config.write_text(settings)
        add_connection(
            world, "alert_mail", "smtp", host="127.0.0.1", port=email.port,
            extra={"disable_ssl": True, "disable_tls": True, "retry_limit": 1, "timeout": 10},
        )  # fmt: skip
        add_connection(world, "alert_hook", "http", host="127.0.0.1", port=webhook.port)
        add_connection(
            world, "alert_slack", "slackwebhook", host=f"http://127.0.0.1:{slack.port}/services", password="T0/B0/x"
        )
        yield Told(world, email, webhook, slack)


def add_connection(world: World, name: str, kind: str, *, extra: dict[str, Any] | None = None, **fields: Any) -> None:
    """By the REST API, as an administrator would in the browser."""
    login = world.airflow.users.login("admin")
    with httpx.Client(base_url=world.airflow.url, trust_env=False) as client:
        who = {"username": login.user, "password": login.password.get_secret_value()}
        token = client.post("/auth/token", json=who).raise_for_status().json()["access_token"]
        body = {"connection_id": name, "conn_type": kind, "extra": json.dumps(extra or {}), **fields}
        answer = client.post("/api/v2/connections", json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text


def wait_for(ask: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    until = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(1)
    return answer


def kpc(told: Told, *arguments: str) -> Any:
    """The answer of a command in the world's second terminal."""
    done = CliRunner().invoke(app, [*arguments, "--json"], env={"KPC_CONFIG": str(told.world.config)})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_each_channel_delivers_a_test_message(told: Told) -> None:
    """`kpc alerts test` says what became of it; each sink has it once."""
    answer = kpc(told, "alerts", "test")
    assert answer["channels"] == {"email": "sent", "slack": "sent", "webhook": "sent"}
    (mail,), (hook,), (slack,) = told.email.received, told.webhook.received, told.slack.received
    assert mail["to"] == ["duty@example.com"]
    assert mail["subject"] == hook["title"] == "A test of the migration's alerts"
    assert "<code>kpc alerts list</code>" in mail["body"]
    assert hook["event"] == "test"
    assert "`kpc alerts list`" in slack["text"]
    for sink in (told.email, told.webhook, told.slack):
        sink.received.clear()


def test_preflight_of_a_worker_is_read_by_the_command_line(told: Told) -> None:
    """It used Airflow's own connections, and what it warns of comes with a remedy."""
    found = run_preflight(told.world.settings)
    assert found.counts["failed"] == 0
    assert found.counts["ok"] > 400
    assert len(found.findings) == found.counts["warning"]
    assert all(finding.remedy for finding in found.findings)


def oracle_pid(world: World) -> int:
    return int(json.loads((world.folder / "oracle.json").read_text()).get("pid", 0)) or _listening(world)


def _listening(world: World) -> int:
    """The process whose command line has the ready file of the emulator."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"kpc.emulators.oracle" in line and str(world.folder / "oracle.json").encode() in line:
            return int(folder.name)
    raise AssertionError("the Oracle emulator does not run")


def restart_oracle(world: World, tmp_path: Path) -> subprocess.Popen[bytes]:
    """The same database at the same address with the same password."""
    secret = tmp_path / "password"
    secret.write_text(world.settings.oracle.password.get_secret_value())
    port = world.settings.oracle.dsn.partition("/")[0].rpartition(":")[2]
    options = {"port": port, "rows": "600", "seed": "42", "months": ",".join(MONTHS), "password-file": str(secret),
               "ready-file": str(tmp_path / "oracle.json")}  # fmt: skip
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    process = subprocess.Popen([sys.executable, "-m", "kpc.emulators.oracle", *flags])  # noqa: S603  our own program
    wait_for((tmp_path / "oracle.json").exists)
    return process


def test_an_outage_is_one_message_and_its_end_another(told: Told, tmp_path: Path) -> None:
    """Six partitions fail for one reason; afterwards they go on by themselves."""
    world = told.world
    headers = find_table("KPS_T_SALES_M")
    dag_id = asset_name(headers, ORACLE_EXTRACT)
    first = world.api.trigger(dag_id, MONTHS[0])  # so that both systems are known
    wait_for(lambda: world.api.run(dag_id, first).is_final)
    assert told.webhook.received == []
    os.kill(oracle_pid(world), signal.SIGKILL)
    runs = [world.api.trigger(dag_id, month) for month in MONTHS[1:]]
    wait_for(lambda: told.webhook.received)
    (opened,) = told.webhook.received
    assert opened["kind"] == "outage"
    assert opened["event"] == "opened"
    assert opened["title"].startswith("Oracle cannot be reached: ")
    assert "What to do: Ask the DBA" in opened["text"]
    assert opened["page"].startswith(world.airflow.url)
    (listed,) = kpc(told, "alerts", "list")["alerts"]
    assert {one["channel"]: one["state"] for one in listed["messages"]} == dict.fromkeys(
        ("email", "slack", "webhook"), "sent"
    )
    process = restart_oracle(world, tmp_path)
    try:
        wait_for(lambda: len(told.webhook.received) > 1)
        wait_for(lambda: all(world.api.run(dag_id, run).is_final for run in runs))
    finally:
        process.terminate()
        process.wait(30)
    opened, closed, *more = told.webhook.received
    assert (closed["kind"], closed["event"]) == ("outage", "closed")
    assert closed["title"] == "Over: Oracle answers again"
    assert more == []
    assert [mail["subject"] for mail in told.email.received] == [opened["title"], closed["title"]]
    assert len(told.slack.received) == 2
    assert kpc(told, "alerts", "list")["alerts"] == []
