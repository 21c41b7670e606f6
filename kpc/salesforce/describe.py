"""The org's description of an object and its fields."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kpc.errors import SchemaDrift
from kpc.salesforce.answers import Refused
from kpc.salesforce.rest import Rest
from kpc.salesforce.shapes import ApiName, Count, Message, Shape


class _PicklistValue(Shape):
    value: str
    active: bool = True


class _Field(Shape):
    name: ApiName
    type: ApiName
    length: Count = 0
    precision: Count = 0
    scale: Count = 0
    createable: bool = False
    updateable: bool = False
    nillable: bool = True
    defaultedOnCreate: bool = False  # noqa: N815  Salesforce's names
    externalId: bool = False  # noqa: N815
    unique: bool = False
    caseSensitive: bool = False  # noqa: N815
    encrypted: bool = False
    restrictedDelete: bool = False  # noqa: N815
    cascadeDelete: bool = False  # noqa: N815
    restrictedPicklist: bool = False  # noqa: N815
    referenceTo: list[ApiName] = Field(default=[])  # noqa: N815
    relationshipName: ApiName | None = None  # noqa: N815
    picklistValues: list[_PicklistValue] = Field(default=[])  # noqa: N815


class _RecordType(Shape):
    name: Message
    active: bool = True
    available: bool = True
    master: bool = False


class _Description(Shape):
    name: ApiName
    createable: bool = True
    updateable: bool = True
    deletable: bool = True
    queryable: bool = True
    recordTypeInfos: list[_RecordType] = Field(default=[])  # noqa: N815
    fields: list[_Field]


class DescribeApi(Rest):
    def describe(self, object_name: str) -> dict[str, Any]:
        """The org's own description of an object. Raises `SchemaDrift` if it has no such object."""
        try:
            description = self.ask(_Description, f"/sobjects/{object_name}/describe")
        except Refused as refused:
            if refused.status != 404:
                raise
            raise SchemaDrift(
                f"The org has no object {object_name}, or the integration user may not see it.",
                "Create it from the catalog (`kpc preflight` lists its fields), or grant access.",
                differences=(f"{object_name}: missing",),
            ) from None
        return description.model_dump(exclude_unset=True)
