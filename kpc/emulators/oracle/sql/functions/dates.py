"""Date and time functions."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, values, zones
from kpc.emulators.oracle.sql.types.conversion import local_time, read_time, to_number, to_text, to_time, whole, wide
from kpc.emulators.oracle.sql.types.values import Expr

_NANOS = re.compile(r"FF(?![1-6])", re.IGNORECASE)  # a mask that reads more than six digits of a second

Function = Callable[[list[Expr], Context], Expr]


def _date(e: Expr, context: Context) -> str:
    return f"({to_time(e, datatypes.DATE, context).sql})"


# TRUNC's units -> DuckDB SQL; {0} is the date.
_UNITS = {
    ("DD", "DDD", "J"): "date_trunc('day', {0})::TIMESTAMP",
    ("MM", "MON", "MONTH", "RM"): "date_trunc('month', {0})::TIMESTAMP",
    ("YYYY", "YEAR", "SYYYY", "YYY", "YY", "Y", "SYEAR"): "date_trunc('year', {0})::TIMESTAMP",
    ("Q",): "date_trunc('quarter', {0})::TIMESTAMP",
    ("IW",): "date_trunc('week', {0})::TIMESTAMP",
    ("HH", "HH12", "HH24"): "date_trunc('hour', {0})::TIMESTAMP",
    ("MI",): "date_trunc('minute', {0})::TIMESTAMP",
    ("D", "DAY", "DY"): "(date_trunc('day', {0})::TIMESTAMP - to_days(dayofweek({0})::INTEGER))",
    ("W",): "(date_trunc('day', {0})::TIMESTAMP - to_days(((day({0}) - 1) % 7)::INTEGER))",
    ("WW",): "(date_trunc('day', {0})::TIMESTAMP - to_days(((dayofyear({0}) - 1) % 7)::INTEGER))",
}
_TRUNCATE = {unit: sql for units, sql in _UNITS.items() for unit in units}


def cut_date(name: str, args: list[Expr], context: Context) -> Expr:
    """TRUNC(date [, unit]), and ROUND to the day."""
    date = _date(args[0], context)
    unit = "DD"
    if len(args) > 1:
        if not isinstance(args[1].constant, str):
            raise unsupported(f"{name.upper()} of a date with a unit that is not a constant")
        unit = args[1].constant.upper()
    if unit not in _TRUNCATE:
        raise ora(1898)
    floor = _TRUNCATE[unit].format(date)
    if name == "round":
        rule = next((rule for units, rule in _ROUND.items() if unit in units), None)
        if rule is None:
            raise unsupported(f"ROUND of a date to {unit}")
        is_later, step = rule
        floor = f"({floor} + CASE WHEN {is_later.format(date)} THEN {step} ELSE to_days(0) END)"
    return Expr(floor, datatypes.DATE)


# ROUND's units -> when the upper end is the nearer one, and how far it is from the lower.
_ROUND = {
    ("DD", "DDD", "J"): ("hour({0}) >= 12", "to_days(1)"),
    ("MM", "MON", "MONTH", "RM"): ("day({0}) >= 16", "to_months(1)"),
    ("YYYY", "YEAR", "SYYYY", "YYY", "YY", "Y", "SYEAR"): ("month({0}) >= 7", "to_months(12)"),
    ("HH", "HH12", "HH24"): ("minute({0}) >= 30", "to_hours(1)"),
    ("MI",): ("second({0}) >= 30", "to_minutes(1)"),
}


def _to_date(args: list[Expr], context: Context) -> Expr:
    return _read(args, replace(datatypes.DATE), context)


def _to_timestamp(args: list[Expr], context: Context) -> Expr:
    mask = args[1].constant if len(args) > 1 else None
    is_coarse = isinstance(mask, str) and _NANOS.search(mask) is None
    return _read(args, replace(datatypes.TIMESTAMP, scale=9, is_coarse=is_coarse), context)


def _to_timestamp_tz(args: list[Expr], context: Context) -> Expr:
    return _read(args, replace(datatypes.TIMESTAMP, ora=OraType.TIMESTAMP_TZ), context)


def _read(args: list[Expr], kind: datatypes.SqlType, context: Context) -> Expr:
    if args[0].is_null or len(args) == 1:
        return to_time(args[0], kind, context)
    mask = args[1].constant
    if not isinstance(mask, str):
        raise unsupported("a date format that is not a constant")
    if args[0].type.is_time:  # TO_DATE(date, mask): by way of the session's text form, as Oracle does
        return read_time(to_text(args[0], context), mask, kind)
    return read_time(to_text(args[0], context), mask.replace("XFF", ".FF"), kind)


def _add_months(args: list[Expr], context: Context) -> Expr:
    return Expr(f"ora_add_months({_date(args[0], context)}, {whole(args[1], context)}::INTEGER)", datatypes.DATE)


def _last_day(args: list[Expr], context: Context) -> Expr:
    date = _date(args[0], context)
    return Expr(f"(last_day({date}) + ({date} - date_trunc('day', {date})))::TIMESTAMP", datatypes.DATE)


def _months_between(args: list[Expr], context: Context) -> Expr:
    """Whole months when the days of month agree or both are the last; otherwise the rest counts in 31-day months."""
    a, b = _date(args[0], context), _date(args[1], context)
    months = f"((year({a}) * 12 + month({a})) - (year({b}) * 12 + month({b})))"
    seconds = " - ".join(f"(day({d}) * 86400 + hour({d}) * 3600 + minute({d}) * 60 + second({d}))" for d in (a, b))
    even = f"(day({a}) = day({b}) OR ({a}::DATE = last_day({a}) AND {b}::DATE = last_day({b})))"
    rest = f"ora_div(ora_wide(({seconds})::VARCHAR), {wide(values.number(31 * 86_400)).sql})"
    sql = f"CASE WHEN {even} THEN ora_wide({months}::VARCHAR) ELSE ora_add(ora_wide({months}::VARCHAR), {rest}) END"
    return Expr(sql, datatypes.WIDE)


_WEEKDAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")


def _next_day(args: list[Expr], context: Context) -> Expr:
    """The first such weekday after the date, at the same time of day; three letters name a day."""
    name = args[1].constant
    if not isinstance(name, str):
        raise unsupported("NEXT_DAY to a day that is not a constant")
    named = [number for number, day in enumerate(_WEEKDAYS) if len(name) >= 3 and name.upper().startswith(day[:3])]
    if not named:
        raise ora(1846)
    date = _date(args[0], context)
    return Expr(f"({date} + to_days(((({named[0]} - dayofweek({date}) + 6) % 7) + 1)::INTEGER))", datatypes.DATE)


_SECONDS = {"DAY": 86_400, "HOUR": 3_600, "MINUTE": 60, "SECOND": 1}


def _numtodsinterval(args: list[Expr], context: Context) -> Expr:
    unit = args[1].constant
    if not isinstance(unit, str) or unit.upper() not in _SECONDS:
        raise ora(1760)
    number = wide(to_number(args[0], context)).sql
    span = wide(values.number(_SECONDS[unit.upper()] * 1_000_000)).sql
    micros = f"ora_round(ora_mul({number}, {span}), {wide(values.number(0)).sql})"
    return Expr(f"ora_plain({micros})::BIGINT", datatypes.INTERVAL)


def _to_dsinterval(args: list[Expr], context: Context) -> Expr:
    """TO_DSINTERVAL('[+-]days hours:minutes:seconds[.fraction]')."""
    text = to_text(args[0], context)
    return Expr(f"ora_dsinterval({text.sql})", datatypes.INTERVAL)


def extract(part: str, e: Expr, context: Context) -> Expr:
    """EXTRACT(part FROM date | timestamp | interval)."""
    part = part.upper()
    if e.type.ora is OraType.INTERVAL_DS:
        return _extract_interval(part, e)
    if not e.type.is_time:
        raise ora(30076)
    if part in ("TIMEZONE_HOUR", "TIMEZONE_MINUTE"):
        return zones.offset_part(part, e, context)
    sql = local_time(e, context) if e.type.ora is OraType.TIMESTAMP_LTZ else e.sql
    if part in ("YEAR", "MONTH", "DAY"):
        return Expr(f"{part.lower()}({sql})", datatypes.INTEGER)
    if e.type.ora is OraType.DATE or part not in ("HOUR", "MINUTE", "SECOND"):
        raise ora(30076)
    if part == "SECOND":
        kind = datatypes.free_number(11, 9)
        return Expr(f"CAST((epoch_ns({sql}) % 60000000000) * 0.000000001::DECIMAL(10,9) AS {kind.duckdb})", kind)
    return Expr(f"{part.lower()}({sql})", datatypes.INTEGER)


def _extract_interval(part: str, e: Expr) -> Expr:
    spans = {"DAY": (86_400_000_000, None), "HOUR": (3_600_000_000, 24), "MINUTE": (60_000_000, 60)}
    if part == "SECOND":
        kind = datatypes.free_number(8, 6)
        return Expr(f"CAST(({e.sql} % 60000000) * 0.000001::DECIMAL(7,6) AS {kind.duckdb})", kind)
    if part not in spans:
        raise ora(30076)
    span, wrap = spans[part]
    sql = f"({e.sql} // {span})"
    return Expr(f"({sql} % {wrap})" if wrap else sql, datatypes.INTEGER)


def _scn_to_timestamp(args: list[Expr], context: Context) -> Expr:
    scn = args[0].constant
    if not isinstance(scn, int | Decimal):
        raise unsupported("SCN_TO_TIMESTAMP of something else than a constant")
    moment = context.schema.moment_of(int(scn))
    return values.moment(moment, replace(datatypes.TIMESTAMP, scale=9))


def _timestamp_to_scn(args: list[Expr], context: Context) -> Expr:
    moment = args[0].constant
    if not isinstance(moment, dt.datetime):
        raise unsupported("TIMESTAMP_TO_SCN of something else than a constant")
    return values.number(context.schema.scn_at(moment))


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    "TO_DATE": (1, 2, _to_date),
    "TO_TIMESTAMP": (1, 2, _to_timestamp),
    "TO_TIMESTAMP_TZ": (1, 2, _to_timestamp_tz),
    "FROM_TZ": (2, 2, zones.from_tz),
    "SYS_EXTRACT_UTC": (1, 1, zones.sys_extract_utc),
    "ADD_MONTHS": (2, 2, _add_months),
    "NEXT_DAY": (2, 2, _next_day),
    "LAST_DAY": (1, 1, _last_day),
    "MONTHS_BETWEEN": (2, 2, _months_between),
    "TO_DSINTERVAL": (1, 1, _to_dsinterval),
    "NUMTODSINTERVAL": (2, 2, _numtodsinterval),
    "SCN_TO_TIMESTAMP": (1, 1, _scn_to_timestamp),
    "TIMESTAMP_TO_SCN": (1, 1, _timestamp_to_scn),
}
