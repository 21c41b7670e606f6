"""Whether an object holds nothing but what its partitions account for, as it was counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.partition_filters import environment_values, in_environment
from kpc.partition import Environment

_CHECK = schema.object_check


@dataclass(frozen=True, slots=True)
class ObjectFinding:
    """One count of a table's whole object. `expected`: the records of its partitions, as they were reconciled.

    `unknown` are records with no marker of these partitions; `detail` lists the first of them and a hash of all.
    """

    table_name: str
    records: int
    expected: int
    unknown: int
    detail: dict[str, Any]

    @property
    def is_accounted_for(self) -> bool:
        """Whether the partitions and the unknown records make up the object."""
        return self.records == self.expected + self.unknown


@dataclass(frozen=True, slots=True)
class ObjectCheckRow(ObjectFinding):
    """A recorded count."""

    run_id: str
    actor: str
    checked_utc: datetime


class ObjectChecks:
    """Every count; the newest of a table applies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, environment: Environment, finding: ObjectFinding, *, run_id: str, actor: str) -> int:
        """Record a count; returns its number."""
        values = {name: getattr(finding, name) for name in ObjectFinding.__slots__}
        fixed = {"run_id": run_id, "actor": actor, "checked_utc": self._database.clock()}
        with self._database.writing() as connection:
            added = connection.execute(insert(_CHECK).values(**environment_values(environment), **fixed, **values))
        return inserted_id(added)

    def newest(self, environment: Environment) -> dict[str, ObjectCheckRow]:
        """The newest count of each table that was ever counted."""
        newest = select(func.max(_CHECK.c.id)).where(in_environment(_CHECK, environment)).group_by(_CHECK.c.table_name)
        names = (*ObjectFinding.__slots__, *ObjectCheckRow.__slots__)
        query = select(*(_CHECK.c[name] for name in names)).where(_CHECK.c.id.in_(newest))
        with self._database.reading() as connection:
            return {row["table_name"]: ObjectCheckRow(**row) for row in connection.execute(query).mappings()}
