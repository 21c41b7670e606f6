"""SOQL's relative dates: TODAY, LAST_N_DAYS:7, THIS_MONTH and similar, as half-open ranges of days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from kpc.emulators.salesforce.soql.lexer import malformed

Days = tuple[date, date]  # first day, and the day after the last


def _day(offset: int) -> Callable[[date], Days]:
    return lambda today: (today + timedelta(offset), today + timedelta(offset + 1))


def _week(offset: int) -> Callable[[date], Days]:
    def days(today: date) -> Days:
        sunday = today - timedelta((today.weekday() + 1) % 7) + timedelta(weeks=offset)
        return sunday, sunday + timedelta(7)

    return days


def _add_months(first: date, months: int) -> date:
    index = first.year * 12 + first.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _months(length: int, offset: int) -> Callable[[date], Days]:
    """The calendar month, quarter or year that is `offset` of them away."""

    def days(today: date) -> Days:
        start = date(today.year, (today.month - 1) // length * length + 1, 1)
        start = _add_months(start, offset * length)
        return start, _add_months(start, length)

    return days


_FIXED: dict[str, Callable[[date], Days]] = {
    "YESTERDAY": _day(-1),
    "TODAY": _day(0),
    "TOMORROW": _day(1),
    "LAST_WEEK": _week(-1),
    "THIS_WEEK": _week(0),
    "NEXT_WEEK": _week(1),
    "LAST_90_DAYS": lambda today: (today - timedelta(90), today + timedelta(1)),
    "NEXT_90_DAYS": lambda today: (today + timedelta(1), today + timedelta(91)),
    **{
        f"{which}_{fiscal}{unit}": _months(length, offset)
        for unit, length in (("MONTH", 1), ("QUARTER", 3), ("YEAR", 12))
        for which, offset in (("LAST", -1), ("THIS", 0), ("NEXT", 1))
        for fiscal in ("", "FISCAL_")
    },
}


def days_of(name: str, count: int | None, today: date) -> Days:
    """The days that a date literal means. Raises MALFORMED_QUERY for an unknown one."""
    try:
        if name in _FIXED and count is None:
            return _FIXED[name](today)
        if count is not None:
            return _counted(name, count, today)
    except (OverflowError, ValueError) as error:
        raise malformed(f"{name}:{count} is outside the calendar") from error
    raise malformed(f"unexpected token: {name} (expecting a value)")


def _counted(name: str, count: int, today: date) -> Days:
    tomorrow = today + timedelta(1)
    if name == "LAST_N_DAYS":
        return today - timedelta(count), tomorrow
    if name == "NEXT_N_DAYS":
        return tomorrow, tomorrow + timedelta(count)
    if name == "N_DAYS_AGO":
        return _day(-count)(today)
    for unit, whole in (("WEEKS", _week), ("MONTHS", None), ("QUARTERS", None), ("YEARS", None)):
        length = {"MONTHS": 1, "QUARTERS": 3, "YEARS": 12}.get(unit, 0)

        def of(
            offset: int, whole: Callable[[int], Callable[[date], Days]] | None = whole, length: int = length
        ) -> Days:
            return (whole(offset) if whole else _months(length, offset))(today)

        if name == f"LAST_N_{unit}":
            return of(-count)[0], of(0)[0]
        if name == f"NEXT_N_{unit}":
            return of(1)[0], of(count)[1]
        if name == f"N_{unit}_AGO":
            return of(-count)
    raise malformed(f"unexpected token: {name}:{count} (expecting a value)")
