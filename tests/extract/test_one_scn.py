"""Headers, lines and payments of one month are read at one SCN; where that is not possible, everybody is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from checkout import PROJECT
from command_line import environment_of
from oracle_source import OracleServer, start_oracle
from typer.testing import CliRunner

from assets.graph import materialize_lineage
from assets.oracle_extract import oracle_extract
from kpc.campaign.inspection import inspect_partition
from kpc.catalog import TABLES, family
from kpc.cli import app
from kpc.errors import OracleDown, SnapshotLost
from kpc.extract.control_totals import scan_chunks
from kpc.extract.incremental_extract import read_at
from kpc.extract.one_pass import read_in_one_pass
from kpc.partition import Partition
from kpc.reconcile.report import last_report
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ExtractManifest

HEADERS, LINES, PAYMENTS = (TABLES[name] for name in ("KPS_T_SALES_M", "KPS_T_SALES_MD", "KPS_T_SALESPAY_MD"))
MONTH = "2024-01"
SALE = list(HEADERS.key)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "3000", "--months", "2024-01,2024-02")
    yield server
    server.stop()


@pytest.fixture
def source(server: OracleServer) -> Iterator[OracleServer]:
    with server.without_faults() as source:
        yield source


@pytest.fixture
def workspace(source: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Workspace:
    return workspaces(source, salesforce)


def context_of(workspace: Workspace, table: object, key: str = MONTH) -> PartitionContext:
    return PartitionContext(workspace, Partition(table, key))  # type: ignore[arg-type]


def extract(workspace: Workspace, table: object, key: str = MONTH, **options: object) -> ExtractManifest:
    context = context_of(workspace, table, key)
    oracle_extract.materialize(context, **options)  # type: ignore[arg-type]
    return sealed_extract(context)


def keys(workspace: Workspace, manifest: ExtractManifest) -> pl.DataFrame:
    table = TABLES[manifest.table]
    folder = context_of(workspace, table, manifest.key).paths.generation(manifest.generation).extract
    return scan_chunks(folder, manifest.chunks, table).select(SALE).unique().collect()


def sell(source: OracleServer, sale_no: str) -> None:
    """A header with a line, in one transaction."""
    for table in (HEADERS, LINES):
        columns = ", ".join(f'"{column.name}"' for column in table.columns if column.name != "SALE_NO")
        source.execute(
            f"INSERT INTO {table.name} (SALE_NO, {columns}) SELECT '{sale_no}', {columns} FROM {table.name} "
            f"WHERE SALE_DATE LIKE '{MONTH}%' AND ROWNUM = 1"
        )


def tick(source: OracleServer) -> None:
    source.execute("UPDATE KPS_R_POS_SUPPLIER SET ACTIVE = ACTIVE")


def test_families_are_tables_that_refer_to_each_other_and_are_partitioned_alike() -> None:
    """One for the sales of a month, and each table is in exactly one."""
    assert family(LINES)[0] is HEADERS
    assert set(family(HEADERS)) >= {HEADERS, LINES}
    assert all(
        other in family(table) and family(other) == family(table)
        for table in TABLES.values()
        for other in family(table)
    )
    assert all(other.is_monthly == table.is_monthly for table in TABLES.values() for other in family(table))


@pytest.mark.parametrize("first", [HEADERS, LINES], ids=["headers first", "lines first"])
def test_a_sale_between_two_reads_is_in_both_or_in_none(
    workspace: Workspace, source: OracleServer, first: object
) -> None:
    """Whichever is read first books the SCN; no line without its header and no header without its lines."""
    second = LINES if first is HEADERS else HEADERS
    sale_no = "BETWEEN-H" if first is HEADERS else "BETWEEN-L"
    one = extract(workspace, first)
    sell(source, sale_no)
    other = extract(workspace, second)
    assert one.scn == other.scn
    assert (one.relatives, other.relatives) == ((), ())
    sales = [keys(workspace, one), keys(workspace, other)]
    assert not any(rows["SALE_NO"].str.starts_with(sale_no).any() for rows in sales)


def test_expired_undo_is_noticed_before_reading_and_reported(
    workspace: Workspace, source: OracleServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines take an SCN of their own in one generation, and manifest, show and log name the older parent."""
    headers = extract(workspace, HEADERS)
    tick(source)
    source.admin("POST", "expire_undo")
    lines = extract(workspace, LINES)
    assert lines.scn > headers.scn
    assert f"cannot be read at SCN {headers.scn}, at which KPS_T_SALES_M was read" in caplog.text
    assert [(one.relation, one.table, one.scn) for one in lines.relatives] == [("parent", "KPS_T_SALES_M", headers.scn)]
    states = [
        row.ordinal
        for row in workspace.ledger.generations.all_current(workspace.environment)
        if row.table_name == LINES.name
    ]
    assert states == [1]
    told = f"parent KPS_T_SALES_M at the older SCN {headers.scn}"
    assert inspect_partition(context_of(workspace, LINES))["other_scns"] == [told]
    assert inspect_partition(context_of(workspace, HEADERS))["other_scns"] == [
        f"child KPS_T_SALES_MD at the newer SCN {lines.scn}"
    ]
    last = workspace.ledger.stages.last(workspace.environment, Partition(LINES, MONTH), "oracle_extract")
    assert last is not None
    assert (last.detail or {})["other_scns"] == told
    assert extract(workspace, HEADERS, same_scn=True).scn == lines.scn


def test_an_scn_lost_while_reading_is_not_taken_again(workspace: Workspace, source: OracleServer) -> None:
    """ORA-01555 in lines that were to be read at the header's SCN: their next generation is younger than the header."""
    headers = extract(workspace, HEADERS)
    tick(source)
    source.fault("error", 1555, times=1, table=LINES.name, sql="COUNT")
    lines = extract(workspace, LINES)
    assert lines.scn > headers.scn
    assert lines.relatives[0].scn == headers.scn


def test_a_header_that_lost_its_scn_leads_nobody_to_it(workspace: Workspace, source: OracleServer) -> None:
    """Three SCNs are lost, the run fails; the lines are read at a new one, which the header then uses."""
    source.fault("error", 1555, times=3, table=HEADERS.name, sql="COUNT")
    with pytest.raises(SnapshotLost):
        extract(workspace, HEADERS, "2024-02")
    lost = workspace.ledger.generations.newest_scn(workspace.environment, Partition(HEADERS, "2024-02"))
    assert lost is not None
    tick(source)
    lines = extract(workspace, LINES, "2024-02")
    assert lines.scn > lost


def test_a_rerun_reads_a_repaired_source_and_says_who_is_older(
    workspace: Workspace, source: OracleServer, workspaces: Callable[..., Workspace]
) -> None:
    """A new SCN by default, the family's with `same_scn`, and that of a relative's run that began after the request."""
    headers, lines = extract(workspace, HEADERS), extract(workspace, LINES)
    assert headers.scn == lines.scn
    tick(source)
    repaired = extract(workspace, LINES)
    assert repaired.scn > headers.scn
    assert repaired.relatives[0].compared_with(repaired.scn) == f"parent KPS_T_SALES_M at the older SCN {headers.scn}"
    tick(source)
    aligned = extract(workspace, HEADERS, same_scn=True)
    assert aligned.scn == repaired.scn
    assert aligned.relatives == ()
    tick(source)
    backfill = workspaces(source, workspace.settings.salesforce, "backfill")
    backfill.asked_utc = datetime.now(UTC) - timedelta(seconds=1)
    tick(source)
    first, second = extract(backfill, HEADERS), extract(backfill, LINES)
    assert first.scn == second.scn > aligned.scn


def test_an_interrupted_read_keeps_its_scn(workspace: Workspace, source: OracleServer) -> None:
    """A line's chunk breaks off; the resumed generation stays at the header's SCN."""
    headers = extract(workspace, HEADERS)
    source.fault("cut", "rst", times=1, table=LINES.name, sql="ROWID BETWEEN", after_rows=5)
    with pytest.raises(OracleDown):
        extract(workspace, LINES)
    tick(source)
    assert extract(workspace, LINES).scn == headers.scn


def test_the_watermark_is_the_time_of_the_scn_and_not_of_the_read(workspace: Workspace, source: OracleServer) -> None:
    """What changed between the booking and the read of the lines is not in them: an incremental read must see it."""
    extract(workspace, HEADERS)
    booked = workspace.clock()
    tick(source)
    extract(workspace, LINES)
    current = workspace.ledger.generations.current(workspace.environment, Partition(LINES, MONTH))
    assert current is not None
    assert current.started_utc > booked
    taken = workspace.ledger.snapshots.taken_utc(workspace.environment, Partition(HEADERS, MONTH), current.scn)
    assert taken is not None
    assert taken < booked
    assert read_at(context_of(workspace, LINES), current) == taken.astimezone(_zone()).replace(tzinfo=None)


def _zone() -> object:
    from kpc.local_time import LOCAL

    return LOCAL


def test_passes_of_one_family_share_an_scn(workspace: Workspace, source: OracleServer) -> None:
    """A pass over the lines reads at the SCN of the headers' pass, and payments read by the month use it too."""
    months = (MONTH, "2024-02")
    headers = read_in_one_pass(context_of(workspace, HEADERS), months)
    tick(source)
    lines = read_in_one_pass(context_of(workspace, LINES), months)
    assert lines.detail["scn"] == headers.detail["scn"]
    manifests = [extract(workspace, table) for table in (HEADERS, LINES)]
    assert {one.scn for one in manifests} == {headers.detail["scn"]}
    tick(source)
    again = read_in_one_pass(context_of(workspace, HEADERS), months)
    assert int(again.detail["scn"]) > int(headers.detail["scn"])


def test_two_processes_that_begin_together_agree(
    source: OracleServer, workspace: Workspace, tmp_path: Path, salesforce: SalesforceSettings
) -> None:
    """Headers and lines in processes of their own, month after month, while the SCN moves on."""
    oracle = {**source.settings.model_dump(), "password": source.settings.password.get_secret_value()}
    org = {**salesforce.model_dump(), "client_secret": salesforce.client_secret.get_secret_value()}
    given = {"folder": str(tmp_path), "oracle": oracle, "salesforce": org, "chunk_rows": 100_000}
    (tmp_path / "given.json").write_text(json.dumps(given, default=str))
    script = PROJECT / "tests" / "support" / "extract_child.py"
    for month in ("2024-01", "2024-02"):
        commands = [
            [sys.executable, str(script), str(tmp_path / "given.json"), table.name, month, table.name]
            for table in (HEADERS, LINES)
        ]
        children = [subprocess.Popen(command) for command in commands]  # noqa: S603  our own program
        while any(child.poll() is None for child in children):
            tick(source)
        assert [child.returncode for child in children] == [0, 0]
        scns = {sealed_extract(context_of(workspace, table, month)).scn for table in (HEADERS, LINES)}
        assert len(scns) == 1


def test_status_names_children_that_differ_from_their_parents(
    workspace: Workspace, source: OracleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON and in a sentence with the command that aligns them, which works."""
    monkeypatch.chdir(tmp_path)
    environment = environment_of(source, workspace.settings.salesforce) | {
        "KPC__LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "KPC__STAGING__ROOT": str(tmp_path / "staging"),
    }
    lines = extract(workspace, LINES)
    headers = extract(workspace, HEADERS)
    assert lines.scn == headers.scn
    tick(source)
    headers = extract(workspace, HEADERS)
    status = CliRunner().invoke(app, ["status"], env=environment)
    command = f"kpc run KPS_T_SALES_MD {MONTH} --same-scn"
    assert f"its parent KPS_T_SALES_M at the newer SCN {headers.scn}" in " ".join(status.stderr.split())
    assert command in " ".join(status.stderr.split())
    as_json = json.loads(CliRunner().invoke(app, ["status", "--json"], env=environment).stdout)
    assert as_json["other_scns"] == [
        {"table": LINES.name, "key": MONTH, "scn": lines.scn, "parent": HEADERS.name, "parent_scn": headers.scn}
    ]
    ran = CliRunner().invoke(app, [*command.split()[1:], "--stage", "oracle_extract"], env=environment)
    assert ran.exit_code == 0, ran.output
    assert sealed_extract(context_of(workspace, LINES)).scn == headers.scn


def test_the_reconciliation_report_names_a_parent_of_another_scn(workspace: Workspace, source: OracleServer) -> None:
    """In the report, in the stage's detail, and among the facts of its page in the Data Docs."""
    list(materialize_lineage(context_of(workspace, HEADERS)))
    older = sealed_extract(context_of(workspace, HEADERS)).scn
    tick(source)
    source.admin("POST", "expire_undo")
    results = list(materialize_lineage(context_of(workspace, LINES)))
    report = last_report(context_of(workspace, LINES))
    assert [(one.relation, one.scn) for one in report.relatives] == [("parent", older)]
    told = f"parent KPS_T_SALES_M at the older SCN {older}"
    assert results[-1].detail["other_scns"] == told
    assert report.facts()["read at another SCN"] == told
