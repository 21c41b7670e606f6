"""Key hashes and row checksums that are kept after an extract is purged, and the expectation based on them alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from kpc.convert.buckets import BUCKET, bucket_count
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.errors import ConfigError
from kpc.ledger import FailedRecord
from kpc.private_files import make_private
from kpc.reconcile.comparison_hash import COMPARED
from kpc.reconcile.expected_rows import ExpectedRows, expected_rows
from kpc.reconcile.source_rows import SourceRows
from kpc.stages.context import PartitionContext
from kpc.storage.layout import EXTRACT, PURGED_CORRECTIONS, ROW_CHECKSUMS
from kpc.storage.manifests import ExtractManifest, PurgedManifest, RowChecksums
from kpc.storage.parquet_file import ParquetTable, read_slices
from kpc.storage.row_buckets import RowBuckets

_SCHEMA: dict[str, pl.DataType] = {BUCKET: pl.UInt8(), KEY_HASH: pl.UInt64(), CHECKSUM: pl.UInt64()}
_UNKNOWN: dict[str, pl.DataType] = {COMPARED: pl.UInt64()}  # the values are gone, so canonical text decides
_SLICE_ROWS = 500_000
_REMEDY = "Restore it from a backup, or extract the partition again: `kpc run TABLE KEY --mode full`."


def keep_checksums(
    context: PartitionContext, extract: ExtractManifest, exceptions: Sequence[FailedRecord], folder: Path
) -> RowChecksums:
    """Write the file into the generation's folder of purged files, from the extract that is about to be purged.

    `folder` holds what does not fit in memory. Raises `DamagedFile` if the extract is not what was sealed.
    """
    target = make_private(context.paths.generation(extract.generation).purged) / ROW_CHECKSUMS
    expected = expected_rows(context, extract, exceptions, folder)
    with ParquetTable(target, _SCHEMA) as file:
        for number in range(len(expected.counts)):
            rows = expected.pairs.bucket(number).select(list(_SCHEMA))
            if rows.height:
                file.write(rows.sort(KEY_HASH))
        entry = file.close()
    context.store.send(target)
    return RowChecksums(file=entry, counts=tuple(expected.counts), totals=expected.totals, corrected=expected.corrected)


def purged_extract(context: PartitionContext, generation: str) -> PurgedManifest | None:
    """The record of the purge of a generation's extract; None if it was not purged."""
    folder = context.paths.generation(generation).purged
    return context.store.manifest(folder, PurgedManifest, f"{EXTRACT}.json")


def purged_corrections(context: PartitionContext, generation: str) -> tuple[int, ...]:
    """The hashes of the corrections valid when they were purged; the kept checksums are those of the corrected rows."""
    folder = context.paths.generation(generation).purged
    record = context.store.manifest(folder, PurgedManifest, f"{PURGED_CORRECTIONS}.json")
    return record.corrected if record else ()


def remembered_rows(
    context: PartitionContext, purged: PurgedManifest, folder: Path, *, sample_rows: int
) -> ExpectedRows:
    """What the org must hold, by the kept checksums. Keys and values of the rows are no longer known.

    Raises `ConfigError` if a sample is wanted or nothing was kept, `DamagedFile` if the file is not what was written.
    """
    if sample_rows or purged.checksums is None:
        what = "no sample of it can be drawn" if purged.checksums else "no checksums of its rows were kept"
        raise ConfigError(
            f"The extract of {context} was purged on {purged.purged_utc:%Y-%m-%d}, and {what}.",
            f"Compare all records (`kpc reconcile {context.table.name} {context.key} --level3 full`), or extract it "
            f"again: `kpc run {context.table.name} {context.key} --mode full`."
            if purged.checksums
            else f"Extract it again: `kpc run {context.table.name} {context.key} --mode full`.",
        )
    kept = purged.checksums
    path = context.store.file(context.paths.generation(purged.generation).purged, kept.file, remedy=_REMEDY)
    pairs = RowBuckets(folder, _SCHEMA | _UNKNOWN, pl.col(BUCKET), bucket_count(context.key))
    for rows in read_slices(path, list(_SCHEMA), _SLICE_ROWS, remedy=_REMEDY):
        pairs.add(rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in _UNKNOWN.items()))
    source = _NoRows(kept.corrected)
    return ExpectedRows(
        context.table, pairs, list(kept.counts), source, kept.totals, sample=_no_sample(context), seed=0
    )


def _no_sample(context: PartitionContext) -> pl.DataFrame:
    return pl.DataFrame(schema={**dict.fromkeys(context.table.data_header, pl.String()), **_SCHEMA, **_UNKNOWN})


class _NoRows(SourceRows):
    """A source whose rows are gone."""

    def __init__(self, corrected: int) -> None:
        self.corrected = corrected
        self.has_corrections = False

    def frames(self) -> Iterator[pl.DataFrame]:
        return iter(())

    def with_hashes(self, hashes: pl.Series) -> Iterator[pl.DataFrame]:
        del hashes
        return iter(())
