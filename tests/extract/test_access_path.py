"""How a table is read follows from its storage: chosen by cost, shown by the plan, followed by every month."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from oracle_source import OracleServer, start_oracle

from assets.oracle_extract import oracle_extract
from kpc.campaign.plan import plan_campaign
from kpc.catalog import TABLES
from kpc.errors import PassRunning
from kpc.extract.access_path import AccessPath, CountedTable, choose_access, possible_ways
from kpc.extract.pass_files import ONE_PASS
from kpc.extract.table_storage import TableStorage, storage_of
from kpc.oracle.session import Oracle
from kpc.partition import Partition, month_keys
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.names import ORACLE_EXTRACT
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ExtractManifest

LINES = TABLES["KPS_T_SALES_MD"]
YEARS = month_keys("2022-01", 36)
ROWS = 261_000_000
HEAP = TableStorage(ROWS, ROWS // 30)
EVEN = CountedTable(ROWS, dict.fromkeys(YEARS, ROWS // 36), {})
MONTHS = month_keys("2024-01", 6)
SCALE = 25_000  # some 10,000 stored lines stand for 261 million


def test_a_heap_is_read_in_one_pass() -> None:
    """Two scans instead of more than 36, and nothing goes to TEMP."""
    chosen = choose_access(LINES, HEAP, EVEN)
    assert (chosen.path, chosen.scans, chosen.temp_bytes) == (AccessPath.ONE_PASS, 2.0, 0)
    month_by_month = next(w for w in possible_ways(LINES, HEAP, EVEN) if w.path is AccessPath.MONTH_SCANS)
    assert month_by_month.scans == pytest.approx(37)


def test_range_partitions_and_a_clustered_index_are_used() -> None:
    """By the column that decides the month; an index whose rows lie scattered is no help."""
    by_month = replace(HEAP, partition_column="SALE_DATE", partitions=36)
    assert choose_access(LINES, by_month, EVEN).path is AccessPath.PARTITIONS
    by_shop = replace(HEAP, partition_column="BRANCH_CODE", partitions=36)
    assert choose_access(LINES, by_shop, EVEN).path is AccessPath.ONE_PASS
    clustered = replace(HEAP, indexed={"SALE_DATE": HEAP.blocks})
    few = replace(EVEN, months=dict.fromkeys(YEARS[:2], ROWS // 36))
    assert choose_access(LINES, clustered, few).path is AccessPath.INDEX
    scattered = replace(HEAP, indexed={"SALE_DATE": ROWS})
    assert choose_access(LINES, scattered, EVEN).path is AccessPath.ONE_PASS


def test_months_that_interleave_cost_more_scans() -> None:
    """Each month's ROWID ranges reach over the whole table."""
    mixed = CountedTable(ROWS, EVEN.months, dict.fromkeys(YEARS, 36.0))
    scans = {way.path: way.scans for way in possible_ways(LINES, HEAP, mixed)}
    assert scans[AccessPath.MONTH_SCANS] == pytest.approx(72)
    assert scans[AccessPath.ONE_PASS] == 2


def test_a_small_table_is_read_month_by_month() -> None:
    """The saving would be seconds; a month by itself is simpler to resume."""
    small = CountedTable(360_000, dict.fromkeys(YEARS, 10_000), {})
    assert choose_access(LINES, TableStorage(360_000, 12_000), small).path is AccessPath.MONTH_SCANS


def test_a_view_is_read_by_its_key_and_its_sort_needs_temp() -> None:
    """It has no ROWIDs; ranking 261 million keys does not fit into memory."""
    view = replace(LINES, has_rowid=False)
    chosen = choose_access(view, TableStorage(None, None), EVEN)
    assert chosen.path is AccessPath.KEY_RANGES
    assert chosen.temp_bytes > 10e9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    """A heap of 20,000 rows that costs what one of hundreds of millions does."""
    folder, months = tmp_path_factory.mktemp("oracle"), ",".join(MONTHS)
    server = start_oracle(folder, "--rows", "20000", "--months", months, "--scale", str(SCALE))
    yield server
    server.stop()


@pytest.fixture
def source(server: OracleServer) -> Iterator[OracleServer]:
    with server.without_faults() as source:
        yield source


@pytest.fixture
def workspace(source: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Workspace:
    return workspaces(source, salesforce)


def context(workspace: Workspace, key: str) -> PartitionContext:
    return PartitionContext(workspace, Partition(LINES, key))


def extracted(workspace: Workspace, key: str) -> ExtractManifest:
    oracle_extract.materialize(context(workspace, key))
    return sealed_extract(context(workspace, key))


def statements(source: OracleServer) -> list[dict[str, object]]:
    return [one for one in source.admin("GET", "statements") if LINES.name in one["sql"] and "ALL_" not in one["sql"]]


def test_the_first_month_reads_all_and_the_others_take_their_parts(workspace: Workspace, source: OracleServer) -> None:
    """Two scans for six months; the same rows and totals as each month by itself; no statement sorts the table."""
    alone = {key: extracted(workspace, key) for key in MONTHS[:2]}
    source.execute("UPDATE KPS_R_POS_SUPPLIER SET ACTIVE = ACTIVE")
    planned = plan_campaign(workspace, tuple(TABLES.values()), MONTHS, "incremental")
    assert planned.access[LINES.name].path is AccessPath.ONE_PASS
    assert planned.access["KPS_R_POS_SUPPLIER"].path is AccessPath.WHOLE
    source.admin("DELETE", "counters")
    together = {key: extracted(workspace, key) for key in MONTHS[2:]}
    scanned = source.admin("GET", "counters")["rows_scanned"][f"KPC.{LINES.name}"]
    rows = sum(one.rows for one in planned.assignments if one.table == LINES.name)
    assert scanned <= 2.1 * rows
    assert {one.scn for one in together.values()} == {together[MONTHS[2]].scn}
    assert all(one["temp_bytes"] == 0 for one in statements(source))
    for key, manifest in alone.items():
        assert extracted(workspace, key).control_totals == manifest.control_totals
    assert sum(one.rows for one in (*alone.values(), *together.values())) == rows


def test_a_month_waits_while_another_run_reads_the_table(
    workspace: Workspace, workspaces: Callable[..., Workspace], source: OracleServer, salesforce: SalesforceSettings
) -> None:
    """Airflow gets the time at which to look again; nothing is read twice."""
    other = workspaces(source, salesforce)
    plan_campaign(other, tuple(TABLES.values()), MONTHS, "incremental")
    one = context(other, MONTHS[0])
    whole = one.of(Partition(LINES, ONE_PASS))
    with other.ledger.leases.hold(
        one.environment, whole.partition, ORACLE_EXTRACT, owner="another run", ttl_s=60, wait_s=0
    ):
        with pytest.raises(PassRunning, match="Another run is reading KPS_T_SALES_MD in one pass") as waiting:
            oracle_extract.materialize(one)
        assert waiting.value.again_utc > other.clock()
    assert oracle_extract.materialize(one).rows > 0


@pytest.mark.parametrize(
    ("layout", "column", "is_indexed"), [("partitions", "SALE_DATE", False), ("index", None, True)]
)
def test_the_dictionary_tells_how_a_table_is_stored(
    tmp_path_factory: pytest.TempPathFactory, layout: str, column: str | None, *, is_indexed: bool
) -> None:
    """Rows of the declared size, and whether partitions or an index lead to a month."""
    folder = tmp_path_factory.mktemp(layout)
    server = start_oracle(folder, "--rows", "5000", "--months", ",".join(MONTHS), "--layout", layout, "--scale", "1000")
    try:
        oracle = Oracle(server.settings)
        with oracle.session("test", LINES.name) as session:
            storage = storage_of(session, oracle, LINES.name)
        assert storage.partition_column == column
        assert storage.index_on("SALE_DATE") is is_indexed
        assert storage.rows is not None
        assert storage.rows > 1_000_000
    finally:
        server.stop()
