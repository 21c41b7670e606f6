"""Generations: the immutable extracts of a partition, and which one is current."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from ulid import ULID

from kpc.errors import Terminal
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.places import at, place
from kpc.partition import Partition
from kpc.storage.store import Environment

_TABLE = schema.generation
_FAILED = schema.failed_records


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One extract of a partition. `state` is open, sealed, abandoned or rolled_back; `ordinal` counts within it."""

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
    state: str
    rows: int | None
    raw_bytes: int | None
    started_utc: datetime
    ended_utc: datetime | None
    reason: str | None


class Generations(Database):
    def start_generation(
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
        """Begin a new extract and return its ULID; an unfinished older one is abandoned."""
        now = self.clock()
        generation = str(ULID.from_datetime(now))
        mine = at(_TABLE, environment, partition)
        with self.writing(lease) as connection:
            _abandon(connection, mine & (_TABLE.c.state == "open"), "a newer generation was started", now)
            newest = connection.execute(select(func.max(_TABLE.c.ordinal)).where(mine)).scalar() or 0
            connection.execute(
                insert(_TABLE).values(
                    id=generation,
                    **place(environment, partition),
                    ordinal=newest + 1,
                    scn=scn,
                    mode=mode,
                    spec_hash=spec_hash,
                    run_id=run_id,
                    state="open",
                    started_utc=now,
                )
            )
        return generation

    def seal_generation(self, generation: str, *, rows: int, raw_bytes: int, lease: Lease) -> None:
        """Declare an extract complete; it is the partition's current generation from now on."""
        with self.writing(lease) as connection:
            sealed = connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == generation, _TABLE.c.state == "open")
                .values(state="sealed", rows=rows, raw_bytes=raw_bytes, ended_utc=self.clock())
            )
            if sealed.rowcount != 1:
                raise Terminal(
                    f"Generation {generation} of {lease.partition} cannot be sealed: it is not open.",
                    "Run the extract again; it starts a new generation.",
                )

    def abandon_generation(self, generation: str, reason: str, lease: Lease) -> None:
        """Give up an unfinished extract, e.g. because its SCN can no longer be read."""
        with self.writing(lease) as connection:
            _abandon(connection, (_TABLE.c.id == generation) & (_TABLE.c.state == "open"), reason, self.clock())

    def roll_back_generations(self, lease: Lease) -> int:
        """The partition's records were taken out of the org: none of its extracts counts as current any more."""
        with self.writing(lease) as connection:
            changed = connection.execute(
                update(_TABLE)
                .where(at(_TABLE, lease.environment, lease.partition), _TABLE.c.state == "sealed")
                .values(state="rolled_back", reason="rolled back")
            )
            connection.execute(
                update(_FAILED)
                .where(at(_FAILED, lease.environment, lease.partition), _FAILED.c.state == "open")
                .values(state="resolved", last_utc=self.clock())
            )
        return changed.rowcount

    def open_generation(self, environment: Environment, partition: Partition) -> GenerationRow | None:
        """The extract that was begun and neither sealed nor abandoned, to be resumed."""
        return self._newest_generation(environment, partition, "open")

    def current_generation(self, environment: Environment, partition: Partition) -> GenerationRow | None:
        """The newest sealed extract."""
        return self._newest_generation(environment, partition, "sealed")

    def generation(self, generation: str) -> GenerationRow | None:
        with self.reading() as connection:
            row = connection.execute(select(_TABLE).where(_TABLE.c.id == generation)).mappings().one_or_none()
        return GenerationRow(**row) if row else None

    def known_generations(self, generations: Collection[str]) -> set[str]:
        """Those of the ids that are generations of this ledger, of whatever partition and state."""
        query = select(_TABLE.c.id).where(_TABLE.c.id.in_(generations))
        with self.reading() as connection:
            return set(connection.execute(query).scalars())

    def _newest_generation(self, environment: Environment, partition: Partition, state: str) -> GenerationRow | None:
        query = (
            select(_TABLE)
            .where(at(_TABLE, environment, partition), _TABLE.c.state == state)
            .order_by(_TABLE.c.ordinal.desc())
            .limit(1)
        )
        with self.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return GenerationRow(**row) if row else None


def _abandon(connection: Connection, which: ColumnElement[bool], reason: str, now: datetime) -> None:
    connection.execute(update(_TABLE).where(which).values(state="abandoned", reason=reason, ended_utc=now))
