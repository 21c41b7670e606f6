"""When a partition moved last, as far as the ledger sees it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Table, func, select

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import in_partition
from kpc.partition import Environment, Partition

# Not when a job was polled: that shows that its worker lives, not that the job moves.
_SIGNS: tuple[tuple[Table, Column[datetime]], ...] = tuple(
    (table, table.c[name])
    for table, name in (
        (schema.generation, "started_utc"),
        (schema.generation, "ended_utc"),
        (schema.chunk, "planned_utc"),
        (schema.chunk, "finished_utc"),
        (schema.job, "intent_utc"),
        (schema.job, "closed_utc"),
        (schema.job, "finished_utc"),
        (schema.stage_run, "started_utc"),
        (schema.stage_run, "finished_utc"),
    )
)


class SignsOfProgress:
    """Signs of progress of all partitions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, environment: Environment, partition: Partition) -> datetime | None:
        """When an extract, a chunk, a job or a stage of the partition began or ended last; None: never."""
        with self._database.reading() as connection:
            found = [
                connection.execute(
                    select(func.max(column)).where(in_partition(table, environment, partition))
                ).scalar_one_or_none()
                for table, column in _SIGNS
            ]
        return max((moment for moment in found if moment is not None), default=None)
