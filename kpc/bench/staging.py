"""The functions that `kpc bench stage` measures; each runs alone in a process and returns seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import polars as pl
from isal import isal_zlib

from kpc.bench.stage_frames import LINE, MONTH
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.ledger import open_ledger
from kpc.partition import Environment, Partition
from kpc.settings import Settings, StagingSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace
from kpc.staging.partition_rows import PartitionRows, slice_rows
from kpc.staging.partition_staging import stage_partition
from kpc.staging.rejects import RejectFile
from kpc.staging.sorted_runs import SortedRuns
from kpc.storage.layout import GenerationPaths, PartitionPaths
from kpc.storage.manifests import ExtractManifest, StagedManifest
from kpc.storage.store import Store, read_manifest

GENERATION = "01JBENCH000000000000000000"
_ENVIRONMENT = Environment("bench", "bench")
_PARTITION = Partition(LINE, MONTH)
_SLICE_ROWS = 10_000
_GZIP_LEVEL = StagingSettings().gzip_level


def extract_folder(root: Path) -> Path:
    """Where `stage` expects the sealed extract."""
    return _generation(root).extract


def copy_reference(source: str, folder: str) -> float:
    """Write a frame as one chunk: CSV, gzip, sha256, fsync."""
    _keep_to_two_cores()
    frame = pl.read_parquet(source)

    def copy() -> None:
        with GzipTable(Path(folder, "chunk.csv.gz"), frame.columns, _GZIP_LEVEL) as chunk:
            for part in frame.iter_slices(_SLICE_ROWS):
                chunk.write(csv_bytes(part, null="#N/A"), part.height)
            chunk.close()

    return _seconds(copy)


def floor_of_reference(source: str) -> float:
    """Encode the same frame as CSV and deflate those bytes, each step timed alone."""
    _keep_to_two_cores()
    return _floor(pl.read_parquet(source))


def floor_of_chunks(root: str) -> float:
    """The same for the rows that `stage` staged."""
    _keep_to_two_cores()
    folder = _generation(Path(root)).staged(LINE.mapping_version)
    return _floor(pl.concat(pl.read_csv(path, infer_schema=False) for path in sorted(folder.glob("chunk-*.csv.gz"))))


def stage(root: str) -> float:
    """Stage the sealed extract under `root`, from its first byte to the published manifest."""
    _keep_to_two_cores()
    context = PartitionContext(_workspace(Path(root)), _PARTITION)
    paths = _generation(Path(root))
    context.store.withdraw(paths.staged(LINE.mapping_version))
    extract = read_manifest(paths.extract, ExtractManifest)
    assert extract is not None  # noqa: S101  the bench has written it
    manifests: list[StagedManifest] = []
    seconds = _seconds(lambda: manifests.append(stage_partition(context, extract)))
    if manifests[0].staged != extract.rows:
        raise ValueError(f"{manifests[0].staged:,} of {extract.rows:,} rows were staged")
    return seconds


def sort_alone(root: str) -> float:
    """Only sort the converted rows of that extract: write sorted runs to disk and read them back."""
    _keep_to_two_cores()
    memory_bytes = StagingSettings().memory_bytes
    with TemporaryDirectory(dir=root) as place:
        frames = _converted(Path(root), Path(place))

        def sort() -> None:
            with SortedRuns(Path(place, "runs"), Store(Path(place)), memory_bytes // 2) as runs:
                for rows in frames:
                    runs.add(rows)
                for _ in runs.merged(slice_rows(LINE, memory_bytes)):
                    pass

        return _seconds(sort)


class _CollectedRows(list[pl.DataFrame]):
    """Collects converted rows in place of the sort."""

    def add(self, rows: pl.DataFrame) -> None:
        self.append(rows)


def _converted(root: Path, folder: Path) -> list[pl.DataFrame]:
    """The extract's rows as the sort receives them, slice by slice."""
    kept = _CollectedRows()
    extract = read_manifest(extract_folder(root), ExtractManifest)
    assert extract is not None  # noqa: S101  the bench has written it
    with RejectFile(folder, _GZIP_LEVEL) as rejects:
        rows = PartitionRows(
            _PARTITION,
            extract,
            store=Store(root),
            hash_key="",
            runs=cast(SortedRuns, kept),
            rejects=rejects,
            loaded=None,
            scratch=folder,
        )
        rows.read(extract_folder(root), slice_rows(LINE, StagingSettings().memory_bytes))
    return kept


def _floor(frame: pl.DataFrame) -> float:
    """Seconds of the two unavoidable steps, one after the other: CSV on all cores, deflate on one core."""
    blocks: list[bytes] = []
    seconds = 0.0
    compressor = isal_zlib.compressobj(level=_GZIP_LEVEL, wbits=31)
    for part in frame.iter_slices(_SLICE_ROWS):
        seconds += _seconds(lambda part=part: blocks.append(csv_bytes(part, null="#N/A")))  # type: ignore[misc]
        seconds += _seconds(lambda: compressor.compress(blocks.pop()))
    return seconds + _seconds(compressor.flush)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _workspace(root: Path) -> Workspace:
    """A workspace that only names the two live systems; staging does not contact them."""
    settings = Settings(staging=StagingSettings(root=root, free_bytes=0))
    ledger = open_ledger(f"sqlite:///{root}/ledger.db")
    return Workspace(settings, ledger, "bench", "bench", environment=_ENVIRONMENT)


def _generation(root: Path) -> GenerationPaths:
    partition = PartitionPaths.below(root, _ENVIRONMENT.source_id, _ENVIRONMENT.target_id, LINE.slug, MONTH)
    return partition.generation(GENERATION)


def _keep_to_two_cores() -> None:
    """Use two cores, for which the goals are set; without CPU affinity support, all cores are used."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
