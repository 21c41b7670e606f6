"""A repeated partition reads only what changed since its last complete load, and is still exactly what Oracle says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from emulated_org import Emulator
from oracle_source import OracleServer

from assets.graph import materialize_lineage
from assets.oracle_extract import oracle_extract
from assets.staged_csv import staged_csv
from kpc.campaign.inspection import inspect_partition
from kpc.errors import Mismatch, OracleDown
from kpc.extract.control_totals import scan_chunks
from kpc.extract.merge_changes import merge_changes
from kpc.partition import Partition, find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.result import StageResult
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import ExtractManifest

TABLE = "KPS_WEB_SALES"
AGAIN = 1  # the base's newest row is always read again: the second in which it changed may not have been over
NOW = "TO_DATE('2026-01-01 12:00:00', 'YYYY-MM-DD HH24:MI:SS')"


class Web:
    """KPS_WEB_SALES, loaded once; tests change the source and extract again."""

    def __init__(self, source: OracleServer, workspace: Workspace) -> None:
        self.source = source
        self.workspace = workspace
        self.partition: Partition = find_partition(TABLE, "ALL")
        self.workspace.settings.oracle.overlap_s = 0
        source.execute(  # the seed leaves gaps
            f"UPDATE {TABLE} SET CREATEDDATE = DATE '2024-01-05', UPDATEDDATE = NULL",
            f"UPDATE {TABLE} SET UPDATEDDATE = DATE '2024-02-05' WHERE ORDER_NO = (SELECT MAX(ORDER_NO) FROM {TABLE})",
        )
        self.orders = self._orders()
        self.first = self.load()

    def _orders(self) -> list[str]:
        with self.source.connect() as connection:
            rows = connection.cursor().execute(f"SELECT ORDER_NO FROM {TABLE} ORDER BY ORDER_NO").fetchall()
        return [row[0] for row in rows]

    def load(self, mode: str = "incremental") -> list[StageResult]:
        return list(materialize_lineage(PartitionContext(self.workspace, self.partition), mode=mode))  # type: ignore[arg-type]

    def touch(self, order: str, changes: str, *, updated: str = NOW) -> None:
        self.source.execute(f"UPDATE {TABLE} SET {changes}, UPDATEDDATE = {updated} WHERE ORDER_NO = '{order}'")

    def insert(self, order: str, *, updated: str = NOW) -> None:
        columns = "ORDER_DATE, CUSTOMER_NAME, EMAIL, CHANNEL, TOTAL_AMT, VAT_AMT, CREATEDDATE"
        self.source.execute(
            f"INSERT INTO {TABLE} (ORDER_NO, {columns}, UPDATEDDATE) "
            f"SELECT '{order}', {columns}, {updated} FROM {TABLE} WHERE ORDER_NO = '{self.orders[5]}'"
        )

    def extract(self) -> ExtractManifest:
        context = PartitionContext(self.workspace, self.partition)
        oracle_extract.materialize(context)
        return sealed_extract(context)

    def rows(self, manifest: ExtractManifest) -> pl.DataFrame:
        folder = PartitionContext(self.workspace, self.partition).paths.generation(manifest.generation).extract
        return scan_chunks(folder, manifest.chunks, self.partition.table).collect().sort("ORDER_NO")

    def whole(self) -> pl.DataFrame:
        """The partition as a whole read gives it, for comparison."""
        self.workspace.settings.oracle.reads = "whole"
        manifest = self.extract()
        self.workspace.settings.oracle.reads = "changed"
        assert manifest.base is None
        return self.rows(manifest)


@pytest.fixture
def web(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Web:
    source = oracles("--rows", "20000", "--months", "2024-01")
    return Web(source, workspaces(source, emulated().settings))


def test_only_changed_rows_are_read_and_sent(web: Web) -> None:
    """Two changed, one new, one vanished: the merged extract is the whole partition, and three rows travel."""
    web.touch(web.orders[0], "TOTAL_AMT = TOTAL_AMT + 1")
    web.touch(web.orders[1], "CUSTOMER_NAME = 'Somchai'")
    web.insert("W-NEW")
    web.source.execute(f"DELETE FROM {TABLE} WHERE ORDER_NO = '{web.orders[2]}'")
    manifest = web.extract()
    assert manifest.base == web.first[0].generation
    assert manifest.read_rows == 3 + AGAIN
    assert manifest.rows == len(web.orders)
    shown = inspect_partition(PartitionContext(web.workspace, web.partition))["extract"]
    assert (shown["base"], shown["read_rows"]) == (manifest.base, manifest.read_rows)
    assert web.rows(manifest).equals(web.whole().cast(dict(web.rows(manifest).schema)))
    staged = staged_csv.materialize(PartitionContext(web.workspace, web.partition)).detail
    assert (staged["staged"], staged["vanished"]) == (3, 1)
    assert staged["unchanged"] == len(web.orders) - 3


def test_a_vanished_row_is_neither_kept_silently_nor_deleted(web: Web) -> None:
    """Reconciliation reports the surplus key; the org still has the record."""
    web.source.execute(f"DELETE FROM {TABLE} WHERE ORDER_NO = '{web.orders[2]}'")
    with pytest.raises(Mismatch, match="rows"):
        web.load()
    current = web.workspace.ledger.generations.current(web.workspace.environment, web.partition)
    assert current is not None
    assert current.rows == len(web.orders) - 1
    folder = PartitionContext(web.workspace, web.partition).paths.generation(current.id).folder
    assert web.orders[2] in (folder / "reconciled" / "report.json").read_text()


@pytest.mark.parametrize("order", ["unmarked change", "unmarked insert"])
def test_a_change_that_hides_from_the_update_column_is_found(
    web: Web, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle's own totals do not agree, so the whole partition is read at the same SCN."""
    if order == "unmarked change":
        web.source.execute(f"UPDATE {TABLE} SET VAT_AMT = VAT_AMT + 7 WHERE ORDER_NO = '{web.orders[3]}'")
    else:
        web.insert("W-OLD", updated="TO_DATE('2001-01-01', 'YYYY-MM-DD')")
    manifest = web.extract()
    assert manifest.base is None
    assert "without touching UPDATEDDATE" in caplog.text
    assert manifest.rows == web.whole().height
    assert staged_csv.materialize(PartitionContext(web.workspace, web.partition)).rows == 1


def test_a_row_without_update_time_is_always_read(web: Web) -> None:
    """NULL says nothing about when; where only the update time is NULL, that of the insertion counts."""
    nothing, never = web.orders[4], web.orders[6]
    web.source.execute(
        f"UPDATE {TABLE} SET UPDATEDDATE = NULL, CREATEDDATE = NULL WHERE ORDER_NO = '{nothing}'",
        f"UPDATE {TABLE} SET UPDATEDDATE = NULL, CREATEDDATE = DATE '2001-01-01' WHERE ORDER_NO = '{never}'",
    )
    manifest = web.extract()
    assert manifest.base is not None
    assert manifest.read_rows == 1 + AGAIN


def test_a_change_dated_in_the_future_hides_no_later_one(web: Web) -> None:
    """The watermark never passes the moment at which the base was read."""
    web.touch(web.orders[0], "CHANNEL = 'W'", updated="TO_DATE('3999-12-31', 'YYYY-MM-DD')")
    web.load()
    later = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
    web.touch(web.orders[1], "TOTAL_AMT = 1", updated=f"TO_DATE('{later}', 'YYYY-MM-DD')")
    manifest = web.extract()
    assert manifest.base is not None
    assert manifest.read_rows == 2
    assert staged_csv.materialize(PartitionContext(web.workspace, web.partition)).rows == 1


def test_the_watermark_advances_only_with_a_complete_load(web: Web) -> None:
    """What was extracted but never loaded is read again, from the same base."""
    web.touch(web.orders[0], "TOTAL_AMT = 1")
    first = web.extract()
    second = web.extract()
    assert first.base == second.base == web.first[0].generation
    assert first.since == second.since
    assert second.read_rows == 1 + AGAIN
    web.load()
    web.touch(web.orders[1], "TOTAL_AMT = 2")
    third = web.extract()
    assert third.base not in (None, web.first[0].generation)
    assert staged_csv.materialize(PartitionContext(web.workspace, web.partition)).rows == 1


def test_full_mode_reads_and_sends_everything(web: Web) -> None:
    """Whatever the org holds."""
    stage_results = {stage_result.stage: stage_result for stage_result in web.load("full")}
    assert stage_results["staged_csv"].detail["staged"] == len(web.orders)
    assert "base" not in stage_results["oracle_extract"].detail
    assert stage_results["oracle_extract"].detail["mode"] == "full"


def test_many_changes_are_read_as_a_whole(web: Web) -> None:
    """Above half of the partition there is nothing to save."""
    web.source.execute(f"UPDATE {TABLE} SET TOTAL_AMT = 5, UPDATEDDATE = {NOW}")
    assert web.extract().base is None


def test_a_damaged_base_is_not_built_upon(web: Web) -> None:
    """The older extract is verified before a row of it is used."""
    folder = PartitionContext(web.workspace, web.partition).paths.generation(web.first[0].generation).extract
    next(folder.glob("*.parquet")).write_bytes(b"PAR1 not any more PAR1")
    web.touch(web.orders[0], "TOTAL_AMT = 1")
    assert web.extract().base is None


def test_an_interrupted_incremental_extract_is_carried_on(web: Web) -> None:
    """What was read of the changes is not read again, and nothing half-made is taken for done."""
    web.touch(web.orders[0], "TOTAL_AMT = 1")
    web.source.fault("cut", "rst", after_rows=20, times=1, table=TABLE, sql=r'^SELECT [^(]*"ORDER_NO" FROM')
    with pytest.raises(OracleDown):  # while the keys are read, after the changes
        web.extract()
    unfinished = web.workspace.ledger.generations.unfinished(web.workspace.environment, web.partition)
    web.source.admin("DELETE", "counters")
    manifest = web.extract()
    assert unfinished is not None
    assert manifest.generation == unfinished.id
    reads = [each["sql"] for each in web.source.admin("GET", "statements") if "CUSTOMER_NAME" in each["sql"]]
    assert reads == []
    assert not (
        PartitionContext(web.workspace, web.partition).paths.generation(manifest.generation).extract / "changes"
    ).exists()


def test_merging_by_buckets_gives_the_same_rows(tmp_path: Path) -> None:
    """In many buckets or one: kept, changed and vanished rows are the same."""
    table = find_partition("KPS_R_EMAIL_TENANT", "ALL").table
    schema = dict(scan_chunks(tmp_path, (), table).collect().schema)

    def rows(numbers: range, mark: str) -> pl.DataFrame:
        number = pl.col("n")
        return pl.DataFrame({"n": list(numbers)}).select(
            (pl.lit(mark) if dtype == pl.String and name not in table.key else number).cast(dtype).alias(name)
            for name, dtype in schema.items()
        )

    rows(range(1000), "old").write_parquet(tmp_path / "base.parquet")
    rows(range(990, 1010), "new").write_parquet(tmp_path / "changed.parquet")
    rows(range(10, 1010), "any").select(table.key).write_parquet(tmp_path / "keys.parquet")
    found = []
    for bucket_rows in (10_000, 30):
        folder = tmp_path / str(bucket_rows)
        folder.mkdir()
        made = merge_changes(
            table,
            folder,
            base=[tmp_path / "base.parquet"],
            changed=[tmp_path / "changed.parquet"],
            keys=tmp_path / "keys.parquet",
            rows=1000,
            bucket_rows=bucket_rows,
        )
        assert (made.rows, made.kept, made.changed, made.vanished) == (1000, 980, 20, 10)
        found.append(scan_chunks(folder, made.chunks, table).collect().sort(table.key))
    assert found[0].equals(found[1])
