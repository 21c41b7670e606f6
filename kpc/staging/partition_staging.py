"""Stage one generation of a partition: chunks, index, reject list and fingerprint; the manifest is written last."""

from __future__ import annotations

import math
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import polars as pl

from kpc.convert.canonical import FINGERPRINT_SCHEMA, fingerprint, merged
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.errors import DamagedFile, KpcError, RowsRejected
from kpc.private_files import make_private
from kpc.stages.context import PartitionContext
from kpc.staging.chunk_cutter import ChunkCutter, ChunkLimits
from kpc.staging.partition_rows import PartitionRows, slice_rows
from kpc.staging.rejects import RejectFile
from kpc.staging.sorted_runs import SortedRuns
from kpc.staging.unchanged_rows import LoadedIndex
from kpc.storage.layout import CLEANED
from kpc.storage.manifests import ExtractManifest, StagedManifest
from kpc.storage.parquet_file import ParquetTable
from kpc.storage.store import FileEntry, Store

FINGERPRINT = "fingerprint.parquet"
VANISHED = "vanished.csv.gz"
VANISHED_HEADER = ("external_id", "salesforce_id")
_RUNS = ".runs"
# A partition with no more rejected rows than this never stops, whatever their share: one of twelve suppliers is 8 %.
ALWAYS_TOLERATED_ROWS = 10
# Staged bytes per extracted (compressed Parquet) byte, for the space check: 1.7 for the chunks, 0.6 for the index, and
# 3 for the sorted runs of a partition that does not fit in memory.
_STAGED_BYTES_PER_EXTRACTED = 6


def stage_partition(context: PartitionContext, extract: ExtractManifest) -> StagedManifest:
    """Stage one generation of a partition; the manifest is written last. The same input gives the same bytes.

    If it is already staged under the same mapping, its files are verified and its manifest is returned; incomplete or
    damaged files are staged again.
    Raises `RowsRejected` if too many rows are rejected, `DamagedFile` for an extract that differs from its seal,
    `OutOfSpace`, `ConfigError` for a missing hash key.
    """
    paths = context.paths.generation(extract.generation)
    folder = paths.staged(context.table.mapping_version)
    finished = _finished(folder, context.store)
    if finished is not None:
        return finished
    context.store.withdraw(folder, CLEANED)
    make_private(folder)
    extracted_bytes = sum(chunk.bytes for chunk in extract.chunks)
    context.store.check_space(extracted_bytes * _STAGED_BYTES_PER_EXTRACTED)
    manifest = _Staging(context, extract, folder).run(paths.extract)
    context.store.publish(folder, manifest, manifest.files)
    return manifest


def _finished(folder: Path, store: Store) -> StagedManifest | None:
    """The folder's manifest if every file it lists is intact; None if there is work to do."""
    try:
        manifest = store.manifest(folder, StagedManifest)
        if manifest is not None:
            for entry in manifest.files:
                store.file(folder, entry, remedy="")
    except DamagedFile:
        return None
    return manifest


class _Staging:
    """The state of one staging run over one partition."""

    def __init__(self, context: PartitionContext, extract: ExtractManifest, folder: Path) -> None:
        self._context = context
        self._table = context.table
        self._store = context.store
        self._staging = context.settings.staging
        self._extract = extract
        self._folder = folder
        self._slice_rows = slice_rows(self._table, self._staging.memory_bytes)
        self._unchanged = 0
        self._fingerprints: list[pl.DataFrame] = [pl.DataFrame(schema=FINGERPRINT_SCHEMA)]

    def run(self, extract_folder: Path) -> StagedManifest:
        started = self._context.clock()
        loaded = self._loaded_index()
        with ExitStack() as scope:
            runs = scope.enter_context(SortedRuns(self._folder / _RUNS, self._store, self._staging.memory_bytes // 2))
            rejects = scope.enter_context(RejectFile(self._folder, self._staging.gzip_level))
            rows = PartitionRows(
                self._context.partition,
                self._extract,
                store=self._store,
                hash_key=self._context.settings.hash_key.get_secret_value(),
                runs=runs,
                rejects=rejects,
                loaded=loaded,
                scratch=self._folder,
            )
            rows.read(extract_folder, self._slice_rows)
            self._check_rejected_share(rows, rejects)
            chunks, index = self._cut(rows, loaded)
            return self._manifest(rows, rejects, loaded, chunks, index, started)

    def _loaded_index(self) -> LoadedIndex | None:
        """What Salesforce already holds; None for a partition that was never loaded."""
        path = self._context.paths.loaded_index
        return LoadedIndex(path, self._context.partition, self._folder) if self._store.fetch(path) else None

    def _check_rejected_share(self, rows: PartitionRows, rejects: RejectFile) -> None:
        """Too many rejected rows mean a wrong declaration rather than wrong data: a person must decide."""
        rejected = rejects.rows + rows.duplicate_rows
        limit = self._staging.rejected_share
        if rejected <= ALWAYS_TOLERATED_ROWS or rejected <= limit * rows.extracted:
            return
        for _ in rows.ordered(self._slice_rows):
            pass  # lists the duplicates
        rejects.close()
        self._store.send(rejects.path)
        worst = ", ".join(f"{rule}: {count:,}" for rule, count in rejects.rows_by_rule.most_common(3))
        share = rejected / rows.extracted
        allowed = math.ceil(share * 1000) / 1000
        raise RowsRejected(
            f"{rejected:,} of {rows.extracted:,} rows of {self._context} ({share:.1%}) break a rule ({worst}); "
            f"at most {limit:.1%} may. They are listed in {self._store.shown(rejects.path)}.",
            "Correct the source or the catalog; or, if these rows may be left out, set "
            f"KPC__STAGING__REJECTED_SHARE={allowed} and run `kpc run {self._table.name} {self._context.key}`.",
            rows=rejected,
            path=self._store.shown(rejects.path),
        )

    def _cut(self, rows: PartitionRows, loaded: LoadedIndex | None) -> tuple[tuple[FileEntry, ...], FileEntry]:
        """Write what must be sent, in order; compute the fingerprint of everything the target must hold."""
        most_rows = min(self._table.chunk_rows, self._staging.chunk_rows)
        limits = ChunkLimits(most_rows, self._staging.chunk_raw_bytes, self._staging.batch_rows)
        header, level = self._table.header, self._staging.gzip_level
        with ChunkCutter(self._folder, self._store, header, limits, level) as cutter:
            for frame in rows.ordered(self._slice_rows):
                self._fingerprints = [merged([*self._fingerprints, fingerprint(frame)])]
                cutter.add(self._without_unchanged(frame, loaded))
            return cutter.finish()

    def _without_unchanged(self, frame: pl.DataFrame, loaded: LoadedIndex | None) -> pl.DataFrame:
        """The rows to send: all in full mode, otherwise those that the target does not hold unchanged."""
        if loaded is None or self._extract.mode == "full":
            return frame
        unchanged = loaded.unchanged(frame)
        self._unchanged += int(unchanged.sum() or 0)
        return frame.filter(~unchanged)

    def _manifest(
        self,
        rows: PartitionRows,
        rejects: RejectFile,
        loaded: LoadedIndex | None,
        chunks: tuple[FileEntry, ...],
        index: FileEntry,
        started: datetime,
    ) -> StagedManifest:
        staged = sum(chunk.rows for chunk in chunks)
        accounted = staged + self._unchanged + rejects.rows
        if not accounted == rows.extracted == self._extract.rows:
            raise KpcError(
                f"Staging {self._context} does not add up: {self._extract.rows:,} rows were extracted, "
                f"{rows.extracted:,} read, {staged:,} staged, {self._unchanged:,} same, {rejects.rows:,} rejected.",
                "Nothing was sent. Keep the staging folder and report this as a defect.",
            )
        return StagedManifest(
            table=self._table.name,
            key=self._context.key,
            generation=self._extract.generation,
            mapping_version=self._table.mapping_version,
            extracted=rows.extracted,
            staged=staged,
            unchanged=self._unchanged,
            rejected=rejects.rows,
            truncated=rows.cut,
            rounded=rows.rounded + self._extract.control_totals.rounded,
            header=self._table.header,
            chunks=chunks,
            rejected_file=rejects.close(),
            index_file=index,
            fingerprint_file=self._write_fingerprint(),
            vanished=loaded.vanished_rows if loaded else 0,
            vanished_file=self._write_vanished(loaded),
            started_utc=started,
            finished_utc=self._context.clock(),
        )

    def _write_fingerprint(self) -> FileEntry:
        with ParquetTable(self._folder / FINGERPRINT, FINGERPRINT_SCHEMA) as file:
            file.write(self._fingerprints[0])
            return file.close()

    def _write_vanished(self, loaded: LoadedIndex | None) -> FileEntry | None:
        """List the keys that the target holds and the source no longer has; nothing is deleted."""
        if loaded is None or not loaded.vanished_rows:
            return None
        with GzipTable(self._folder / VANISHED, VANISHED_HEADER, self._staging.gzip_level) as file:
            for frame in loaded.vanished(self._slice_rows):
                file.write(csv_bytes(frame, null=""), frame.height)
            return file.close()
