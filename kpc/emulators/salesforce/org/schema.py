"""Objects and their fields, in the words of `describe`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict

TEXT_TYPES = frozenset({"string", "textarea", "picklist", "email", "phone", "url", "id", "reference"})
NUMBER_TYPES = frozenset({"double", "currency", "percent", "int"})


class Flags(TypedDict, total=False):
    """The facts that a field may have besides its type."""

    nillable: bool
    createable: bool
    updateable: bool
    defaulted: bool
    external_id: bool
    unique: bool
    id_lookup: bool
    name_field: bool
    child_relationship: str
    restricted_delete: bool
    cascade_delete: bool


@dataclass(frozen=True, slots=True)
class SObjectField:
    """One field, in the words of `describe`."""

    name: str
    type: str = "string"
    length: int = 0
    precision: int = 0
    scale: int = 0
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    defaulted: bool = False
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    id_lookup: bool = False
    name_field: bool = False
    reference_to: str | None = None
    relationship: str | None = None
    child_relationship: str = ""  # the name by which the parent's query reaches the children
    picklist: tuple[str, ...] = ()
    restricted: bool = False
    restricted_delete: bool = False
    cascade_delete: bool = False
    encrypted: bool = False  # by platform encryption: the field cannot be filtered by

    @property
    def is_text(self) -> bool:
        return self.type in TEXT_TYPES

    @property
    def is_number(self) -> bool:
        return self.type in NUMBER_TYPES

    @property
    def is_required(self) -> bool:
        return self.createable and not self.nillable and not self.defaulted

    @property
    def is_key(self) -> bool:
        """Can name a record in an upsert or in a relationship column."""
        return self.external_id or self.id_lookup

    @property
    def locks_parent(self) -> bool:
        """Whether writing the record locks the one that this field names: unless a deletion would only clear it."""
        return self.restricted_delete or self.cascade_delete

    @property
    def key_column(self) -> str:
        """The stored column by which records are found: the value as it is compared."""
        return f"{self.name}$key"

    @property
    def is_custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def sql_type(self) -> str:
        if self.type in ("double", "currency", "percent"):
            return f"DECIMAL(18,{self.scale})"
        return {"int": "INTEGER", "boolean": "BOOLEAN", "date": "DATE", "datetime": "TIMESTAMP"}.get(
            self.type, "VARCHAR"
        )


@dataclass(frozen=True, eq=False)
class SObject:
    """One object: its fields in order, found without regard to case.

    `visible_sql` chooses the rows that the acting user sees, empty where he sees all; `rows_sql` makes rows that are
    stored nowhere. An object of `is_setup` is one of Setup's own, such as PermissionSet.
    """

    name: str
    prefix: str
    fields: tuple[SObjectField, ...]
    label: str = ""
    createable: bool = True
    updateable: bool = True
    deletable: bool = True
    is_setup: bool = False
    visible_sql: str = ""
    rows_sql: str = ""
    by_name: dict[str, SObjectField] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {each.name.lower(): each for each in self.fields})

    @property
    def is_custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def is_writable(self) -> bool:
        """Somebody may write it in some way."""
        return self.createable or self.updateable or self.deletable

    @cached_property
    def by_relationship(self) -> dict[str, SObjectField]:
        return {each.relationship.lower(): each for each in self.fields if each.relationship}

    @cached_property
    def keys(self) -> tuple[SObjectField, ...]:
        return tuple(each for each in self.fields if each.is_key and each.name != "Id")

    @cached_property
    def required(self) -> tuple[SObjectField, ...]:
        return tuple(each for each in self.fields if each.is_required)

    @cached_property
    def name_field(self) -> SObjectField:
        return next((each for each in self.fields if each.name_field), self.by_name["id"])

    def find(self, name: str) -> SObjectField | None:
        return self.by_name.get(name.lower())


class OrgSchema:
    """All objects, found without regard to case."""

    def __init__(self, objects: Iterable[SObject]) -> None:
        self._objects = {each.name.lower(): each for each in objects}

    def __iter__(self) -> Iterator[SObject]:
        return iter(self._objects.values())

    def find(self, name: str) -> SObject | None:
        return self._objects.get(name.lower())

    def of_id(self, record_id: str) -> SObject | None:
        """The object whose prefix the id has."""
        return next((each for each in self if each.prefix == record_id[:3]), None)

    def children(self, parent: str) -> list[tuple[SObject, SObjectField]]:
        return [(each, f) for each in self for f in each.fields if f.reference_to == parent]
