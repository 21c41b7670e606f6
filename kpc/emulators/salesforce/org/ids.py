"""Record ids: 15 case-sensitive characters (3 of them the object's prefix) and 3 that repeat their case."""

from __future__ import annotations

import re

import polars as pl

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_POD = "5g"
_SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\Z")
# The last two digits of an id, and for each state of the three before them the last of the check characters.
_PAIRS = pl.Series([high + low for high in _DIGITS for low in _DIGITS])
_PAIR_BITS = [high.isupper() << 3 | low.isupper() << 4 for high in _DIGITS for low in _DIGITS]
_PAIR_CHECKS = [pl.Series([_CHECK[known | bits] for bits in _PAIR_BITS]) for known in range(8)]


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
    parts = [pl.Series([], dtype=pl.String)]
    while count > 0:  # a stretch in which only the last two digits differ
        head_number, start = divmod(first, len(_PAIRS))
        taken = min(count, len(_PAIRS) - start)
        head = f"{prefix}{_POD}0{base62(head_number, 7)}"
        suffix = _suffix(head + "00")
        checks = _PAIR_CHECKS[_CHECK.index(suffix[2])]
        parts.append(
            pl.select(
                pl.concat_str(
                    pl.lit(head), _PAIRS[start : start + taken], pl.lit(suffix[:2]), checks[start : start + taken]
                )
            ).to_series()
        )
        first, count = first + taken, count - taken
    return pl.concat(parts)
