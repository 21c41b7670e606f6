"""Attempts to load a staged generation."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from kpc.errors import Superseded
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.partition_filters import in_partition, partition_values
from kpc.ledger.states import AttemptState

_ATTEMPT = schema.attempt


class Attempts:
    """The attempts to load each generation, numbered from 1 for each mapping version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, generation: str, mapping_version: str, *, run_id: str, lease: Lease) -> int:
        """Return the number of the running attempt, or start a new one.

        Raises `Superseded` when loading a newer generation of the partition has begun.
        """
        with self._database.writing(lease) as connection:
            _refuse_superseded(connection, generation, mapping_version, lease)
            mine = _of_load(generation, mapping_version)
            newest = connection.execute(
                select(_ATTEMPT.c.number, _ATTEMPT.c.state).where(mine).order_by(_ATTEMPT.c.number.desc()).limit(1)
            ).one_or_none()
            if newest is not None and newest.state == AttemptState.RUNNING:
                return int(newest.number)
            number = 1 if newest is None else newest.number + 1
            connection.execute(
                insert(_ATTEMPT).values(
                    generation=generation,
                    mapping_version=mapping_version,
                    number=number,
                    **partition_values(lease.environment, lease.partition),
                    run_id=run_id,
                    state=AttemptState.RUNNING,
                    started_utc=self._database.clock(),
                )
            )
            return int(number)

    def refuse_superseded(self, generation: str, mapping_version: str, lease: Lease) -> None:
        """Raises `Superseded` when a newer generation has replaced this load, `LeaseLost` when the lease is lost."""
        with self._database.writing(lease) as connection:
            _refuse_superseded(connection, generation, mapping_version, lease)

    def supersede(self, generation: str, mapping_version: str, *, lease: Lease) -> None:
        """Record that a load will never be continued: its jobs are finalized and a newer load replaces it."""
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_ATTEMPT)
                .where(_of_load(generation, mapping_version))
                .values(state=AttemptState.SUPERSEDED, finished_utc=self._database.clock())
            )

    def is_superseded(self, generation: str, mapping_version: str) -> bool:
        """Whether `supersede` was recorded for the load."""
        with self._database.reading() as connection:
            return _is_superseded(connection, generation, mapping_version)

    def end(
        self,
        generation: str,
        mapping_version: str,
        number: int,
        *,
        state: AttemptState,
        lease: Lease,
        error: str | None = None,
    ) -> None:
        """Close an attempt as `loaded` or `failed`."""
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_ATTEMPT)
                .where(_of_load(generation, mapping_version), _ATTEMPT.c.number == number)
                .values(state=state, error=error, finished_utc=self._database.clock())
            )


def _of_load(generation: str, mapping_version: str) -> ColumnElement[bool]:
    return and_(_ATTEMPT.c.generation == generation, _ATTEMPT.c.mapping_version == mapping_version)


def _is_superseded(connection: Connection, generation: str, mapping_version: str) -> bool:
    query = select(_ATTEMPT.c.number).where(
        _of_load(generation, mapping_version), _ATTEMPT.c.state == AttemptState.SUPERSEDED
    )
    return connection.execute(query.limit(1)).scalar_one_or_none() is not None


def _refuse_superseded(connection: Connection, generation: str, mapping_version: str, lease: Lease) -> None:
    if _is_superseded(connection, generation, mapping_version):
        raise Superseded(
            f"The load of generation {generation} of {lease.partition} was given up for a newer one.",
            "Nothing to do: the newer generation replaces it.",
        )
    generations = schema.generation
    ordinal = select(generations.c.ordinal).where(generations.c.id == generation).scalar_subquery()
    newer = connection.execute(
        select(_ATTEMPT.c.generation)
        .join(generations, generations.c.id == _ATTEMPT.c.generation)
        .where(in_partition(_ATTEMPT, lease.environment, lease.partition), generations.c.ordinal > ordinal)
        .limit(1)
    ).scalar_one_or_none()
    if newer is not None:
        raise Superseded(
            f"Generation {generation} of {lease.partition} is older than {newer}, whose load has begun.",
            "Nothing to do: the newer generation replaces it.",
        )
