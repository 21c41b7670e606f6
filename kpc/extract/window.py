"""The hours of the day in which the DBA allows reading from Oracle: `22:00-06:00`, local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from kpc.errors import ConfigError, OutsideWindow
from kpc.local_time import LOCAL

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """From `opens` up to but not including `closes`; it spans midnight if `closes` is earlier."""

    opens: time
    closes: time

    @classmethod
    def of(cls, text: str) -> DailyWindow | None:
        """Parse a setting; None for an empty one, which means always open. Raises `ConfigError`."""
        if not text:
            return None
        found = _FORM.fullmatch(text)
        if found is None or found.group(1, 2) == found.group(3, 4):
            raise ConfigError(
                f"{text!r} is not a daily window.",
                "Set KPC__ORACLE__WINDOW like 22:00-06:00, local time, or leave it empty.",
            )
        first, second, third, fourth = map(int, found.groups())
        return cls(time(first, second), time(third, fourth))

    def is_open(self, now: datetime) -> bool:
        local = now.astimezone(LOCAL).time()
        if self.opens < self.closes:
            return self.opens <= local < self.closes
        return local >= self.opens or local < self.closes

    def next_opening(self, now: datetime) -> datetime:
        """When it opens next, in the time zone of `now`."""
        local = now.astimezone(LOCAL)
        opening = datetime.combine(local.date(), self.opens, LOCAL)
        return (opening if opening > local else opening + timedelta(days=1)).astimezone(now.tzinfo)


def refuse_outside(setting: str, now: datetime) -> None:
    """Raises `OutsideWindow` if Oracle may not be read now."""
    window = DailyWindow.of(setting)
    if window is None or window.is_open(now):
        return
    opens = window.next_opening(now)
    raise OutsideWindow(
        f"Oracle may be read from {setting} only (Asia/Bangkok); it is {now.astimezone(LOCAL):%H:%M}.",
        f"Airflow continues by itself at {opens.astimezone(LOCAL):%Y-%m-%d %H:%M}; without it, run the same command "
        "then. Finished chunks are kept.",
        again_utc=opens,
    )
