"""Record ids: 15 case-sensitive characters (3 of them the object's prefix) and 3 that repeat their case."""

from __future__ import annotations

import re

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_POD = "5g"
_SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\Z")


def check_characters(id_15: str) -> str:
    """The three characters that make the id safe where case is lost: one bit per upper-case letter."""
    parts = (id_15[start : start + 5] for start in (0, 5, 10))
    return "".join(CHECK[sum(1 << bit for bit, char in enumerate(part) if char.isupper())] for part in parts)


def to_18(text: str) -> str | None:
    """The 18-character form of an id of 15 or 18 characters; None when it is not an id."""
    if not _SHAPE.match(text):
        return None
    suffix = check_characters(text[:15])
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
    return id_15 + check_characters(id_15)
