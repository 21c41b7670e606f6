"""loaded_index.parquet: the rows of a partition that Salesforce has confirmed; the next staging skips unchanged ones.

One row per key, ascending by key_hash: key_hash, checksum, salesforce_id, external_id, created, has_bucket. `created`
means that this migration created the record. Once true it stays true for that record when it is sent again, because a
rollback deletes by it. `has_bucket` is false for a record whose marker names the partition alone, as versions without
buckets wrote it: such a row counts as changed, so that the next load gives its record a marker with a bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash
from kpc.convert.external_id import folded
from kpc.load.chunk_result import CREATED, SALESFORCE_ID, SUCCESS_HEADER, read_columns
from kpc.storage.layout import LOADED_INDEX
from kpc.storage.parquet_file import ParquetTable, read_slices
from kpc.storage.row_buckets import HashRanges, RowBuckets

HAS_BUCKET = "has_bucket"
SCHEMA: dict[str, pl.DataType] = {
    KEY_HASH: pl.UInt64(),
    CHECKSUM: pl.UInt64(),
    "salesforce_id": pl.String(),
    "external_id": pl.String(),
    "created": pl.Boolean(),
    HAS_BUCKET: pl.Boolean(),
}
ROWS_AT_ONCE = 100_000  # some 100 bytes each in memory, several times over
_SLICE_ROWS = 100_000  # with less, the spilled pieces are many and small: their number is quadratic in the rows
_STAGED_SCHEMA: dict[str, pl.DataType] = {"external_id": pl.String(), KEY_HASH: pl.UInt64(), CHECKSUM: pl.UInt64()}
_CONFIRMED_SCHEMA: dict[str, pl.DataType] = {
    "confirmed_id": pl.String(),
    "salesforce_id": pl.String(),
    "created": pl.Boolean(),
    KEY_HASH: pl.UInt64(),
}
_REMEDY = "Run the load again; if the file stays damaged, move it away and load the partition with --mode full."


def update_loaded_index(
    partition_dir: Path,
    staged_index: Path,
    success_file: Path,
    *,
    has_bucket: bool = True,
    rows_at_once: int = ROWS_AT_ONCE,
) -> int:
    """Replace the index entries of a load's confirmed rows; returns the number of rows in the index.

    `staged_index` holds external_id, key_hash and checksum of every row that was sent, `success_file` (gzip CSV) sf__Id
    and sf__Created by external id. `has_bucket`: the rows were staged with buckets in their markers. Rows not in this
    load keep their entries. Idempotent. Memory does not grow with the partition: one range of key hashes is merged at a
    time.
    """
    path = partition_dir / LOADED_INDEX
    rows = pq.read_metadata(staged_index).num_rows + (pq.read_metadata(path).num_rows if path.is_file() else 0)
    ranges = HashRanges(KEY_HASH, max(1, -(-rows // rows_at_once)))
    sent = read_slices(staged_index, list(_STAGED_SCHEMA), _SLICE_ROWS, remedy=_REMEDY)
    staged = _bucketed(partition_dir, sent, _STAGED_SCHEMA, ranges)
    confirmed = _bucketed(partition_dir, _confirmed(success_file), _CONFIRMED_SCHEMA, ranges)
    with ParquetTable(path, SCHEMA) as index:
        for number, bounds in enumerate(ranges.bounds()):
            fresh = _fresh(staged.bucket(number), confirmed.bucket(number), has_bucket=has_bucket)
            index.write(_merged(_known(path, ranges, *bounds), fresh))
        return index.close().rows


def _bucketed(
    folder: Path, frames: Iterable[pl.DataFrame], schema: dict[str, pl.DataType], ranges: HashRanges
) -> RowBuckets:
    """Distribute the rows of these frames over the ranges of key hashes."""
    buckets = RowBuckets(folder, schema, ranges.bucket, ranges.count, held_rows=_SLICE_ROWS, is_compressed=True)
    for frame in frames:
        buckets.add(frame)
    return buckets


def read_loaded_index(partition_dir: Path) -> Iterator[pl.DataFrame]:
    """The index in frames of bounded size; none if the partition was never loaded."""
    path = partition_dir / LOADED_INDEX
    if path.is_file():
        present = pl.scan_parquet(path).collect_schema().names()
        columns = [name for name in SCHEMA if name in present]
        for frame in read_slices(path, columns, _SLICE_ROWS, remedy=_REMEDY):
            yield with_all_columns(frame.lazy()).select(*SCHEMA).collect()


def _confirmed(success_file: Path) -> Iterator[pl.DataFrame]:
    """confirmed_id, salesforce_id, created and key_hash of the rows that Salesforce accepted, piece by piece."""
    for frame in read_columns(success_file, SUCCESS_HEADER):
        yield frame.select(
            pl.col(EXTERNAL_ID).alias("confirmed_id"),
            pl.col(SALESFORCE_ID).alias("salesforce_id"),
            (pl.col(CREATED).str.to_lowercase() == "true").alias("created"),
            key_hash(),
        )


def _fresh(staged: pl.DataFrame, confirmed: pl.DataFrame, *, has_bucket: bool) -> pl.DataFrame:
    """The rows that were sent and accepted. External ids are compared too, because key hashes can collide."""
    # A record that one job created and another one updated was created by this load.
    last = confirmed.sort("created", descending=True).unique(KEY_HASH, keep="first", maintain_order=True)
    both = staged.join(last, on=KEY_HASH, how="inner")
    is_same = folded(pl.col("external_id")) == folded(pl.col("confirmed_id"))
    return both.filter(is_same).with_columns(pl.lit(has_bucket).alias(HAS_BUCKET)).select(*SCHEMA).unique(KEY_HASH)


def _known(path: Path, ranges: HashRanges, least: int, greatest: int) -> pl.DataFrame:
    """The index entries of the keys in a range."""
    if not path.is_file():
        return pl.DataFrame(schema=SCHEMA)
    index = with_all_columns(pl.scan_parquet(path))
    return index.filter(ranges.holds(least, greatest)).select(*SCHEMA).collect()


def with_all_columns(index: pl.LazyFrame) -> pl.LazyFrame:
    """An index of an older version has no `created` or no `has_bucket`; they are then false."""
    present = index.collect_schema()
    lacking = [name for name in ("created", HAS_BUCKET) if name not in present]
    return index.with_columns(pl.lit(value=False).alias(name) for name in lacking)


def _merged(known: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """The known rows, replaced by fresh ones of the same key, ascending by key hash."""
    before = known.select(KEY_HASH, pl.col("salesforce_id").alias("id_before"), pl.col("created").alias("was_created"))
    is_ours = pl.col("created") | (pl.col("was_created") & (pl.col("id_before") == pl.col("salesforce_id"))).fill_null(
        value=False
    )
    fresh = fresh.join(before, on=KEY_HASH, how="left").with_columns(created=is_ours).select(*SCHEMA)
    return pl.concat([known.join(fresh, on=KEY_HASH, how="anti"), fresh]).sort(KEY_HASH)
