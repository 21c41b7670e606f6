"""Bind variables: one row is written into the SQL as constants; many rows become an Arrow table that the SQL reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa

from kpc.emulators.oracle.interface import Bind, BindValue, OraType
from kpc.emulators.oracle.sql.messages import unsupported
from kpc.emulators.oracle.sql.storage.character_set import CharacterSet
from kpc.emulators.oracle.sql.types import datatypes, decimals, values
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.values import Expr

RELATION = "bind_rows"


def received(rows: Sequence[Sequence[Bind]], character_set: CharacterSet) -> Sequence[Sequence[Bind]]:
    """The rows with their texts converted into the database's character set."""
    if character_set.is_unicode:
        return rows
    return [
        [replace(b, value=character_set.received(b.value)) if isinstance(b.value, str) else b for b in row]
        for row in rows
    ]


def constants(row: Sequence[Bind]) -> dict[str, Expr]:
    """`b0`, `b1` ... -> the values of one row."""
    return {f"b{i}": values.bind(bind.type, bind.size, bind.value) for i, bind in enumerate(row)}


def unset(count: int) -> dict[str, Expr]:
    """Binds of a statement that is only described."""
    kind = datatypes.varchar2(4000)
    return {f"b{i}": Expr("NULL::VARCHAR", kind) for i in range(count)}


def table(rows: Sequence[Sequence[Bind]], first: int = 0) -> tuple[pa.Table, dict[str, Expr]]:
    """The rows as an Arrow table with their `row_offset`, and how SQL names the columns."""
    columns: dict[str, pa.Array] = {"row_offset": pa.array(range(first, first + len(rows)), pa.int64())}
    named: dict[str, Expr] = {}
    for i in range(len(rows[0])):
        array, kind = _column([row[i] for row in rows])
        columns[f"b{i}"] = array
        named[f"b{i}"] = Expr(f"{RELATION}.b{i}", kind)
    return pa.table(columns), named


def _column(binds: Sequence[Bind]) -> tuple[pa.Array, SqlType]:
    # A mixed column follows the first bind that has a value: the driver declares one type per position.
    first = next((bind for bind in binds if bind.value is not None), binds[0])
    data: list[BindValue] = [
        None if bind.value == "" and bind.type is not OraType.CLOB else bind.value for bind in binds
    ]
    size = max(bind.size for bind in binds)
    if first.type is OraType.NUMBER or (
        first.type not in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT)
        and isinstance(first.value, int | Decimal | float)
    ):
        return _numbers(data)
    if first.type in (OraType.VARCHAR2, OraType.CHAR, OraType.LONG, OraType.CLOB, OraType.ROWID, OraType.UROWID):
        texts = [None if v is None else str(v) for v in data]
        chars = max([1, *(len(t) for t in texts if t)])
        width = max([size, 1, *(len(t.encode()) for t in texts if t)])
        kind = (
            datatypes.CLOB
            if first.type is OraType.CLOB
            else SqlType(OraType.CHAR if first.type is OraType.CHAR else OraType.VARCHAR2, size=width, chars=chars)
        )
        return pa.array(texts, pa.string()), kind
    kind = values.bind_type(first.type, size, first.value)
    if kind.is_time:
        return pa.array([_utc(v) for v in data], pa.timestamp("us")), kind
    if kind.ora is OraType.INTERVAL_DS:
        return pa.array([None if v is None else v // dt.timedelta(microseconds=1) for v in data], pa.int64()), kind  # type: ignore[operator]
    return pa.array(data, kind.arrow), kind


def _utc(value: BindValue) -> dt.datetime | None:
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        raise unsupported(f"a bind of type {type(value).__name__} among dates")
    return value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value


def _numbers(data: list[BindValue]) -> tuple[pa.Array, SqlType]:
    if all(v is None or (type(v) is int and -(10**18) < v < 10**18) for v in data):
        return pa.array(data, pa.int64()), datatypes.INTEGER
    exact = [None if v is None else decimals.fit(Decimal(repr(v) if isinstance(v, float) else v)) for v in data]  # type: ignore[arg-type]
    places = digits = 0
    for value in exact:
        if value is not None:
            _, mantissa, exponent = value.as_tuple()
            assert isinstance(exponent, int)
            places = max(places, -exponent)
            digits = max(digits, len(mantissa) + exponent)
    digits = max(digits, 0)
    if digits + places > datatypes.MAX_DIGITS:
        return pa.array([None if v is None else decimals.encode(v) for v in exact], pa.binary()), datatypes.WIDE
    kind = datatypes.free_number(max(digits + places, 1), places)
    return pa.array(exact, pa.decimal128(kind.digits, kind.places)).cast(kind.arrow), kind
