"""Checks an object of the org against the catalog, before quota is spent on rows that it would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpc.catalog import Table, find_table
from kpc.catalog.types import (
    CURRENCY_FIELD,
    EXTERNAL_ID,
    EXTERNAL_ID_LENGTH,
    GENERATION_FIELD,
    PARTITION_FIELD,
    Column,
    FieldKind,
    Lookup,
)
from kpc.errors import SchemaDrift
from kpc.salesforce import Salesforce

_PARTITION_LENGTH = 7  # `2024-01`
_GENERATION_LENGTH = 26  # a ULID
_ALIKE = {FieldKind.STRING: ("string", "textarea"), FieldKind.DOUBLE: ("double", "int")}

_Field = dict[str, Any]


def check_object(salesforce: Salesforce, table: Table) -> None:
    """Raises `SchemaDrift` listing every difference between the table's target object and the catalog."""
    found = tuple(differences(table, salesforce.describe(table.target)))
    if found:
        raise SchemaDrift(
            f"{table.target} differs from the catalog's {table.name}:",
            "Correct the field in Setup or the declaration in kpc/catalog; nothing was sent.",
            differences=found,
        )


def differences(table: Table, description: dict[str, Any]) -> Iterator[str]:
    """One line per difference between a table's declaration and its object's description."""
    fields: dict[str, _Field] = {field["name"].lower(): field for field in description["fields"]}
    for needed in ("createable", "updateable"):
        if not description.get(needed, True):
            yield f"{table.target}: the integration user may not write it ({needed} is false)"
    yield from _key_differences(fields)
    for lookup in table.lookups:
        yield from _lookup_differences(lookup, fields)
    for column in table.sent_columns:
        yield from _column_differences(column, fields)
    yield from _unsent(table, fields)
    yield from _currency(table, fields)


def _key_differences(fields: dict[str, _Field]) -> Iterator[str]:
    lengths = {
        EXTERNAL_ID: EXTERNAL_ID_LENGTH,
        PARTITION_FIELD: _PARTITION_LENGTH,
        GENERATION_FIELD: _GENERATION_LENGTH,
    }
    for name, length in lengths.items():
        field = fields.get(name.lower())
        if field is None:
            yield f"{name}: missing (Text {length})"
            continue
        yield from _length_difference(name, field, length)
        yield from _writable(name, field)
        if name != GENERATION_FIELD and not field.get("externalId"):
            yield f"{name}: is not an External ID"
        if name == EXTERNAL_ID and not field.get("unique"):
            yield f"{name}: is not unique"


def _lookup_differences(lookup: Lookup, fields: dict[str, _Field]) -> Iterator[str]:
    parent = find_table(lookup.parent).target
    field = fields.get(lookup.field.lower())
    if field is None:
        yield f"{lookup.field}: missing (lookup to {parent})"
        return
    yield from _writable(lookup.field, field)
    if field["type"] != "reference" or parent not in field.get("referenceTo", []):
        yield f"{lookup.field}: is not a lookup to {parent}"
    if field.get("relationshipName") != lookup.relationship:
        yield f"{lookup.field}: its relationship is {field.get('relationshipName')}, not {lookup.relationship}"


def _column_differences(column: Column, fields: dict[str, _Field]) -> Iterator[str]:
    name, kind = column.field or "", column.type
    field = fields.get(name.lower())
    if field is None or kind is None:
        yield f"{name}: missing ({kind.kind if kind else ''})"
        return
    yield from _writable(name, field)
    if field["type"] not in _ALIKE.get(kind.kind, (kind.kind.value,)):
        yield f"{name}: is {field['type']}, the catalog says {kind.kind}"
        return
    if kind.is_text and kind.kind is not FieldKind.PICKLIST:
        yield from _length_difference(name, field, kind.length)
    if kind.is_number and field["type"] != "int":
        yield from _number_difference(name, field, kind.precision, kind.scale)
    if kind.kind is FieldKind.PICKLIST and field.get("restrictedPicklist"):
        known = {entry["value"] for entry in field.get("picklistValues", []) if entry.get("active", True)}
        for value in kind.values:
            if value not in known:
                yield f"{name}: the picklist has no active value {value!r}"


def _length_difference(name: str, field: _Field, length: int) -> Iterator[str]:
    if field.get("length", 0) < length:
        yield f"{name}: holds {field.get('length', 0)} characters, {length} are needed"


def _number_difference(name: str, field: _Field, precision: int, scale: int) -> Iterator[str]:
    # The scale must be equal: a smaller one rounds silently, with a larger one reconciliation compares the wrong digit.
    if field.get("scale", 0) != scale:
        yield f"{name}: has {field.get('scale', 0)} decimal places, the catalog says {scale}"
    if field.get("precision", 0) - field.get("scale", 0) < precision - scale:
        yield f"{name}: holds {field.get('precision', 0)} digits, {precision} are needed"


def _writable(name: str, field: _Field) -> Iterator[str]:
    for needed in ("createable", "updateable"):
        if not field.get(needed, True):
            yield f"{name}: the integration user may not write it ({needed} is false)"


def _currency(table: Table, fields: dict[str, _Field]) -> Iterator[str]:
    """An org with several currencies: a row that names none would get the user's own, and sums are converted."""
    field = fields.get(CURRENCY_FIELD.lower())
    if field is None:
        if table.currency:  # a column that becomes the field is reported as any other
            yield f"{CURRENCY_FIELD}: missing; the org has one currency, and the catalog declares {table.currency}"
        return
    if table.amounts and not table.currencies:
        yield (
            f"{CURRENCY_FIELD}: the org has several currencies, and the catalog does not say in which one "
            f"{', '.join(str(column.field) for column in table.amounts)} are"
        )
    if table.currency:
        yield from _writable(CURRENCY_FIELD, field)
        known = {entry["value"] for entry in field.get("picklistValues", []) if entry.get("active", True)}
        if table.currency not in known:
            yield f"{CURRENCY_FIELD}: the org has no active currency {table.currency!r}"


def _unsent(table: Table, fields: dict[str, _Field]) -> Iterator[str]:
    """Fields that the org requires and we do not send."""
    sent = {name.lower() for name in table.header} | {lookup.field.lower() for lookup in table.lookups}
    for name, field in fields.items():
        is_demanded = field.get("createable") and not field.get("nillable", True) and not field.get("defaultedOnCreate")
        if is_demanded and name not in sent:
            yield f"{field['name']}: is required by the org and not sent"
