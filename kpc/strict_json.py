"""JSON from servers, read strictly: UTF-8, no key twice, no NaN, numbers of bounded length and depth."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

_MOST_DIGITS = 60  # of a number: Oracle's have 38 and Salesforce's 18
_MOST_EXPONENT_CHARACTERS = 4  # of a double: a sign and three digits
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(content: bytes) -> Any:
    """The value, with exact decimals. Raises `ValueError` with a reason that completes "its JSON ..."."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if not text.strip():
        raise ValueError("is missing: the body is empty")
    try:
        value = json.loads(
            text,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_refused_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot be read ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if _SURROGATE.search(content) and not _is_unicode(value):
        raise ValueError("has half of a character (a lone surrogate)")
    return value


def _decimal(text: str) -> Decimal:
    exponent = text.lower().partition("e")[2]
    if len(text) > _MOST_DIGITS or len(exponent) > _MOST_EXPONENT_CHARACTERS:
        raise ValueError("has a number of too many digits")
    return Decimal(text)


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("has a number of too many digits")
    return int(text)


def _refused_constant(text: str) -> NoReturn:
    raise ValueError(f"has the number {text}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("has a key twice in one object")
    return value


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True
