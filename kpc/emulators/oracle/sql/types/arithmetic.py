"""+ - * / and || on Oracle's types, as DuckDB SQL."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, values
from kpc.emulators.oracle.sql.types.conversion import joined_number, number_as, to_double, to_number, to_text, wide
from kpc.emulators.oracle.sql.types.datatypes import MAX_DIGITS, MAX_TEXT, SqlType
from kpc.emulators.oracle.sql.types.values import Expr

_WIDE = {"+": "ora_add", "*": "ora_mul", "/": "ora_div"}
_MOST_QUOTIENT_DIGITS = 32  # a HUGEINT holds 38, and ROUND and days as seconds need a few of them
_MOST_PRODUCT_PLACES = 20  # leaves 18 whole digits in a DECIMAL(38)


def binary(operator: str, left: Expr, right: Expr, context: Context) -> Expr:
    """left `operator` right, for + - * /."""
    temporal = left.type.is_time or right.type.is_time or OraType.INTERVAL_DS in (left.type.ora, right.type.ora)
    if temporal:
        return _temporal(operator, left, right, context)
    if any(e.type.ora in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT) for e in (left, right)):
        a, b = to_double(left, context), to_double(right, context)
        return Expr(f"({a.sql} {operator} {b.sql})", datatypes.BINARY_DOUBLE)
    return _number(operator, to_number(left, context), to_number(right, context))


def _number(operator: str, a: Expr, b: Expr) -> Expr:
    if operator == "/":
        return _divide(a, b)
    kind = _result(operator, a.type, b.type)
    if not kind.is_wide:
        if operator == "*":
            a = number_as(a, datatypes.free_number(a.type.digits, a.type.places)) if a.type.places else _decimal(a)
            b = b if b.type.places else _decimal(b)
            return Expr(f"CAST(({a.sql} * {b.sql}) AS {kind.duckdb})", kind)
        return Expr(f"({number_as(a, kind).sql} {operator} {number_as(b, kind).sql})", kind)
    if operator == "-":
        return Expr(f"ora_add({wide(a).sql}, ora_neg({wide(b).sql}))", datatypes.WIDE)
    return Expr(f"{_WIDE[operator]}({wide(a).sql}, {wide(b).sql})", datatypes.WIDE)


def _divide(a: Expr, b: Expr) -> Expr:
    """A quotient has 40 digits, but for one by 4 or 100 and the like, which is an exact product."""
    parts = _whole_parts(a, b)
    inverse = _inverse(b)
    if inverse is not None and not a.type.is_wide and a.type.digits + inverse.type.digits <= MAX_DIGITS:
        return replace(_number("*", a, inverse), quotient=parts)
    if a.type.is_wide or b.type.is_wide:
        return Expr(f"ora_div({wide(a).sql}, {wide(b).sql})", datatypes.WIDE, quotient=parts)
    return Expr(f"ora_quotient(({a.sql})::VARCHAR, ({b.sql})::VARCHAR)", datatypes.WIDE, quotient=parts)


def _inverse(b: Expr) -> Expr | None:
    """1 / b where b is a constant and that has few decimal places."""
    if not isinstance(b.constant, int | Decimal) or not b.constant:
        return None
    rest = abs(int(b.constant)) if b.constant == int(b.constant) else 0
    if not rest:
        return None
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    inverse = 1 / Decimal(b.constant) if rest == 1 else Decimal(0)
    return values.number(inverse) if inverse and inverse * b.constant == 1 else None


def _whole_parts(a: Expr, b: Expr) -> tuple[str, str] | None:
    """Dividend and divisor scaled to whole numbers, where no digit can be lost to the rounding of a quotient."""
    if a.type.is_wide or b.type.is_wide or a.is_null or b.is_null:
        return None
    places = max(a.type.places, b.type.places)
    digits = [e.type.digits - e.type.places + places for e in (a, b)]
    if sum(digits) > MAX_DIGITS or max(digits) > _MOST_QUOTIENT_DIGITS:
        return None
    scaled = [
        f"CAST({number_as(e, datatypes.free_number(d, places)).sql}{f' * {10**places}' if places else ''} AS HUGEINT)"
        for e, d in zip((a, b), digits, strict=True)
    ]
    return scaled[0], scaled[1]


def _decimal(e: Expr) -> Expr:
    """A whole number as DECIMAL, so that DuckDB widens a product instead of overflowing BIGINT."""
    kind = e.type
    return Expr(f"CAST({e.sql} AS DECIMAL({kind.digits},0))", kind, e.constant)


def _result(operator: str, a: SqlType, b: SqlType) -> SqlType:
    if a.is_wide or b.is_wide:
        return datatypes.WIDE
    if operator == "*":
        digits, places = a.digits + b.digits, a.places + b.places
        if digits <= MAX_DIGITS:
            return datatypes.free_number(digits, places)
        # A column without declared precision rarely holds all the digits it may: its product stays a fast DECIMAL.
        is_free = MAX_DIGITS in (a.digits, b.digits)
        return (
            datatypes.free_number(MAX_DIGITS, places) if is_free and places <= _MOST_PRODUCT_PLACES else datatypes.WIDE
        )
    places = max(a.places, b.places)
    digits = max(a.digits - a.places, b.digits - b.places) + places + 1
    if digits <= MAX_DIGITS:
        return datatypes.free_number(digits, places)
    return joined_number((a, b))


def negate(e: Expr, context: Context) -> Expr:
    if e.type.ora in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT, OraType.INTERVAL_DS):
        return Expr(f"(-{e.sql})", e.type)
    number = to_number(e, context)
    if isinstance(number.constant, int) or (number.is_literal and number.constant is not None):
        return values.number(-number.constant)  # type: ignore[operator,arg-type]  # a number's constant is a number
    if number.type.is_wide:
        return Expr(f"ora_neg({number.sql})", datatypes.WIDE)
    kind = datatypes.free_number(number.type.digits, number.type.places)
    return Expr(f"(-{number.sql})", kind)


# Dates


def days_as_micros(number: Expr) -> str:
    """A NUMBER of days as whole seconds, in microseconds: a DATE has no finer grain."""
    if number.quotient is not None:
        dividend, divisor = number.quotient
        return f"(whole_round(({dividend}) * 86400, {divisor})::BIGINT * 1000000)"
    if number.type.is_wide:
        product = f"ora_round(ora_mul({number.sql}, {wide(values.number(86_400)).sql}), {wide(values.number(0)).sql})"
        return f"(ora_plain({product})::BIGINT * 1000000)"
    if number.type.places == 0:
        return f"({number.sql} * 86400000000)::BIGINT"
    return f"(round(CAST({number.sql} AS DECIMAL(38,10)) * 86400::DECIMAL(5,0), 0)::BIGINT * 1000000)"


def _temporal(operator: str, left: Expr, right: Expr, context: Context) -> Expr:
    a, b = left.type, right.type
    if operator in {"*", "/"}:
        return _scaled_interval(operator, left, right, context)
    if a.is_time and b.is_time:
        if operator == "+":
            raise ora(975)
        return _difference(left, right, context)
    if operator == "+" and b.is_time:
        left, right, a, b = right, left, b, a
    if a.is_time and b.ora is OraType.INTERVAL_DS:
        kind = a if a.ora is not OraType.DATE else datatypes.DATE
        moved = f"({left.sql} {operator} to_microseconds({right.sql}))"
        if kind.ora is OraType.DATE:
            moved = f"date_trunc('second', {moved})::TIMESTAMP"
        return Expr(moved, kind, _moved(operator, left, right), zone=left.zone)
    if a.is_time:
        days = days_as_micros(to_number(right, context))
        return Expr(f"(({left.sql})::TIMESTAMP {operator} to_microseconds({days}))", datatypes.DATE)
    if a.ora is b.ora is OraType.INTERVAL_DS:
        return Expr(f"({left.sql} {operator} {right.sql})", datatypes.INTERVAL)
    raise ora(30081)


def _moved(operator: str, left: Expr, right: Expr) -> dt.datetime | None:
    """The constant that a time and an interval make, e.g. for AS OF TIMESTAMP."""
    if not isinstance(left.constant, dt.datetime) or not isinstance(right.constant, dt.timedelta):
        return None
    return left.constant + (right.constant if operator == "+" else -right.constant)


def _difference(left: Expr, right: Expr, context: Context) -> Expr:
    if left.type.ora is OraType.DATE and right.type.ora is OraType.DATE:
        seconds = Expr(f"((epoch_us({left.sql}) - epoch_us({right.sql})) // 1000000)", datatypes.INTEGER)
        return _number("/", seconds, values.number(86_400))
    if {left.type.ora, right.type.ora} & {
        OraType.TIMESTAMP_TZ,
        OraType.TIMESTAMP_LTZ,
    } and left.type.ora is not right.type.ora:
        raise unsupported("the difference of times with and without a time zone")
    return Expr(f"(epoch_us({left.sql}) - epoch_us({right.sql}))", datatypes.INTERVAL)


def _scaled_interval(operator: str, left: Expr, right: Expr, context: Context) -> Expr:
    if operator == "*" and right.type.ora is OraType.INTERVAL_DS:
        left, right = right, left
    if left.type.ora is not OraType.INTERVAL_DS or right.type.is_time or right.type.ora is OraType.INTERVAL_DS:
        raise ora(30081)
    micros = Expr(left.sql, datatypes.INTEGER)
    scaled = _number(operator, micros, to_number(right, context))
    if scaled.type.is_wide:
        return Expr(f"ora_plain(ora_round({scaled.sql}, {wide(values.number(0)).sql}))::BIGINT", datatypes.INTERVAL)
    return Expr(f"round({scaled.sql}, 0)::BIGINT", datatypes.INTERVAL)


# Text


def concatenate(parts: list[Expr], context: Context) -> Expr:
    """||, where NULL is the empty text and a result longer than 4,000 bytes is ORA-01489."""
    shown = [to_text(part, context) for part in parts]
    present = [part for part in shown if not part.is_null]
    sql = f"concat({', '.join(part.sql for part in shown)})"
    if all(part.is_literal or not part.nullable for part in present) and len(present) == len(parts):
        sql = f"({' || '.join(part.sql for part in shown)})"
    else:
        sql = f"nullif({sql}, '')"
    if any(part.type.ora is OraType.CLOB for part in shown):
        return Expr(sql, datatypes.CLOB)
    size, chars = sum(part.type.size for part in shown), sum(part.type.chars for part in shown)
    national = any(part.type.national for part in shown)
    if all(part.type.ora is OraType.CHAR for part in present) and size <= 2000 and present:
        return Expr(sql, SqlType(OraType.CHAR, size=size, chars=chars, national=national))
    if size > MAX_TEXT:
        sql = f"ora_joined({sql})"
    return Expr(sql, datatypes.varchar2(min(chars, MAX_TEXT), size=min(max(size, 1), MAX_TEXT), national=national))
