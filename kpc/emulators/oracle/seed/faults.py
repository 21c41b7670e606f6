"""Rows that a staging rule must reject, planted one by one, each of a named kind.

Only tables without children get them, so that no other row fails with a planted one; never the partition column.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kpc.emulators.catalog_schema import TABLES, children
from kpc.emulators.oracle.seed.plan import rows_by_table
from kpc.emulators.schema import ColumnSchema, SourceKind, TableSchema, TargetKind


@dataclass(frozen=True, slots=True)
class BadRow:
    """`row` is the row's number in the table, in physical order from 0; `value` what was put into `column`."""

    table: str
    row: int
    column: str
    kind: str
    value: str | Decimal


def _sent(table: TableSchema) -> list[ColumnSchema]:
    return [column for column in table.sent_columns if column.name != table.month_column]


def _unparseable_date(table: TableSchema) -> list[tuple[str, str | Decimal]]:
    return [
        (c.name, "99/99/9999 99:99:99"[: c.date_text.length])
        for c in _sent(table)
        if c.date_text and c.name not in table.key
    ]


def _missing_required(table: TableSchema) -> list[tuple[str, str | Decimal]]:
    return [
        (c.name, " ")
        for c in _sent(table)
        if c.is_required and c.source.is_text and c.date_text is None and c.name in table.key
    ]


def _too_long(table: TableSchema) -> list[tuple[str, str | Decimal]]:
    found: list[tuple[str, str | Decimal]] = []
    for c in _sent(table):
        if c.type is None or not c.type.is_text or c.is_truncated or c.is_hashed:
            continue
        size = c.source.size or 0
        if c.type.length < size and c.name not in table.key:
            text = "x" * (size - 12) + "@example.com" if c.type.kind is TargetKind.EMAIL else "ย" * size
            found.append((c.name, text))
    return found


def _literal_null(table: TableSchema) -> list[tuple[str, str | Decimal]]:
    return [
        (c.name, "#N/A")
        for c in _sent(table)
        if c.type is not None
        and c.type.kind is TargetKind.STRING
        and (c.source.size or 0) >= 4
        and c.name not in table.key
        and not c.is_personal
    ]


def _separator_in_key(table: TableSchema) -> list[tuple[str, str | Decimal]]:
    return [
        (c.name, "A|B") for c in table.key_columns if c.source.kind is SourceKind.VARCHAR2 and (c.source.size or 0) >= 3
    ]


def _number_too_big(table: TableSchema) -> list[tuple[str, str | Decimal]]:
    return [
        (c.name, Decimal(10) ** (c.type.precision - c.type.scale))
        for c in _sent(table)
        if c.type is not None and c.type.is_number and c.name not in table.key
    ]


KINDS: dict[str, Callable[[TableSchema], list[tuple[str, str | Decimal]]]] = {
    "unparseable_date": _unparseable_date,
    "missing_required": _missing_required,
    "too_long": _too_long,
    "literal_null_token": _literal_null,
    "separator_in_key": _separator_in_key,
    "number_out_of_range": _number_too_big,
}


def planted_bad_rows(*, rows: int, bad_rows: int, months: tuple[str, ...], seed: int = 42) -> tuple[BadRow, ...]:
    """The `bad_rows` rows that a database seeded with these numbers has: taking
    kinds and tables in turn, no row
    twice.

    Raises ValueError if the tables have too few rows for so many.
    """
    counts = rows_by_table(rows, months)
    leaves = [table for table in TABLES.values() if not children(table.name)]
    capacity = {table.name: max(counts[table.name] // 2, 1) for table in leaves}
    if bad_rows > sum(capacity.values()):
        raise ValueError(f"{bad_rows} bad rows do not fit into {rows} rows; plant at most {sum(capacity.values())}.")
    chance = random.Random(seed)  # noqa: S311  not for secrets
    places = {kind: [table for table in leaves if find(table)] for kind, find in KINDS.items()}
    for tables in places.values():
        chance.shuffle(tables)
    planted: list[BadRow] = []
    taken: set[tuple[str, int]] = set()
    kinds = list(KINDS)
    turn = 0
    while len(planted) < bad_rows:
        kind = kinds[turn % len(kinds)]
        table = places[kind][turn // len(kinds) % len(places[kind])]
        turn += 1
        if sum(name == table.name for name, _ in taken) >= capacity[table.name]:
            continue
        row = chance.randrange(counts[table.name])
        while (table.name, row) in taken:
            row = (row + 1) % counts[table.name]
        taken.add((table.name, row))
        column, value = chance.choice(KINDS[kind](table))
        planted.append(BadRow(table.name, row, column, kind, _distinct(table, column, value, len(planted))))
    return tuple(planted)


def _distinct(table: TableSchema, column: str, value: str | Decimal, number: int) -> str | Decimal:
    """A planted key part stays unique, so that the primary key holds."""
    source = table.by_name[column].source
    if isinstance(value, str) and "|" in value and (source.size or 0) >= 10:
        return f"{value}{number}"
    if value == " " and source.kind is SourceKind.VARCHAR2:
        return " " * (1 + number % (source.size or 1))
    return value
