"""Differences planted in an org of made-up lines: each the least that its kind allows.

They are written into the org's data file, past every check of the org, by the number of the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kpc.bench.made_up_lines import LINES_PER_SALE, TABLE, lines
from kpc.bench.made_up_partition import SEED, object_of
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD, Column, FieldKind
from kpc.emulators.salesforce.org.clock import Clock
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.storage import StorageSession, quoted
from kpc.emulators.salesforce.settings import Switches

LEAST = 16  # of each field
SWAPPED, MARKERS, PARENTS, REPLACED = 60, 30, 30, 30  # pairs
NULLS, THAI, CASE = 60, 30, 25
_STEP = 997  # rows between two planted differences, at least
_PARENT = TABLE.lookups[0]
_AMOUNT = "Total_Net_Amt_Inc_Vat__c"


@dataclass(frozen=True, slots=True)
class Planted:
    """What must be found of one record; `kind` as in `kpc.reconcile.differing_records.DifferenceKind`."""

    external_id: str
    kind: str
    fields: tuple[str, ...] = ()


def plant(data_file: Path, rows: int) -> list[Planted]:
    """Plant some thousand differences among `rows` lines; `kpc.bench.made_up_partition.fill_org` has made them."""
    org = Org(data_file, clock=Clock(), switches=Switches(), seed=SEED)
    try:
        with org.storage.writing() as session:
            planting = _Planting(session, f"org.{quoted(object_of(org, TABLE.name).name)}", rows)
            return [one for part in planting.all() for one in part]
    finally:
        org.close()


class _Planting:
    """Takes one row after the other, spread over all of them."""

    def __init__(self, session: StorageSession, table: str, rows: int) -> None:
        self._session = session
        self._table = table
        self._rows = rows
        self._next = 1
        self._step = max(LINES_PER_SALE, min(_STEP, rows // 1_500))

    def all(self) -> Iterator[Iterator[Planted]]:
        """Every kind in turn."""
        yield from (self._least(column) for column in TABLE.sent_columns for _ in range(LEAST))
        yield from (self._exchanged(_AMOUNT, _AMOUNT) for _ in range(SWAPPED))
        yield from (self._exchanged(PARTITION_FIELD, PARTITION_FIELD) for _ in range(MARKERS))
        yield from (self._exchanged(_PARENT.field, _PARENT.header) for _ in range(PARENTS))
        yield from (self._null_or_zero() for _ in range(NULLS))
        yield from (self._changed("Prod_Serv_Code__c", "replace(Prod_Serv_Code__c, 'ค้', 'ค')") for _ in range(THAI))
        yield from (self._changed("Pos_No__c", "lower(Pos_No__c)") for _ in range(CASE))
        yield from (self._replaced() for _ in range(REPLACED))

    def _take(self) -> int:
        row = self._next
        self._next += self._step
        if row >= self._rows:
            raise AssertionError(f"{self._rows:,} rows are too few")
        return row

    def _id(self, row: int) -> str:
        return str(lines(row, 1).salesforce[EXTERNAL_ID][0])

    def _set(self, row: int, field: str, value: str, parameters: list[object] | None = None) -> None:
        sql = f"UPDATE {self._table} SET {quoted(field)} = {value} WHERE rowid = {row}"  # noqa: S608  our own names
        self._session.run(sql, parameters or [])

    def _value(self, row: int, field: str) -> object:
        sql = f"SELECT {quoted(field)} FROM {self._table} WHERE rowid = {row}"  # noqa: S608  our own names
        return self._session.run(sql)[0][0]

    def _changed(self, field: str, value: str) -> Iterator[Planted]:
        row = self._take()
        self._set(row, field, value)
        yield Planted(self._id(row), "changed", (field,))

    def _least(self, column: Column) -> Iterator[Planted]:
        field = column.field or ""
        return self._changed(field, _least_changed(quoted(field), column))

    def _exchanged(self, field: str, reported: str) -> Iterator[Planted]:
        """Two records exchange a value: every sum, minimum and maximum of the whole object stays."""
        one, other = self._take(), self._take()
        while self._value(one, field) == self._value(other, field):
            other = self._take()
        yield from self._exchange(one, other, field, reported)

    def _exchange(self, one: int, other: int, field: str, reported: str) -> Iterator[Planted]:
        values = self._value(one, field), self._value(other, field)
        for row, value in zip((one, other), reversed(values), strict=True):
            self._set(row, field, "$1", [value])
            yield Planted(self._id(row), "changed", (reported,))

    def _null_or_zero(self) -> Iterator[Planted]:
        """NULL where there was a number, zero where there was none."""
        field = "Prod_Serv_Qty__c"
        return self._changed(field, f"CASE WHEN {quoted(field)} IS NULL THEN 0 END")

    def _replaced(self) -> Iterator[Planted]:
        """A record is gone, and an invented one has its values and its marker: every aggregate stays."""
        row = self._take()
        lost, invented = self._id(row), f"{self._id(row)}0"
        self._set(row, EXTERNAL_ID, "$1", [invented])
        self._set(row, f"{EXTERNAL_ID}$key", "$1", [invented.lower()])
        yield Planted(lost, "missing")
        yield Planted(invented, "surplus")


def _least_changed(field: str, column: Column) -> str:
    kind = column.type.kind if column.type else None
    if column.type and column.type.is_number:
        return f"coalesce({field}, 0) + {10**-column.type.scale:.{column.type.scale}f}"
    if kind is FieldKind.DATE:
        return f"{field} + 1"
    if kind is FieldKind.DATETIME:
        return f"{field} + INTERVAL 1 SECOND"
    return f"left({field}, length({field}) - 1) || chr(ascii(right({field}, 1)) + 1)"


def findings(differing: list[tuple[str, str, list[str]]]) -> list[Planted]:
    """Of `kpc.bench.made_up_partition.reconcile`, to be compared with what was planted."""
    return [Planted(key, kind, tuple(fields)) for key, kind, fields in differing]
