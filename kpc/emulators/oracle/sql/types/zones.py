"""Time zones. A TIMESTAMP WITH TIME ZONE is held as its instant; its offset is known of expressions, not of columns."""

from __future__ import annotations

from dataclasses import replace

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import error_sql, ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, time_zone, values
from kpc.emulators.oracle.sql.types.time_zone import TimeZone
from kpc.emulators.oracle.sql.types.values import Expr

_MINUTE = 60_000_000  # in microseconds


def constant_zone(name: Expr) -> TimeZone:
    """Raises ORA-01882 for an unknown region, ORA-03001 for a name that is not a constant."""
    if not isinstance(name.constant, str):
        raise unsupported("a time zone that is not a constant")
    return time_zone.named(name.constant)


def to_local(sql: str, zone: TimeZone, kind: datatypes.SqlType) -> str:
    """The local time of a time in UTC."""
    if zone.minutes is not None:
        return _later(sql, str(zone.minutes * _MINUTE) if zone.minutes else "0", kind)
    region = values.quote(zone.name)
    return _later(sql, f"(epoch_us(timezone({region}, timezone('UTC', {_micros(sql)}))) - epoch_us({sql}))", kind)


def to_utc(sql: str, zone: TimeZone, kind: datatypes.SqlType) -> str:
    """The instant of a local time.

    An hour that comes twice is the one in winter time; one that a change of the clock leaves out raises ORA-01878.
    """
    if zone.minutes is not None:
        return _later(sql, str(-zone.minutes * _MINUTE) if zone.minutes else "0", kind)
    region, plain = values.quote(zone.name), _micros(sql)
    instant = f"timezone({region}, {plain})"
    shift = f"(epoch_us(timezone('UTC', {instant})) - epoch_us({sql}))"
    exists = f"timezone({region}, {instant}) = {plain}"
    return f"CASE WHEN {exists} IS NOT FALSE THEN {_later(sql, shift, kind)} ELSE {error_sql(1878)} END"


def _micros(sql: str) -> str:
    return f"({sql})::TIMESTAMP"


def _later(sql: str, micros: str, kind: datatypes.SqlType) -> str:
    """A time so many microseconds later; DuckDB's own addition would drop nanoseconds."""
    if micros == "0":
        return sql
    if kind.duckdb == "TIMESTAMP_NS":
        return f"make_timestamp_ns(epoch_ns({sql}) + ({micros}) * 1000)"
    return f"({sql} + to_microseconds({micros}))"


def local(e: Expr, context: Context) -> str:
    """The local time of a TIMESTAMP WITH TIME ZONE, in its own zone."""
    return to_local(e.sql, known_zone(e, context), e.type)


def known_zone(e: Expr, context: Context) -> TimeZone:
    if e.zone is None:
        if context.is_describe:
            return time_zone.UTC
        raise unsupported(
            "the own time zone of a stored TIMESTAMP WITH TIME ZONE: only its instant is kept; "
            "use SYS_EXTRACT_UTC or AT TIME ZONE"
        )
    return e.zone


def shown_offset(e: Expr, mask: str, context: Context) -> str:
    """The offset of a TIMESTAMP WITH TIME ZONE for TO_CHAR. ORA-03001 if the mask shows one that changes."""
    zone = known_zone(e, context)
    if zone.minutes is None and "TZ" in mask.upper():
        raise unsupported(f"the offset of {zone.name}, which changes, as text")
    return time_zone.fixed(zone.minutes or 0).name


def _zoned(e: Expr, zone: TimeZone) -> Expr:
    """The same instant seen in another zone."""
    scale = e.type.scale if e.type.ora is not OraType.DATE else 0
    return Expr(e.sql, replace(datatypes.TIMESTAMP, ora=OraType.TIMESTAMP_TZ, scale=scale), zone=zone)


def at_time_zone(e: Expr, zone: Expr, context: Context) -> Expr:
    """time AT TIME ZONE zone; a time without a zone is the session's."""
    if not e.type.is_time:
        raise ora(30084 if e.type.is_text else 932, "TIMESTAMP", e.type.word)
    seen_in = constant_zone(zone)
    if e.type.ora in (OraType.DATE, OraType.TIMESTAMP):
        e = replace(e, sql=to_utc(e.sql, context.settings.zone, e.type))
    return _zoned(e, seen_in)


def from_tz(args: list[Expr], _context: Context) -> Expr:
    """FROM_TZ(timestamp, zone)."""
    if args[0].type.ora is not OraType.TIMESTAMP:
        raise ora(932, "TIMESTAMP", args[0].type.word)
    zone = constant_zone(args[1])
    return _zoned(replace(args[0], sql=to_utc(args[0].sql, zone, args[0].type)), zone)


def sys_extract_utc(args: list[Expr], context: Context) -> Expr:
    """The instant as a TIMESTAMP in UTC."""
    e = args[0]
    if not e.type.is_time or e.type.ora is OraType.DATE:
        raise ora(30175 if e.type.ora is OraType.DATE else 932, "TIMESTAMP", e.type.word)
    kind = replace(datatypes.TIMESTAMP, scale=e.type.scale)
    if e.type.ora is OraType.TIMESTAMP:
        return Expr(to_utc(e.sql, context.settings.zone, e.type), kind)
    return Expr(e.sql, kind)


def offset_part(part: str, e: Expr, context: Context) -> Expr:
    """EXTRACT(TIMEZONE_HOUR | TIMEZONE_MINUTE FROM e)."""
    if e.type.ora is not OraType.TIMESTAMP_TZ:
        raise ora(30076)
    zone = known_zone(e, context)
    if zone.minutes is None:
        minutes = f"((epoch_us({local(e, context)}) - epoch_us({e.sql})) // {_MINUTE})"
        return Expr(f"({minutes} // 60)" if part == "TIMEZONE_HOUR" else f"({minutes} % 60)", datatypes.INTEGER)
    whole, rest = divmod(abs(zone.minutes), 60)
    sign = -1 if zone.minutes < 0 else 1
    return values.number(sign * (whole if part == "TIMEZONE_HOUR" else rest))
