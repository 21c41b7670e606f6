"""Query plans: the way that a query takes into its object, and the ways that it could have taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import duckdb

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.optimizer.access import UNINDEXED, AccessFinder, IndexAccess
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.org.storage import StorageSession, table_of
from kpc.emulators.salesforce.soql.compiled import Compiled
from kpc.emulators.salesforce.soql.compiler import compile_query
from kpc.emulators.salesforce.soql.tree import Call, Condition, Item, Logic, SoqlQuery, Within

LARGE_OBJECT_RECORDS = 200_000  # from here on Salesforce speaks of a large object whose queries must be selective
_SCAN_COST = 1.0, 2.6  # of a scan, without any match and for the share that matches; from published query plans


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """One way to answer a query. An index (`way`) or, without one, a scan of the whole object.

    `cardinality` are the records that the filter's best index finds, of the real size; without any, all.
    """

    sobject: SObject
    records: int
    cardinality: int
    notes: tuple[dict[str, object], ...]
    way: IndexAccess | None = None

    @property
    def leading_operation(self) -> str:
        return "Index" if self.way else "TableScan"

    @property
    def fields(self) -> tuple[str, ...]:
        return self.way.fields if self.way else ()

    @property
    def cost(self) -> float:
        if self.way:
            return self.way.cost
        least, share = _SCAN_COST
        return least + share * min(self.cardinality / max(self.records, 1), 1.0)

    @property
    def is_selective(self) -> bool:
        """An index leads, or the object is so small that it does not matter."""
        return self.way is not None or self.records <= LARGE_OBJECT_RECORDS

    def as_json(self) -> dict[str, object]:
        """As `explain` answers it."""
        return {
            "cardinality": self.cardinality,
            "fields": list(self.fields),
            "leadingOperationType": self.leading_operation,
            "notes": list(self.notes),
            "relativeCost": round(self.cost, 4),
            "sobjectCardinality": self.records,
            "sobjectType": self.sobject.name,
        }


class Planner:
    """Plans of one query, by counting what its filters match."""

    def __init__(self, org: Org, session: StorageSession) -> None:
        self._org = org
        self._session = session
        self._now = org.clock.now()
        self.scale = max(org.scale, 1)

    def plans(self, compiled: Compiled) -> list[QueryPlan]:
        """The plan that is used, then the others."""
        sobject, query = compiled.sobject, compiled.query
        records = self._statistics(sobject) * self.scale
        finder = AccessFinder(sobject, self._org.schema, records, lambda each: self._matches(query, each) * self.scale)
        ways = sorted(finder.ways(query.where), key=lambda way: way.cost)
        cardinality = ways[0].cardinality if ways else records
        notes = finder.notes
        if not compiled.with_deleted:
            notes = [*notes, {"description": UNINDEXED, "fields": ["IsDeleted"], "tableEnumOrId": sobject.name}]
        scan = QueryPlan(sobject, records, cardinality, tuple(notes))
        indexed = [replace(scan, way=way, cardinality=way.cardinality) for way in ways]
        usable = [plan for plan in indexed if plan.cost <= 1]
        return [*usable, scan, *(plan for plan in indexed if plan not in usable)]

    def stored(self, sobject: SObject) -> int:
        """Records as they are stored, those in the recycle bin included."""
        return int(self._session.run(f"SELECT count(*) FROM {table_of(sobject)}")[0][0])

    def matches(self, query: SoqlQuery) -> int:
        """Stored records that the whole filter matches."""
        return self._matches(query, query.where) if query.where else 0

    def subqueries(self, compiled: Compiled) -> Iterator[Compiled]:
        """The queries in IN (...), each as a query of its own."""
        for query in _nested(compiled.query.where):
            yield compile_query(query, self._org.schema, self._now)

    def _matches(self, query: SoqlQuery, condition: Condition) -> int:
        counting = SoqlQuery(items=(Item(Call("COUNT", None)),), object=query.object, where=condition)
        compiled = compile_query(counting, self._org.schema, self._now, deleted=True)
        try:
            return int(self._session.run(compiled.sql, compiled.parameters)[0][0])
        except duckdb.Error as error:
            raise ApiError(400, "MALFORMED_QUERY", f"The query cannot be run: {error}") from error

    def _statistics(self, sobject: SObject) -> int:
        """The object's size as the optimizer knows it: as it was when the statistics were gathered."""
        age_s = self._org.switches.index_statistics_age_s
        if not age_s:
            return self.stored(sobject)
        gathered: datetime = self._now.replace(tzinfo=None) - timedelta(seconds=age_s)
        sql = f"SELECT count(*) FROM {table_of(sobject)} WHERE CreatedDate <= ?"
        return int(self._session.run(sql, [gathered])[0][0])


def _nested(condition: Condition | None) -> Iterator[SoqlQuery]:
    if isinstance(condition, Logic):
        for part in condition.parts:
            yield from _nested(part)
    elif isinstance(condition, Within) and isinstance(condition.values, SoqlQuery):
        yield condition.values
