"""Date format models that read: TO_DATE and TO_TIMESTAMP of a text, exactly as Oracle reads it."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass

from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import masks
from kpc.emulators.oracle.sql.types.masks import DIGITS, Element

MONTHS = [
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
]


_LIMITS = {
    "MM": (1, 12, 1843),
    "DD": (1, 31, 1847),
    "DDD": (1, 366, 1848),
    "HH24": (0, 23, 1850),
    "HH12": (1, 12, 1849),
    "HH": (1, 12, 1849),
    "MI": (0, 59, 1851),
    "SS": (0, 59, 1852),
    "SSSSS": (0, 86_399, 1853),
}


_TIME_CODES = frozenset({"HH24", "HH12", "HH", "MI", "SS", "SSSSS", "AM", "PM", "A.M.", "P.M.", "TZH", "TZM"})
_SHORT_YEAR = re.compile(r"(?<![YRI])(?:YY|RR)(?![YR])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a text says: local date and time, nanoseconds of the second, and minutes east of UTC if it names a zone."""

    value: dt.datetime
    nanos: int = 0
    offset_minutes: int | None = None


def read(text: str, mask: str, today: dt.date) -> Moment:
    """TO_DATE and TO_TIMESTAMP. Raises the ORA-018xx error that says what is wrong.

    `today` gives the year and month that the mask does not mention; the day is then the first. What YY or RR does not
    fit is tried with YYYY or RRRR (SQL Language Reference, String-to-Date Conversion Rules).
    """
    try:
        return _read(text, mask, today)
    except OraError:
        longer = _SHORT_YEAR.sub(lambda match: match[0] * 2, mask)
        if longer == mask:
            raise
        try:
            return _read(text, longer, today)
        except OraError:
            pass
        raise


def _read(text: str, mask: str, today: dt.date) -> Moment:
    elements = masks.parse(mask)
    if not elements:
        raise ora(1821)
    codes = [e.code for e in elements if e.code]
    if len(codes) != len(set(codes)):
        raise ora(1810)
    fields: dict[str, int] = {}
    rest = text.strip(" ")
    for index, element in enumerate(elements):
        if not element.code:
            rest = _read_literal(rest, element, elements[index + 1 :])
        elif not rest and (element.code in _TIME_CODES or element.code.startswith("FF")):
            continue
        else:
            rest = _read_element(rest, element, fields, today)
    if rest.strip(" "):
        raise ora(1830)
    return _assemble(fields, today)


def _read_literal(rest: str, element: Element, following: tuple[Element, ...]) -> str:
    if len(element.text) > 1 or element.text.isalnum():  # quoted text must stand there
        if not rest.startswith(element.text):
            raise ora(1861 if rest else 1840)
        return rest[len(element.text) :]
    if element.text == " ":
        return rest.lstrip(" ")
    if not rest:
        return rest
    if not rest[0].isalnum():
        return rest[1:]
    after = next((e for e in following if e.code), None)
    if after is None or not after.is_numeric:
        raise ora(1861)
    return rest  # digits may follow each other without the punctuation


def _read_element(rest: str, element: Element, fields: dict[str, int], today: dt.date) -> str:
    code = element.code
    if code in ("MON", "MONTH") or (code == "MM" and rest[:1].isalpha()):
        return _read_month(rest, fields)
    if code in ("AM", "PM", "A.M.", "P.M."):
        match = re.match(r"([AaPp])\.?[Mm]\.?", rest)
        if not match:
            raise ora(1855)
        fields["PM"] = int(match[1].upper() == "P")
        return rest[match.end() :]
    if code.startswith("FF"):
        match = re.match(rf"\d{{1,{int(code[2:] or 9)}}}", rest)
        if not match:
            raise ora(1880)
        fields["FF"] = int(match[0].ljust(9, "0"))
        return rest[match.end() :]
    if code in ("DAY", "DY"):
        raise unsupported(f"date format element {code} in TO_DATE")
    if code not in DIGITS:
        raise ora(1820)
    return _read_digits(rest, code, fields, today)


def _read_month(rest: str, fields: dict[str, int]) -> str:
    upper = rest.upper()
    for number, month in enumerate(MONTHS, 1):
        for word in (month, month[:3]):
            if upper.startswith(word):
                fields["MM"] = number
                return rest[len(word) :]
    raise ora(1843)


def _read_digits(rest: str, code: str, fields: dict[str, int], today: dt.date) -> str:
    sign = 1
    if code in ("TZH", "SYYYY") and rest[:1] in ("+", "-"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
        if code == "TZH":
            fields["TZ-"] = int(sign < 0)
    match = re.match(rf"[0-9]{{1,{DIGITS[code]}}}", rest)
    if not match:
        if not rest:
            raise ora(1840)
        raise ora(1841 if code in ("YYYY", "SYYYY") else 1858)
    value = int(match[0])
    if code in _LIMITS:
        low, high, error = _LIMITS[code]
        if not low <= value <= high:
            raise ora(error)
    if code in ("YYYY", "SYYYY", "RRRR", "YYY", "YY", "Y", "RR"):
        code, value = "YEAR", _year(value, code, len(match[0]), today) * sign
        if value < 1:
            raise ora(1841) if value == 0 else unsupported("years before Christ")
    fields[code] = value
    return rest[match.end() :]


def _year(value: int, code: str, digits: int, today: dt.date) -> int:
    if code in ("YYYY", "SYYYY") or (code == "RRRR" and digits > 2):
        return value
    if code in ("RR", "RRRR"):
        century = today.year // 100 * 100
        if today.year % 100 < 50:
            return value + (century if value < 50 else century - 100)
        return value + (century + 100 if value < 50 else century)
    span: int = 10 ** {"YYY": 3, "YY": 2, "Y": 1}[code]
    return today.year // span * span + value


def _assemble(fields: dict[str, int], today: dt.date) -> Moment:
    if "J" in fields:
        day = dt.date.fromordinal(fields["J"] - 1_721_425)
    elif "DDD" in fields:
        year = fields.get("YEAR", today.year)
        if fields["DDD"] == 366 and not calendar.isleap(year):
            raise ora(1848)
        day = dt.date(fields.get("YEAR", today.year), 1, 1) + dt.timedelta(days=fields["DDD"] - 1)
    else:
        try:
            day = dt.date(fields.get("YEAR", today.year), fields.get("MM", today.month), fields.get("DD", 1))
        except ValueError:
            raise ora(1839) from None
    hour = fields.get("HH24", 0)
    if "HH12" in fields or "HH" in fields:
        hour = fields.get("HH12", fields.get("HH", 0)) % 12 + 12 * fields.get("PM", 0)
    seconds = fields.get("SSSSS", hour * 3600 + fields.get("MI", 0) * 60 + fields.get("SS", 0))
    offset = None
    if "TZH" in fields:
        offset = (fields["TZH"] * 60 + fields.get("TZM", 0)) * (-1 if fields.get("TZ-") else 1)
    value = dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=seconds)
    return Moment(value, fields.get("FF", 0), offset)
