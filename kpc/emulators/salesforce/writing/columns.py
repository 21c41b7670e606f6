"""The meaning of each column of an upload: a field, or a parent's external id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kpc.emulators.salesforce.errors import DataError
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField

# `Parent__r.External_ID__c`, or with the parent's type for a reference to several objects: `Owner:User.Username`.
_RELATION = re.compile(r"(?P<relationship>\w+)(?::(?P<type>\w+))?\.(?P<key>\w+)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class UploadColumn:
    """One column: `field` is written; with `parent` and `key`, by looking the parent up by that key."""

    position: int
    field: SObjectField
    parent: SObject | None = None
    key: SObjectField | None = None


def plan_columns(schema: OrgSchema, sobject: SObject, header: Sequence[str]) -> list[UploadColumn]:
    """The meaning of each header cell, in order. Raises `DataError` for one that means nothing."""
    columns = [_column(schema, sobject, position, name.strip()) for position, name in enumerate(header)]
    seen: set[str] = set()
    for column in columns:
        if column.field.name in seen:
            raise DataError(f"InvalidBatch : Duplicate field name found : {header[column.position]}")
        seen.add(column.field.name)
    return columns


def _column(schema: OrgSchema, sobject: SObject, position: int, name: str) -> UploadColumn:
    plain = sobject.find(name)
    if plain is not None:
        return UploadColumn(position, plain)
    match = _RELATION.match(name)
    reference = sobject.by_relationship.get(match["relationship"].lower()) if match else None
    if match is None or reference is None or reference.reference_to is None:
        raise DataError(f"InvalidBatch : Field name not found : {name}")
    parent = schema.find(match["type"] or reference.reference_to)
    key = parent.find(match["key"]) if parent else None
    if parent is None or key is None or not key.is_key or parent.name != reference.reference_to:
        raise DataError(f"InvalidBatch : Field name not found : {name}")
    return UploadColumn(position, reference, parent, key)
