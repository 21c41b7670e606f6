"""CSV rows of a table as record bodies for composite collections, with typed values instead of text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD, FieldKind
from kpc.salesforce import Salesforce, SavedRecord
from kpc.salesforce.collections import FieldValue, RecordBody
from kpc.salesforce.constants import NULL_TOKEN

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def upsert_rows(salesforce: Salesforce, table: Table, rows: Sequence[Mapping[str, str]]) -> list[SavedRecord]:
    """Upsert CSV rows (header cell to text) by external id; one answer per row, in order."""
    bodies = record_bodies(table, rows)
    return salesforce.upsert_records(table.target, EXTERNAL_ID, bodies, mark_field=GENERATION_FIELD)


def update_rows(salesforce: Salesforce, table: Table, rows: Sequence[Mapping[str, str]]) -> list[SavedRecord]:
    """Update existing records by their `Id`, otherwise like `upsert_rows`. Never creates records."""
    return salesforce.update_records(table.target, record_bodies(table, rows))


def record_bodies(table: Table, rows: Sequence[Mapping[str, str]]) -> list[RecordBody]:
    """Rows with the meaning they have in a bulk job: an empty cell leaves its field unchanged, `#N/A` sets it to null.

    A number keeps its digits. Text that is not valid for its field stays text, so that the org's error names it.
    """
    numbers = frozenset(column.field for column in table.sent_columns if column.type and column.type.is_number)
    flags = frozenset(
        column.field for column in table.sent_columns if column.type and column.type.kind is FieldKind.BOOLEAN
    )
    references = {lookup.header: lookup for lookup in table.lookups}
    bodies: list[RecordBody] = []
    for row in rows:
        body: dict[str, FieldValue] = {}
        for name, text in row.items():
            if text == "":
                continue
            if (lookup := references.get(name)) is not None:
                body |= {lookup.field: None} if text == NULL_TOKEN else {lookup.relationship: {EXTERNAL_ID: text}}
            else:
                body[name] = _value(text, is_number=name in numbers, is_flag=name in flags)
        bodies.append(body)
    return bodies


def _value(text: str, *, is_number: bool, is_flag: bool) -> FieldValue:
    if text == NULL_TOKEN:
        return None
    if is_number and _NUMBER.fullmatch(text):
        return Decimal(text)
    if is_flag and text in ("true", "false"):
        return text == "true"
    return text
