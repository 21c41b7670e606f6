"""Date format models: one mask becomes a list of elements, which write a date as DuckDB SQL and read a text exactly.

Source: Oracle SQL Language Reference, "Datetime Format Models". An element that is not listed is refused.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache

from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.sql.messages import ora, unsupported

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
_ELEMENT = re.compile(
    r'"(?P<quoted>[^"]*)"|(?P<code>SYYYY|YYYY|Y,YYY|YYY|YY|Y|RRRR|RR|IYYY|IYY|IY|IW|I|CC|Q|MONTH|MON|MM|RM|WW|W|DDD|DD|DAY|DY|D'
    r"|J|HH24|HH12|HH|MI|SSSSS|SS|FF[1-9]?|A\.M\.|P\.M\.|AM|PM|"
    r"B\.C\.|A\.D\.|BC|AD|TZH|TZM|TZR|TZD|X|FM|FX|TS|DS|DL)|(?P<punct>[-/,.;: ])",
    re.IGNORECASE,
)
# strftime's word for elements that mean exactly the same.
_STRFTIME = {
    "YYYY": "%Y",
    "MM": "%m",
    "DD": "%d",
    "HH24": "%H",
    "HH12": "%I",
    "HH": "%I",
    "MI": "%M",
    "SS": "%S",
    "DDD": "%j",
    "AM": "%p",
    "PM": "%p",
}
# The widest text of each element, in characters, for describe.
_WIDTHS = {
    "YYYY": 4, "SYYYY": 5, "RRRR": 4, "Y,YYY": 5, "IYYY": 4, "MONTH": 36, "MON": 12, "DAY": 36, "DY": 12, "DDD": 3,
    "J": 7, "SSSSS": 5, "FF": 9, "Q": 1, "W": 1, "D": 1, "Y": 1, "I": 1, "X": 1, "YYY": 3, "IYY": 3, "A.M.": 4,
    "P.M.": 4,
    "TZH": 3, "RM": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Element:
    """`code` is upper case ('' for literal text); `text` is what stood in the mask."""

    code: str
    text: str
    fill: bool = True  # False after FM: no padding, no leading zeros

    @property
    def is_numeric(self) -> bool:
        return self.code in _DIGITS


@lru_cache(maxsize=512)
def parse(mask: str) -> tuple[Element, ...]:
    """Raises ORA-01821 for what is not a date format at all."""
    elements: list[Element] = []
    position, fill = 0, True
    while position < len(mask):
        match = _ELEMENT.match(mask, position)
        if not match:
            raise ora(1821)
        position = match.end()
        if match["code"] is None:
            elements.append(Element("", match["quoted"] if match["quoted"] is not None else match["punct"]))
            continue
        code = match["code"].upper()
        if code == "FM":
            fill = not fill
        elif code == "FX":
            raise unsupported("format modifier FX")
        elif mask[position : position + 2].upper() in ("TH", "SP"):
            raise unsupported("format suffix TH or SP")
        else:
            elements.append(Element(code, match["code"], fill))
    return tuple(elements)


def width(mask: str) -> int:
    """The longest text that TO_CHAR makes with this mask, in characters."""
    return sum(_WIDTHS.get(e.code, 2) if e.code else len(e.text) for e in parse(mask)) or 1


def _cased(sql: str, sample: str) -> str:
    if sample[:2].isupper():
        return f"upper({sql})"
    return sql if sample[:1].isupper() else f"lower({sql})"


def to_char_sql(value: str, mask: str, *, places: int = 0, offset: str | None = None) -> str:
    """DuckDB SQL that writes the TIMESTAMP `value` by the mask.

    `places`: fractional digits it has; `offset`: its zone.
    """
    pieces: list[str] = []
    pattern = ""
    for element in parse(mask):
        if not element.code:
            pattern += element.text.replace("%", "%%")
        elif element.code in _STRFTIME and (element.fill or element.code in ("AM", "PM")) and element.text.isupper():
            pattern += _STRFTIME[element.code]
        else:
            if pattern:
                pieces.append(_strftime(value, pattern))
            pattern = ""
            pieces.append(_element_sql(value, element, places, offset))
    if pattern or not pieces:
        pieces.append(_strftime(value, pattern))
    return f"({' || '.join(pieces)})"


def _strftime(value: str, pattern: str) -> str:
    if "%" not in pattern.replace("%%", ""):
        return "'" + pattern.replace("%%", "%").replace("'", "''") + "'"
    return f"strftime({value}, '" + pattern.replace("'", "''") + "')"


def _padded(number: str, digits: int, *, fill: bool) -> str:
    return f"lpad(({number})::VARCHAR, {digits}, '0')" if fill else f"({number})::VARCHAR"


def _element_sql(value: str, element: Element, places: int, offset: str | None) -> str:
    code = element.code
    if code in ("MONTH", "DAY", "MON", "DY"):
        word = {"MONTH": "%B", "DAY": "%A", "MON": "%b", "DY": "%a"}[code]
        shown = _cased(f"strftime({value}, '{word}')", element.text)
        return f"rpad({shown}, 9, ' ')" if code in ("MONTH", "DAY") and element.fill else shown
    if code in ("AM", "PM", "A.M.", "P.M."):
        shown = f"strftime({value}, '%p')"
        shown = f"(substr({shown}, 1, 1) || '.M.')" if "." in code else shown
        return shown if element.text.isupper() else f"lower({shown})"
    if code.startswith("FF"):
        return _fraction_sql(value, int(code[2:] or places or 6))
    if code in ("TZH", "TZM"):
        if offset is None:
            raise ora(1821)
        return f"'{offset[:3] if code == 'TZH' else offset[4:]}'"
    if code not in _NUMBERS:
        raise unsupported(f"date format element {element.text} in TO_CHAR")
    number, digits = _NUMBERS[code]
    return _padded(number.format(value), digits, fill=element.fill)


def _fraction_sql(value: str, digits: int) -> str:
    fraction = f"(epoch_ns({value}) % 1000000000)"
    positive = f"({fraction} + CASE WHEN {fraction} < 0 THEN 1000000000 ELSE 0 END)"
    nanos = f"lpad({positive}::VARCHAR, 9, '0')"
    return f"substr({nanos}, 1, {digits})"


# Elements that are a number: how DuckDB gets it, and its digits.
_NUMBERS = {
    "YYYY": ("year({0})", 4),
    "RRRR": ("year({0})", 4),
    "YYY": ("year({0}) % 1000", 3),
    "YY": ("year({0}) % 100", 2),
    "RR": ("year({0}) % 100", 2),
    "Y": ("year({0}) % 10", 1),
    "IYYY": ("isoyear({0})", 4),
    "IYY": ("isoyear({0}) % 1000", 3),
    "IY": ("isoyear({0}) % 100", 2),
    "I": ("isoyear({0}) % 10", 1),
    "CC": ("(year({0}) + 99) // 100", 2),
    "Q": ("quarter({0})", 1),
    "MM": ("month({0})", 2),
    "IW": ("weekofyear({0})", 2),
    "WW": ("(dayofyear({0}) - 1) // 7 + 1", 2),
    "W": ("(day({0}) - 1) // 7 + 1", 1),
    "DDD": ("dayofyear({0})", 3),
    "DD": ("day({0})", 2),
    "D": ("dayofweek({0}) + 1", 1),
    "J": ("date_diff('day', DATE '1970-01-01', {0}::DATE) + 2440588", 7),
    "HH24": ("hour({0})", 2),
    "HH12": ("(hour({0}) + 11) % 12 + 1", 2),
    "HH": ("(hour({0}) + 11) % 12 + 1", 2),
    "MI": ("minute({0})", 2),
    "SS": ("second({0})", 2),
    "SSSSS": ("hour({0}) * 3600 + minute({0}) * 60 + second({0})", 5),
}

# Reading: how many digits an element takes at most.
_DIGITS = {
    "YYYY": 4, "SYYYY": 4, "RRRR": 4, "YYY": 3, "YY": 2, "Y": 1, "RR": 2, "MM": 2, "DD": 2, "DDD": 3, "HH24": 2,
    "HH12": 2, "HH": 2,
    "MI": 2, "SS": 2, "SSSSS": 5, "J": 7, "TZH": 2, "TZM": 2,
}  # fmt: skip
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


@dataclass(frozen=True, slots=True)
class Moment:
    """What a text says: local date and time, nanoseconds of the second, and minutes east of UTC if it names a zone."""

    value: dt.datetime
    nanos: int = 0
    offset_minutes: int | None = None


_SHORT_YEAR = re.compile(r"(?<![YRI])(?:YY|RR)(?![YR])", re.IGNORECASE)


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
    elements = parse(mask)
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
    if code not in _DIGITS:
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
    match = re.match(rf"[0-9]{{1,{_DIGITS[code]}}}", rest)
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


def strict_form(mask: str) -> tuple[str, str] | None:
    """(regular expression, strptime format) for a mask of fixed-width numbers; None for any other.

    A text that matches means the same to strptime as to Oracle, so that DuckDB can read it without Python.
    """
    pattern = form = ""
    seen: set[str] = set()
    for element in parse(mask):
        code = element.code
        if not code:
            pattern += re.escape(element.text).replace("\\ ", " ").replace("'", "''")
            form += element.text.replace("%", "%%").replace("'", "''")
        elif code in ("YYYY", "MM", "DD", "HH24", "MI", "SS") and code not in seen:
            seen.add(code)
            pattern += "[1-9][0-9]{3}" if code == "YYYY" else "[0-9]{2}"
            form += _STRFTIME[code]
        else:
            return None
    return (pattern, form) if {"YYYY", "MM", "DD"} <= seen else None
