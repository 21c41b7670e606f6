"""Aggregates of the records that were read back, by bucket: they must equal what Salesforce itself computes.

The server's SUM and the records are two independent ways to the same number. If they disagree, one of them is
not what the org holds: an index or a skinny table of Salesforce is out of sync, or somebody changed records meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import Column
from kpc.convert.buckets import BUCKET, marker
from kpc.reconcile.double_numbers import error_of, greatest_error, rounded
from kpc.reconcile.totals import TargetTotals
from kpc.storage.manifests import Aggregate


@dataclass(frozen=True, slots=True)
class ReadMeasure:
    """One measure of a bucket: non-null values, their sum in units of the last decimal place, minimum and maximum."""

    count: int
    units: int
    low: float | None
    high: float | None

    def with_added(self, other: ReadMeasure) -> ReadMeasure:
        """The measure over both sets of records."""
        if not (self.count and other.count):
            return self if self.count else other
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return ReadMeasure(self.count + other.count, self.units + other.units, min(lows), max(highs))


@dataclass(frozen=True, slots=True)
class ReadBucket:
    """The records of one bucket that were read, and their measures in the order of the table's."""

    rows: int
    measures: tuple[ReadMeasure, ...]

    def with_added(self, other: ReadBucket) -> ReadBucket:
        """The bucket with the records of both sets."""
        measures = (one.with_added(another) for one, another in zip(self.measures, other.measures, strict=True))
        return ReadBucket(self.rows + other.rows, tuple(measures))


@dataclass
class ReadTotals:
    """Aggregates over any number of frames, by bucket; None is the marker that names no bucket."""

    by_bucket: dict[int | None, ReadBucket] = field(default_factory=dict)

    def add(self, records: pl.DataFrame, table: Table) -> None:
        """Count records of `kpc.reconcile.target_records.hashed_pages`; each is counted once."""
        columns = table.measured_columns
        wanted = [pl.len(), *(one for number, column in enumerate(columns) for one in _aggregates(number, column))]
        for bucket, rows, *found in records.group_by(BUCKET).agg(wanted).iter_rows():
            measures = tuple(ReadMeasure(*found[start : start + 4]) for start in range(0, len(found), 4))
            self.merge({bucket: ReadBucket(rows, measures)})

    def merge(self, other: Mapping[int | None, ReadBucket]) -> None:
        """Add the records of other buckets, or further records of these."""
        for bucket, one in other.items():
            known = self.by_bucket.get(bucket)
            self.by_bucket[bucket] = one if known is None else known.with_added(one)

    def disagreements(self, server: TargetTotals, table: Table, key: str) -> tuple[str, ...]:
        """The markers whose records do not have the aggregates that Salesforce computed, in order."""
        read = {key if bucket is None else marker(key, bucket): one for bucket, one in self.by_bucket.items()}
        return tuple(
            name for name in sorted(read.keys() | server.by_marker) if not _agree(read.get(name), server, name, table)
        )


def _aggregates(number: int, column: Column) -> Iterator[pl.Expr]:
    value = pl.col(column.field or "").cast(pl.Float64, strict=False)
    scale = column.type.scale if column.type else 0
    yield value.count().alias(f"count{number}")
    yield (value * 10**scale).round().cast(pl.Int128, strict=False).sum().alias(f"units{number}")
    yield value.min().alias(f"low{number}")
    yield value.max().alias(f"high{number}")


def _agree(read: ReadBucket | None, server: TargetTotals, name: str, table: Table) -> bool:
    computed = server.by_marker.get(name)
    if read is None or computed is None or read.rows != computed.rows:
        return False
    columns = zip(table.measured_columns, read.measures, computed.measures, strict=True)
    return all(
        _measure_agrees(one, other, column, rows=read.rows, is_inexact=column.name in server.inexact)
        for column, one, other in columns
    )


def _measure_agrees(read: ReadMeasure, server: Aggregate, column: Column, *, rows: int, is_inexact: bool) -> bool:
    """The sums must be equal; if doubles cannot hold them, they may differ by twice their greatest error."""
    scale = column.type.scale if column.type else 0
    if read.count != server.count:
        return False
    if not read.count or server.sum is None:
        return True
    error = 2 * greatest_error(server.sum, server.min, server.max, rows) if is_inexact else Decimal(0)
    ends = ((read.low, server.min), (read.high, server.max))
    return abs(Decimal(read.units).scaleb(-scale) - server.sum) <= error and all(
        other is not None and abs(_number(one, scale) - other) <= 2 * error_of(other, scale) for one, other in ends
    )


def _number(value: float | None, scale: int) -> Decimal:
    return rounded(Decimal(repr(value)), scale) or Decimal(0)
