"""Putting a value into a column or through CAST: rounding, padding, and the errors of what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import error_sql, ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, values
from kpc.emulators.oracle.sql.types.conversion import cast, coerce, number_as, to_number, to_text, to_time, wide
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.values import Expr

# Raised inside DuckDB when a value needs more digits than a free NUMBER column holds so far; never seen by a client.
WIDEN_CODE = 99_999


@dataclass(frozen=True, slots=True)
class Target:
    """The column that a value goes into, as ORA-12899 and ORA-01400 name it: `"KPS"."T"."C"`."""

    label: str
    type: SqlType
    column: str


def assign(e: Expr, target: Target, context: Context) -> Expr:
    """The value as the column stores it; errors appear when a row has one."""
    kind = target.type
    if e.is_null:
        return cast(e, kind)
    if kind.is_number:
        number = to_number(e, context)
        if kind.is_float:
            return Expr(f"ora_float({wide(number).sql}, {wide(values.number(kind.precision)).sql})", kind)
        return _free(number, target) if kind.scale == datatypes.PLAIN_SCALE else fitted_number(number, kind)
    if kind.ora in (OraType.VARCHAR2, OraType.CHAR):
        return _text(to_text(e, context), target)
    if kind.ora is OraType.RAW:
        made = coerce(e, kind, context)
        label = target.label.replace("'", "''")
        length = f"octet_length({made.sql})::VARCHAR"
        message = f"'ORA-12899: value too large for column {label} (actual: ' || {length} || ', maximum: {kind.size})'"
        return Expr(f"CASE WHEN octet_length({made.sql}) > {kind.size} THEN error({message}) ELSE {made.sql} END", kind)
    if kind.is_time:
        return to_time(e, kind, context)
    if kind.ora in (OraType.CLOB, OraType.LONG) and not e.type.is_text:
        raise ora(932, kind.word, e.type.word)
    if kind.ora in (OraType.BLOB, OraType.LONG_RAW) and e.type.ora in (OraType.RAW, OraType.BLOB, OraType.LONG_RAW):
        return replace(e, type=kind)
    return coerce(e, kind, context)


def fitted_number(number: Expr, kind: SqlType) -> Expr:
    """NUMBER(p, s): rounded to the scale; ORA-01438 if the whole part is too long."""
    if number.is_null:
        return cast(number, kind)
    if kind.is_wide:
        raise unsupported("a NUMBER with more than 38 places")
    if kind.scale < 0:
        cut = Expr(f"ora_round({wide(number).sql}, {wide(values.number(kind.scale)).sql})", datatypes.WIDE)
        return replace(_checked(cut, kind), type=kind)
    if kind.scale > kind.precision:
        made = _checked(number, kind)
        limit = f"0.{'0' * (kind.scale - kind.precision - 1)}1::{kind.duckdb}"
        return Expr(f"CASE WHEN abs({made.sql}) >= {limit} THEN {error_sql(1438)} ELSE {made.sql} END", kind)
    held = number.type
    if not held.is_wide and held.places <= kind.places and held.digits - held.places <= kind.digits - kind.places:
        return replace(number_as(number, kind), type=kind)
    return _checked(number, kind)


def _checked(number: Expr, kind: SqlType) -> Expr:
    source = f"ora_plain({number.sql})" if number.type.is_wide else number.sql
    stored = f"DECIMAL({kind.digits},{kind.places})"
    tried = f"TRY_CAST({source} AS {stored})"
    sql = f"CASE WHEN {number.sql} IS NOT NULL AND {tried} IS NULL THEN {error_sql(1438)} ELSE {tried} END"
    return Expr(f"CAST({sql} AS {kind.duckdb})", kind)


def _free(number: Expr, target: Target) -> Expr:
    """A NUMBER without precision: exact, or the column is made wide first (`WIDEN_CODE`)."""
    kind, held = target.type, number.type
    if number.is_null:
        return cast(number, kind)
    if kind.is_wide:
        return replace(wide(number), type=kind)
    if not held.is_wide and held.places <= kind.places and held.digits - held.places <= kind.digits - kind.places:
        return replace(number_as(number, kind), type=kind)
    source = f"ora_plain({number.sql})" if held.is_wide else number.sql
    tried = f"TRY_CAST({source} AS {kind.duckdb})"
    exact = f"{wide(number).sql} = ora_wide(({tried})::VARCHAR)" if held.is_wide else f"{tried} = {number.sql}"
    if not held.is_wide and held.places > kind.places:
        exact = f"({number.sql}) % 0.{'0' * (kind.places - 1)}1::DECIMAL({kind.places + 1},{kind.places}) = 0"
    widen = f"error('ORA-{WIDEN_CODE:05d}: {target.column.replace(chr(39), chr(39) * 2)}')"
    sql = f"CASE WHEN {number.sql} IS NULL OR ({tried} IS NOT NULL AND {exact}) THEN {tried} ELSE {widen} END"
    return Expr(sql, kind)


def _text(e: Expr, target: Target) -> Expr:
    kind = target.type
    limit = kind.chars if kind.by_chars else kind.size
    held = e.type.chars if kind.by_chars else e.type.size
    sql = e.sql
    if e.type.ora is OraType.CLOB or held > limit or held == 0:
        length = f"{'length' if kind.by_chars else 'strlen'}({sql})"
        label = target.label.replace("'", "''")
        message = (
            f"'ORA-12899: value too large for column {label} (actual: ' || {length}::VARCHAR || ', maximum: {limit})'"
        )
        sql = f"CASE WHEN {length} > {limit} THEN error({message}) ELSE {sql} END"
    return Expr(padded(sql, kind), kind, e.constant if kind.ora is not OraType.CHAR else None)


def padded(sql: str, kind: SqlType) -> str:
    """A CHAR's blanks; other types stay as they are."""
    if kind.ora is not OraType.CHAR:
        return sql
    if kind.by_chars:
        return f"rpad({sql}, {kind.chars}, ' ')"
    return f"({sql} || repeat(' ', greatest({kind.size} - strlen({sql}), 0)::BIGINT))"


def cast_to(e: Expr, kind: SqlType, context: Context) -> Expr:
    """CAST(e AS kind): text is cut to length, numbers must fit."""
    if e.is_null:
        return cast(e, kind)
    if kind.is_number:
        number = to_number(e, context)
        if kind.is_float:
            return Expr(f"ora_float({wide(number).sql}, {wide(values.number(kind.precision)).sql})", kind)
        if kind.scale == datatypes.PLAIN_SCALE:
            return replace(number, type=replace(number.type, precision=0, scale=datatypes.PLAIN_SCALE))
        return replace(fitted_number(number, kind), constant=None, is_literal=False)
    if kind.ora in (OraType.VARCHAR2, OraType.CHAR):
        return _cut_text(e, kind, context)
    if kind.ora in (OraType.CLOB, OraType.BLOB):
        raise (
            ora(932, "-", kind.word) if not e.type.is_text or kind.ora is OraType.BLOB else unsupported("CAST to CLOB")
        )
    if kind.is_time:
        return to_time(e, kind, context)
    return replace(coerce(e, kind, context), type=kind)


def _cut_text(e: Expr, kind: SqlType, context: Context) -> Expr:
    text = to_text(e, context)
    if kind.by_chars:
        sql = text.sql if 0 < text.type.chars <= kind.chars else f"substr({text.sql}, 1, {kind.chars})"
    elif text.type.size and text.type.size <= kind.size:
        sql = text.sql
    elif not e.type.is_text:  # a number that does not fit is no longer that number
        sql = f"CASE WHEN strlen({text.sql}) > {kind.size} THEN {error_sql(1401)} ELSE {text.sql} END"
    else:
        sql = f"CASE WHEN strlen({text.sql}) <= {kind.size} THEN {text.sql} ELSE ora_cut({text.sql}, {kind.size}) END"
    return Expr(padded(sql, kind), kind)
