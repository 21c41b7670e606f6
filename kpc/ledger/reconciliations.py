"""Every comparison of source and target that a reconciliation made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.partition_filters import in_partition, partition_values
from kpc.partition import Environment, Partition

_RECONCILIATION = schema.reconciliation


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison of source and target; exact values as text."""

    level: int
    measure: str
    source_value: str | None
    target_value: str | None
    passed: bool
    detail: dict[str, Any] | None = None


class Reconciliations:
    """The comparisons of all reconciliations, including ones that were repeated later."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, generation: str, stage_run: int, compared: Sequence[Compared], *, lease: Lease) -> None:
        """Record every comparison that a reconciliation made."""
        fixed = {
            **partition_values(lease.environment, lease.partition),
            "generation": generation,
            "stage_run": stage_run,
            "compared_utc": self._database.clock(),
        }
        with self._database.writing(lease) as connection:
            if compared:
                connection.execute(
                    insert(_RECONCILIATION),
                    [{**fixed, **{name: getattr(one, name) for name in Compared.__slots__}} for one in compared],
                )

    def newest(self, environment: Environment, partition: Partition) -> list[Compared]:
        """The comparisons of the partition's newest recorded reconciliation."""
        newest = (
            select(_RECONCILIATION.c.stage_run)
            .where(in_partition(_RECONCILIATION, environment, partition))
            .order_by(_RECONCILIATION.c.stage_run.desc())
            .limit(1)
            .scalar_subquery()
        )
        names = [_RECONCILIATION.c[name] for name in Compared.__slots__]
        with self._database.reading() as connection:
            found = connection.execute(
                select(*names).where(_RECONCILIATION.c.stage_run == newest).order_by(_RECONCILIATION.c.id)
            ).mappings()
            return [Compared(**row) for row in found]
