"""Salesforce's records of a partition, read back in canonical text."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.buckets import BUCKET, markers
from kpc.convert.canonical import CHECKSUM, KEY_HASH, canonical_from_salesforce, key_hash, row_checksum
from kpc.errors import DamagedFile, UnusableAnswer
from kpc.load.chunk_result import read_columns, read_open
from kpc.load.org_records import gathered
from kpc.reconcile.comparison_hash import COMPARED, comparison_hash, number_fields
from kpc.reconcile.read_totals import ReadTotals
from kpc.salesforce import QueryPages
from kpc.salesforce.page_reading import PageReader, ReadPage
from kpc.salesforce.soql import in_conditions, text_at
from kpc.stages.context import PartitionContext
from kpc.storage.arrow_memory import compacted, release_memory
from kpc.storage.prefetch import map_in_parallel

LISTED = 100  # keys listed per kind of difference; all are counted
IS_OLD = "has_old_marker"  # the marker names the partition without a bucket
_QUERIES_AT_ONCE = 4
_HASHES: dict[str, pl.DataType] = {KEY_HASH: pl.UInt64(), BUCKET: pl.UInt8(), COMPARED: pl.UInt64()}
_READING = threading.Lock()  # jobs run at the same time; reading three pages at once would take 80 MB more
_ROWS_ADDED_UP = 40_000  # fewer rows cost the same to add up, more rows need memory
_ROWS_AT_ONCE = 10_000  # each frame has a fixed processing cost


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


@dataclass(frozen=True, slots=True)
class HashedRecords:
    """Key_hash, bucket (see `with_bucket`) and comparison hash of each record, and the aggregates of all records."""

    rows: pl.DataFrame
    totals: ReadTotals


def page_reader(context: PartitionContext, seed: int) -> PageReader:
    """A function that reads a page of a bulk query as it arrives, and keeps its `HashedRecords`."""

    def read(content: IO[bytes]) -> ReadPage | None:
        table = context.table
        try:
            with _READING:
                frames = read_open(
                    content,
                    "a page of records",
                    record_fields(table),
                    numbers=number_fields(table),
                    least_rows=_ROWS_AT_ONCE,
                )
                kept = _hashed(frames, context, seed)
                release_memory()  # otherwise a page leaves 100 MB allocated, and the next one adds to it
        except DamagedFile:
            return None  # perhaps a number field without a number; `hashed_pages` reads the file as text
        return ReadPage(kept.rows.height, kept)

    return read


def hashed_pages(pages: QueryPages, context: PartitionContext, seed: int) -> Iterator[HashedRecords]:
    """What `page_reader` kept of each page; a page that it could not read is read here."""
    for file, kept in zip(pages.files, pages.kept, strict=True):
        with _unusable(context):
            yield _hashed(_read_file(file, context.table), context, seed) if kept is None else kept


def _hashed(frames: Iterable[pl.DataFrame], context: PartitionContext, seed: int) -> HashedRecords:
    kept, totals = [pl.DataFrame(schema=_HASHES)], ReadTotals()
    pieces = gathered(iter(frames), _ROWS_AT_ONCE)
    for records in gathered((_with_hash(frame, context, seed) for frame in pieces), _ROWS_ADDED_UP):
        totals.add(records, context.table)
        kept.append(records.select(list(_HASHES)).rechunk())
    return HashedRecords(pl.concat(kept), totals)


def _with_hash(records: pl.DataFrame, context: PartitionContext, seed: int) -> pl.DataFrame:
    """The columns of `HashedRecords.rows`, and the measured fields as doubles."""
    fields = (column.field or "" for column in context.table.measured_columns)
    measures = (pl.col(field).cast(pl.Float64, strict=False) for field in fields)
    rows = records.select(key_hash(), _bucket(context.key), *measures)
    return compacted(rows.hstack([_compared(records, context.table, seed)]))


def records_with_hashes(pages: QueryPages, hashes: pl.Series, context: PartitionContext) -> Iterator[pl.DataFrame]:
    """The records of a bulk query with these key hashes, as text, with their bucket and key hash."""
    wanted = hashes.to_frame(KEY_HASH)
    fields = record_fields(context.table)
    with _unusable(context):
        for file in pages.files:
            with _READING:
                frames = read_columns(file, fields, least_rows=_ROWS_AT_ONCE)
                chosen = (compacted(_of_keys(frame, wanted)) for frame in frames)
                for found in gathered((each for each in chosen if each.height), _ROWS_AT_ONCE):
                    yield with_bucket(found, context.key)
            release_memory()  # otherwise the memory that pages leave allocated adds up to 120 MB


def _of_keys(records: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    return records.with_columns(key_hash()).join(wanted, on=KEY_HASH, how="semi")


@contextmanager
def _unusable(context: PartitionContext) -> Iterator[None]:
    try:
        yield
    except DamagedFile:
        raise UnusableAnswer(
            f"Salesforce's records of {context} cannot be read as CSV.",
            f"Compare again: `kpc reconcile {context.table.name} {context.key}`.",
        ) from None


def _compared(records: pl.DataFrame, table: Table, seed: int) -> pl.Series:
    """The comparison hash; null, which equals no hash, for records whose number field holds no number."""
    types = records.schema
    if any(types[name] == pl.String for name in number_fields(table)):
        return pl.Series(COMPARED, [None], dtype=pl.UInt64).new_from_index(0, records.height)
    return comparison_hash(records, table, seed)


def _read_file(file: Path, table: Table) -> Iterator[pl.DataFrame]:
    """The records of a file; from the first number field that holds something else, the rest of the file as text."""
    fields, rows = record_fields(table), 0
    try:
        for frame in read_columns(file, fields, numbers=number_fields(table), least_rows=_ROWS_AT_ONCE):
            rows += frame.height
            yield frame
    except DamagedFile:
        for frame in read_columns(file, fields):
            if frame.height > rows:
                yield frame.slice(rows)
            rows = max(rows - frame.height, 0)


def canonical_records(records: pl.DataFrame, context: PartitionContext) -> pl.DataFrame:
    """Records of text with `table.data_header` in canonical text, its key_hash and checksum."""
    table = context.table
    rows = canonical_from_salesforce(records, table).collect()
    return records.with_columns(rows.with_columns(key_hash(), row_checksum(table)).get_columns())


def with_hashes(records: pl.DataFrame, context: PartitionContext) -> pl.DataFrame:
    """Records of text with `table.data_header` in canonical text, and bucket, key_hash and checksum."""
    rows = canonical_records(with_bucket(records, context.key), context)
    return rows.select(*context.table.data_header, BUCKET, IS_OLD, KEY_HASH, CHECKSUM)


def with_bucket(records: pl.DataFrame, key: str) -> pl.DataFrame:
    """The records with the bucket that their marker names, null if it names none of this partition.

    `IS_OLD` is true if it names only the partition.
    """
    is_old = (pl.col(PARTITION_FIELD) == key).fill_null(value=False)
    return records.with_columns(_bucket(key), is_old.alias(IS_OLD))


@lru_cache(maxsize=16)
def _bucket(key: str) -> pl.Expr:
    """The number of the bucket that a marker names; null for other text."""
    number = pl.col(PARTITION_FIELD).cast(pl.Enum(markers(key)), strict=False).to_physical()
    return number.cast(pl.UInt8).alias(BUCKET)


def _frame(records: Iterable[dict[str, object]], table: Table) -> pl.DataFrame:
    names = record_fields(table)
    rows = [{name: text_at(record, name) for name in names} for record in records]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
