"""How NUMBER columns are read: rounded and bounded by Oracle, before the driver makes decimals of them.

A NUMBER without precision may hold 40 digits; the driver's decimals have 38, and beyond them it wraps without a word.
So Oracle counts, at the extract's SCN and in the scan of the control totals, the values of each such column that must
be rounded and those that cannot be read. Only a column with such values is read by an expression:

    a column that is only sent      ROUND to the field's scale; a value that cannot be read becomes 38 nines
    a key, a lookup, text, a flag   never rounded; a value that cannot be read exactly becomes 38 nines

No field holds 38 nines, so staging rejects the row with key and column.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kpc.catalog.table import Table
from kpc.catalog.types import Column, OracleKind
from kpc.convert.numbers import WIDEST, out_of_reach
from kpc.storage.manifests import ControlTotals

EXACT_SCALE = 10  # fraction digits of a free NUMBER that is not rounded
SUMMED = Decimal(10**18)  # larger values of a column without measure are left out of its sum, which would not fit


def is_number(column: Column) -> bool:
    return column.source.kind is OracleKind.NUMBER


def is_free(column: Column) -> bool:
    """Whether Oracle declares no precision for the NUMBER column."""
    return is_number(column) and column.source.size is None


def is_identifying(table: Table, column: Column) -> bool:
    """Whether the column is part of the key or of a reference to a parent, and therefore never rounded."""
    return column.name in table.key or any(column.name in lookup.columns for lookup in table.lookups)


def is_rounded(table: Table, column: Column) -> bool:
    """Whether Oracle rounds the column to its field's scale: a free NUMBER that is only sent to a number field."""
    is_sent_number = column.is_sent and column.type is not None and column.type.is_number
    return is_free(column) and is_sent_number and not is_identifying(table, column)


def read_scale(table: Table, column: Column) -> int:
    """Fraction digits of the decimals that a NUMBER column is read as."""
    if not is_free(column):
        return column.source.scale or 0
    return column.type.scale if column.type is not None and is_rounded(table, column) else EXACT_SCALE


def guarded(table: Table, column: Column) -> str:
    """The column as Oracle must give it where some of its values have to be rounded or cannot be read."""
    name, scale = f'"{column.name}"', read_scale(table, column)
    most = f"{out_of_reach(scale):f}"
    if is_rounded(table, column):
        return f"LEAST(GREATEST(ROUND({name},{scale}),-{most}),{most})"
    return f"CASE WHEN {_is_unreadable(table, column)} THEN {most} ELSE {name} END"


def needs_guard(column: Column, totals: tuple[ControlTotals, ...]) -> bool:
    """Whether any of these partitions has a value in the column that must be rounded or cannot be read."""
    if not is_free(column):
        return False
    return any(number.rounded or number.unreadable for each in totals for number in each.numbers_of(column.name))


def aggregates_of_numbers(table: Table) -> Iterator[str]:
    """Per NUMBER column without measure: sum and count; per free one also the rounded and the unreadable values."""
    measured = {column.name for column in table.measured_columns}
    for column in filter(is_number, table.extracted_columns):
        if column.name not in measured:
            value = _summed(table, column)
            yield from (f"SUM({value})", f"COUNT({value})")
        if is_free(column):
            name = f'"{column.name}"'
            rounding = f"{name} <> ROUND({name},{read_scale(table, column)})"
            yield f"COUNT(CASE WHEN {rounding} THEN 1 END)" if is_rounded(table, column) else "0"
            yield f"COUNT(CASE WHEN {_is_unreadable(table, column)} THEN 1 END)"


def _is_unreadable(table: Table, column: Column) -> str:
    name, scale = f'"{column.name}"', read_scale(table, column)
    is_too_large = f"ABS({name}) >= {10 ** (WIDEST - scale)}"
    return is_too_large if is_rounded(table, column) else f"{is_too_large} OR {name} <> ROUND({name},{scale})"


def _summed(table: Table, column: Column) -> str:
    """The value that is summed, in SQL; `summed_value` is the same of what was extracted."""
    name, exact = f'"{column.name}"', ""
    if is_rounded(table, column):
        name = f"ROUND({name},{read_scale(table, column)})"
    elif is_free(column):
        exact = f" AND {name} = ROUND({name},{EXACT_SCALE})"
    return f"CASE WHEN ABS({name}) < {SUMMED:f}{exact} THEN {name} END"
