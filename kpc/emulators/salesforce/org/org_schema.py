"""What the org holds: the standard objects, Setup's own, and one custom object per table of the catalog."""

from __future__ import annotations

from dataclasses import replace

from kpc.emulators.catalog_schema import GENERATION_FIELD, PARTITION_FIELD, TABLES
from kpc.emulators.salesforce.org.currencies import CURRENCY_FIELD, currency_field, currency_type
from kpc.emulators.salesforce.org.fields import external_id_field, reference_field, system_fields
from kpc.emulators.salesforce.org.ids import base62
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField
from kpc.emulators.salesforce.org.setup_objects import setup_objects
from kpc.emulators.salesforce.org.standard_objects import standard_objects
from kpc.emulators.schema import LookupSchema, TableSchema, TargetKind, TargetType


def org_schema(*, multi_currency: bool = False) -> OrgSchema:
    """The standard objects, Setup's own, and one custom object per table of the catalog.

    With `multi_currency` each object has a currency.
    """
    custom = [_of_table(table, f"a{base62(number, 2)}") for number, table in enumerate(TABLES.values())]
    objects = [*standard_objects(), *custom]
    if multi_currency:
        objects = [*(replace(each, fields=(*each.fields, currency_field())) for each in objects), currency_type()]
    return OrgSchema([*objects, *setup_objects()])


def _of_table(table: TableSchema, prefix: str) -> SObject:
    fields = system_fields()
    fields.insert(3, SObjectField("Name", "string", 80, defaulted=True, name_field=True, id_lookup=True))
    fields.append(external_id_field())
    fields.append(SObjectField(PARTITION_FIELD, "string", 16, external_id=True, id_lookup=True))
    fields.append(SObjectField(GENERATION_FIELD, "string", 26))
    fields += [_of_lookup(lookup, f"{table.target.removesuffix('__c')}__r") for lookup in table.lookups]
    for column in table.sent_columns:
        if column.field not in (None, CURRENCY_FIELD) and column.type is not None:
            fields.append(_of_column(column.field, column.type, required=column.is_required))
    label = table.target.removesuffix("__c").replace("_", " ")
    return SObject(table.target, prefix, tuple(fields), label)


def _of_lookup(lookup: LookupSchema, children: str) -> SObjectField:
    target = TABLES[lookup.parent].target
    return reference_field(
        lookup.field,
        target,
        lookup.relationship,
        nillable=not lookup.is_required,
        child_relationship=children,
        restricted_delete=lookup.is_restricted,
        cascade_delete=lookup.is_cascading,
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
