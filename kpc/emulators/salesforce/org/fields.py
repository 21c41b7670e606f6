"""Fields that several objects have."""

from __future__ import annotations

from typing import Unpack

from kpc.emulators.catalog_schema import EXTERNAL_ID, EXTERNAL_ID_LENGTH
from kpc.emulators.salesforce.org.schema import Flags, SObjectField


def reference_field(name: str, to: str, relationship: str, **more: Unpack[Flags]) -> SObjectField:
    return SObjectField(name, "reference", 18, reference_to=to, relationship=relationship, **more)


def system_fields(*, owner: bool = True) -> list[SObjectField]:
    """The fields that every object has."""
    fixed: Flags = {"nillable": False, "createable": False, "updateable": False, "defaulted": True}
    fields = [
        SObjectField(
            "Id", "id", 18, nillable=False, createable=False, updateable=False, defaulted=True, id_lookup=True
        ),
        SObjectField("IsDeleted", "boolean", **fixed),
        SObjectField("CreatedDate", "datetime", **fixed),
        reference_field("CreatedById", "User", "CreatedBy", **fixed),
        SObjectField("LastModifiedDate", "datetime", **fixed),
        reference_field("LastModifiedById", "User", "LastModifiedBy", **fixed),
        SObjectField("SystemModstamp", "datetime", **fixed),
    ]
    if owner:
        fields.insert(2, reference_field("OwnerId", "User", "Owner", nillable=False, defaulted=True))
    return fields


def external_id_field() -> SObjectField:
    return SObjectField(EXTERNAL_ID, "string", EXTERNAL_ID_LENGTH, external_id=True, unique=True, id_lookup=True)


def text_field(name: str, length: int = 255, **more: Unpack[Flags]) -> SObjectField:
    return SObjectField(name, "string", length, **more)
