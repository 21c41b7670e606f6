"""Which partition each row of a table belongs to, and which rows belong to none.

No row may be missed: the partitions in scope and the set `UNASSIGNED` add up to the table's `COUNT(*)` at one SCN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from kpc.catalog.table import Table
from kpc.catalog.types import ALL, Column
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle
from kpc.partition import Partition

UNASSIGNED = "UNASSIGNED"
LISTED = 20  # at most this many distinct values are listed per cause; all rows are counted


class Cause(StrEnum):
    """Why a row belongs to no partition in scope."""

    NULL = "null"
    UNPARSEABLE = "unparseable"
    OUT_OF_SCOPE = "out_of_scope"  # a valid day, in a month that is not migrated


@dataclass(frozen=True, slots=True)
class Assignment:
    """Row counts of one table at `scn`: by partition key, and by cause for rows without a partition."""

    table: str
    scn: int
    rows: int
    by_key: dict[str, int]
    unassigned: dict[Cause, int] = field(default_factory=dict)
    examples: dict[Cause, tuple[tuple[str, int], ...]] = field(default_factory=dict)  # (value, rows)

    @property
    def unassigned_rows(self) -> int:
        return sum(self.unassigned.values())


def assign(oracle: Oracle, table: Table, months: tuple[str, ...], scn: int) -> Assignment:
    """Count a table's rows by partition in one pass. Raises `Terminal` if they do not add up to `COUNT(*)`."""
    # It imports polars, which checks of completeness alone do not need.
    from kpc.extract.statements import count_all, count_days  # noqa: PLC0415

    with oracle.session(f"assign {table.name}", table.name, scans=True) as session:
        rows = int(session.row(count_all(oracle.owner, table, scn))[0])
        if table.month_column is None:
            return Assignment(table.name, scn, rows, {ALL: rows})
        column = table.by_name[table.month_column]
        found = [(day, int(count)) for day, count in session.rows(count_days(oracle.owner, table, column, scn))]
    counted = sum(count for _, count in found)
    if counted != rows:
        raise inconsistent(f"{table.name} has {rows:,} rows, but {counted:,} when counted by day, both at SCN {scn}.")
    return sort_days(table, column, months, found, scn)


def sort_days(
    table: Table, column: Column, months: tuple[str, ...], days: Iterable[tuple[str | None, int]], scn: int
) -> Assignment:
    """Assign each day's rows to the month that contains it, comparing as text exactly as Oracle does."""
    bounds = {key: text_bounds(Partition(table, key), column) for key in months}
    by_key = dict.fromkeys(months, 0)
    others: dict[Cause, Counter[str]] = {}
    for text, rows in days:
        key = next((key for key, (first, last) in bounds.items() if text and first <= text <= last), None)
        if key is not None:
            by_key[key] += rows
            continue
        others.setdefault(cause_of(text, column), Counter())[text or ""] += rows
    return Assignment(
        table=table.name,
        scn=scn,
        rows=sum(by_key.values()) + sum(sum(values.values()) for values in others.values()),
        by_key=by_key,
        unassigned={cause: sum(values.values()) for cause, values in others.items()},
        examples={cause: _most_frequent(values) for cause, values in others.items()},
    )


def text_bounds(partition: Partition, column: Column) -> tuple[str, str]:
    """The first and the last day of a month as `day_text` spells them, both inclusive."""
    first, following = partition.bounds or (date.min, date.max)
    last = following - timedelta(days=1)
    offset = column.calendar.year_offset
    return (f"{first.year + offset:04d}-{first:%m-%d}", f"{last.year + offset:04d}-{last:%m-%d}")


def cause_of(text: str | None, column: Column) -> Cause:
    """Why a value of the month column belongs to no month in scope."""
    if text is None or not text.strip(" -"):
        return Cause.NULL
    try:
        year, month, day = (int(part) for part in text.strip().split("-"))
        date(year - column.calendar.year_offset, month, day)
    except ValueError:
        return Cause.UNPARSEABLE
    return Cause.OUT_OF_SCOPE


def _most_frequent(values: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(values.items(), key=lambda item: (-item[1], item[0]))[:LISTED])
