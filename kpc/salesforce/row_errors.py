"""Parse and classify a rejected row's `sf__Error`, and remove personal values from it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kpc.untrusted_text import shown

ErrorClass = Literal["transient", "dependency", "data", "org", "unprocessed"]

_TRANSIENT = {
    "UNABLE_TO_LOCK_ROW",
    "REQUEST_RUNNING_TOO_LONG",
    "UNKNOWN_EXCEPTION",
    "API_TEMPORARILY_UNAVAILABLE",
    "TOOMANYLOCKFAILURE",
    "TIMEOUT",
    "INTERNALSERVERERROR",
}
_DEPENDENCY = {"INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED"}
_ORG = {
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    "INVALID_FIELD_FOR_INSERT_UPDATE",
    "STORAGE_LIMIT_EXCEEDED",
    "DUPLICATES_DETECTED",
}
_SHAPE = re.compile(r"(?P<code>[A-Z][A-Z0-9_]*):(?P<message>.*?)(?::(?P<fields>[\w.,\s]*))?(?:\s*--)?\s*", re.DOTALL)
# Where Salesforce quotes the values it was sent: after "data value too large:" and the like, and inside quotes.
_QUOTED = re.compile(
    r"(?<=too large: ).*?(?= \(max length)|(?<=value for field: ).+|(?<=invalid email address: ).+|"
    r"(?<=from an array: ).+|(?<=bad value for restricted picklist field: ).+|'[^']*'|\"[^\"]*\"",
    re.DOTALL | re.IGNORECASE,
)
_MOST_CHARACTERS = 2_000  # of an error that is kept; messages of triggers can be long
_SHORTEST = 2  # masking shorter values would blank out half the message


@dataclass(frozen=True, slots=True)
class RowError:
    code: str
    error_class: ErrorClass
    message: str
    fields: tuple[str, ...]


def parse_row_error(text: str, personal: Iterable[str] = ()) -> RowError:
    """`CODE:message:fields --` as a `RowError`; every value in `personal`, and every quoted one, becomes `***`.

    The texts are safe to show: control characters are escaped.
    """
    text = text[:_MOST_CHARACTERS].strip()
    match = _SHAPE.fullmatch(text)
    if match is None:
        return RowError("UNKNOWN", "data", shown(masked(text, personal), _MOST_CHARACTERS), ())
    fields = tuple(shown(name.strip()) for name in (match["fields"] or "").split(",") if name.strip())
    code, message = match["code"], match["message"]
    return RowError(code, _class_of(code, message), shown(masked(message, personal), _MOST_CHARACTERS), fields)


def masked(message: str, personal: Iterable[str]) -> str:
    for value in sorted(set(personal), key=len, reverse=True):
        if len(value) >= _SHORTEST:
            message = message.replace(value, "***")
    return _QUOTED.sub("***", message)


def _class_of(code: str, message: str) -> ErrorClass:
    if code in _TRANSIENT:
        return "transient"
    if code in _DEPENDENCY or (code == "INVALID_FIELD" and "foreign key external id" in message.lower()):
        return "dependency"
    return "org" if code in _ORG else "data"
