"""Salesforce's records of a partition, read back in canonical text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.buckets import BUCKET, markers
from kpc.convert.canonical import CHECKSUM, KEY_HASH, canonical_from_salesforce, key_hash, row_checksum
from kpc.errors import DamagedFile, UnusableAnswer
from kpc.load.chunk_result import read_columns
from kpc.load.org_records import gathered
from kpc.salesforce import QueryPages
from kpc.salesforce.soql import in_conditions, text_at
from kpc.stages.context import PartitionContext
from kpc.storage.prefetch import map_in_parallel

LISTED = 100  # keys listed per kind of difference; all are counted
IS_OLD = "has_old_marker"  # the marker names the partition without a bucket
_QUERIES_AT_ONCE = 4
_ROWS_AT_ONCE = 20_000


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


def read_pages(pages: QueryPages, context: PartitionContext) -> Iterator[pl.DataFrame]:
    """The records of a bulk query, piece by piece; the columns are those of `with_hashes`."""
    try:
        frames = (frame for file in pages.files for frame in read_columns(file, record_fields(context.table)))
        for frame in gathered(frames, _ROWS_AT_ONCE):
            yield with_hashes(frame, context)
    except DamagedFile:
        raise UnusableAnswer(
            f"Salesforce's records of {context} cannot be read as CSV.",
            f"Compare again: `kpc reconcile {context.table.name} {context.key}`.",
        ) from None


def with_hashes(records: pl.DataFrame, context: PartitionContext) -> pl.DataFrame:
    """`table.data_header` in canonical text, and bucket, key_hash, checksum.

    bucket is the one that the marker names, null where it names none of this partition; `IS_OLD` is true where it names
    the partition alone.
    """
    names = {name: number for number, name in enumerate(markers(context.key))}
    mark = pl.col(PARTITION_FIELD)
    bucket = mark.replace_strict(list(names), list(names.values()), default=None, return_dtype=pl.UInt8)
    marks = records.select(bucket.alias(BUCKET), (mark == context.key).fill_null(value=False).alias(IS_OLD))
    rows = canonical_from_salesforce(records, context.table).collect()
    rows = rows.with_columns(key_hash(), row_checksum(context.table))
    return pl.concat([rows, marks], how="horizontal").select(*context.table.data_header, *_COLUMNS)


_COLUMNS = (BUCKET, IS_OLD, KEY_HASH, CHECKSUM)


def _frame(records: Iterable[dict[str, object]], table: Table) -> pl.DataFrame:
    names = record_fields(table)
    rows = [{name: text_at(record, name) for name in names} for record in records]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
