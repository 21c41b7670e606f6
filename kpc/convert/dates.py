"""Dates and times: text in its declared format and calendar, local time to UTC, and the years Salesforce accepts.

Nothing is guessed: text that is not exactly in the declared format (`2024-1-5`, `31/02/2567`) is rejected. Bangkok
is a fixed seven hours ahead of UTC; the time zone database has other offsets before 1920.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from kpc.catalog.types import Calendar, DateFormat
from kpc.local_time import AHEAD_OF_UTC

LOCAL_AHEAD = pl.lit(AHEAD_OF_UTC)
FIRST_DAY = date(1700, 1, 1)  # Salesforce's range of dates
LAST_DAY = date(4000, 12, 31)
_FIRST_MOMENT = datetime(1700, 1, 1)  # noqa: DTZ001  compared with UTC values that carry no zone
_AFTER_LAST_MOMENT = datetime(4001, 1, 1)  # noqa: DTZ001  the same

_DAY_SHAPE = {False: "[0-9]{4}-[0-9]{2}-[0-9]{2}", True: "[0-9]{2}/[0-9]{2}/[0-9]{4}"}
_TIME_SHAPE = " (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_DAY_FORMAT = {False: "%Y-%m-%d", True: "%d/%m/%Y"}


def parsed(text: pl.Expr, date_format: DateFormat, calendar: Calendar) -> pl.Expr:
    """A trimmed text as a Date or local Datetime; null if it is not in the declared format."""
    shape = f"^{_DAY_SHAPE[date_format.is_day_first]}{_TIME_SHAPE if date_format.has_time else ''}$"
    # The shape is checked first: the parser would accept single digits, signs and a sixtieth second.
    spelled: pl.Expr = pl.when(text.str.contains(shape)).then(text)
    if calendar.year_offset:
        spelled = _with_gregorian_year(spelled, date_format, calendar.year_offset)
    pattern = _DAY_FORMAT[date_format.is_day_first]
    if date_format.has_time:
        return spelled.str.to_datetime(f"{pattern} %H:%M:%S", time_unit="us", strict=False)
    return spelled.str.to_date(pattern, strict=False)


def _with_gregorian_year(text: pl.Expr, date_format: DateFormat, offset: int) -> pl.Expr:
    """The same text with a Gregorian year, before parsing: 29 February 2567 is valid because 2024 is a leap year."""
    start = 6 if date_format.is_day_first else 0
    year = text.str.slice(start, 4).cast(pl.Int32, strict=False) - offset
    spelled_year = year.cast(pl.String).str.zfill(4)
    return pl.concat_str(text.str.slice(0, start), spelled_year, text.str.slice(start + 4))


def to_utc(local: pl.Expr) -> pl.Expr:
    """A local time as UTC; a fraction of a second is dropped, because the target's DateTime has none."""
    return local.cast(pl.Datetime("us")) - LOCAL_AHEAD


def to_local(utc: pl.Expr) -> pl.Expr:
    return utc.cast(pl.Datetime("us")) + LOCAL_AHEAD


def is_outside_days(day: pl.Expr) -> pl.Expr:
    return (day < pl.lit(FIRST_DAY)) | (day > pl.lit(LAST_DAY))


def is_outside_moments(utc: pl.Expr) -> pl.Expr:
    return (utc < pl.lit(_FIRST_MOMENT)) | (utc >= pl.lit(_AFTER_LAST_MOMENT))


def spelled_day(day: pl.Expr) -> pl.Expr:
    return day.dt.strftime("%Y-%m-%d")


def is_outside_month(day: pl.Expr, month: str) -> pl.Expr:
    """True for a day or local time outside the given month, e.g. `2024-05`."""
    return (day.dt.year() != int(month[:4])) | (day.dt.month() != int(month[5:]))


def spelled_utc(utc: pl.Expr) -> pl.Expr:
    """`2024-05-01T17:00:00.000Z`"""
    return utc.dt.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def spelled_local(local: pl.Expr) -> pl.Expr:
    """A local time as part of a key or in a text field: `2024-05-02 00:00:00`."""
    return local.dt.strftime("%Y-%m-%d %H:%M:%S")
