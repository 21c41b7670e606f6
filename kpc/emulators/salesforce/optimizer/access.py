"""The ways into an object that the filter of a query offers: which indexes, and how many records each finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kpc.emulators.salesforce.optimizer.indexes import FieldIndex, index_of
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject
from kpc.emulators.salesforce.soql.tree import Compare, Condition, Logic, Within

CountRecords = Callable[[Condition], int]  # records of the real size that meet a condition
UNINDEXED = "Not considering filter for optimization because unindexed"
_UNUSABLE = "Not considering filter for optimization because the operator cannot use an index"


@dataclass(frozen=True, slots=True)
class IndexAccess:
    """One way: the fields whose indexes lead it, the records they find, and how many they may find at most."""

    fields: tuple[str, ...]
    cardinality: int
    threshold: float

    @property
    def cost(self) -> float:
        """Relative to the threshold, as Salesforce's query plans give it; above 1 the index is not used."""
        return self.cardinality / max(self.threshold, 1.0)


@dataclass(slots=True)
class AccessFinder:
    """Finds the ways into `sobject`. `records` is its size by the statistics; `notes` collects what no index serves."""

    sobject: SObject
    schema: OrgSchema
    records: int
    count: CountRecords
    notes: list[dict[str, object]] = field(default_factory=list)

    def ways(self, condition: Condition | None) -> list[IndexAccess]:
        """All ways, usable or not.

        AND: any part may lead, and the others are checked on what it finds. OR: every part must have a way, and
        together they find the sum. NOT has none.
        """
        if condition is None:
            return []
        if not isinstance(condition, Logic):
            return self._of_parts([condition])
        if condition.operator == "AND":
            return self._of_parts(_flat(condition))
        if condition.operator == "OR":
            best = [min(self.ways(part), key=lambda way: way.cost, default=None) for part in condition.parts]
            found = [way for way in best if way is not None]
            return [_together(found)] if len(found) == len(best) else []
        self._note(condition, _UNUSABLE)
        return []

    def _of_parts(self, parts: list[Condition]) -> list[IndexAccess]:
        """The ways through parts that are joined by AND; those about the same field are one range of its index."""
        by_field: dict[str, tuple[FieldIndex, list[Condition]]] = {}
        found: list[IndexAccess] = []
        for part in parts:
            if isinstance(part, Logic):
                found += self.ways(part)
            elif (index := index_of(part.left, self.sobject, self.schema)) is None:
                self._note(part, UNINDEXED)
            elif not index.serves(part):
                self._note(part, _UNUSABLE)
            else:
                by_field.setdefault(index.name, (index, []))[1].append(part)
        return found + [self._of_field(index, about) for index, about in by_field.values()]

    def _of_field(self, index: FieldIndex, about: list[Condition]) -> IndexAccess:
        values = min((n for part in about if (n := _values(part))), default=0)
        if index.is_unique and values:
            cardinality = values
        else:
            cardinality = self.count(about[0] if len(about) == 1 else Logic("AND", tuple(about)))
        return IndexAccess((index.name,), cardinality, index.kind.threshold(self.records))

    def _note(self, part: Condition, why: str) -> None:
        names = [part.left.text] if not isinstance(part, Logic) else []
        self.notes.append({"description": why, "fields": names, "tableEnumOrId": self.sobject.name})


def _flat(condition: Condition) -> list[Condition]:
    """The parts of nested ANDs."""
    if isinstance(condition, Logic) and condition.operator == "AND":
        return [each for part in condition.parts for each in _flat(part)]
    return [condition]


def _together(ways: list[IndexAccess]) -> IndexAccess:
    fields = tuple(dict.fromkeys(name for way in ways for name in way.fields))
    return IndexAccess(fields, sum(way.cardinality for way in ways), min(way.threshold for way in ways))


def _values(part: Condition) -> int:
    """How many single values the condition names; 0: a range or a query."""
    if isinstance(part, Compare):
        return int(part.operator == "=" and part.right.kind != "range")
    if isinstance(part, Within) and isinstance(part.values, tuple):
        return len(part.values)
    return 0
