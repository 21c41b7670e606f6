"""A time zone by name: an offset, or a region whose offset may change with the seasons."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from dataclasses import dataclass
from functools import cache

from kpc.emulators.oracle.sql.messages import ora

_OFFSET = re.compile(r"([+-]?)(\d{1,2}):(\d{2})")
_YEARS = range(1970, 2038)


@dataclass(frozen=True, slots=True)
class TimeZone:
    """`minutes` east of UTC; None for a region whose offset changes, which then has the name of the tz database."""

    name: str
    minutes: int | None

    def local(self, moment: dt.datetime) -> dt.datetime:
        """The local time of a moment in UTC; both without tzinfo."""
        if self.minutes is not None:
            return moment + dt.timedelta(minutes=self.minutes)
        return moment.replace(tzinfo=dt.UTC).astimezone(zoneinfo.ZoneInfo(self.name)).replace(tzinfo=None)


def fixed(minutes: int) -> TimeZone:
    return TimeZone(f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}", minutes)


UTC = fixed(0)


def named(text: str) -> TimeZone:
    """An offset or a region, in any case. Raises ORA-01874, ORA-01875, or ORA-01882 for an unknown region."""
    match = _OFFSET.fullmatch(text.strip())
    if match is None:
        return _region(text.strip().upper())
    if int(match[3]) > 59:
        raise ora(1875)
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > 15 * 60:
        raise ora(1874)
    return fixed(-minutes if match[1] == "-" else minutes)


@cache
def _region(upper: str) -> TimeZone:
    name = _regions().get(upper)
    if name is None:
        raise ora(1882)
    zone = zoneinfo.ZoneInfo(name)
    offsets = {dt.datetime(year, month, 1, tzinfo=zone).utcoffset() for year in _YEARS for month in range(1, 13)}
    if len(offsets) > 1:
        return TimeZone(name, None)
    return TimeZone(name, (offsets.pop() or dt.timedelta()) // dt.timedelta(minutes=1))


@cache
def _regions() -> dict[str, str]:
    return {name.upper(): name for name in zoneinfo.available_timezones()}
