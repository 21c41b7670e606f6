"""The source's time zone: Asia/Bangkok, always seven hours ahead of UTC (the zone database differs before 1920)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

AHEAD_OF_UTC = timedelta(hours=7)
LOCAL = timezone(AHEAD_OF_UTC, "Asia/Bangkok")


def naive_local(moment: datetime) -> datetime:
    """Convert an aware datetime to the naive local time that Oracle's DATE columns hold."""
    return moment.astimezone(LOCAL).replace(tzinfo=None)
