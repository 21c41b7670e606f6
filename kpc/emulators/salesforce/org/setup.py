"""What an administrator has set up: sharing, rules, triggers, flows, record types, facts of fields, storage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.org.permissions import find_field
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField

SHARING_MODELS = ("ReadWrite", "Read", "Private")
FIELD_FACTS = ("external_id", "unique", "case_sensitive", "encrypted", "restricted_delete", "nillable")
AUTOMATIONS = ("validation_rules", "duplicate_rules", "triggers", "flows", "record_types")
# What an entry of each list may say beside `object`, `name` and `active`.
_DETAILS = {
    "validation_rules": ("field", "message"),
    "duplicate_rules": ("field",),
    "triggers": ("fails",),
    "flows": ("fails",),
    "record_types": ("default",),
}


@dataclass(frozen=True, slots=True)
class OrgSetup:
    """`sharing`: by object, the org-wide default; ReadWrite where none is named.

    The lists hold entries with `object`, `name`, `active` (true) and details:
    a validation rule refuses rows in which `field` is empty, or all without a `field`; a duplicate rule rows whose
    `field` a record has already; a trigger or flow that `fails` every row.
    `fields`: by OBJECT.FIELD, facts of `FIELD_FACTS`. `storage_mb`: data storage in all; `storage_used_mb` of it.
    """

    sharing: dict[str, str] = field(default_factory=dict)
    validation_rules: list[dict[str, Any]] = field(default_factory=list)
    duplicate_rules: list[dict[str, Any]] = field(default_factory=list)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    flows: list[dict[str, Any]] = field(default_factory=list)
    record_types: list[dict[str, Any]] = field(default_factory=list)
    fields: dict[str, dict[str, bool]] = field(default_factory=dict)
    storage_mb: int = 2_000_000
    storage_used_mb: int = 0

    def changed(self, changes: dict[str, object], schema: OrgSchema) -> OrgSetup:
        """With these members in place of its own. Raises `OptionError` for one that is not known."""
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name in AUTOMATIONS:
                checked[name] = [_entry(name, each, schema) for each in (value if isinstance(value, list) else [value])]
            elif name == "sharing":
                checked[name] = _sharing(value, schema)
            elif name == "fields":
                checked[name] = _fields(value, schema)
            elif name in ("storage_mb", "storage_used_mb") and isinstance(value, int) and not isinstance(value, bool):
                checked[name] = value
            else:
                raise OptionError(f"There is no setup {name}={value!r}.", f"There are {', '.join(asdict(self))}.")
        return replace(self, **checked)

    def active(self, kind: str, sobject: SObject) -> list[dict[str, Any]]:
        """The active entries of a list of `AUTOMATIONS` that concern the object."""
        entries: list[dict[str, Any]] = getattr(self, kind)
        return [each for each in entries if each["active"] and each["object"] == sobject.name]

    def sharing_of(self, sobject: SObject) -> str:
        return self.sharing.get(sobject.name, SHARING_MODELS[0])

    def applied(self, schema: OrgSchema) -> OrgSchema:
        """The objects with the facts of `fields`."""
        if not self.fields:
            return schema
        return OrgSchema(
            replace(each, fields=tuple(self._field(each, spec) for spec in each.fields)) for each in schema
        )

    def _field(self, sobject: SObject, spec: SObjectField) -> SObjectField:
        facts: dict[str, Any] = dict(self.fields.get(f"{sobject.name}.{spec.name}", {}))
        if "external_id" in facts:
            facts["id_lookup"] = facts["external_id"]
        return replace(spec, **facts)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def _entry(kind: str, value: object, schema: OrgSchema) -> dict[str, Any]:
    details = _DETAILS[kind]
    sobject = schema.find(str(value.get("object"))) if isinstance(value, dict) else None
    is_known = isinstance(value, dict) and set(value) <= {"object", "name", "active", *details}
    if not isinstance(value, dict) or not is_known or sobject is None:
        raise OptionError(
            f"{kind} cannot hold {value!r}.",
            f"An entry has object (one of the org's), name, active, {', '.join(details)}.",
        )
    entry: dict[str, Any] = {"name": f"{kind}_{sobject.name.removesuffix('__c')}", "active": True, **value}
    spec = sobject.find(str(entry.get("field", "Id")))
    if spec is None:
        raise OptionError(f"{sobject.name} has no field {entry['field']}.", "Name one of its fields.")
    return entry | {"object": sobject.name} | ({"field": spec.name} if "field" in entry else {})


def _sharing(value: Any, schema: OrgSchema) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, model in (value if isinstance(value, dict) else {"": value}).items():
        sobject = schema.find(name)
        if sobject is None or model not in SHARING_MODELS:
            raise OptionError(f"sharing cannot be {value!r}.", f'It is {{"OBJECT": {" or ".join(SHARING_MODELS)}}}.')
        found[sobject.name] = str(model)
    return found


def _fields(value: Any, schema: OrgSchema) -> dict[str, dict[str, bool]]:
    found: dict[str, dict[str, bool]] = {}
    for name, facts in (value if isinstance(value, dict) else {"": value}).items():
        sobject, spec = find_field(schema, name)
        is_known = isinstance(facts, dict) and set(facts) <= set(FIELD_FACTS)
        if (
            sobject is None
            or spec is None
            or not is_known
            or not all(isinstance(each, bool) for each in facts.values())
        ):
            raise OptionError(
                f"fields cannot be {value!r}.",
                f'It is {{"OBJECT.FIELD": {{{", ".join(FIELD_FACTS)}: true or false}}}}.',
            )
        found[f"{sobject.name}.{spec.name}"] = dict(facts)
    return found
