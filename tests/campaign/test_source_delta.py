"""Changes in Oracle after a partition was reconciled are found and listed, block the sign-off, and can be resolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import environment_of
from oracle_source import OracleServer, start_oracle
from typer.testing import CliRunner, Result

from assets.graph import materialize_lineage
from assets.oracle_extract import oracle_extract
from kpc.campaign.completeness import counted_completeness
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import sign_off
from kpc.campaign.source_check import DeltaRequest, check_source
from kpc.campaign.source_delta import PartitionDelta, TableDelta
from kpc.catalog import TABLES, Phase
from kpc.cli import app
from kpc.errors import CallTimedOut, ConfigError, OutsideWindow, SnapshotLost
from kpc.partition import Partition, month_keys
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

HEADERS = TABLES["KPS_T_SALES_M"]
LINES = TABLES["KPS_T_SALES_MD"]
WEB = TABLES["KPS_WEB_SALES"]
JANUARY, FEBRUARY, MARCH = MONTHS = month_keys("2024-01", 3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "3000", "--months", ",".join(MONTHS))
    yield server
    server.stop()


@pytest.fixture
def source(server: OracleServer) -> Iterator[OracleServer]:
    """The source without faults; each test extracts again, starting from what earlier tests changed."""
    with server.without_faults() as source:
        yield source


@pytest.fixture
def workspace(source: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Workspace:
    opened = workspaces(source, salesforce)
    opened.settings.oracle = opened.settings.oracle.model_copy()  # tests change it
    return opened


def extract(workspace: Workspace, *partitions: Partition) -> None:
    for partition in partitions:
        oracle_extract.materialize(PartitionContext(workspace, partition))


def compare(workspace: Workspace, *tables: object, **options: object) -> TableDelta:
    request = DeltaRequest(tables or (HEADERS,), **options)  # type: ignore[arg-type]
    (found,) = check_source(workspace, request)
    return found


def only_moved(found: TableDelta) -> PartitionDelta:
    (moved,) = found.moved
    return moved


def sale_days(source: OracleServer, month: str) -> list[str]:
    with source.connect() as connection:
        query = f"SELECT DISTINCT SALE_DATE FROM KPS_T_SALES_M WHERE SALE_DATE LIKE '{month}%' ORDER BY 1"
        return [row[0] for row in connection.cursor().execute(query)]


def test_nothing_moved_is_nothing_to_do(workspace: Workspace, source: OracleServer) -> None:
    """Two months and a table without months, at a later SCN: one pass over each table, and no finding."""
    extract(workspace, Partition(HEADERS, JANUARY), Partition(HEADERS, FEBRUARY), Partition(WEB, "ALL"))
    source.execute("UPDATE KPS_R_POS_SUPPLIER SET ACTIVE = ACTIVE")
    source.admin("DELETE", "counters")
    found = compare(workspace)
    assert [(one.partition.key, one.has_moved) for one in found.compared] == [(JANUARY, False), (FEBRUARY, False)]
    assert [one.partition.key for one in found.not_extracted] == [MARCH]
    assert found.not_extracted[0].rows + sum(one.rows[1] for one in found.compared) == found.rows
    reads = [each for each in source.admin("GET", "statements") if "KPS_T_SALES_M" in each["sql"]]
    assert len(reads) == 1
    assert not compare(workspace, WEB).has_moved
    assert source.admin("GET", "counters")["rows_scanned"]["KPC.KPS_T_SALES_M"] == found.rows


def test_a_changed_amount_is_found_on_its_day(workspace: Workspace, source: OracleServer) -> None:
    """The month, the sums then and now, and the day; the other month and the other days are unchanged."""
    extract(workspace, Partition(HEADERS, JANUARY), Partition(HEADERS, FEBRUARY))
    day = sale_days(source, FEBRUARY)[0]
    source.execute(
        f"UPDATE KPS_T_SALES_M SET NET_VAT = NET_VAT + 1.25 WHERE SALE_DATE = '{day}' AND ROWNUM = 1",
        "UPDATE KPS_T_SALES_M SET SHIFT_NO = SHIFT_NO + 1 WHERE SALE_DATE LIKE '2024-02%' AND ROWNUM = 1",
    )
    moved = only_moved(compare(workspace))
    assert moved.partition.key == FEBRUARY
    assert moved.rows[0] == moved.rows[1]
    then, now = (float(value or 0) for value in moved.numbers["NET_VAT sum"])
    assert round(now - then, 2) == 1.25
    assert "SHIFT_NO sum" in moved.numbers  # a number that is no measure
    assert day in [one.day for one in moved.days]
    assert len(moved.days) <= 2


def test_new_changed_and_vanished_keys_are_listed(workspace: Workspace, source: OracleServer) -> None:
    """Each by its key, by comparing the columns that are sent; nothing else of the month is listed."""
    extract(workspace, Partition(HEADERS, JANUARY))
    with source.connect() as connection:
        numbers = [
            row[0]
            for row in connection.cursor().execute(
                "SELECT SALE_NO FROM KPS_T_SALES_M WHERE SALE_DATE LIKE '2024-01%' ORDER BY SALE_NO, ROWID"
            )
        ]
    columns = ", ".join(f'"{column.name}"' for column in HEADERS.columns if column.name != "SALE_NO")
    source.execute(
        f"INSERT INTO KPS_T_SALES_M (SALE_NO, {columns}) SELECT 'NEW-1', {columns} FROM KPS_T_SALES_M "
        f"WHERE SALE_NO = '{numbers[0]}' AND ROWNUM = 1",
        f"UPDATE KPS_T_SALES_M SET NAME = 'Somchai' WHERE SALE_NO = '{numbers[1]}' AND SALE_DATE LIKE '2024-01%'",
        f"UPDATE KPS_T_SALES_M SET BIRTH_DATE = '1999-01-01' WHERE SALE_NO = '{numbers[2]}'",  # not sent
        f"DELETE FROM KPS_T_SALES_M WHERE SALE_NO = '{numbers[3]}' AND SALE_DATE LIKE '2024-01%'",
    )
    moved = only_moved(compare(workspace, lists_keys=True))
    assert moved.changed is not None
    assert moved.changed.counts == {"new": 1, "changed": 1, "vanished": 1}
    assert "|NEW-1|" in moved.changed.new[0]
    assert f"|{numbers[1]}|" in moved.changed.changed[0]
    assert f"|{numbers[3]}|" in moved.changed.vanished[0]
    assert moved.changed.fields == {"NAME": 1}
    left = list(workspace.store.root.rglob("delta"))
    assert left == []


def test_a_changed_text_is_found_by_its_update_time_or_by_every_row(workspace: Workspace, source: OracleServer) -> None:
    """No total changes. An update column shows it; without one, only the rows do, and that finding stays."""
    extract(workspace, Partition(WEB, "ALL"), Partition(HEADERS, JANUARY))
    source.execute(
        "UPDATE KPS_WEB_SALES SET CUSTOMER_NAME = 'Malee', UPDATEDDATE = DATE '2090-01-01' WHERE ROWNUM = 1",
        "UPDATE KPS_T_SALES_M SET NAME = 'Malee' WHERE SALE_DATE LIKE '2024-01%' AND ROWNUM = 1",
    )
    web = only_moved(compare(workspace, WEB))
    assert web.newest is not None
    assert web.newest[1] == "2090-01-01 00:00:00"
    assert not compare(workspace).has_moved
    by_rows = only_moved(compare(workspace, compares_rows=True))
    assert by_rows.changed is not None
    assert by_rows.changed.fields == {"NAME": 1}
    compare(workspace)  # weaker: the finding is kept
    newest = {one.partition_key: one for one in workspace.ledger.source_checks.newest(workspace.environment)}
    assert newest[JANUARY].state == "moved"
    extract(workspace, Partition(HEADERS, JANUARY))
    assert not compare(workspace, compares_rows=True).has_moved


def test_the_extracts_own_scn_and_an_older_one(workspace: Workspace, source: OracleServer) -> None:
    """At the same SCN nothing has changed, whatever happened since; an older one cannot be compared."""
    extract(workspace, Partition(HEADERS, JANUARY))
    current = workspace.ledger.generations.current(workspace.environment, Partition(HEADERS, JANUARY))
    assert current is not None
    source.execute("UPDATE KPS_T_SALES_M SET NET_VAT = NET_VAT + 1 WHERE SALE_DATE LIKE '2024-01%' AND ROWNUM = 1")
    assert not compare(workspace, scn=current.scn).has_moved
    assert compare(workspace).has_moved
    extract(workspace, Partition(HEADERS, JANUARY))
    older = compare(workspace, scn=current.scn)
    assert (older.compared, [one.key for one in older.later]) == ((), [JANUARY])
    with pytest.raises(ConfigError, match="is in the future"):
        compare(workspace, scn=10**12)


def test_an_scn_out_of_reach_and_a_slow_scan_are_explained(workspace: Workspace, source: OracleServer) -> None:
    """One sentence each, with the command; not retried with the same limit."""
    extract(workspace, Partition(HEADERS, JANUARY))
    scn = workspace.oracle.current_scn()
    source.execute("UPDATE KPS_R_POS_SUPPLIER SET ACTIVE = ACTIVE")
    source.admin("POST", "expire_undo")
    with pytest.raises(SnapshotLost, match=r"as of SCN \d+, so it was not compared.*kpc delta --tables KPS_T_SALES_M"):
        compare(workspace, scn=scn)
    workspace.settings.oracle.scan_timeout_s = 0.5
    source.fault("delay", 3, table="KPS_T_SALES_M", sql="GROUP BY")
    with pytest.raises(CallTimedOut, match=r"longer than 0.5 s .*KPC__ORACLE__SCAN_TIMEOUT_S.*kpc delta --tables"):
        compare(workspace)
    struck = [rule["struck"] for rule in source.admin("GET", "faults")]
    assert struck == [1]


def test_oracle_is_not_read_outside_its_window(workspace: Workspace) -> None:
    """The DBA's hours apply to this command too."""
    extract(workspace, Partition(HEADERS, JANUARY))
    hour = workspace.clock().astimezone().hour
    workspace.settings.oracle.window = f"{(hour + 16) % 24:02d}:00-{(hour + 17) % 24:02d}:00"
    with pytest.raises(OutsideWindow):
        compare(workspace)


@pytest.fixture
def proven(workspace: Workspace, source: OracleServer) -> Workspace:
    """January's headers are all that is in scope, and reconciled; the other months were decided about."""
    plan_campaign(workspace, (HEADERS,), (JANUARY,), "incremental")
    sign_off(HEADERS.name, "UNASSIGNED", workspace, accepts=True, note="another campaign")
    list(materialize_lineage(PartitionContext(workspace, Partition(HEADERS, JANUARY))))
    found = counted_completeness(Phase.SALES, workspace)
    assert found is not None
    assert found.is_complete
    return workspace


def change_january(source: OracleServer) -> None:
    source.execute("UPDATE KPS_T_SALES_M SET NET_VAT = NET_VAT + 1 WHERE SALE_DATE LIKE '2024-01%' AND ROWNUM = 1")


def test_a_month_that_moved_blocks_the_sign_off_until_it_is_run_again(proven: Workspace, source: OracleServer) -> None:
    """Only once the change has been searched for; the message says what to run; after that run nothing blocks it."""
    change_january(source)
    sign_off("sales", None, proven, accepts=True, note="before")
    compare(proven)
    with pytest.raises(ConfigError, match=r"1 partitions changed in Oracle.*KPS_T_SALES_M 2024-01.*kpc rerun"):
        sign_off("sales", None, proven, accepts=True, note="")
    list(materialize_lineage(PartitionContext(proven, Partition(HEADERS, JANUARY))))
    assert sign_off("sales", None, proven, accepts=True, note="again").evidence["moved"] == 0
    assert not compare(proven).has_moved


def test_a_change_can_be_accepted_with_a_reason_for_exactly_these_numbers(
    proven: Workspace, source: OracleServer
) -> None:
    """A further change needs a new decision; both are in the audit log."""
    with pytest.raises(ConfigError, match="has found no change"):
        sign_off(HEADERS.name, JANUARY, proven, accepts=True, note="why not")
    change_january(source)
    compare(proven)
    with pytest.raises(ConfigError, match="needs its reason"):
        sign_off(HEADERS.name, JANUARY, proven, accepts=True, note="")
    sign_off(HEADERS.name, JANUARY, proven, accepts=True, note="a late correction, booked by hand")
    compare(proven, lists_keys=True)  # the same numbers, looked at more closely
    assert sign_off("sales", None, proven, accepts=True, note="").decision == "accepted"
    change_january(source)
    compare(proven)
    with pytest.raises(ConfigError, match="1 partitions changed in Oracle"):
        sign_off("sales", None, proven, accepts=True, note="")
    signed = [e.detail for e in proven.ledger.audit.entries() if e.action == "sign-off accepted"]
    assert signed[1]["subject"] == "KPS_T_SALES_M 2024-01"
    assert signed[1]["note"] == "a late correction, booked by hand"
    compared = [e.detail["moved"] for e in proven.ledger.audit.entries() if e.action == "source compared"]
    assert compared == [[JANUARY], [JANUARY], [JANUARY]]


def test_rows_that_lost_their_month_block_until_they_are_counted_again(proven: Workspace, source: OracleServer) -> None:
    """They are in no month's extract and in no month now; only the plan's count can show them."""
    source.execute(
        "INSERT INTO KPS_T_SALES_M (CON_CODE, SHOP_CODE, BRANCH_CODE, POS_NO, SALE_NO, SALE_DATE) "
        "VALUES ('01', 'S', 'B', 'P', 'LOST-1', 'soon')"
    )
    found = compare(proven)
    assert found.moved == ()
    assert found.without_month is not None
    assert found.without_month.has_moved
    with pytest.raises(ConfigError, match=r"The rows without a month of .* are not those that the plan counted"):
        sign_off("sales", None, proven, accepts=True, note="")
    plan_campaign(proven, (HEADERS,), (JANUARY,), "incremental")
    sign_off(HEADERS.name, "UNASSIGNED", proven, accepts=True, note="a test sale")
    assert sign_off("sales", None, proven, accepts=True, note="").decision == "accepted"
    source.execute("DELETE FROM KPS_T_SALES_M WHERE SALE_NO = 'LOST-1'")


def test_the_command_shows_the_days_and_ends_with_another_code(
    tmp_path: Path, source: OracleServer, salesforce: SalesforceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 if nothing moved, 3 if something did; the same facts as JSON."""
    monkeypatch.chdir(tmp_path)
    environment = environment_of(source, salesforce)

    def kpc(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment)

    assert "kpc plan" in " ".join(kpc("delta").stderr.split())
    assert kpc("run", HEADERS.name, JANUARY, "--stage", "oracle_extract").exit_code == 0
    unchanged = kpc("delta", "--json")
    assert (unchanged.exit_code, json.loads(unchanged.stdout)["ok"]) == (0, True)
    change_january(source)
    moved = kpc("delta", "--tables", HEADERS.name, "--months", "2024-01:2", "--keys", "--json")
    assert moved.exit_code == 3
    (table,) = json.loads(moved.stdout)["tables"]
    (january,) = table["partitions"]
    assert january["keys"]["counts"] == {"new": 0, "changed": 1, "vanished": 0}
    assert len(january["days"]) == 1
    assert january["days"][0]["numbers"]["NET_VAT sum"] != january["numbers"]["NET_VAT sum"]
    assert [one["key"] for one in table["not_extracted"]] == [FEBRUARY]
    text = kpc("delta", "--keys")
    assert text.exit_code == 3
    assert "1 changed: " in text.stderr
    assert f"kpc sign-off {HEADERS.name} {JANUARY} --note REASON" in " ".join(text.stderr.split())
    assert kpc("sign-off", HEADERS.name, JANUARY, "--note", "known").exit_code == 0
    shown = json.loads(kpc("show", HEADERS.name, JANUARY, "--json").stdout)
    assert shown["source_check"]["state"] == "moved"
