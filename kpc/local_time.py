"""The source's clock: Asia/Bangkok, a fixed seven hours ahead of UTC (the zone database differs before 1920)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

AHEAD_OF_UTC = timedelta(hours=7)
LOCAL = timezone(AHEAD_OF_UTC, "Asia/Bangkok")


def naive_local(moment: datetime) -> datetime:
    """An aware moment as Oracle's DATE columns spell it."""
    return moment.astimezone(LOCAL).replace(tzinfo=None)
