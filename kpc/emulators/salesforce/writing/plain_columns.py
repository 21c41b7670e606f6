"""Fast path: columns with only ordinary values, converted and checked together.

In most uploads most columns hold only valid values in the usual format. Two queries convert all columns of a batch and
report which of them are plain. A column with a value that is invalid, explicitly null or in another format is left to
values.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from kpc.emulators.salesforce.org.schema import NUMBER_TYPES, SObjectField
from kpc.emulators.salesforce.writing.values import (
    FIRST_DAY,
    LAST_DAY,
    LONGEST_FAST_NUMBER,
    MOMENT_FORMATS,
    SET_NULL,
    Converted,
)

_PLAIN_TEXT = frozenset({"string", "textarea", "phone", "url", "picklist"})
_CONVERTED = "converted "  # before the name of a column: its values


def convert_plain(specs: Mapping[str, SObjectField], cells: pl.DataFrame) -> dict[str, Converted]:
    """The columns that are plain, by name. `specs` says what the columns of `cells` are."""
    names, values, checks = _queries(tuple(specs.items()))
    if not names:
        return {}
    both = cells.with_columns(values)
    every = pl.repeat(value=True, n=cells.height, dtype=pl.Boolean, eager=True)
    return {
        name: Converted(both[_CONVERTED + name], cells[name].is_not_null() if cells[name].null_count() else every)
        for name, is_plain in zip(names, both.select(checks).row(0), strict=True)
        if is_plain
    }


@lru_cache(maxsize=64)  # the batches of a job ask the same, and putting a query together takes its time
def _queries(specs: tuple[tuple[str, SObjectField], ...]) -> tuple[list[str], list[pl.Expr], list[pl.Expr]]:
    """The columns that can be plain; their values; whether they are."""
    values = {name: value for name, spec in specs if (value := _value(spec, pl.col(name))) is not None}
    checks = [
        _is_plain(spec, pl.col(name), pl.col(_CONVERTED + name)).alias(name) for name, spec in specs if name in values
    ]
    return list(values), [value.alias(_CONVERTED + name) for name, value in values.items()], checks


def _value(spec: SObjectField, cell: pl.Expr) -> pl.Expr | None:
    """What a plain cell stands for; None for a type of which no column is."""
    if spec.type in _PLAIN_TEXT:
        return cell
    if spec.type in NUMBER_TYPES:
        scale, kind = (0, pl.Int32()) if spec.type == "int" else (spec.scale, pl.Decimal(18, spec.scale))
        number = cell.cast(pl.Decimal(38, 18), strict=False).round(scale, mode="half_away_from_zero")
        return number.cast(kind, strict=False)
    if spec.type == "boolean":
        return cell == "true"
    if spec.type == "date":
        return cell.str.to_date("%Y-%m-%d", strict=False)
    if spec.type == "datetime":
        return cell.str.to_datetime(MOMENT_FORMATS[0], time_unit="ms", strict=False, exact=True)
    return None


def _is_plain(spec: SObjectField, cell: pl.Expr, value: pl.Expr) -> pl.Expr:
    """Whether all of a column's cells are plain: one boolean."""
    if spec.type in _PLAIN_TEXT:
        is_right = cell.is_in(spec.picklist) if spec.restricted else cell.str.len_chars() <= spec.length
        return is_right.all() & ~(cell == SET_NULL).any()
    if spec.type == "boolean":
        return cell.is_in(["true", "false"]).all()
    all_read = value.null_count() == cell.null_count()
    if spec.type in NUMBER_TYPES:
        limit = 2**31 if spec.type == "int" else 10 ** ((spec.precision or 18) - spec.scale)
        is_short = (cell.str.len_bytes() <= LONGEST_FAST_NUMBER).all()
        return all_read & is_short & value.is_between(-limit, limit, closed="none").all()
    return all_read & value.cast(pl.Date).is_between(FIRST_DAY, LAST_DAY).all()
