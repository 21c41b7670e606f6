"""Columns of a small result as Python values, for RETURNING INTO and PL/SQL."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from kpc.emulators.oracle.interface import BindValue
from kpc.emulators.oracle.sql.query.compiled import QueryColumn
from kpc.emulators.oracle.sql.query.results import shown_column
from kpc.emulators.oracle.sql.types import decimals
from kpc.emulators.oracle.sql.types.datatypes import SqlType


def values_of(kind: SqlType, column: pa.Array) -> list[BindValue]:
    """NUMBER comes as int or Decimal, an interval as timedelta."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us"), safe=False)
    shown = shown_column(QueryColumn("", kind), column).to_pylist()
    if kind.is_number:
        return [_number(value) for value in shown]
    return [value.to_pytimedelta() if hasattr(value, "to_pytimedelta") else value for value in shown]


def _number(value: object) -> BindValue:
    if value is None:
        return None
    if isinstance(value, bytes):  # in Oracle's own format
        exact = decimals.decode(value)
    else:
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
    return int(exact) if exact == exact.to_integral_value() else exact
