"""Date format models: one mask becomes a list of elements (see `mask_writing` and `mask_reading`).

Source: Oracle SQL Language Reference, "Datetime Format Models". An element that is not listed is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kpc.emulators.oracle.sql.messages import ora, unsupported

_ELEMENT = re.compile(
    r'"(?P<quoted>[^"]*)"|(?P<code>SYYYY|YYYY|Y,YYY|YYY|YY|Y|RRRR|RR|IYYY|IYY|IY|IW|I|CC|Q|MONTH|MON|MM|RM|WW|W|DDD|DD|DAY|DY|D'
    r"|J|HH24|HH12|HH|MI|SSSSS|SS|FF[1-9]?|A\.M\.|P\.M\.|AM|PM|"
    r"B\.C\.|A\.D\.|BC|AD|TZH|TZM|TZR|TZD|X|FM|FX|TS|DS|DL)|(?P<punct>[-/,.;: ])",
    re.IGNORECASE,
)
# strftime's word for elements that mean exactly the same.
STRFTIME = {
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
# How many digits an element that is read as a number takes at most.
DIGITS = {
    "YYYY": 4, "SYYYY": 4, "RRRR": 4, "YYY": 3, "YY": 2, "Y": 1, "RR": 2, "MM": 2, "DD": 2, "DDD": 3, "HH24": 2,
    "HH12": 2, "HH": 2,
    "MI": 2, "SS": 2, "SSSSS": 5, "J": 7, "TZH": 2, "TZM": 2,
}  # fmt: skip
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
        return self.code in DIGITS


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
            form += STRFTIME[code]
        else:
            return None
    return (pattern, form) if {"YYYY", "MM", "DD"} <= seen else None
