"""A table whose months interleave is recognised, read once for all of them, and each month takes exactly its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from oracle_source import OracleServer, start_oracle

from assets.oracle_extract import oracle_extract
from assets.staged_csv import staged_csv
from kpc.campaign.plan import plan_campaign
from kpc.catalog import TABLES
from kpc.errors import ConfigError, DamagedFile, OracleDown
from kpc.extract.control_totals import scan_chunks
from kpc.extract.one_pass import read_in_one_pass
from kpc.extract.rowid_clustering import Stretch, scan_ratio
from kpc.partition import Partition, month_keys
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace
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


def scanned(source: OracleServer) -> int:
    return int(source.admin("GET", "counters")["rows_scanned"]["KPC.KPS_T_SALES_M"])


def test_the_plan_proposes_one_pass_where_months_interleave(workspace: Workspace) -> None:
    """Each month's ranges hold all six months; the lines, seeded month by month, stand alone."""
    plan = plan_campaign(workspace, tuple(TABLES.values()), MONTHS, "incremental")
    assert set(plan.interleaved) == {"KPS_T_SALES_M"}
    assert 5 < plan.interleaved["KPS_T_SALES_M"] <= 6.1
    assert max(plan.scan_ratios["KPS_T_SALES_MD"].values()) < 1.5
    assert plan.scan_ratios["KPS_WEB_SALES"] == {}


def test_every_month_takes_exactly_its_share(workspace: Workspace, source: OracleServer) -> None:
    """The same rows as month by month, staged to the same bytes, for a third of the scans; and only once."""
    months = {key: extracted(workspace, key) for key in MONTHS}
    by_month = scanned(source)
    staged = {key: staged_csv.materialize(PartitionContext(workspace, Partition(HEADERS, key))) for key in MONTHS}
    tick(source)
    source.admin("DELETE", "counters")
    result = read_in_one_pass(HEADERS, MONTHS, workspace)
    assert result.rows == sum(manifest.rows for manifest, _ in months.values())
    assert result.detail["chunks"] == -(-result.rows // CHUNK_ROWS) > 3
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
    assert not list(workspace.store.root.rglob("ONE-PASS/*"))


def test_an_interrupted_pass_is_carried_on(workspace: Workspace, source: OracleServer) -> None:
    """Finished chunks are not read again, at the same SCN; no month takes a share of an unfinished pass."""
    workspace.settings.oracle = workspace.settings.oracle.model_copy(update={"sessions": 1})
    source.fault("cut", "rst", after_rows=20, skip=2, times=1, table="KPS_T_SALES_M", sql="ROWID BETWEEN")
    with pytest.raises(OracleDown):
        read_in_one_pass(HEADERS, MONTHS, workspace)
    finished = len(list(workspace.store.root.rglob("ONE-PASS/*/chunk-*.json")))
    assert finished >= 2
    tick(source)
    by_itself, _ = extracted(workspace, MONTHS[1])
    source.admin("DELETE", "counters")
    result = read_in_one_pass(HEADERS, MONTHS, workspace)
    reads = [each for each in source.admin("GET", "statements") if "ROWID BETWEEN" in each["sql"]]
    assert len(reads) == int(result.detail["chunks"]) - finished
    assert int(result.detail["scn"]) < by_itself.scn
    shared, _ = extracted(workspace, MONTHS[0])
    assert shared.scn == result.detail["scn"]
    tick(source)
    newer, _ = extracted(workspace, MONTHS[1])
    assert newer.scn > by_itself.scn  # what is older than the month's own extract is not taken


def test_a_damaged_share_is_not_taken(workspace: Workspace) -> None:
    """The file and the way out are named."""
    read_in_one_pass(HEADERS, MONTHS, workspace)
    path: Path = next(workspace.store.root.rglob(f"ONE-PASS/*/{MONTHS[2]}/chunk-00001.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFile, match="extract the month by itself"):
        extracted(workspace, MONTHS[2])


def test_an_unsplit_table_has_no_months_to_split(workspace: Workspace) -> None:
    """A usage error, with the command that reads it."""
    with pytest.raises(ConfigError, match="kpc run KPS_WEB_SALES ALL"):
        read_in_one_pass(TABLES["KPS_WEB_SALES"], MONTHS, workspace)


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
