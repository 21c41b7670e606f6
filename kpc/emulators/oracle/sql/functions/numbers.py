"""Numeric functions. Exact in DuckDB's DECIMAL where the digits are bounded, else by `decimals`."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.functions import dates
from kpc.emulators.oracle.sql.messages import unsupported
from kpc.emulators.oracle.sql.types import datatypes, pictures, values
from kpc.emulators.oracle.sql.types.conversion import (
    cast,
    joined_number,
    number_as,
    time_text,
    to_double,
    to_number,
    to_text,
    wide,
)
from kpc.emulators.oracle.sql.types.datatypes import MAX_DIGITS, SqlType
from kpc.emulators.oracle.sql.types.values import Expr

Function = Callable[[list[Expr], Context], Expr]
_MOST_QUOTIENT_PLACES = 5
_QUICK_DIGITS, _MOST_QUICK_PLACES = 18, 12  # a 64-bit DECIMAL, with at least six digits before the point
_SHORT_SQL = 200  # characters of an expression that may be written four times
_BINARY = (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT)


def _constant_int(e: Expr) -> int | None:
    value = e.constant
    return int(value) if isinstance(value, int | Decimal) else None


def _cut(name: str) -> Function:
    """ROUND and TRUNC of numbers; those of dates are in `dates`."""

    def make(args: list[Expr], context: Context) -> Expr:
        if args[0].type.is_time:
            return dates.cut_date(name, args, context)
        if args[0].type.ora in _BINARY:
            raise unsupported(f"{name.upper()} of a binary number")
        number = to_number(args[0], context)
        places = 0 if len(args) == 1 else _constant_int(args[1])
        if number.quotient is not None and places is not None and 0 <= places <= _MOST_QUOTIENT_PLACES:
            return _cut_quotient(name, number.quotient, places)
        if number.type.is_wide or places is None or not -18 <= places <= 30:
            second = wide(to_number(args[1], context)) if len(args) > 1 else wide(values.number(0))
            return Expr(f"ora_{name}({wide(number).sql}, {second.sql})", datatypes.WIDE)
        return _cut_decimal(name, number, places)

    return make


def _cut_quotient(name: str, quotient: tuple[str, str], places: int) -> Expr:
    """ROUND or TRUNC of a division of whole numbers to few decimal places."""
    if places == 0:
        return _whole_quotient(name, quotient)
    step = 10**places
    scaled = f"CAST(whole_{name}(({quotient[0]}) * {step}, {quotient[1]}) AS HUGEINT)"
    kind = datatypes.free_number(MAX_DIGITS, places)
    fraction = f"({scaled} % {step})::DECIMAL({places},0) * {1 / Decimal(step):f}::DECIMAL({places},{places})"
    return Expr(f"CAST(({scaled} // {step})::{kind.duckdb} + {fraction} AS {kind.duckdb})", kind)


def _whole_quotient(name: str, quotient: tuple[str, str]) -> Expr:
    """ROUND, TRUNC, CEIL or FLOOR of a division of whole numbers, without the 40 digits of its fraction."""
    return Expr(f"whole_{name}({quotient[0]}, {quotient[1]})", datatypes.free_number(MAX_DIGITS, 0))


def _cut_decimal(name: str, number: Expr, places: int) -> Expr:
    kind = number.type
    if places >= kind.places:
        return Expr(number.sql, datatypes.free_number(kind.digits, kind.places))
    kept = max(places, 0)
    whole_digits = max(kind.digits - kind.places + 1, 1 - places if places < 0 else 1)
    out = datatypes.free_number(min(whole_digits + kept, MAX_DIGITS), kept)
    if places < 0 and kind.places == 0 and kind.digits <= 18:
        step = 10**-places
        half = f" + (CASE WHEN {number.sql} < 0 THEN -{step // 2} ELSE {step // 2} END)" if name == "round" else ""
        return Expr(f"CAST((({number.sql}{half}) // {step}) * {step} AS {out.duckdb})", out)
    sql = f"CAST({name}({number.sql}, {places}) AS {out.duckdb})"
    if 0 <= places < kind.places <= _MOST_QUICK_PLACES and kind.digits > _QUICK_DIGITS and len(number.sql) < _SHORT_SQL:
        sql = _quick_if_small(name, number, places, out, sql)
    return Expr(sql, out)


def _quick_if_small(name: str, number: Expr, places: int, out: SqlType, slow: str) -> str:
    """DuckDB divides 128-bit numbers twenty times slower than 64-bit ones, and most values of a column fit these."""
    kind = number.type
    limit = f"CAST({9 * 10 ** (_QUICK_DIGITS - kind.places - 1)} AS {kind.duckdb})"
    short = f"CAST({number.sql} AS DECIMAL({_QUICK_DIGITS},{kind.places}))"
    quick = f"CAST({name}({short}, {places}) AS {out.duckdb})"
    return f"CASE WHEN {number.sql} < {limit} AND {number.sql} > -{limit} THEN {quick} ELSE {slow} END"


def _mod(args: list[Expr], context: Context) -> Expr:
    a, b = to_number(args[0], context), to_number(args[1], context)
    kind = joined_number((a.type, b.type))
    if kind.is_wide:
        return Expr(f"ora_mod({wide(a).sql}, {wide(b).sql})", kind)
    left, right = number_as(a, kind).sql, number_as(b, kind).sql
    return Expr(f"CASE WHEN {right} = 0 THEN {left} ELSE CAST(({left} % {right}) AS {kind.duckdb}) END", kind)


def _step(name: str) -> Function:
    """CEIL and FLOOR."""

    def make(args: list[Expr], context: Context) -> Expr:
        if args[0].type.ora in _BINARY:
            return Expr(f"{name}({args[0].sql})", args[0].type)
        number = to_number(args[0], context)
        if number.quotient is not None:
            return _whole_quotient(name, number.quotient)
        if number.type.is_wide:
            return Expr(f"ora_{name}({number.sql})", datatypes.WIDE)
        if number.type.places == 0:
            return number
        out = datatypes.free_number(min(number.type.digits - number.type.places + 1, MAX_DIGITS), 0)
        return Expr(f"CAST({name}({number.sql}) AS {out.duckdb})", out)

    return make


def _abs(args: list[Expr], context: Context) -> Expr:
    if args[0].type.ora in _BINARY:
        return Expr(f"abs({args[0].sql})", args[0].type)
    number = to_number(args[0], context)
    kind = datatypes.free_number(number.type.digits, number.type.places)
    return Expr(f"ora_abs({number.sql})" if number.type.is_wide else f"abs({number.sql})", kind)


def _sign(args: list[Expr], context: Context) -> Expr:
    if args[0].type.ora in _BINARY:
        return Expr(f"sign({args[0].sql})::BIGINT", datatypes.free_number(1, 0))
    number = to_number(args[0], context)
    if number.type.is_wide:
        zero = wide(values.number(0)).sql
        n = number.sql
        sql = f"CASE WHEN {n} > {zero} THEN 1 WHEN {n} < {zero} THEN -1 WHEN {n} = {zero} THEN 0 END"
        return Expr(f"({sql})::BIGINT", datatypes.free_number(1, 0))
    return Expr(f"sign({number.sql})::BIGINT", datatypes.free_number(1, 0))


def _python(name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        if any(arg.type.ora in _BINARY for arg in args):
            raise unsupported(f"{name} of a binary number")
        return Expr(f"{name}({', '.join(wide(to_number(arg, context)).sql for arg in args)})", datatypes.WIDE)

    return make


def _to_char(args: list[Expr], context: Context) -> Expr:
    """TO_CHAR of anything: a number by a picture, a date by a mask, a text as it is."""
    value = args[0]
    if len(args) == 1 or value.is_null:
        shown = to_text(value, context)
        return cast(shown, datatypes.varchar2(max(shown.type.chars, 1), size=max(shown.type.size, 1)))
    mask = args[1].constant
    if not isinstance(mask, str):
        if args[1].is_null:
            return Expr("NULL::VARCHAR", datatypes.varchar2(1))
        raise unsupported("TO_CHAR with a format that is not a constant")
    if value.type.is_time:
        return time_text(value, mask, context)
    number = to_number(value, context)
    pictures.parse(mask)
    sql = _fixed_picture(number, mask) or f"ora_picture({wide(number).sql}, {values.quote(mask)})"
    return Expr(sql, datatypes.varchar2(len(mask) + 2))


_FIXED = re.compile(r"FM(9*0)(?:\.(0+|9+))?")


def _fixed_picture(number: Expr, mask: str) -> str | None:
    """A picture with all its decimals, or with none of their zeros, of a decimal that has no more of them."""
    found = _FIXED.fullmatch(mask)
    kind = number.type
    places = len(found[2] or "") if found else 0
    if found is None or kind.is_wide or kind.places > places or kind.digits - kind.places + places > MAX_DIGITS:
        return None
    text = f"CAST({number.sql} AS DECIMAL({MAX_DIGITS},{places}))::VARCHAR"
    if (found[2] or "").startswith("9"):
        text = f"rtrim({text}, '0')"
    return f"fixed_picture({text}, {len(found[1])}, '{'#' * (len(mask) - 1)}')"


def _to_number(args: list[Expr], context: Context) -> Expr:
    if len(args) == 1 or args[0].is_null:
        number = to_number(args[0], context)
        return (
            number
            if not number.type.precision
            else Expr(number.sql, datatypes.free_number(number.type.digits, number.type.places))
        )
    mask = args[1].constant
    if not isinstance(mask, str):
        raise unsupported("TO_NUMBER with a format that is not a constant")
    pictures.parse(mask)
    return Expr(f"ora_read_picture({to_text(args[0], context).sql}, {values.quote(mask)})", datatypes.WIDE)


def _to_binary(kind: SqlType) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        if args[0].type.is_text and not args[0].is_null:
            return Expr(f"ora_binary({args[0].sql})::{kind.duckdb}", kind)
        return cast(to_double(args[0], context), kind)

    return make


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    "ROUND": (1, 2, _cut("round")),
    "TRUNC": (1, 2, _cut("trunc")),
    "MOD": (2, 2, _mod),
    "REMAINDER": (2, 2, _python("ora_remainder")),
    "CEIL": (1, 1, _step("ceil")),
    "FLOOR": (1, 1, _step("floor")),
    "ABS": (1, 1, _abs),
    "SIGN": (1, 1, _sign),
    "POWER": (2, 2, _python("ora_power")),
    "SQRT": (1, 1, _python("ora_sqrt")),
    "EXP": (1, 1, _python("ora_exp")),
    "LN": (1, 1, _python("ora_ln")),
    "TO_CHAR": (1, 2, _to_char),
    "TO_NUMBER": (1, 2, _to_number),
    "TO_BINARY_DOUBLE": (1, 1, _to_binary(datatypes.BINARY_DOUBLE)),
    "TO_BINARY_FLOAT": (1, 1, _to_binary(datatypes.BINARY_FLOAT)),
}
