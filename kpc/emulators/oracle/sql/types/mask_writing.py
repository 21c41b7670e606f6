"""Date format models that write: TO_CHAR of a date as DuckDB SQL."""

from __future__ import annotations

from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import masks
from kpc.emulators.oracle.sql.types.masks import STRFTIME, Element

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
    for element in masks.parse(mask):
        if not element.code:
            pattern += element.text.replace("%", "%%")
        elif element.code in STRFTIME and (element.fill or element.code in ("AM", "PM")) and element.text.isupper():
            pattern += STRFTIME[element.code]
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
