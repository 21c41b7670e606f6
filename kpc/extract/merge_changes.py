"""Merge an older extract with the rows changed since: changed rows replace older ones, vanished keys are dropped.

    base      all rows of the partition at an older SCN            (Parquet, every column)
    changed   the rows changed by their update column, at the new SCN (Parquet, every column)
    keys      the keys of all rows at the new SCN                   (Parquet, key columns)
    merged  = changed + those of base whose key is in keys and not in changed

The result is a whole partition, compared with Oracle's control totals like any other. Rows are first bucketed by a
hash of their key, so that memory holds one bucket and never the partition; keys are compared in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from kpc.catalog.table import Table
from kpc.extract.live_schema import extract_schema
from kpc.storage.parquet_file import ExtractParquet, read_slices
from kpc.storage.row_buckets import RowBuckets, key_bucket
from kpc.storage.store import FileEntry

BUCKET_ROWS = 200_000  # per bucket, and per file of the result
_SLICE_ROWS = 50_000  # read at a time, and per row group of the result


@dataclass(frozen=True, slots=True)
class MergedExtract:
    """The files of a merged extract. `kept` rows are the base's, `changed` were read again, `vanished` are gone."""

    chunks: tuple[FileEntry, ...]
    kept: int
    changed: int
    vanished: int

    @property
    def rows(self) -> int:
        return self.kept + self.changed


def merge_changes(
    table: Table,
    folder: Path,
    *,
    base: Sequence[Path],
    changed: Sequence[Path],
    keys: Path,
    rows: int,
    bucket_rows: int = BUCKET_ROWS,
    has_opinions: bool = False,
) -> MergedExtract:
    """Write the merged partition's files into `folder`; `rows` is the number of rows it should have.

    `has_opinions`: whether the rows of `base` and `changed` have Oracle's. The caller compares the
    totals: fewer rows mean keys that are neither in the base nor among the changed rows.
    Raises `DamagedFile`, `OutOfSpace`.
    """
    count = max(-(-rows // bucket_rows), 1)
    schema = extract_schema(table, has_opinions=has_opinions)
    key_schema = pa.schema([schema.field(name) for name in table.key])
    old = _bucketed(folder, base, table, schema, count)
    new = _bucketed(folder, changed, table, schema, count)
    current_keys = _bucketed(folder, [keys], table, key_schema, count)
    merged = [
        _merge_bucket(
            table,
            folder / f"chunk-{number + 1:05d}.parquet",
            schema,
            base=old.bucket(number),  # not kept in a variable, so that it is freed before the next bucket is read
            changed=new.bucket(number),
            keys=current_keys.bucket(number),
        )
        for number in range(count)
    ]
    return MergedExtract(
        chunks=tuple(chunk for each in merged for chunk in each.chunks),
        kept=sum(each.kept for each in merged),
        changed=sum(each.changed for each in merged),
        vanished=sum(each.vanished for each in merged),
    )


def _bucketed(folder: Path, files: Iterable[Path], table: Table, schema: pa.Schema, count: int) -> RowBuckets:
    """The rows of these files, bucketed by a hash of their key."""
    types = dict(pl.DataFrame(schema.empty_table()).schema)
    bucket = key_bucket(table.key, count)
    buckets = RowBuckets(folder, types, bucket, count, held_rows=_SLICE_ROWS // 2, is_compressed=True)
    for frame in _slices(files, list(types)):
        buckets.add(frame)
    return buckets


def _slices(files: Iterable[Path], columns: list[str]) -> Iterator[pl.DataFrame]:
    for path in files:
        yield from read_slices(path, columns, _SLICE_ROWS, remedy="Run the extract again with --mode full.")


def _merge_bucket(
    table: Table, path: Path, schema: pa.Schema, *, base: pl.DataFrame, changed: pl.DataFrame, keys: pl.DataFrame
) -> MergedExtract:
    key = list(table.key)
    remaining = base.join(keys.unique(), on=key, how="semi", nulls_equal=True)
    kept = remaining.join(changed, on=key, how="anti", nulls_equal=True)
    merged = pl.concat([kept, changed])
    chunks = (_write(merged, path, schema),) if merged.height else ()
    return MergedExtract(chunks, kept.height, changed.height, base.height - remaining.height)


def _write(rows: pl.DataFrame, path: Path, schema: pa.Schema) -> FileEntry:
    with ExtractParquet(path, schema) as file:
        for part in rows.iter_slices(_SLICE_ROWS):
            file.write(part)
        return file.close()
