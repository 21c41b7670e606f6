"""Attempts to load a staged generation, and the chunks they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, insert, select, update

from kpc.errors import Superseded, Terminal
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.places import at, place
from kpc.partition import Partition
from kpc.storage.store import Environment, FileEntry

_ATTEMPT = schema.attempt
_CHUNK = schema.chunk


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk of a staged generation. The counts are None until its result is known (`state` done)."""

    generation: str
    mapping_version: str
    name: str
    source_id: str
    target_id: str
    table_name: str
    partition_key: str
    rows: int
    raw_bytes: int
    sha256: str
    state: str
    loaded: int | None
    created: int | None
    failed: int | None
    unprocessed: int | None
    planned_utc: datetime
    finished_utc: datetime | None


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """What became of a chunk's rows; `created` of the `loaded` ones are new in the org."""

    loaded: int
    created: int
    failed: int
    unprocessed: int

    @property
    def rows(self) -> int:
        return self.loaded + self.failed + self.unprocessed


class Attempts(Database):
    def begin_attempt(self, generation: str, mapping_version: str, *, run_id: str, lease: Lease) -> int:
        """The number of the attempt to work under: the one that was left running, or a new one.

        Raises `Superseded` when a newer generation of the partition has begun to load.
        """
        with self.writing(lease) as connection:
            _refuse_older(connection, generation, lease)
            mine = and_(_ATTEMPT.c.generation == generation, _ATTEMPT.c.mapping_version == mapping_version)
            newest = connection.execute(
                select(_ATTEMPT.c.number, _ATTEMPT.c.state).where(mine).order_by(_ATTEMPT.c.number.desc()).limit(1)
            ).one_or_none()
            if newest is not None and newest.state == "running":
                return int(newest.number)
            number = 1 if newest is None else newest.number + 1
            connection.execute(
                insert(_ATTEMPT).values(
                    generation=generation,
                    mapping_version=mapping_version,
                    number=number,
                    **place(lease.environment, lease.partition),
                    run_id=run_id,
                    state="running",
                    started_utc=self.clock(),
                )
            )
            return int(number)

    def refuse_superseded(self, generation: str, lease: Lease) -> None:
        """Raises `Superseded` when a newer generation of the partition has begun to load, `LeaseLost` without it."""
        with self.writing(lease) as connection:
            _refuse_older(connection, generation, lease)

    def end_attempt(
        self, generation: str, mapping_version: str, number: int, *, state: str, lease: Lease, error: str | None = None
    ) -> None:
        """Close an attempt as `loaded` or `failed`."""
        with self.writing(lease) as connection:
            connection.execute(
                update(_ATTEMPT)
                .where(
                    _ATTEMPT.c.generation == generation,
                    _ATTEMPT.c.mapping_version == mapping_version,
                    _ATTEMPT.c.number == number,
                )
                .values(state=state, error=error, finished_utc=self.clock())
            )

    def plan_chunks(
        self, generation: str, mapping_version: str, files: Sequence[FileEntry], *, lease: Lease
    ) -> list[ChunkRow]:
        """Note the chunks of a staged generation, once; returns all of them with what is known, by name.

        Raises `Terminal` when a chunk that was planned before has other bytes now: staging is deterministic, so
        somebody changed it.
        """
        known = {chunk.name: chunk for chunk in self.chunks(generation, mapping_version)}
        with self.writing(lease) as connection:
            for file in files:
                if file.name not in known:
                    _insert_chunk(connection, generation, mapping_version, file, lease, self.clock())
                elif known[file.name].sha256 != file.sha256:
                    raise Terminal(
                        f"{file.name} of {lease.partition}, generation {generation}, is not the file that was planned: "
                        f"its sha256 was {known[file.name].sha256[:12]}... and is {file.sha256[:12]}...",
                        f"Extract the partition again: `kpc rerun {lease.partition}`.",
                    )
        return self.chunks(generation, mapping_version)

    def chunks(self, generation: str, mapping_version: str) -> list[ChunkRow]:
        query = (
            select(_CHUNK)
            .where(_CHUNK.c.generation == generation, _CHUNK.c.mapping_version == mapping_version)
            .order_by(_CHUNK.c.name)
        )
        with self.reading() as connection:
            return [ChunkRow(**row) for row in connection.execute(query).mappings()]

    def planned_chunks(self, environment: Environment, partition: Partition) -> list[ChunkRow]:
        """Every chunk that a load of the partition was planned with, oldest generation first, by name.

        Those of rolled back generations are left out.
        """
        generations = schema.generation
        query = (
            select(_CHUNK)
            .join(generations, generations.c.id == _CHUNK.c.generation)
            .where(at(_CHUNK, environment, partition), generations.c.state == "sealed")
            .order_by(generations.c.ordinal, _CHUNK.c.mapping_version, _CHUNK.c.name)
        )
        with self.reading() as connection:
            return [ChunkRow(**row) for row in connection.execute(query).mappings()]

    def finish_chunk(
        self, generation: str, mapping_version: str, name: str, counts: ChunkCounts, *, lease: Lease
    ) -> None:
        """Note what became of a chunk's rows; it will not be sent again."""
        with self.writing(lease) as connection:
            connection.execute(
                update(_CHUNK)
                .where(
                    _CHUNK.c.generation == generation,
                    _CHUNK.c.mapping_version == mapping_version,
                    _CHUNK.c.name == name,
                )
                .values(
                    state="done",
                    loaded=counts.loaded,
                    created=counts.created,
                    failed=counts.failed,
                    unprocessed=counts.unprocessed,
                    finished_utc=self.clock(),
                )
            )


def _refuse_older(connection: Connection, generation: str, lease: Lease) -> None:
    generations = schema.generation
    ordinal = select(generations.c.ordinal).where(generations.c.id == generation).scalar_subquery()
    newer = connection.execute(
        select(_ATTEMPT.c.generation)
        .join(generations, generations.c.id == _ATTEMPT.c.generation)
        .where(at(_ATTEMPT, lease.environment, lease.partition), generations.c.ordinal > ordinal)
        .limit(1)
    ).scalar_one_or_none()
    if newer is not None:
        raise Superseded(
            f"Generation {generation} of {lease.partition} is older than {newer}, whose load has begun.",
            "Nothing to do: the newer generation replaces it.",
        )


def _insert_chunk(
    connection: Connection, generation: str, mapping_version: str, file: FileEntry, lease: Lease, now: datetime
) -> None:
    connection.execute(
        insert(_CHUNK).values(
            generation=generation,
            mapping_version=mapping_version,
            name=file.name,
            **place(lease.environment, lease.partition),
            rows=file.rows,
            raw_bytes=file.raw_bytes or 0,
            sha256=file.sha256,
            state="planned",
            planned_utc=now,
        )
    )
