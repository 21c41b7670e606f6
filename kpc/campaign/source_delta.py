"""What changed in Oracle since each partition was read: one pass over each table at a final SCN.

The pass groups by day. The days of a month are added up and compared with the totals that Oracle computed when the
month was read; a month that changed is then compared day by day with its sealed extract, which holds each day's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kpc.campaign.assignment import UNASSIGNED, Cause, cause_of, text_bounds
from kpc.campaign.changed_rows import ChangedRows
from kpc.catalog.table import Table
from kpc.catalog.types import ALL, Column
from kpc.errors import ConfigError
from kpc.extract.control_totals import added_up
from kpc.extract.control_totals_answer import control_totals_of, numbers_in_totals
from kpc.ledger import SourceFinding
from kpc.ledger.states import SourceCheckState
from kpc.partition import Partition, check_key
from kpc.storage.manifests import ControlTotals, ExtractManifest

Moved = tuple[str | None, str | None]  # a number then and now, as text
NO_DAY = (Cause.NULL, Cause.UNPARSEABLE)  # causes that hold for every choice of months


@dataclass(frozen=True, slots=True)
class LiveTotals:
    """Totals of some rows, and when the last of them changed, if the table says so."""

    totals: ControlTotals
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class DayDelta:
    """A day whose totals changed; `day` is spelled as in Oracle."""

    day: str | None
    rows: tuple[int, int]
    numbers: dict[str, Moved]


@dataclass(frozen=True, slots=True)
class PartitionDelta:
    """A partition then, as it was extracted, and now, at the final SCN.

    `numbers` holds the totals that differ. `newest` is the newest change then and now, if it shows a change that the
    totals do not show. `days` is empty if the sealed extract is gone. `changed` are the rows themselves, if
    they were compared.
    """

    partition: Partition
    generation: str
    scn: int
    rows: tuple[int, int]
    numbers: dict[str, Moved]
    newest: Moved | None = None
    days: tuple[DayDelta, ...] = ()
    changed: ChangedRows | None = None

    @property
    def has_moved(self) -> bool:
        has_other_totals = self.rows[0] != self.rows[1] or bool(self.numbers) or self.newest is not None
        return has_other_totals or (self.changed is not None and not self.changed.is_empty)

    def finding(self) -> SourceFinding:
        """What the ledger records."""
        detail: dict[str, object] = {"rows": list(self.rows), "numbers": self.numbers}
        if self.newest is not None:
            detail["newest_change"] = list(self.newest)
        if self.changed is not None:
            detail["keys"] = self.changed.counts
        state = SourceCheckState.MOVED if self.has_moved else SourceCheckState.UNCHANGED
        return SourceFinding(self.partition.table.name, self.partition.key, state, self.generation, self.scn, detail)


@dataclass(frozen=True, slots=True)
class NotExtracted:
    """A partition that has rows in Oracle but no sealed extract."""

    partition: Partition
    rows: int
    is_in_scope: bool

    def finding(self) -> SourceFinding:
        """What the ledger records."""
        detail = {"rows": self.rows}
        state = SourceCheckState.NOT_EXTRACTED
        return SourceFinding(self.partition.table.name, self.partition.key, state, None, None, detail)


@dataclass(frozen=True, slots=True)
class WithoutMonth:
    """Rows that belong to no month, by cause; `planned` is what the plan counted, None if the table is not planned."""

    table: str
    causes: dict[Cause, int]
    planned: dict[Cause, int] | None

    @property
    def rows(self) -> int:
        return sum(self.causes.values())

    @property
    def has_moved(self) -> bool:
        if self.planned is None:
            return False
        return any(self.planned.get(cause, 0) != self.causes.get(cause, 0) for cause in NO_DAY)

    def finding(self) -> SourceFinding:
        """What the ledger records, under the key `UNASSIGNED`."""
        state = SourceCheckState.MOVED if self.has_moved else SourceCheckState.UNCHANGED
        detail = {"planned": self.planned, "now": self.causes}
        return SourceFinding(self.table, UNASSIGNED, state, None, None, detail)


@dataclass(frozen=True, slots=True)
class TableDelta:
    """One table at the final SCN. `later` are partitions whose extract is newer than that: they were not compared."""

    table: str
    scn: int
    rows: int
    compared: tuple[PartitionDelta, ...]
    not_extracted: tuple[NotExtracted, ...]
    later: tuple[Partition, ...]
    without_month: WithoutMonth | None

    @property
    def moved(self) -> tuple[PartitionDelta, ...]:
        return tuple(one for one in self.compared if one.has_moved)

    @property
    def has_moved(self) -> bool:
        return bool(self.moved) or (self.without_month is not None and self.without_month.has_moved)


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table's days at the final SCN, sorted into partitions. Days without a month are counted by cause."""

    table: Table
    days: dict[str, dict[str | None, LiveTotals]]
    causes: dict[Cause, int]

    @property
    def rows(self) -> int:
        return sum(sum(day.totals.rows for day in days.values()) for days in self.days.values()) + sum(
            self.causes.values()
        )

    def of(self, key: str) -> LiveTotals:
        """A partition's rows; zeros if it has none."""
        days = list(self.days.get(key, {}).values())
        if not days:
            return LiveTotals(no_rows(self.table))
        newest = max((day.newest for day in days if day.newest is not None), default=None)
        return LiveTotals(added_up([day.totals for day in days]), newest)


def sort_into_partitions(table: Table, answer: Sequence[Sequence[object]]) -> LiveTable:
    """Sort the rows of `totals_by_day` by partition."""
    live = LiveTable(table, {}, {})
    column = table.by_name[table.month_column] if table.month_column else None
    for day, newest, *numbers in answer:
        measured = LiveTotals(control_totals_of(table, numbers), newest if isinstance(newest, datetime) else None)
        text = None if day is None else str(day)
        place = ALL if column is None else _month_of(table, column, text)
        if isinstance(place, Cause):
            live.causes[place] = live.causes.get(place, 0) + measured.totals.rows
        else:
            live.days.setdefault(place, {})[text] = measured
    return live


def no_rows(table: Table) -> ControlTotals:
    """The totals of no rows."""
    return control_totals_of(table, [0] * numbers_in_totals(table))


def _month_of(table: Table, column: Column, text: str | None) -> str | Cause:
    """The key of the month that a value of the month column lies in, compared as text exactly as Oracle does."""
    year = (text or "")[:4]
    if text is not None and year.isascii() and year.isdigit():
        key = f"{int(year) - column.calendar.year_offset:04d}{text[4:7]}"
        try:
            first, last = text_bounds(Partition(table, check_key(key, is_monthly=True)), column)
        except ConfigError:
            return cause_of(text, column)
        if first <= text <= last:
            return key
    return cause_of(text, column)


def moved_numbers(then: ControlTotals, now: ControlTotals) -> dict[str, Moved]:
    """What differs between two totals besides the rows, by column and aggregate; columns in only one are skipped."""
    measures = {each.column: each for each in now.measures}
    numbers = {each.column: each for each in now.numbers}
    moved: dict[str, Moved] = {}
    for one in then.measures:
        if other := measures.get(one.column):
            pairs = {name: (getattr(one, name), getattr(other, name)) for name in ("sum", "min", "max", "count")}
            moved |= {f"{one.column} {name}": _as_text(*pair) for name, pair in pairs.items() if pair[0] != pair[1]}
    for total in then.numbers:
        if (found := numbers.get(total.column)) and total.count is not None and found.count is not None:
            pairs = {"sum": (total.sum, found.sum), "count": (total.count, found.count)}
            moved |= {f"{total.column} {name}": _as_text(*pair) for name, pair in pairs.items() if pair[0] != pair[1]}
    return moved


def _as_text(then: object, now: object) -> Moved:
    return (None if then is None else str(then), None if now is None else str(now))


def delta_of(manifest: ExtractManifest, partition: Partition, now: LiveTotals) -> PartitionDelta:
    """Compare a partition's totals; the caller adds what only the rows can show."""
    return PartitionDelta(
        partition=partition,
        generation=manifest.generation,
        scn=manifest.scn,
        rows=(manifest.control_totals.rows, now.totals.rows),
        numbers=moved_numbers(manifest.control_totals, now.totals),
    )


def moved_days(
    then: dict[str | None, ControlTotals], now: dict[str | None, LiveTotals], table: Table
) -> tuple[DayDelta, ...]:
    """The days whose totals changed, in order."""
    zero = no_rows(table)
    found = []
    for day in sorted(then.keys() | now.keys(), key=str):
        before, after = then.get(day, zero), now[day].totals if day in now else zero
        one = DayDelta(day, (before.rows, after.rows), moved_numbers(before, after))
        if one.rows[0] != one.rows[1] or one.numbers:
            found.append(one)
    return tuple(found)
