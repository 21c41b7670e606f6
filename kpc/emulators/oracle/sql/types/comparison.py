"""Comparing two values by Oracle's rules: which side is converted, and how CHAR is padded."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.types import values
from kpc.emulators.oracle.sql.types.conversion import (
    coerce,
    joined_number,
    number_as,
    to_double,
    to_number,
    to_rowid,
    to_time,
    wide,
)
from kpc.emulators.oracle.sql.types.datatypes import MAX_DIGITS, SqlType
from kpc.emulators.oracle.sql.types.values import Expr

_MOST_SQL = 2_000  # characters of two sides that may be written three times
_LOBS = (OraType.CLOB, OraType.BLOB, OraType.LONG, OraType.LONG_RAW)


def compare(operator: str, left: Expr, right: Expr, context: Context) -> str:
    """`left operator right` as a DuckDB condition."""
    for side in (left, right):
        if side.type.ora in _LOBS:
            raise ora(932, "-", side.type.word)
    if left.is_null or right.is_null:
        return "NULL::BOOLEAN"
    if left.type.is_number and right.type.is_number and not (left.type.is_wide or right.type.is_wide):
        quick = _beyond(operator, left, right) or _mostly_plain(operator, left, right)
        if quick is not None:
            return quick
    a, b = aligned(left, right, context)
    return f"({a.sql} {operator} {b.sql})"


_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>", "!=": "!="}


def _beyond(operator: str, left: Expr, right: Expr) -> str | None:
    """A number compared with a constant that is greater than any value of its type: the same for every row."""
    if isinstance(left.constant, int | Decimal) and right.constant is None and operator in _TURNED:
        return _beyond(_TURNED[operator], right, left)
    limit = 10 ** (left.type.digits - left.type.places)
    if left.constant is not None or not isinstance(right.constant, int | Decimal) or abs(right.constant) < limit:
        return None
    is_less = right.constant > 0
    outcome = {"<": is_less, "<=": is_less, ">": not is_less, ">=": not is_less, "=": False, "<>": True, "!=": True}
    if operator not in outcome:
        return None
    return f"(CASE WHEN {left.sql} IS NOT NULL THEN {str(outcome[operator]).upper()} END)"


def _mostly_plain(operator: str, left: Expr, right: Expr) -> str | None:
    """Decimals that no type of DuckDB holds together, compared as the finer one of them.

    A value of the coarser type that does not fit it is farther from zero than any value of the finer one, so that its
    sign decides. The wide form costs microseconds a row.
    """
    if len(left.sql) + len(right.sql) > _MOST_SQL or not joined_number((left.type, right.type)).is_wide:
        return None
    plain = f"DECIMAL({MAX_DIGITS},{max(left.type.places, right.type.places)})"
    a, b = (f"TRY_CAST({side.sql} AS {plain})" for side in (left, right))
    if left.type.places < right.type.places:
        fits, fine, far = a, right.sql, f"{left.sql} {operator} 0"
    else:
        fits, fine, far = b, left.sql, f"0 {operator} {right.sql}"
    return f"(CASE WHEN {fits} IS NOT NULL THEN {a} {operator} {b} WHEN {fine} IS NOT NULL THEN {far} END)"


def same(left: Expr, right: Expr, context: Context) -> str:
    """Equality where NULL equals NULL, as DECODE has it."""
    if left.is_null or right.is_null:
        other = right if left.is_null else left
        return f"({other.sql} IS NULL)"
    is_text = left.type.is_text and right.type.is_text  # compared without padding (SQL Language Reference, DECODE)
    a, b = (left, right) if is_text else aligned(left, right, context)
    return f"({a.sql} IS NOT DISTINCT FROM {b.sql})"


def aligned(left: Expr, right: Expr, context: Context) -> tuple[Expr, Expr]:
    """Both sides in the one form in which DuckDB's comparison is Oracle's."""
    a, b = left.type, right.type
    if a.is_text and b.is_text:
        return _padded(left, right)
    if a.is_rowid or b.is_rowid:
        return to_rowid(left), to_rowid(right)
    if a.is_time or b.is_time:
        return _times(left, right, context)
    if a.is_numeric or b.is_numeric:
        return _numbers(left, right, context)
    if a.ora in (OraType.RAW, OraType.INTERVAL_DS) and b.is_text:
        return left, coerce(right, a, context)
    if b.ora in (OraType.RAW, OraType.INTERVAL_DS) and a.is_text:
        return coerce(left, b, context), right
    if a.duckdb != b.duckdb:
        raise ora(932, a.word, b.word)
    return left, right


def _padded(left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """CHAR against CHAR (literals among them): the shorter is padded with blanks. Otherwise nothing is padded."""
    if not (left.type.ora is right.type.ora is OraType.CHAR):
        return left, right
    if left.type.by_chars == right.type.by_chars and left.type.chars == right.type.chars:
        return left, right
    width = max(left.type.chars, right.type.chars)
    return _pad(left, width), _pad(right, width)


def _pad(e: Expr, width: int) -> Expr:
    if isinstance(e.constant, str):
        return replace(e, sql=values.quote(e.constant.ljust(width)))
    if e.type.by_chars and e.type.chars == width:
        return e
    return replace(e, sql=f"rpad({e.sql}, {width}, ' ')")


def _times(left: Expr, right: Expr, context: Context) -> tuple[Expr, Expr]:
    kinds = [e.type for e in (left, right) if e.type.is_time]
    kind = kinds[0]
    if len(kinds) == 2:
        rank = {OraType.DATE: 0, OraType.TIMESTAMP: 1, OraType.TIMESTAMP_LTZ: 2, OraType.TIMESTAMP_TZ: 3}
        kind = max(kinds, key=lambda k: (rank[k.ora], k.scale))
        scale = max(k.scale for k in kinds)
        is_coarse = scale > 6 and all(k.duckdb == "TIMESTAMP" for k in kinds)
        kind = replace(kind, scale=scale, is_coarse=is_coarse)
    if kind.duckdb == "TIMESTAMP_NS" and any(k.duckdb == "TIMESTAMP" for k in kinds):
        return _nanoseconds(left, kind, context), _nanoseconds(right, kind, context)
    return _instant(left, kind, context), _instant(right, kind, context)


def _nanoseconds(e: Expr, kind: SqlType, context: Context) -> Expr:
    """Since 1970, for times held in different units: TIMESTAMP_NS ends in 2262, TIMESTAMP does not."""
    is_coarse = e.type.is_time and e.type.duckdb == "TIMESTAMP"
    made = _instant(e, replace(kind, scale=6, is_coarse=False) if is_coarse else kind, context)
    sql = f"epoch_us({made.sql})::HUGEINT * 1000" if made.type.duckdb == "TIMESTAMP" else f"epoch_ns({made.sql})"
    return replace(made, sql=f"({sql})::HUGEINT")


def _instant(e: Expr, kind: SqlType, context: Context) -> Expr:
    zoned = (OraType.TIMESTAMP_TZ, OraType.TIMESTAMP_LTZ)
    if e.type.ora in zoned and kind.ora in zoned:
        return e
    return to_time(e, kind, context)


def _numbers(left: Expr, right: Expr, context: Context) -> tuple[Expr, Expr]:
    if any(e.type.ora in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT) for e in (left, right)):
        return to_double(left, context), to_double(right, context)
    a, b = to_number(left, context), to_number(right, context)
    kind = joined_number((a.type, b.type))
    if kind.is_wide:
        return wide(a), wide(b)
    # A column that already is of the wider type stays untouched, so that DuckDB can skip row groups by it.
    return number_as(a, kind), number_as(b, kind)
