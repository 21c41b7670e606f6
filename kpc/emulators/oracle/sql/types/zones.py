"""Time zones. A TIMESTAMP WITH TIME ZONE is held as its instant; its offset is known of expressions, not of columns."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from dataclasses import replace
from functools import cache

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, values
from kpc.emulators.oracle.sql.types.values import Expr

_OFFSET = re.compile(r"([+-])(\d{1,2}):(\d{2})")
_YEARS = range(1970, 2038)


def zone_minutes(name: Expr) -> int:
    """Minutes east of UTC. Raises ORA-01882 for an unknown region, ORA-03001 for one whose offset changes."""
    if not isinstance(name.constant, str):
        raise unsupported("a time zone that is not a constant")
    text = name.constant.strip()
    match = _OFFSET.fullmatch(text)
    if match:
        minutes = int(match[2]) * 60 + int(match[3])
        if not -15 * 60 <= minutes <= 15 * 60 or int(match[3]) > 59:
            raise ora(1874 if int(match[3]) <= 59 else 1875)
        return -minutes if match[1] == "-" else minutes
    return _region_minutes(text)


@cache
def _region_minutes(name: str) -> int:
    try:
        zone = zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ora(1882) from None
    offsets = {dt.datetime(year, month, 1, tzinfo=zone).utcoffset() for year in _YEARS for month in (1, 7)}
    if len(offsets) > 1:
        raise unsupported(f"time zone {name}, whose offset changes")
    return (offsets.pop() or dt.timedelta()) // dt.timedelta(minutes=1)


def shifted(sql: str, minutes: int, kind: datatypes.SqlType) -> str:
    """A time so many minutes later; DuckDB's own addition would drop nanoseconds."""
    if not minutes:
        return sql
    if kind.duckdb == "TIMESTAMP_NS":
        return f"make_timestamp_ns(epoch_ns({sql}) + {minutes * 60_000_000_000})"
    return f"({sql} + to_minutes({minutes}))"


def local(e: Expr, context: Context) -> str:
    """The local time of a TIMESTAMP WITH TIME ZONE, in its own zone."""
    return shifted(e.sql, known_zone(e, context), e.type)


def known_zone(e: Expr, context: Context) -> int:
    if e.zone is None:
        if context.is_describe:
            return 0
        raise unsupported(
            "the own time zone of a stored TIMESTAMP WITH TIME ZONE: only its instant is kept; "
            "use SYS_EXTRACT_UTC or AT TIME ZONE"
        )
    return e.zone


def name_of(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _zoned(e: Expr, minutes: int) -> Expr:
    """The same instant seen in another zone."""
    scale = e.type.scale if e.type.ora is not OraType.DATE else 0
    return Expr(e.sql, replace(datatypes.TIMESTAMP, ora=OraType.TIMESTAMP_TZ, scale=scale), zone=minutes)


def at_time_zone(e: Expr, zone: Expr, context: Context) -> Expr:
    """time AT TIME ZONE zone; a time without a zone is the session's."""
    if not e.type.is_time:
        raise ora(30084 if e.type.is_text else 932, "TIMESTAMP", e.type.word)
    minutes = zone_minutes(zone)
    if e.type.ora in (OraType.DATE, OraType.TIMESTAMP):
        e = replace(e, sql=shifted(e.sql, -context.settings.zone_minutes, e.type))
    return _zoned(e, minutes)


def from_tz(args: list[Expr], _context: Context) -> Expr:
    """FROM_TZ(timestamp, zone)."""
    if args[0].type.ora is not OraType.TIMESTAMP:
        raise ora(932, "TIMESTAMP", args[0].type.word)
    minutes = zone_minutes(args[1])
    return _zoned(replace(args[0], sql=shifted(args[0].sql, -minutes, args[0].type)), minutes)


def sys_extract_utc(args: list[Expr], context: Context) -> Expr:
    """The instant as a TIMESTAMP in UTC."""
    e = args[0]
    if not e.type.is_time or e.type.ora is OraType.DATE:
        raise ora(30175 if e.type.ora is OraType.DATE else 932, "TIMESTAMP", e.type.word)
    kind = replace(datatypes.TIMESTAMP, scale=e.type.scale)
    if e.type.ora is OraType.TIMESTAMP:
        return Expr(shifted(e.sql, -context.settings.zone_minutes, e.type), kind)
    return Expr(e.sql, kind)


def offset_part(part: str, e: Expr, context: Context) -> Expr:
    """EXTRACT(TIMEZONE_HOUR | TIMEZONE_MINUTE FROM e)."""
    if e.type.ora is not OraType.TIMESTAMP_TZ:
        raise ora(30076)
    minutes = known_zone(e, context)
    whole, rest = divmod(abs(minutes), 60)
    sign = -1 if minutes < 0 else 1
    return values.number(sign * (whole if part == "TIMEZONE_HOUR" else rest))
