"""A compiled expression, and how a Python value is written in DuckDB's SQL."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal

from kpc.emulators.oracle.interface import BindValue, OraType
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, decimals, time_zone
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.time_zone import TimeZone


@dataclass(frozen=True, slots=True)
class Expr:
    """DuckDB SQL whose value has the Oracle type `type`. `constant` is set for literals and binds."""

    sql: str
    type: SqlType
    constant: BindValue = None
    nullable: bool = True
    is_literal: bool = False
    quotient: tuple[str, str] | None = (
        None  # a division of whole numbers: HUGEINT dividend and divisor, for TRUNC and similar functions
    )
    zone: TimeZone | None = None  # of a TIMESTAMP WITH TIME ZONE, where known

    @property
    def is_null(self) -> bool:
        return self.type.is_null


NULL = Expr("NULL", datatypes.NULL)


def quote(text: str) -> str:
    """A DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"


def once(argument: str, body: str) -> str:
    """DuckDB SQL of `body`, in which `x` is the argument. A macro copies its argument's text to each of its places."""
    return f"list_transform([{argument}], lambda x: {body})[1]"


def name(identifier: str) -> str:
    """A quoted DuckDB identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> Expr:
    """A text literal; '' is NULL."""
    if not value:
        return NULL
    return Expr(f"{quote(value)}::VARCHAR", datatypes.text_of(value), value, is_literal=True)


def number(value: Decimal | int) -> Expr:
    """A number literal in the narrowest exact type."""
    exact = decimals.fit(Decimal(value))
    _, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    places = max(0, -exponent)
    width = max(len(digits) + max(exponent, 0), places, 1)
    if width > datatypes.MAX_DIGITS or places > 30:
        blob = decimals.encode(exact).hex()
        return Expr(f"unhex('{blob}')", datatypes.WIDE, exact, is_literal=True)
    kind = datatypes.free_number(width, places)
    return Expr(f"({decimals.canonical(exact)})::{kind.duckdb}", kind, exact, is_literal=True)


def moment(value: dt.datetime, kind: SqlType) -> Expr:
    """A DATE or TIMESTAMP constant."""
    if kind.ora is OraType.DATE:
        value = value.replace(microsecond=0)
    offset = value.utcoffset() or dt.timedelta()
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    shown = value.isoformat(sep=" ", timespec="microseconds")
    zone = time_zone.fixed(offset // dt.timedelta(minutes=1)) if kind.ora is OraType.TIMESTAMP_TZ else None
    return Expr(f"{quote(shown)}::{kind.duckdb}", kind, value, is_literal=True, zone=zone)


def interval(value: dt.timedelta) -> Expr:
    micros = value // dt.timedelta(microseconds=1)
    return Expr(f"{micros}::BIGINT", datatypes.INTERVAL, value, is_literal=True)


def binary(value: bytes, kind: SqlType | None = None) -> Expr:
    return Expr(f"unhex('{value.hex()}')", kind or datatypes.raw(len(value)), value, is_literal=True)


def rowid(position: int) -> Expr:
    return Expr(f"{position}::BIGINT", datatypes.ROWID, position, is_literal=True)


def bind_type(ora_type: OraType, size: int, value: BindValue) -> SqlType:
    """The SQL type of a bind variable as the client declared it."""
    match ora_type:
        case OraType.VARCHAR2 | OraType.LONG:
            length = len(value) if isinstance(value, str) else 0
            width = max(size, len(value.encode()) if isinstance(value, str) else 0, 1)
            return datatypes.varchar2(max(length, size, 1), size=width)
        case OraType.CHAR:
            width = max(size, len(value.encode()) if isinstance(value, str) else 0, 1)
            return SqlType(OraType.CHAR, size=width, chars=len(value) if isinstance(value, str) else width)
        case OraType.NUMBER:
            return number(value).type if isinstance(value, int | Decimal) else datatypes.WIDE
        case OraType.RAW | OraType.LONG_RAW:
            return datatypes.raw(max(size, 1))
        case OraType.TIMESTAMP | OraType.TIMESTAMP_TZ | OraType.TIMESTAMP_LTZ:
            return SqlType(ora_type, scale=6)
        case OraType.BOOLEAN | OraType.CURSOR | OraType.INTERVAL_YM:
            raise unsupported(f"a bind of type {ora_type.name}")
        case OraType.INTERVAL_DS:
            return datatypes.INTERVAL
        case OraType.ROWID | OraType.UROWID:
            return datatypes.ROWID
        case _:
            return SqlType(ora_type)


def bind(ora_type: OraType, size: int, value: BindValue) -> Expr:
    """A bind variable with its value written out, so that DuckDB plans with it."""
    kind = bind_type(ora_type, size, value)
    if value == "" and kind.ora is OraType.CLOB:  # an empty LOB is not NULL
        return Expr("''::VARCHAR", kind, value)
    if value is None or value == "":
        return Expr(f"NULL::{kind.duckdb}", kind)
    if kind.ora in (OraType.ROWID, OraType.UROWID):
        return text(str(value))
    made = _constant(value, kind)
    return replace(made, type=kind if not made.type.is_number else made.type, is_literal=False)


def _constant(value: BindValue, kind: SqlType) -> Expr:
    if kind.is_text:
        if not isinstance(value, str):
            raise ora(932, "CHAR", type(value).__name__)
        return text(value)
    if kind.ora is OraType.BINARY_DOUBLE or kind.ora is OraType.BINARY_FLOAT:
        return Expr(f"{quote(repr(float(value)))}::{kind.duckdb}", kind, value)  # type: ignore[arg-type]  # a number by its type
    if isinstance(value, bool):
        raise unsupported("a boolean bind")
    if isinstance(value, int | Decimal):
        return number(value)
    if isinstance(value, float):
        return number(Decimal(repr(value)))
    if isinstance(value, dt.datetime):
        return moment(value, kind)
    if isinstance(value, dt.timedelta):
        return interval(value)
    if isinstance(value, bytes):
        return binary(value, kind)
    raise unsupported(f"a bind value of type {type(value).__name__}")
