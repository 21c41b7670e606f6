"""Salesforce's records of a partition, read back in canonical text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.buckets import BUCKET, markers
from kpc.convert.canonical import CHECKSUM, KEY_HASH, canonical_from_salesforce, key_hash, row_checksum
from kpc.errors import DamagedFile, UnusableAnswer
from kpc.load.chunk_result import read_columns
from kpc.load.org_records import gathered
from kpc.reconcile.comparison_hash import COMPARED, comparison_hash, number_fields
from kpc.salesforce import QueryPages
from kpc.salesforce.soql import in_conditions, text_at
from kpc.stages.context import PartitionContext
from kpc.storage.prefetch import map_in_parallel

LISTED = 100  # keys listed per kind of difference; all are counted
IS_OLD = "has_old_marker"  # the marker names the partition without a bucket
_QUERIES_AT_ONCE = 4
_ROWS_AT_ONCE = 2_000


def record_fields(table: Table) -> tuple[str, ...]:
    """The fields that are compared: the data and the marker of partition and bucket."""
    return (*table.data_header, PARTITION_FIELD)


def records_by_id(context: PartitionContext, external_ids: Sequence[str]) -> pl.DataFrame:
    """The records with these external ids, in any partition; the columns are those of `with_hashes`."""
    table = context.table

    def read(condition: str) -> pl.DataFrame:
        soql = f"SELECT {', '.join(record_fields(table))} FROM {table.target} WHERE {condition}"  # noqa: S608  catalog
        return with_hashes(_frame(context.salesforce.query(soql), table), context)

    conditions = in_conditions(EXTERNAL_ID, external_ids)
    return pl.concat([with_hashes(_frame([], table), context), *map_in_parallel(read, conditions, _QUERIES_AT_ONCE)])


def read_pages(pages: QueryPages, context: PartitionContext, seed: int) -> Iterator[pl.DataFrame]:
    """The records of a bulk query, piece by piece: their fields as they were sent, numbers as doubles.

    Besides: bucket (see `with_bucket`), key_hash and the comparison hash.
    """
    try:
        frames = (frame for file in pages.files for frame in _read_file(file, context.table))
        for frame in gathered(frames, _ROWS_AT_ONCE):
            yield with_bucket(frame, context.key).with_columns(key_hash(), _compared(frame, context.table, seed))
    except DamagedFile:
        raise UnusableAnswer(
            f"Salesforce's records of {context} cannot be read as CSV.",
            f"Compare again: `kpc reconcile {context.table.name} {context.key}`.",
        ) from None


def _compared(records: pl.DataFrame, table: Table, seed: int) -> pl.Series:
    """The comparison hash; null, which equals none, for records of which a number is no number."""
    if any(records.schema[name] == pl.String for name in number_fields(table)):
        return pl.Series(COMPARED, [None], dtype=pl.UInt64).new_from_index(0, records.height)
    return comparison_hash(records, table, seed)


def _read_file(file: Path, table: Table) -> Iterator[pl.DataFrame]:
    """The records of a file; where a number field holds something else, the rest of the file as text."""
    fields, rows = record_fields(table), 0
    try:
        for frame in read_columns(file, fields, numbers=number_fields(table)):
            rows += frame.height
            yield frame
    except DamagedFile:
        for frame in read_columns(file, fields):
            if frame.height > rows:
                yield frame.slice(rows)
            rows = max(rows - frame.height, 0)


def canonical_records(records: pl.DataFrame, context: PartitionContext) -> pl.DataFrame:
    """Records of `read_pages` with `table.data_header` in canonical text, its key_hash and checksum."""
    table = context.table
    as_text = records.with_columns(pl.col(name).cast(pl.String) for name in number_fields(table))
    rows = canonical_from_salesforce(as_text, table).collect()
    return records.with_columns(rows.with_columns(key_hash(), row_checksum(table)).get_columns())


def with_hashes(records: pl.DataFrame, context: PartitionContext) -> pl.DataFrame:
    """Records of text with `table.data_header` in canonical text, and bucket, key_hash and checksum."""
    rows = canonical_records(with_bucket(records, context.key), context)
    return rows.select(*context.table.data_header, BUCKET, IS_OLD, KEY_HASH, CHECKSUM)


def with_bucket(records: pl.DataFrame, key: str) -> pl.DataFrame:
    """The records with the bucket that their marker names, null where it names none of this partition.

    `IS_OLD` is true where it names the partition alone.
    """
    names = {name: number for number, name in enumerate(markers(key))}
    mark = pl.col(PARTITION_FIELD)
    bucket = mark.replace_strict(list(names), list(names.values()), default=None, return_dtype=pl.UInt8)
    return records.with_columns(bucket.alias(BUCKET), (mark == key).fill_null(value=False).alias(IS_OLD))


def _frame(records: Iterable[dict[str, object]], table: Table) -> pl.DataFrame:
    names = record_fields(table)
    rows = [{name: text_at(record, name) for name in names} for record in records]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
