"""A table whose months interleave is recognised, read once for all of them, and each month takes exactly its share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from object_store_double import ObjectStoreDouble
from oracle_source import OracleServer, road_settings, start_oracle

from assets.oracle_extract import oracle_extract
from assets.staged_csv import staged_csv
from kpc.campaign.plan import plan_campaign
from kpc.campaign.purge import ACTION, PurgeWish
from kpc.campaign.purge_passes import purge_passes
from kpc.catalog import TABLES
from kpc.errors import ConfigError, DamagedFile, OracleDown
from kpc.extract.control_totals import scan_chunks
from kpc.extract.one_pass import read_in_one_pass
from kpc.extract.pass_files import ONE_PASS
from kpc.extract.rowid_clustering import Stretch, scan_ratio
from kpc.ledger.vouching import VOUCHED
from kpc.partition import Partition, month_keys
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace, open_workspace
from kpc.storage.manifests import ExtractManifest

HEADERS = TABLES["KPS_T_SALES_M"]
MONTHS = month_keys("2024-01", 6)
CHUNK_ROWS = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    """Six months of sale headers, in the order of their amounts: every block holds rows of all months."""
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "12000", "--months", ",".join(MONTHS))
    server.execute(
        "CREATE TABLE MIXED AS SELECT * FROM KPS_T_SALES_M ORDER BY NET_VAT, SALE_NO",
        "DELETE FROM KPS_T_SALES_M",
        "INSERT INTO KPS_T_SALES_M SELECT * FROM MIXED",
        "UPDATE KPS_T_SALES_M SET SALE_DATE = '2024-01-99' WHERE ROWNUM <= 3",
        "UPDATE KPS_T_SALES_M SET SALE_DATE = '2019-05-05' WHERE SALE_DATE = '2024-02-01' AND ROWNUM <= 2",
    )
    yield server
    server.stop()


@pytest.fixture
def source(server: OracleServer) -> Iterator[OracleServer]:
    with server.without_faults() as source:
        yield source


@pytest.fixture
def workspace(source: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Workspace:
    opened = workspaces(source, salesforce)
    opened.settings.staging.chunk_rows = CHUNK_ROWS
    return opened


def extracted(workspace: Workspace, key: str) -> tuple[ExtractManifest, pl.DataFrame]:
    partition = Partition(HEADERS, key)
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    manifest = sealed_extract(PartitionContext(workspace, partition))
    folder = PartitionContext(workspace, partition).paths.generation(result.generation).extract
    return manifest, scan_chunks(folder, manifest.chunks, HEADERS).collect().sort(HEADERS.key)


def tick(source: OracleServer) -> None:
    """Another transaction: the SCN moves on."""
    source.execute("UPDATE KPS_R_POS_SUPPLIER SET ACTIVE = ACTIVE")


@contextmanager
def ticking(source: OracleServer) -> Iterator[None]:
    """Others commit all the time, as in a live database."""
    is_over = threading.Event()

    def commit() -> None:
        while not is_over.wait(0.05):
            tick(source)

    thread = threading.Thread(target=commit)
    thread.start()
    yield
    is_over.set()
    thread.join()


def scanned(source: OracleServer) -> int:
    return int(source.admin("GET", "counters")["rows_scanned"]["KPC.KPS_T_SALES_M"])


def test_interleaved_months_are_found(workspace: Workspace) -> None:
    """Each month's ranges hold all six months; the lines, seeded month by month, stand alone."""
    plan = plan_campaign(workspace, tuple(TABLES.values()), MONTHS, "incremental")
    assert 5 < max(plan.scan_ratios["KPS_T_SALES_M"].values()) <= 6.1
    assert max(plan.scan_ratios["KPS_T_SALES_MD"].values()) < 1.5
    assert plan.scan_ratios["KPS_WEB_SALES"] == {}


def test_every_month_takes_exactly_its_share(workspace: Workspace, source: OracleServer) -> None:
    """The same rows as month by month, staged to the same bytes, for a third of the scans; and only once."""
    months = {key: extracted(workspace, key) for key in MONTHS}
    by_month = scanned(source)
    staged = {key: staged_csv.materialize(PartitionContext(workspace, Partition(HEADERS, key))) for key in MONTHS}
    tick(source)
    source.admin("DELETE", "counters")
    result = read_in_one_pass(PartitionContext(workspace, Partition(HEADERS, ONE_PASS)), MONTHS)
    assert result.rows == sum(manifest.rows for manifest, _ in months.values())
    assert int(result.detail["chunks"]) > 3
    for key, (before, rows) in months.items():
        manifest, shared = extracted(workspace, key)
        assert manifest.scn == result.detail["scn"]
        assert manifest.control_totals == before.control_totals
        assert shared.equals(rows)
        restaged = staged_csv.materialize(PartitionContext(workspace, Partition(HEADERS, key)))
        assert (restaged.rows, restaged.detail["rejected"]) == (staged[key].rows, staged[key].detail["rejected"])
    assert scanned(source) < by_month / 3
    tick(source)
    later, _ = extracted(workspace, MONTHS[0])
    assert later.scn > months[MONTHS[0]][0].scn
    assert later.generation != result.generation
    assert not list(workspace.store.root.rglob("ONE-PASS/*/*"))


def test_an_interrupted_pass_is_carried_on(workspace: Workspace, source: OracleServer) -> None:
    """Finished chunks are not read again, at the same SCN; no month takes a share of an unfinished pass."""
    workspace.settings.oracle = workspace.settings.oracle.model_copy(update={"sessions": 1})
    source.fault("cut", "rst", after_rows=20, skip=2, times=1, table="KPS_T_SALES_M", sql="ROWID BETWEEN")
    with pytest.raises(OracleDown):
        read_in_one_pass(PartitionContext(workspace, Partition(HEADERS, ONE_PASS)), MONTHS)
    finished = len(list(workspace.store.root.rglob("ONE-PASS/*/chunk-*.json")))
    assert finished >= 2
    tick(source)
    by_itself, _ = extracted(workspace, MONTHS[1])
    source.admin("DELETE", "counters")
    result = read_in_one_pass(PartitionContext(workspace, Partition(HEADERS, ONE_PASS)), MONTHS)
    reads = [each for each in source.admin("GET", "statements") if "ROWID BETWEEN" in each["sql"]]
    assert len(reads) == int(result.detail["chunks"]) - finished
    assert int(result.detail["scn"]) < by_itself.scn
    shared, _ = extracted(workspace, MONTHS[0])
    assert shared.scn == result.detail["scn"]
    tick(source)
    newer, _ = extracted(workspace, MONTHS[1])
    assert newer.scn > by_itself.scn  # what is older than the month's own extract is not taken


def in_one_pass(workspace: Workspace) -> None:
    """A campaign whose plan reads the headers in one pass."""
    environment = PartitionContext(workspace, Partition(HEADERS, MONTHS[0])).environment
    workspace.ledger.scope.set(
        environment, months=MONTHS, tables=[HEADERS.name], mode="full", run_id="r", actor="a",
        access={HEADERS.name: "one pass"},
    )  # fmt: skip


def test_the_first_month_reads_all(workspace: Workspace, source: OracleServer) -> None:
    """Without any other command; a month that has its extract is not read with the others again."""
    in_one_pass(workspace)
    first, _ = extracted(workspace, MONTHS[3])
    tick(source)
    source.admin("DELETE", "counters")
    others = [extracted(workspace, key)[0] for key in MONTHS if key != MONTHS[3]]
    assert {manifest.scn for manifest in others} == {first.scn}
    assert source.admin("GET", "counters")["rows_scanned"].get("KPC.KPS_T_SALES_M", 0) == 0
    again, _ = extracted(workspace, MONTHS[3])
    assert again.scn > first.scn
    assert not list(workspace.store.root.rglob("ONE-PASS/*/*"))


def test_a_lost_snapshot_costs_only_the_months_that_were_not_read(
    server: OracleServer, tmp_path: Path, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings
) -> None:
    """ORA-01555 half-way: months that were read completely keep their SCN, the others get a new one."""
    clustered = start_oracle(tmp_path / "clustered", "--rows", "12000", "--months", ",".join(MONTHS))
    try:
        workspace = workspaces(clustered, salesforce)
        workspace.settings.staging.chunk_rows = CHUNK_ROWS
        workspace.settings.oracle = workspace.settings.oracle.model_copy(update={"sessions": 1})
        in_one_pass(workspace)
        clustered.fault("error", 1555, after_rows=5, skip=3, times=1, table=HEADERS.name, sql="ROWID BETWEEN")
        with ticking(clustered):
            months = {key: extracted(workspace, key) for key in MONTHS}
    finally:
        clustered.stop()
    scns = [manifest.scn for manifest, _ in months.values()]
    assert len(set(scns)) == 2
    assert scns == sorted(scns, reverse=True), "the newest months were read first, and kept the older SCN"
    for manifest, rows in months.values():
        assert rows.height == manifest.rows > 0


def test_a_pass_in_an_object_store_is_seen_by_all_workers(
    source: OracleServer, salesforce: SalesforceSettings, tmp_path: Path
) -> None:
    """Each worker has an empty disk: one reads half of the table, one the rest, and others take their months."""
    ObjectStoreDouble.empty()

    @contextmanager
    def worker(run_id: str) -> Iterator[Workspace]:
        settings = road_settings(tmp_path, source.settings.model_copy(update={"sessions": 1}), salesforce)
        settings.staging.root, settings.staging.scratch = "objects://bucket/kpc", tmp_path / f"disk-{run_id}"
        settings.staging.chunk_rows = CHUNK_ROWS
        with open_workspace(settings, run_id=run_id, actor="test") as workspace:
            yield workspace

    source.fault("cut", "rst", after_rows=20, skip=2, times=1, table="KPS_T_SALES_M", sql="ROWID BETWEEN")
    with worker("killed") as workspace, pytest.raises(OracleDown):
        in_one_pass(workspace)
        extracted(workspace, MONTHS[0])
    tick(source)
    source.admin("DELETE", "counters")
    found = {}
    for key in MONTHS:
        with worker(key) as workspace:
            found[key] = extracted(workspace, key)
    reads = [one for one in source.admin("GET", "statements") if "ROWID BETWEEN" in one["sql"]]
    assert 1 <= len(reads) <= 4, "two chunks of the killed worker are not read again"
    assert len({manifest.scn for manifest, _ in found.values()}) == 1
    assert all(rows.height == manifest.rows > 0 for manifest, rows in found.values())
    assert not any("ONE-PASS" in name and name.endswith(".parquet") for name in ObjectStoreDouble.held)
    ObjectStoreDouble.empty()


def test_a_damaged_share_is_not_taken(workspace: Workspace) -> None:
    """The file and the way out are named."""
    read_in_one_pass(PartitionContext(workspace, Partition(HEADERS, ONE_PASS)), MONTHS)
    path: Path = next(workspace.store.root.rglob(f"ONE-PASS/*/{MONTHS[2]}/chunk-00001.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFile, match="extract the month by itself"):
        extracted(workspace, MONTHS[2])


def test_an_unsplit_table_has_no_months_to_split(workspace: Workspace) -> None:
    """A usage error, with the command that reads it."""
    with pytest.raises(ConfigError, match="kpc run KPS_WEB_SALES ALL"):
        read_in_one_pass(PartitionContext(workspace, Partition(TABLES["KPS_WEB_SALES"], "ALL")), MONTHS)


@pytest.mark.parametrize(
    ("months", "chunk_rows", "ratio"),
    [
        ([{"a": 10}, {"a": 10}, {"b": 10}], 100, 1.0),
        ([{"a": 10}, {"b": 10}, {"a": 10}], 100, 1.5),
        ([{"a": 10}, {"b": 10}, {"a": 10}], 10, 1.0),  # a chunk ends before the gap
        ([{"a": 5, "b": 5}] * 4, 100, 2.0),
        ([{"b": 10}], 100, 1.0),
    ],
)
def test_a_range_reaches_from_its_first_block_to_its_last(
    months: list[dict[str, int]], chunk_rows: int, ratio: float
) -> None:
    """Gaps inside a chunk are read, gaps between chunks are not."""
    stretches = [Stretch(sum(each.values()), each) for each in months]
    assert scan_ratio(stretches, "a", chunk_rows) == ratio


def test_a_pass_that_nobody_took_is_purged_with_the_extracts(workspace: Workspace, source: OracleServer) -> None:
    """It holds rows of all months; each file has a tombstone, and a month is then read by itself."""
    context = PartitionContext(workspace, Partition(HEADERS, MONTHS[0]))
    tick(source)
    read_in_one_pass(context, MONTHS)
    folder = PartitionContext(workspace, Partition(HEADERS, ONE_PASS)).paths.folder
    files = {str(path.relative_to(workspace.store.root)) for path in folder.rglob("*.parquet")}
    assert files
    assert list(purge_passes(workspace, PurgeWish())) == []
    (result,) = purge_passes(workspace, PurgeWish(is_due_now=True, reason="a test"))
    assert (result.need, {file.path for file in result.files}) == (None, files)
    assert list(folder.rglob("*.parquet")) == []
    (entry,) = workspace.ledger.audit.of_action(ACTION, workspace.environment)
    assert set(entry.detail[VOUCHED]["removed"]) == {f"staging/{name}" for name in files}
    assert extracted(workspace, MONTHS[0])[0].rows > 0
