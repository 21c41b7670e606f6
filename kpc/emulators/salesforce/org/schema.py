"""The org's objects and fields: those of the catalog, and the few standard ones that clients ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict, Unpack

from kpc.emulators.catalog_schema import EXTERNAL_ID, EXTERNAL_ID_LENGTH, GENERATION_FIELD, PARTITION_FIELD, TABLES
from kpc.emulators.salesforce.org.ids import base62
from kpc.emulators.schema import LookupSchema, TableSchema, TargetKind, TargetType

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
    """One object: its fields in order, found without regard to case."""

    name: str
    prefix: str
    fields: tuple[SObjectField, ...]
    label: str = ""
    createable: bool = True
    by_name: dict[str, SObjectField] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {each.name.lower(): each for each in self.fields})

    @property
    def is_custom(self) -> bool:
        return self.name.endswith("__c")

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


def org_schema() -> OrgSchema:
    """The standard objects, and one custom object per table of the catalog."""
    custom = [_of_table(table, f"a{base62(number, 2)}") for number, table in enumerate(TABLES.values())]
    return OrgSchema([*_standard(), *custom])


def _reference(name: str, to: str, relationship: str, **more: Unpack[Flags]) -> SObjectField:
    return SObjectField(name, "reference", 18, reference_to=to, relationship=relationship, **more)


def _system_fields(*, owner: bool = True) -> list[SObjectField]:
    fixed: Flags = {"nillable": False, "createable": False, "updateable": False, "defaulted": True}
    fields = [
        SObjectField(
            "Id", "id", 18, nillable=False, createable=False, updateable=False, defaulted=True, id_lookup=True
        ),
        SObjectField("IsDeleted", "boolean", **fixed),
        SObjectField("CreatedDate", "datetime", **fixed),
        _reference("CreatedById", "User", "CreatedBy", **fixed),
        SObjectField("LastModifiedDate", "datetime", **fixed),
        _reference("LastModifiedById", "User", "LastModifiedBy", **fixed),
        SObjectField("SystemModstamp", "datetime", **fixed),
    ]
    if owner:
        fields.insert(2, _reference("OwnerId", "User", "Owner", nillable=False, defaulted=True))
    return fields


def _external_id() -> SObjectField:
    return SObjectField(EXTERNAL_ID, "string", EXTERNAL_ID_LENGTH, external_id=True, unique=True, id_lookup=True)


def _of_table(table: TableSchema, prefix: str) -> SObject:
    fields = _system_fields()
    fields.insert(3, SObjectField("Name", "string", 80, defaulted=True, name_field=True, id_lookup=True))
    fields.append(_external_id())
    fields.append(SObjectField(PARTITION_FIELD, "string", 16, external_id=True, id_lookup=True))
    fields.append(SObjectField(GENERATION_FIELD, "string", 26))
    fields += [_of_lookup(lookup, f"{table.target.removesuffix('__c')}__r") for lookup in table.lookups]
    for column in table.sent_columns:
        if column.field is not None and column.type is not None:
            fields.append(_of_column(column.field, column.type, required=column.is_required))
    label = table.target.removesuffix("__c").replace("_", " ")
    return SObject(table.target, prefix, tuple(fields), label)


def _of_lookup(lookup: LookupSchema, children: str) -> SObjectField:
    target = TABLES[lookup.parent].target
    return _reference(
        lookup.field, target, lookup.relationship, nillable=not lookup.is_required, child_relationship=children
    )


def _of_column(name: str, kind: TargetType, *, required: bool) -> SObjectField:
    is_checkbox = kind.kind is TargetKind.BOOLEAN
    return SObjectField(
        name,
        kind.kind.value,
        kind.length,
        kind.precision,
        kind.scale,
        nillable=not (required or is_checkbox),
        defaulted=is_checkbox,
        picklist=kind.values,
        restricted=bool(kind.values),
    )


def _text(name: str, length: int = 255, **more: Unpack[Flags]) -> SObjectField:
    return SObjectField(name, "string", length, **more)


def _standard() -> list[SObject]:
    """Account, Contact, User and Organization, with the fields that clients commonly touch."""
    address = ("Street", "City", "State", "PostalCode", "Country")
    account = [
        _text("Name", nillable=False, name_field=True),
        _external_id(),
        _text("AccountNumber", 40),
        SObjectField("Type", "picklist", 255, picklist=("Prospect", "Customer", "Partner", "Other")),
        SObjectField("Industry", "picklist", 255, picklist=("Banking", "Retail", "Technology", "Other")),
        SObjectField("AnnualRevenue", "currency", precision=18, scale=0),
        SObjectField("NumberOfEmployees", "int"),
        SObjectField("Rating", "picklist", 255, picklist=("Hot", "Warm", "Cold")),
        SObjectField("Phone", "phone", 40),
        SObjectField("Fax", "phone", 40),
        SObjectField("Website", "url", 255),
        SObjectField("Description", "textarea", 32000),
        _text("Site", 80),
        *(_text(f"Billing{part}") for part in address),
        *(_text(f"Shipping{part}") for part in address),
        _reference("ParentId", "Account", "Parent", child_relationship="ChildAccounts"),
    ]
    contact = [
        SObjectField("Name", "string", 121, createable=False, updateable=False, name_field=True),
        _text("FirstName", 40),
        _text("LastName", 80, nillable=False),
        _external_id(),
        SObjectField("Email", "email", 80, id_lookup=True),
        SObjectField("Phone", "phone", 40),
        SObjectField("MobilePhone", "phone", 40),
        _text("Title", 128),
        SObjectField("Birthdate", "date"),
        SObjectField("Description", "textarea", 32000),
        SObjectField("DoNotCall", "boolean", nillable=False, defaulted=True),
        *(_text(f"Mailing{part}") for part in address),
        _reference("AccountId", "Account", "Account", child_relationship="Contacts"),
    ]
    user = [
        SObjectField("Name", "string", 121, createable=False, updateable=False, name_field=True),
        SObjectField("Username", "string", 80, nillable=False, id_lookup=True, unique=True),
        _text("FirstName", 40),
        _text("LastName", 80, nillable=False),
        SObjectField("Email", "email", 80, nillable=False),
        SObjectField("IsActive", "boolean", nillable=False, defaulted=True),
        _text("TimeZoneSidKey", 40, nillable=False, defaulted=True),
        _text("LocaleSidKey", 40, nillable=False, defaulted=True),
        _text("LanguageLocaleKey", 40, nillable=False, defaulted=True),
        _text("UserType", 40, nillable=False, defaulted=True),
        _text("ProfileId", 18, nillable=False, defaulted=True),
    ]
    organization = [
        _text("Name", 80, nillable=False, name_field=True),
        _text("OrganizationType", 40),
        SObjectField("IsSandbox", "boolean", nillable=False, defaulted=True),
        _text("InstanceName", 5),
        _text("NamespacePrefix", 15),
        _text("TrialExpirationDate", 40),
        _text("LanguageLocaleKey", 40),
        _text("TimeZoneSidKey", 40),
    ]
    return [
        SObject("Account", "001", (*_system_fields(), *account), "Account"),
        SObject("Contact", "003", (*_system_fields(), *contact), "Contact"),
        SObject("User", "005", (*_system_fields(owner=False), *user), "User"),
        SObject("Organization", "00D", (*_system_fields(owner=False), *organization), "Organization", createable=False),
    ]
