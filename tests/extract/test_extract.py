"""An extract is exact, sealed only when Oracle agrees, and carried on from wherever a crash left it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
from checkout import SUPPORT
from emulated_org import Emulator
from oracle_source import OracleServer, road_settings

from assets.oracle_extract import oracle_extract
from kpc.errors import Terminal, Transient
from kpc.extract.control_totals import check_control_totals, measure_rows, scan_chunks
from kpc.partition import Partition, find_partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace, open_workspace, utc_now
from kpc.storage.manifests import ExtractManifest

CHUNK_ROWS = 60
MONTH = ("KPS_T_SALES_M", "2024-01")


class Extraction:
    """One staging directory and ledger, small chunks; runs in this process or in one that can be killed."""

    def __init__(self, folder: Path, oracle: OracleServer, salesforce: SalesforceSettings) -> None:
        self.folder = folder
        self.oracle = oracle
        self.salesforce = salesforce
        self.partition: Partition = find_partition(*MONTH)
        self._scope = ExitStack()

    def workspace(self, run_id: str, *, lease_s: float = 60.0) -> Workspace:
        settings = road_settings(self.folder, self.oracle.settings, self.salesforce)
        settings.staging.chunk_rows = CHUNK_ROWS
        settings.reconcile.second_opinion = "off"  # the emulator would plan each of many small chunks for a second
        settings.lease_s = lease_s
        return self._scope.enter_context(open_workspace(settings, run_id=run_id, actor="test"))

    def start(self, run_id: str) -> subprocess.Popen[bytes]:
        oracle = {**self.oracle.settings.model_dump(), "sessions": 1}
        oracle["password"] = self.oracle.settings.password.get_secret_value()
        org = {**self.salesforce.model_dump(), "client_secret": self.salesforce.client_secret.get_secret_value()}
        given = {"folder": str(self.folder), "oracle": oracle, "salesforce": org, "chunk_rows": CHUNK_ROWS}
        given["second_opinion"] = "off"
        (self.folder / "given.json").write_text(json.dumps(given, default=str))
        child = SUPPORT / "extract_child.py"
        command = [sys.executable, str(child), str(self.folder / "given.json"), *MONTH, run_id]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603  our own program

    def kill_after_chunk(self, number: int, run_id: str) -> None:
        """Run in a process of its own and kill it with SIGKILL once chunk `number` is finished."""
        process = self.start(run_id)
        name = f"chunk-{number:05d}.json"
        deadline = time.monotonic() + 60
        while not list(self.folder.rglob(name)) and process.poll() is None:
            assert time.monotonic() < deadline, "the chunk was never finished"
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    def close(self) -> None:
        self._scope.close()


@pytest.fixture
def extraction(tmp_path: Path, oracle: OracleServer, salesforce: SalesforceSettings) -> Iterator[Extraction]:
    made = Extraction(tmp_path, oracle, salesforce)
    yield made
    made.close()


def rows_of(workspace: Workspace, partition: Partition, manifest: ExtractManifest) -> pl.DataFrame:
    folder = PartitionContext(workspace, partition).paths.generation(manifest.generation).extract
    return scan_chunks(folder, manifest.chunks, partition.table).collect().sort(partition.table.key)


def test_several_chunks_hold_the_partition_exactly_once(extraction: Extraction) -> None:
    """The chunks' rows are the partition's rows, none twice, and their sums are Oracle's own."""
    workspace = extraction.workspace("one")
    oracle_extract.materialize(PartitionContext(workspace, extraction.partition))
    manifest = sealed_extract(PartitionContext(workspace, extraction.partition))
    rows = rows_of(workspace, extraction.partition, manifest)
    assert len(manifest.chunks) > 3
    assert all(chunk.rows <= CHUNK_ROWS for chunk in manifest.chunks)
    assert rows.height == manifest.control_totals.rows == rows.select(extraction.partition.table.key).n_unique()
    with extraction.oracle.connect() as connection:
        (expected,) = connection.cursor().execute(
            "SELECT COUNT(*) FROM KPS_T_SALES_M WHERE SALE_DATE LIKE '2024-01-%'"
        ).fetchone()  # fmt: skip
    assert rows.height == expected


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_extract_is_carried_on(extraction: Extraction, killed_after: int) -> None:
    """After SIGKILL the same generation continues at the same SCN; finished chunks are not read again."""
    extraction.kill_after_chunk(killed_after, "run")
    workspace = extraction.workspace("run")
    partition = extraction.partition
    unfinished = workspace.ledger.generations.unfinished(workspace.environment, partition)
    assert unfinished is not None
    folder = PartitionContext(workspace, partition).paths.generation(unfinished.id).extract
    first = folder / "chunk-00001.parquet"
    written = first.stat().st_mtime_ns
    assert not (folder / "manifest.json").exists()
    stage_result = oracle_extract.materialize(PartitionContext(workspace, partition))
    assert stage_result.generation == unfinished.id
    assert first.stat().st_mtime_ns == written
    manifest = sealed_extract(PartitionContext(workspace, partition))
    assert rows_of(workspace, partition, manifest).height == manifest.control_totals.rows


def test_another_run_takes_over_from_a_dead_one(extraction: Extraction) -> None:
    """A new run waits for the dead one's lease to expire, then continues its generation."""
    process = extraction.start("dead")
    while not list(extraction.folder.rglob("chunk-00001.json")) and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    impatient = extraction.workspace("alive")
    impatient.settings.lease_wait_s = 0.1
    with pytest.raises(Transient, match="being worked on by dead"):
        oracle_extract.materialize(PartitionContext(impatient, extraction.partition))


def test_two_runs_at_once_make_one_generation(extraction: Extraction) -> None:
    """The second run waits for the first and takes over its result."""
    stage_results = {}

    def run(name: str) -> None:
        stage_results[name] = oracle_extract.materialize(
            PartitionContext(extraction.workspace(name), extraction.partition)
        )

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert stage_results["one"].generation == stage_results["two"].generation


def test_a_run_takes_over_what_began_after_it_was_asked_for(extraction: Extraction) -> None:
    """Two triggers close together are one work; a run asked for later reads Oracle again."""
    asked = utc_now()
    one, two, later = (extraction.workspace(name) for name in ("one", "two", "later"))
    one.asked_utc = two.asked_utc = asked
    first = oracle_extract.materialize(PartitionContext(one, extraction.partition))
    second = oracle_extract.materialize(PartitionContext(two, extraction.partition))
    later.asked_utc = utc_now()
    third = oracle_extract.materialize(PartitionContext(later, extraction.partition))
    assert second.generation == first.generation
    assert third.generation != first.generation
    full = oracle_extract.materialize(PartitionContext(two, extraction.partition), "full")
    assert full.generation not in (first.generation, third.generation)


def test_an_extract_that_differs_from_oracles_truth_is_not_sealed(extraction: Extraction) -> None:
    """One value off, one row less: the comparison names the number."""
    workspace = extraction.workspace("one")
    oracle_extract.materialize(PartitionContext(workspace, extraction.partition))
    manifest = sealed_extract(PartitionContext(workspace, extraction.partition))
    table = extraction.partition.table
    rows = rows_of(workspace, extraction.partition, manifest)
    is_first = pl.int_range(pl.len()) == 0
    shorter = rows.lazy().filter(~is_first)
    wrong = rows.lazy().with_columns(
        pl.when(is_first).then(pl.col("NET_VAT") + 1).otherwise("NET_VAT").alias("NET_VAT")
    )
    with pytest.raises(Terminal, match="rows: Oracle"):
        check_control_totals(extraction.partition, oracle=manifest.control_totals, extract=measure_rows(shorter, table))
    with pytest.raises(Terminal, match="NET_VAT sum"):
        check_control_totals(extraction.partition, oracle=manifest.control_totals, extract=measure_rows(wrong, table))


def test_a_table_changed_meanwhile_starts_a_new_generation(
    tmp_path: Path, oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator]
) -> None:
    """When the SCN of an interrupted extract can no longer be read, all chunks are read again at a new one."""
    source = oracles("--rows", "6000", "--months", "2024-01")
    extraction = Extraction(tmp_path, source, emulated().settings)
    extraction.kill_after_chunk(1, "run")
    workspace = extraction.workspace("run")
    before = workspace.ledger.generations.unfinished(workspace.environment, extraction.partition)
    assert before is not None
    source.execute("ALTER TABLE KPS_T_SALES_M ADD (NEWCOMER NUMBER)")
    stage_result = oracle_extract.materialize(PartitionContext(workspace, extraction.partition))
    after = workspace.ledger.generations.find(stage_result.generation)
    assert after is not None
    assert after.id != before.id
    assert after.scn > before.scn
    abandoned = workspace.ledger.generations.find(before.id)
    assert abandoned is not None
    assert abandoned.state == "abandoned"
    extraction.close()
