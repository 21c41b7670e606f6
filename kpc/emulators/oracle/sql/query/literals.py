"""Literals of dates, timestamps and intervals."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from decimal import Decimal

from sqlglot import exp

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes, time_zone, values, zones
from kpc.emulators.oracle.sql.types.values import Expr, quote


def date_literal(node: exp.Expr) -> Expr:
    """DATE '2024-02-29'."""
    text = str(node.this.this)
    match = re.fullmatch(r"\s*(\d{1,4})-(\d{1,2})-(\d{1,2})\s*", text)
    if not match:
        raise ora(1861)
    year, month, number = (int(part) for part in match.groups())
    if not 1 <= month <= 12:
        raise ora(1843)
    try:
        day = dt.datetime(year, month, number)  # noqa: DTZ001  DATE has no zone
    except ValueError:
        raise ora(1839) from None
    return values.moment(day, datatypes.DATE)


def timestamp_literal(node: exp.Expr) -> Expr:
    """TIMESTAMP '2024-02-29 23:59:58.5 +07:00'."""
    text = str(node.this.this).strip()
    match = re.fullmatch(
        r"(\d{1,4}-\d{1,2}-\d{1,2}) (\d{1,2}:\d{1,2}:\d{1,2})(?:\.(\d{1,9}))?"
        r"(?: ?([+-]\d{1,2}:\d{2}|[A-Za-z][\w/+-]*))?",
        text,
    )
    if not match:
        raise ora(1861)
    digits = match[3] or ""
    zone = match[4]
    # DuckDB counts nanoseconds from 1678 to 2261 only; beyond that a literal has six digits where Oracle has nine.
    is_near = 1678 <= int(match[1].split("-")[0]) <= 2261 or len(digits) > 6
    scale = 9 if is_near else 6
    kind = replace(datatypes.TIMESTAMP, scale=scale, ora=OraType.TIMESTAMP_TZ if zone else OraType.TIMESTAMP)
    text = f"{match[1]} {match[2]}" + (f".{digits}" if digits else "")
    sql = f"{quote(text)}::{'TIMESTAMP_NS' if is_near else 'TIMESTAMP'}"
    if zone is None:
        micros = digits[:6].ljust(6, "0")
        plain = dt.datetime.fromisoformat(f"{match[1]} {match[2]}.{micros}") if len(match[1]) == 10 else None
        return Expr(sql, kind, plain)
    known = time_zone.named(zone)
    return Expr(zones.to_utc(sql, known, kind), kind, zone=known)


def interval_literal(node: exp.Expr) -> Expr:
    """INTERVAL '...' DAY TO SECOND."""
    unit = node.args.get("unit")
    if not isinstance(node.this, exp.Literal) or unit is None:
        raise unsupported("this interval")
    span = re.sub(r"\(\d\)", "", unit.sql()).upper().split()
    return values.interval(_span(str(node.this.this), span[0], span[-1]))


def _span(text: str, first: str, last: str) -> dt.timedelta:
    """INTERVAL '1 02:03:04' DAY TO SECOND and its shorter forms."""
    units = ["DAY", "HOUR", "MINUTE", "SECOND"]
    if first not in units or last not in units:
        raise unsupported(f"INTERVAL {first}")
    names = units[units.index(first) : units.index(last) + 1]
    seconds = r"(\d+(?:\.\d+)?)"
    pattern = ""
    for unit in names:
        pattern += " " if pattern and names[names.index(unit) - 1] == "DAY" else ":" if pattern else ""
        pattern += seconds if unit == "SECOND" else r"(\d+)"
    match = re.fullmatch(r"\s*([+-]?)\s*" + pattern + r"\s*", text)
    if not match:
        raise ora(1867)
    micros = {"DAY": 86_400_000_000, "HOUR": 3_600_000_000, "MINUTE": 60_000_000, "SECOND": 1_000_000}
    total = sum(int(Decimal(part) * micros[unit]) for unit, part in zip(names, match.groups()[1:], strict=True))
    return dt.timedelta(microseconds=-total if match[1] == "-" else total)
