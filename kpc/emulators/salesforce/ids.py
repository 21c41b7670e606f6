"""Record ids: 15 case-sensitive characters (3 of them the object's prefix) and 3 that repeat their case."""

from __future__ import annotations

import re

import polars as pl

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_POD = "5g"
_LOW = 62**5
_SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\Z")
_DIGIT_SERIES = pl.Series(list(_DIGITS))
_CHECK_SERIES = pl.Series(list(_CHECK))


def _suffix(id_15: str) -> str:
    """The three characters that make the id safe where case is lost: one bit per upper-case letter."""
    parts = (id_15[start : start + 5] for start in (0, 5, 10))
    return "".join(_CHECK[sum(1 << bit for bit, char in enumerate(part) if char.isupper())] for part in parts)


def to_18(text: str) -> str | None:
    """The 18-character form of an id of 15 or 18 characters; None when it is not an id."""
    if not _SHAPE.match(text):
        return None
    suffix = _suffix(text[:15])
    if len(text) == 18 and text[15:].upper() != suffix:
        return None
    return text[:15] + suffix


def base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def make_id(prefix: str, number: int) -> str:
    id_15 = f"{prefix}{_POD}0{base62(number, 9)}"
    return id_15 + _suffix(id_15)


def make_ids(prefix: str, first: int, count: int) -> pl.Series:
    """`count` consecutive ids from number `first`, as one text series."""
    if count == 0:
        return pl.Series([], dtype=pl.String)
    high = first // _LOW
    if (first + count - 1) // _LOW != high:
        return pl.Series([make_id(prefix, first + index) for index in range(count)])
    head = f"{prefix}{_POD}0{base62(high, 4)}"
    low = pl.int_range(first % _LOW, first % _LOW + count, eager=True)
    places = [(low // 62**power) % 62 for power in (4, 3, 2, 1, 0)]
    bits = pl.zeros(count, dtype=pl.Int64, eager=True)
    for position, place in enumerate(places):
        bits += place.is_between(10, 35).cast(pl.Int64) * (1 << position)
    text = pl.Series([head], dtype=pl.String).new_from_index(0, count)
    for place in places:
        text += _DIGIT_SERIES.gather(place)
    return text + _suffix(head + "00000")[:2] + _CHECK_SERIES.gather(bits)
