"""Generations: the immutable extracts of a partition, and which one is current."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update
from ulid import ULID

from kpc.errors import Terminal
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.partition_filters import in_environment, in_partition, partition_values
from kpc.ledger.states import FailureState, GenerationState
from kpc.ledger.vouching import GROUPED_BY, Group, label
from kpc.partition import Environment, Partition

_GENERATION = schema.generation
_FAILED_RECORD = schema.failed_records


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One extract of a partition. `ordinal` is 1, 2, ... within the partition."""

    id: str
    source_id: str
    target_id: str
    table_name: str
    partition_key: str
    ordinal: int
    scn: int
    mode: str
    spec_hash: str
    run_id: str
    state: GenerationState
    rows: int | None
    raw_bytes: int | None
    started_utc: datetime
    ended_utc: datetime | None
    reason: str | None


class Generations:
    """The extracts of every partition; a newer one never changes an older one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self,
        environment: Environment,
        partition: Partition,
        *,
        scn: int,
        mode: str,
        spec_hash: str,
        run_id: str,
        lease: Lease,
    ) -> str:
        """Start a new extract and return its ULID; an unfinished older one is abandoned."""
        now = self._database.clock()
        generation = str(ULID.from_datetime(now))
        mine = in_partition(_GENERATION, environment, partition)
        with self._database.writing(lease) as connection:
            _abandon(
                connection, mine & (_GENERATION.c.state == GenerationState.OPEN), "a newer generation was started", now
            )
            newest = connection.execute(select(func.max(_GENERATION.c.ordinal)).where(mine)).scalar() or 0
            connection.execute(
                insert(_GENERATION).values(
                    id=generation,
                    **partition_values(environment, partition),
                    ordinal=newest + 1,
                    scn=scn,
                    mode=mode,
                    spec_hash=spec_hash,
                    run_id=run_id,
                    state=GenerationState.OPEN,
                    started_utc=now,
                )
            )
        return generation

    def seal(self, generation: str, *, rows: int, raw_bytes: int, lease: Lease) -> None:
        """Mark an extract as complete, which makes it the partition's current generation."""
        with self._database.writing(lease) as connection:
            sealed = connection.execute(
                update(_GENERATION)
                .where(_GENERATION.c.id == generation, _GENERATION.c.state == GenerationState.OPEN)
                .values(state=GenerationState.SEALED, rows=rows, raw_bytes=raw_bytes, ended_utc=self._database.clock())
            )
            if sealed.rowcount != 1:
                raise Terminal(
                    f"Generation {generation} of {lease.partition} cannot be sealed: it is not open.",
                    "Run the extract again; it starts a new generation.",
                )

    def abandon(self, generation: str, reason: str, lease: Lease) -> None:
        """Give up an unfinished extract, e.g. because its SCN can no longer be read."""
        with self._database.writing(lease) as connection:
            _abandon(
                connection,
                (_GENERATION.c.id == generation) & (_GENERATION.c.state == GenerationState.OPEN),
                reason,
                self._database.clock(),
            )

    def roll_back(self, lease: Lease) -> int:
        """Mark all extracts as rolled back, after the org's records were; returns how many."""
        with self._database.writing(lease) as connection:
            changed = connection.execute(
                update(_GENERATION)
                .where(
                    in_partition(_GENERATION, lease.environment, lease.partition),
                    _GENERATION.c.state == GenerationState.SEALED,
                )
                .values(state=GenerationState.ROLLED_BACK, reason="rolled back")
            )
            connection.execute(
                update(_FAILED_RECORD)
                .where(
                    in_partition(_FAILED_RECORD, lease.environment, lease.partition),
                    _FAILED_RECORD.c.state == FailureState.OPEN,
                )
                .values(state=FailureState.RESOLVED, last_utc=self._database.clock())
            )
        return changed.rowcount

    def unfinished(self, environment: Environment, partition: Partition) -> GenerationRow | None:
        """The extract to resume: started, but neither sealed nor abandoned."""
        return self._newest(environment, partition, GenerationState.OPEN)

    def current(self, environment: Environment, partition: Partition) -> GenerationRow | None:
        """The newest sealed extract."""
        return self._newest(environment, partition, GenerationState.SEALED)

    def all_current(self, environment: Environment) -> list[GenerationRow]:
        """The newest sealed extract of every partition."""
        names = ("table_name", "partition_key")
        sealed = in_environment(_GENERATION, environment) & (_GENERATION.c.state == GenerationState.SEALED)
        newest = (
            select(*(_GENERATION.c[name] for name in names), func.max(_GENERATION.c.ordinal).label("ordinal"))
            .where(sealed)
            .group_by(*(_GENERATION.c[name] for name in names))
            .subquery()
        )
        is_newest = [_GENERATION.c[name] == newest.c[name] for name in (*names, "ordinal")]
        with self._database.reading() as connection:
            rows = connection.execute(select(_GENERATION).join(newest, and_(*is_newest)).where(sealed)).mappings()
            return [GenerationRow(**row) for row in rows]

    def open_groups(self, source_id: str) -> list[Group]:
        """What the audit log calls the partitions of a database that have an unfinished extract."""
        where = (_GENERATION.c.source_id == source_id) & (_GENERATION.c.state == GenerationState.OPEN)
        columns = [_GENERATION.c[name] for name in GROUPED_BY[_GENERATION.name]]
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).where(where).distinct())
            return [(_GENERATION.name, label(*row)) for row in rows]

    def newest_scn(self, environment: Environment, partition: Partition) -> int | None:
        """The newest SCN at which a partition was read or should have been; None if it never was."""
        query = select(func.max(_GENERATION.c.scn)).where(in_partition(_GENERATION, environment, partition))
        with self._database.reading() as connection:
            newest: int | None = connection.execute(query).scalar()
        return newest

    def find(self, generation: str) -> GenerationRow | None:
        """The extract with this id, of any partition; None if it is not in this ledger."""
        with self._database.reading() as connection:
            row = connection.execute(select(_GENERATION).where(_GENERATION.c.id == generation)).mappings().one_or_none()
        return GenerationRow(**row) if row else None

    def known(self, generations: Collection[str]) -> set[str]:
        """The ids that are generations of this ledger, of any partition and in any state."""
        query = select(_GENERATION.c.id).where(_GENERATION.c.id.in_(generations))
        with self._database.reading() as connection:
            return set(connection.execute(query).scalars())

    def of_table(self, environment: Environment, table: str) -> list[str]:
        """The ids of all generations of a table, in any state."""
        query = select(_GENERATION.c.id).where(
            in_environment(_GENERATION, environment), _GENERATION.c.table_name == table
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def of_environment(self, environment: Environment) -> list[GenerationRow]:
        """Every extract, in any state, by table and partition, oldest first."""
        query = (
            select(_GENERATION)
            .where(in_environment(_GENERATION, environment))
            .order_by(_GENERATION.c.table_name, _GENERATION.c.partition_key, _GENERATION.c.ordinal)
        )
        with self._database.reading() as connection:
            return [GenerationRow(**row) for row in connection.execute(query).mappings()]

    def _newest(self, environment: Environment, partition: Partition, state: GenerationState) -> GenerationRow | None:
        query = (
            select(_GENERATION)
            .where(in_partition(_GENERATION, environment, partition), _GENERATION.c.state == state)
            .order_by(_GENERATION.c.ordinal.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return GenerationRow(**row) if row else None


def _abandon(connection: Connection, which: ColumnElement[bool], reason: str, now: datetime) -> None:
    connection.execute(
        update(_GENERATION).where(which).values(state=GenerationState.ABANDONED, reason=reason, ended_utc=now)
    )
