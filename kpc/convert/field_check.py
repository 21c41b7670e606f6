"""Whether a target field accepts a text, by the catalog's declaration; for values that people typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID_LENGTH, Column, FieldKind
from kpc.salesforce.constants import NULL_TOKEN

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def wrong_cells(table: Table, row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Field and reason of every cell that its field does not accept; the values themselves are not repeated."""
    for lookup in table.lookups:
        if (text := row.get(lookup.header)) is not None and len(text) > EXTERNAL_ID_LENGTH:
            yield lookup.header, f"is longer than {EXTERNAL_ID_LENGTH} characters"
        if lookup.required and row.get(lookup.header) in ("", NULL_TOKEN):
            yield lookup.header, "is required"
    for column in table.sent_columns:
        name = column.field or ""
        if (text := row.get(name)) is not None and (reason := wrong_value(column, text)):
            yield name, reason


def wrong_value(column: Column, text: str) -> str:  # noqa: PLR0911  one line per kind of field
    """Why the field does not accept the text; empty if it does. `#N/A` and empty text mean null."""
    kind = column.type
    if kind is None:
        return "is not sent"
    if text in ("", NULL_TOKEN):
        return "is required" if column.is_required else ""
    if kind.is_text:
        return _wrong_text(column, text)
    if kind.is_number:
        return _wrong_number(text, kind.precision, kind.scale)
    match kind.kind:
        case FieldKind.BOOLEAN:
            return "" if text in ("true", "false") else "is neither true nor false"
        case FieldKind.DATE:
            return "" if _is_date(text) else "is not a date like 2024-01-31"
        case _:
            return "" if _is_moment(text) else "is not a UTC time like 2024-01-31T05:00:00.000Z"


def _wrong_text(column: Column, text: str) -> str:
    kind = column.type
    assert kind is not None  # noqa: S101  checked by the caller
    if len(text) > kind.length:
        return f"has {len(text)} characters, the field holds {kind.length}"
    if _CONTROL.search(text):
        return "has a control character"
    if kind.kind is FieldKind.PICKLIST and kind.values and text not in kind.values:
        return f"is not one of {', '.join(kind.values)}"
    if kind.kind is FieldKind.EMAIL and not _EMAIL.fullmatch(text):
        return "is not an e-mail address"
    return ""


def _wrong_number(text: str, precision: int, scale: int) -> str:
    if not _NUMBER.fullmatch(text):
        return "is not a number like -12.50"
    whole, _, decimals = text.lstrip("-").partition(".")
    if len(whole.lstrip("0")) > precision - scale:
        return f"has more than {precision - scale} digits before the decimal point"
    return f"has more than {scale} decimal places" if len(decimals.rstrip("0")) > scale else ""


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_moment(text: str) -> bool:
    try:
        datetime.strptime(text, _MOMENT)  # noqa: DTZ007  the Z is part of the pattern
    except ValueError:
        return False
    return True
