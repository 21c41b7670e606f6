"""What Oracle changed since each partition was read, as `kpc delta` found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import environment_values, in_environment, in_partition
from kpc.ledger.states import SourceCheckState
from kpc.partition import Environment, Partition

_CHECK = schema.source_check


@dataclass(frozen=True, slots=True)
class SourceFinding:
    """What one check found in one partition. `partition_key` may also be `UNASSIGNED`: rows that belong to no month.

    `generation` and `scn` are those of the extract that was compared; None if there is none.
    """

    table_name: str
    partition_key: str
    state: SourceCheckState
    generation: str | None
    scn: int | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SourceCheckRow(SourceFinding):
    """A recorded finding, as of `final_scn`."""

    final_scn: int
    run_id: str
    actor: str
    checked_utc: datetime


class SourceChecks:
    """The findings of every check; the newest of a partition applies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, environment: Environment, findings: Sequence[SourceFinding], *, final_scn: int, run_id: str, actor: str
    ) -> None:
        """Record what one check of a table found."""
        fixed = {
            **environment_values(environment),
            "final_scn": final_scn,
            "run_id": run_id,
            "actor": actor,
            "checked_utc": self._database.clock(),
        }
        names = SourceFinding.__slots__
        rows = [{**fixed, **{name: getattr(one, name) for name in names}} for one in findings]
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(_CHECK), rows)

    def newest(self, environment: Environment) -> list[SourceCheckRow]:
        """The newest finding of every partition that was ever checked."""
        newest = (
            select(func.max(_CHECK.c.id))
            .where(in_environment(_CHECK, environment))
            .group_by(_CHECK.c.table_name, _CHECK.c.partition_key)
        )
        return self._rows(_CHECK.c.id.in_(newest))

    def of_partition(self, environment: Environment, partition: Partition) -> SourceCheckRow | None:
        """The newest finding of one partition; None if it was never checked."""
        rows = in_partition(_CHECK, environment, partition)
        newest = select(func.max(_CHECK.c.id)).where(rows).scalar_subquery()
        return next(iter(self._rows(_CHECK.c.id == newest)), None)

    def _rows(self, which: ColumnElement[bool]) -> list[SourceCheckRow]:
        names = (*SourceFinding.__slots__, *SourceCheckRow.__slots__)
        query = select(*(_CHECK.c[name] for name in names)).where(which).order_by(_CHECK.c.id)
        with self._database.reading() as connection:
            return [SourceCheckRow(**row) for row in connection.execute(query).mappings()]
