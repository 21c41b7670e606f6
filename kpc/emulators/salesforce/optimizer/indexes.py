"""Which fields have an index, which comparisons it serves, and up to how many records it is used.

Thresholds and rules: Salesforce's Query & Search Optimization cheat sheet. The numbers are records of the real size:
with a scale each stored record counts that often.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField
from kpc.emulators.salesforce.soql.tree import Compare, Expression, Literal, Path, Within

_MILLION = 1_000_000
_AUDIT_FIELDS = frozenset({"Id", "OwnerId", "CreatedDate", "LastModifiedDate", "SystemModstamp", "RecordTypeId"})
_ORDERED_TYPES = frozenset({"id", "date", "datetime", "double", "currency", "percent", "int"})
_RANGES = frozenset({"<", "<=", ">", ">="})


class IndexKind(StrEnum):
    STANDARD = "standard"
    CUSTOM = "custom"

    def threshold(self, records: int) -> float:
        """The most records that a filter may match in an object of so many, for the index to be used."""
        first, beyond = min(records, _MILLION), max(records - _MILLION, 0)
        if self is IndexKind.STANDARD:
            return min(0.30 * first + 0.15 * beyond, 1_000_000)
        return min(0.10 * first + 0.05 * beyond, 333_333)


@dataclass(frozen=True, slots=True)
class FieldIndex:
    """The index on a field, as a query of `sobject` reaches it; `name` is the field's path as the schema spells it."""

    name: str
    kind: IndexKind
    spec: SObjectField
    is_own: bool  # of the queried object itself, not of a parent

    @property
    def is_unique(self) -> bool:
        """One value finds one record, however large the object is."""
        return self.is_own and (self.spec.unique or self.spec.name == "Id")

    @property
    def keeps_order(self) -> bool:
        """ORDER BY can follow it: every record is in it."""
        return self.is_own and self.kind is IndexKind.STANDARD and not self.spec.nillable

    def serves(self, condition: Compare | Within) -> bool:
        """Whether the index can find what the condition asks for. Nulls are not looked for in an index."""
        if isinstance(condition, Within):
            values = condition.values if isinstance(condition.values, tuple) else ()
            return not condition.is_negated and all(value.kind != "null" for value in values)
        if condition.right.kind == "null":
            return False
        if condition.operator == "LIKE":
            return _has_fixed_start(condition.right)
        if condition.operator in _RANGES:
            return self.spec.type in _ORDERED_TYPES
        return condition.operator == "="


def index_of(expression: Expression, sobject: SObject, schema: OrgSchema) -> FieldIndex | None:
    """The index on a field of the object or of a parent; None where there is none, and for functions of a field."""
    if not isinstance(expression, Path):
        return None
    names: list[str] = []
    owner = sobject
    for name in expression.names[:-1]:
        reference = owner.by_relationship.get(name.lower())
        parent = schema.find(reference.reference_to or "") if reference else None
        if reference is None or parent is None:
            return None
        names.append(reference.relationship or name)
        owner = parent
    spec = owner.find(expression.names[-1])
    kind = _kind(spec, owner) if spec else None
    if spec is None or kind is None:
        return None
    return FieldIndex(".".join([*names, spec.name]), kind, spec, is_own=not names)


def _kind(spec: SObjectField, owner: SObject) -> IndexKind | None:
    if spec.name in _AUDIT_FIELDS or spec.type == "reference" or spec == owner.name_field:
        return IndexKind.STANDARD
    if spec.external_id or spec.unique:
        return IndexKind.CUSTOM
    return IndexKind.STANDARD if spec.id_lookup else None


def _has_fixed_start(literal: Literal) -> bool:
    """LIKE 'x%' can use an index; a pattern that begins with a wildcard cannot."""
    return bool(literal.text) and literal.text[0] not in "%_"
