"""Oracle's conversions between data types, implicit and explicit, as DuckDB SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, mask_writing, masks, positions, values, zones
from kpc.emulators.oracle.sql.types.datatypes import MAX_DIGITS, SqlType
from kpc.emulators.oracle.sql.types.values import Expr

_NANOS = re.compile(r"FF(?![1-6])", re.IGNORECASE)


def cast(e: Expr, kind: SqlType) -> Expr:
    """DuckDB's own cast, for values known to fit."""
    if e.is_null:
        return Expr(f"NULL::{kind.duckdb}", kind)
    return replace(e, sql=f"CAST({e.sql} AS {kind.duckdb})", type=kind)


# Numbers


def to_number(e: Expr, context: Context) -> Expr:
    """A NUMBER from a number or a text (ORA-01722 when it is none)."""
    if e.is_null:
        return Expr("NULL::BIGINT", datatypes.INTEGER)
    if e.type.is_number:
        return e
    if e.type.ora in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT):
        return Expr(f"ora_from_double({e.sql}::DOUBLE)", datatypes.WIDE)
    if e.type.ora in (OraType.VARCHAR2, OraType.CHAR):
        return Expr(f"ora_parse({e.sql})", datatypes.WIDE)
    raise ora(932, "NUMBER", e.type.word)


def wide(e: Expr) -> Expr:
    """A NUMBER in the wide form."""
    if e.type.is_wide:
        return e
    return Expr(f"ora_wide(({e.sql})::VARCHAR)", datatypes.WIDE, e.constant)


def to_double(e: Expr, context: Context) -> Expr:
    if e.type.ora in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT):
        return cast(e, datatypes.BINARY_DOUBLE)
    number = to_number(e, context)
    sql = f"ora_double({number.sql})" if number.type.is_wide else f"({number.sql})::VARCHAR::DOUBLE"
    return Expr(sql, datatypes.BINARY_DOUBLE)


def whole(e: Expr, context: Context) -> str:
    """DuckDB SQL of an integer argument (Oracle truncates)."""
    number = to_number(e, context)
    if number.type.is_wide:
        return f"trunc(CAST(ora_plain({number.sql}) AS DECIMAL(38,10)))::BIGINT"
    return number.sql if number.type.places == 0 else f"trunc({number.sql})::BIGINT"


def joined_number(kinds: Sequence[SqlType]) -> SqlType:
    """The narrowest type that holds all of these numbers exactly."""
    if any(kind.is_wide for kind in kinds):
        return datatypes.WIDE
    places = max(kind.places for kind in kinds)
    digits = max(kind.digits - kind.places for kind in kinds) + places
    if digits <= MAX_DIGITS:
        return datatypes.free_number(max(digits, 1), places)
    # A column without declared precision holds up to 28 whole digits; beside it a shorter whole part is no reason to
    # go wide.
    free = [kind for kind in kinds if kind.digits == MAX_DIGITS and kind.places == datatypes.FREE_PLACES]
    if free and all(kind.digits - kind.places <= MAX_DIGITS - places for kind in kinds if kind not in free):
        return datatypes.free_number(MAX_DIGITS, places) if places <= 14 else datatypes.WIDE
    return datatypes.WIDE


def number_as(e: Expr, kind: SqlType) -> Expr:
    """A NUMBER held as `kind`, which is wide enough."""
    if e.type.is_wide == kind.is_wide and (e.type.digits, e.type.places) == (kind.digits, kind.places):
        return replace(e, type=kind)
    if e.is_null:
        return cast(e, kind)
    if kind.is_wide:
        return replace(wide(e), type=kind)
    if e.type.is_wide:
        return Expr(f"CAST(ora_plain({e.sql}) AS {kind.duckdb})", kind, e.constant)
    return replace(e, sql=f"CAST({e.sql} AS {kind.duckdb})", type=kind)


# Text


def to_text(e: Expr, context: Context) -> Expr:
    """What TO_CHAR without a format and `||` make of a value."""
    kind = e.type
    if kind.is_null:
        return Expr("NULL::VARCHAR", datatypes.varchar2(1))
    if kind.is_text:
        return e
    if kind.is_number:
        if kind.is_wide:
            sql = f"ora_text({e.sql})"
        elif kind.places == 0:
            sql = f"({e.sql})::VARCHAR"
        else:
            sql = f"number_text(({e.sql})::VARCHAR)"
        return Expr(sql, datatypes.varchar2(40))
    if kind.is_time:
        return time_text(e, _time_mask(kind, context), context)
    if kind.ora is OraType.RAW:
        return Expr(f"hex({e.sql})", datatypes.varchar2(kind.size * 2))
    if kind.is_rowid:
        return Expr(positions.text_sql(e.sql), datatypes.varchar2(18))
    raise unsupported(f"{kind.word} as text")


def _time_mask(kind: SqlType, context: Context) -> str:
    if kind.ora is OraType.DATE:
        return context.settings.date_format
    if kind.ora is OraType.TIMESTAMP:
        return context.settings.timestamp_format
    return context.settings.timestamp_tz_format


def time_text(e: Expr, mask: str, context: Context) -> Expr:
    """TO_CHAR(date, mask)."""
    sql = local_time(e, context) if e.type.ora is OraType.TIMESTAMP_LTZ else e.sql
    offset = None
    if e.type.ora is OraType.TIMESTAMP_TZ:
        sql, offset = zones.local(e, context), zones.shown_offset(e, mask, context)
    places = e.type.scale if e.type.ora is not OraType.DATE else 0
    return Expr(
        f"nullif({mask_writing.to_char_sql(sql, _dotted(mask), places=places, offset=offset)}, '')",
        datatypes.varchar2(masks.width(_dotted(mask))),
    )


def _dotted(mask: str) -> str:
    """X, the radix character, is a point here."""
    return mask.replace("XFF", ".FF").replace("xff", ".ff")


# Dates and times


def to_time(e: Expr, kind: SqlType, context: Context) -> Expr:
    """A DATE or TIMESTAMP from another one or, by the session's format, from a text."""
    if e.is_null:
        return cast(e, kind)
    if e.type.is_text and e.type.ora is not OraType.CLOB:
        return read_time(e, _dotted(_time_mask(kind, context)), kind)
    if not e.type.is_time:
        raise ora(932, kind.word, e.type.word)
    if e.type == kind:
        return e
    sql = _shifted(e, kind, context)
    if kind.ora is OraType.DATE:
        if e.type.ora is OraType.DATE:
            return replace(e, type=kind)
        return replace(e, sql=f"date_trunc('second', {sql})::TIMESTAMP", type=kind)
    places = kind.scale
    if e.type.ora is not OraType.DATE and places < e.type.scale:
        held = 6 if e.type.duckdb == "TIMESTAMP" else 9
        sql = _rounded_time(sql, held, places) if places < held else sql
    return replace(e, sql=f"CAST({sql} AS {kind.duckdb})" if kind.duckdb != e.type.duckdb else sql, type=kind)


def _rounded_time(sql: str, held: int, places: int) -> str:
    """To `places` digits of a second, half up, before 1970 too, where a plain // of DuckDB would go the wrong way."""
    unit, make, step = ("ns", "make_timestamp_ns", 10 ** (9 - places))
    if held <= 6:
        unit, make, step = ("us", "make_timestamp", 10 ** (6 - places))
    moment = f"(epoch_{unit}({sql}) + {step // 2})"
    return f"{make}({moment} - (({moment} % {step}) + {step}) % {step})"


def _shifted(e: Expr, kind: SqlType, context: Context) -> str:
    """Between local time and instant: TIMESTAMP_TZ and _LTZ are held in UTC."""
    zoned = (OraType.TIMESTAMP_TZ, OraType.TIMESTAMP_LTZ)
    if (e.type.ora in zoned) == (kind.ora in zoned):
        return e.sql
    if e.type.ora is OraType.TIMESTAMP_TZ:
        return zones.local(e, context)
    shift = zones.to_local if e.type.ora is OraType.TIMESTAMP_LTZ else zones.to_utc
    return shift(e.sql, context.settings.zone, e.type)


def local_time(e: Expr, context: Context) -> str:
    return zones.to_local(e.sql, context.settings.zone, e.type)


def read_time(e: Expr, mask: str, kind: SqlType) -> Expr:
    """TO_DATE and TO_TIMESTAMP of a text: natively where the text has the plain form, else by `mask_reading.read`."""
    if kind.ora is OraType.TIMESTAMP_TZ:
        return Expr(f"ora_to_timestamp_tz({e.sql}, {values.quote(mask)})", kind)
    function = "ora_to_date" if kind.ora is OraType.DATE else "ora_to_timestamp"
    slow = f"{function}({e.sql}, {values.quote(mask)})"
    if kind.duckdb == "TIMESTAMP_NS":
        has_nanos = _NANOS.search(mask) is not None
        slow = f"ora_to_timestamp_ns({e.sql}, {values.quote(mask)})" if has_nanos else f"{slow}::TIMESTAMP_NS"
    strict = masks.strict_form(mask)
    masks.parse(mask)
    if strict is None:
        return Expr(slow, kind)
    pattern, form = strict
    fast = f"try_strptime({e.sql}, '{form}')::{kind.duckdb}"
    matches = f"regexp_full_match({e.sql}, '{pattern}')"
    return Expr(f"CASE WHEN {matches} THEN coalesce({fast}, {slow}) ELSE {slow} END", kind)


# ROWID


def to_rowid(e: Expr) -> Expr:
    """CHARTOROWID, and a text compared with a ROWID."""
    if e.type.is_rowid or e.is_null:
        return cast(e, datatypes.ROWID) if e.is_null else e
    if e.type.ora not in (OraType.VARCHAR2, OraType.CHAR):
        raise ora(932, "ROWID", e.type.word)
    if isinstance(e.constant, str):
        return values.rowid(positions.decode(e.constant))
    return Expr(f"ora_rowid({e.sql})", datatypes.ROWID)


# Common types


def common_type(kinds: Sequence[SqlType], *, strict: bool = False) -> SqlType:
    """The type of CASE branches, set operations and the like; `strict` raises ORA-01790 instead of converting."""
    present = [kind for kind in kinds if not kind.is_null]
    if not present:
        return datatypes.NULL
    first = present[0]
    if all(kind == first for kind in present):
        return first
    if all(kind.is_number for kind in present):
        return joined_number(present)
    if all(kind.is_numeric for kind in present):
        doubles = any(kind.ora is OraType.BINARY_DOUBLE for kind in present)
        return datatypes.BINARY_DOUBLE if doubles else datatypes.BINARY_FLOAT
    if all(kind.is_text for kind in present):
        return _common_text(present)
    if all(kind.is_time for kind in present):
        return max(
            present,
            key=lambda kind: (
                kind.ora in (OraType.TIMESTAMP_TZ, OraType.TIMESTAMP_LTZ),
                kind.ora is OraType.TIMESTAMP,
                kind.scale,
                not kind.is_coarse,
            ),
        )
    if all(kind.ora is first.ora for kind in present):
        return max(present, key=lambda kind: kind.size)
    odd = next(kind for kind in present if kind.ora is not first.ora)
    raise ora(1790) if strict else ora(932, first.word, odd.word)


def _common_text(kinds: Sequence[SqlType]) -> SqlType:
    national = any(kind.national for kind in kinds)
    if any(kind.ora is OraType.CLOB for kind in kinds):
        return replace(datatypes.CLOB, national=national)
    size, chars = max(kind.size for kind in kinds), max(kind.chars for kind in kinds)
    same = all(kind.ora is OraType.CHAR and kind.chars == kinds[0].chars for kind in kinds)
    kind = OraType.CHAR if same else OraType.VARCHAR2
    return SqlType(kind, size=size, chars=chars, national=national, by_chars=all(k.by_chars for k in kinds))


def coerce(e: Expr, kind: SqlType, context: Context) -> Expr:
    """An implicit conversion to the family of `kind`; the value is not cut or checked."""
    if e.is_null or kind.is_null:
        return cast(e, kind)
    if kind.is_number:
        return number_as(to_number(e, context), kind)
    if kind.is_numeric:
        return cast(to_double(e, context), kind)
    if kind.is_text:
        return replace(to_text(e, context), type=kind)
    if kind.is_time:
        return to_time(e, kind, context)
    if kind.is_rowid:
        return replace(to_rowid(e), type=kind)
    if kind.ora is OraType.INTERVAL_DS and e.type.ora in (OraType.VARCHAR2, OraType.CHAR):
        return Expr(f"ora_dsinterval({e.sql})", kind)
    if kind.ora in (OraType.RAW, OraType.BLOB) and e.type.is_text:
        return Expr(f"ora_unhex({e.sql})", kind)
    if kind.duckdb != e.type.duckdb:
        raise ora(932, kind.word, e.type.word)
    return replace(e, type=kind)
