"""A compiled query: its SQL, and the meaning of the result's columns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.soql.filter import Value
from kpc.emulators.salesforce.soql.tree import Literal, Logic, Path, SoqlQuery, Within


@dataclass(frozen=True, slots=True)
class SoqlColumn:
    """One column of the result. `path` is where it stands in a record; `spec` the field, if it is one; `text` the
    expression as it was asked for."""

    path: tuple[str, ...]
    value: Value
    spec: SObjectField | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """A query of children, in the SELECT of their parents. `reference` is the child's field that names the parent.

    `query` selects that field too; as `hidden` when nobody asked for it. Limit and offset count for each parent.
    `compiled` is the query over the children of all parents.
    """

    name: str
    reference: SObjectField
    query: SoqlQuery
    compiled: Compiled
    hidden: str | None
    deleted: bool

    def of(self, parent_ids: list[str]) -> SoqlQuery:
        """The query for the children of some parents, without limit and offset."""
        wanted = Within(Path((self.reference.name,)), tuple(Literal("string", each) for each in parent_ids), False)
        where = Logic("AND", (self.query.where, wanted)) if self.query.where else wanted
        return replace(self.query, where=where, limit=None, offset=0)


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL, its parameters and what its columns mean.

    After the outputs, the SQL yields the ids of the record and of each parent in `parents`, in that order.
    """

    sql: str
    parameters: list[object]
    outputs: list[SoqlColumn]
    sobject: SObject
    query: SoqlQuery
    with_deleted: bool = False
    has_doubles: bool = True  # numbers are answered as doubles
    is_count: bool = False
    is_aggregate: bool = False
    is_grouped: bool = False
    offset: int = 0
    parents: list[tuple[tuple[str, ...], SObject]] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
