"""What the org says about itself, read once for all checks; what the user may not see is noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kpc.catalog.types import CURRENCY_FIELD
from kpc.errors import SchemaDrift
from kpc.salesforce import ExplainedPlan, Limit, Salesforce
from kpc.salesforce.soql import text_literal

VIEW_ALL_DATA, MODIFY_ALL_DATA = "PermissionsViewAllData", "PermissionsModifyAllData"
VIEW_ALL, MODIFY_ALL = "PermissionsViewAllRecords", "PermissionsModifyAllRecords"
_SYSTEM = (VIEW_ALL_DATA, MODIFY_ALL_DATA)


@dataclass(slots=True)
class TargetFacts:
    """Facts about objects, by API name. `hidden` are Setup's objects that the user may not see.

    `rights`: VIEW_ALL and MODIFY_ALL if a permission of the user gives them; `system`: those for all objects.
    `automations`: by kind (trigger, flow, validation rule, duplicate rule) and object, the names of the active ones.
    """

    descriptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    system: frozenset[str] = frozenset()
    rights: dict[str, set[str]] = field(default_factory=dict)
    sharing: dict[str, str] = field(default_factory=dict)
    automations: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    plans: dict[str, ExplainedPlan | None] = field(default_factory=dict)
    active_currencies: frozenset[str] = frozenset()  # ISO codes; empty in an org with one currency
    corporate_currency: str | None = None
    hidden: list[str] = field(default_factory=list)

    def has(self, object_name: str, right: str) -> bool:
        """VIEW_ALL or MODIFY_ALL on the object; Modify All includes View All."""
        if MODIFY_ALL_DATA in self.system or MODIFY_ALL in self.rights.get(object_name, ()):
            return True
        return right == VIEW_ALL and (VIEW_ALL_DATA in self.system or VIEW_ALL in self.rights.get(object_name, ()))


def read_target(salesforce: Salesforce, object_names: Iterable[str]) -> TargetFacts:
    """The facts. Raises the org's refusals, translated, except for what this user may not see."""
    facts = TargetFacts(limits=salesforce.limits())
    for name in object_names:
        try:
            facts.descriptions[name] = salesforce.describe(name)
        except SchemaDrift:
            continue  # the check of its schema reports it
    names = list(facts.descriptions)
    facts.records = salesforce.record_counts(names) if names else {}
    _read_permissions(salesforce, facts)
    _read_automations(salesforce, facts)
    _read_currencies(salesforce, facts)
    for row in _rows(salesforce, facts, "EntityDefinition", "QualifiedApiName, InternalSharingModel", _among(names)):
        facts.sharing[str(row["QualifiedApiName"])] = str(row["InternalSharingModel"])
    return facts


def _among(names: list[str]) -> str:
    return f"QualifiedApiName IN ({', '.join(map(text_literal, names)) or text_literal('')})"


def _read_permissions(salesforce: Salesforce, facts: TargetFacts) -> None:
    for row in _rows(salesforce, facts, "UserPermissionAccess", ", ".join(_SYSTEM)):
        facts.system = frozenset(name for name in _SYSTEM if row.get(name) is True)
    mine = f"SELECT PermissionSetId FROM PermissionSetAssignment WHERE AssigneeId = {text_literal(salesforce.user_id)}"  # noqa: S608
    fields = f"SobjectType, {VIEW_ALL}, {MODIFY_ALL}"
    for row in _rows(salesforce, facts, "ObjectPermissions", fields, f"ParentId IN ({mine})"):
        rights = facts.rights.setdefault(str(row["SobjectType"]), set())
        rights |= {right for right in (VIEW_ALL, MODIFY_ALL) if row.get(right) is True}


def _read_currencies(salesforce: Salesforce, facts: TargetFacts) -> None:
    """The currencies; only an org with several of them has the object."""
    fields = (one["name"] for description in facts.descriptions.values() for one in description["fields"])
    if CURRENCY_FIELD in fields:
        currencies = salesforce.currencies()
        facts.active_currencies = frozenset(one.IsoCode for one in currencies if one.IsActive)
        facts.corporate_currency = next((one.IsoCode for one in currencies if one.IsCorporate), None)


def _read_automations(salesforce: Salesforce, facts: TargetFacts) -> None:
    for row in _rows(salesforce, facts, "ApexTrigger", "Name, TableEnumOrId", "Status = 'Active'"):
        _note(facts, "trigger", row.get("TableEnumOrId"), row.get("Name"))
    flows = "ApiName, TriggerObjectOrEvent.QualifiedApiName"
    for row in _rows(salesforce, facts, "FlowDefinitionView", flows, "IsActive = true"):
        _note(facts, "flow", (row.get("TriggerObjectOrEvent") or {}).get("QualifiedApiName"), row.get("ApiName"))
    for row in _rows(salesforce, facts, "DuplicateRule", "DeveloperName, SobjectType", "IsActive = true"):
        _note(facts, "duplicate rule", row.get("SobjectType"), row.get("DeveloperName"))
    rules = "ValidationName, EntityDefinition.QualifiedApiName"
    for row in _rows(salesforce, facts, "ValidationRule", rules, "Active = true", is_tooling=True):
        name = (row.get("EntityDefinition") or {}).get("QualifiedApiName")
        _note(facts, "validation rule", name, row.get("ValidationName"))


def _note(facts: TargetFacts, kind: str, object_name: object, name: object) -> None:
    if object_name is not None:
        facts.automations.setdefault(kind, {}).setdefault(str(object_name), []).append(str(name))


def _rows(
    salesforce: Salesforce, facts: TargetFacts, name: str, fields: str, where: str = "", *, is_tooling: bool = False
) -> list[dict[str, Any]]:
    """The rows of one of Setup's objects; one that the user may not see has none and is noted."""
    soql = f"SELECT {fields} FROM {name}" + (f" WHERE {where}" if where else "")  # noqa: S608  our own names
    rows = salesforce.setup_rows(soql, is_tooling=is_tooling)
    if rows is None:
        facts.hidden.append(name)
    return rows or []
