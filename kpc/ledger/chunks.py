"""The chunks of a staged generation and the results of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from kpc.errors import Terminal
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.partition_filters import in_partition, partition_values
from kpc.ledger.states import ChunkState, GenerationState
from kpc.partition import Environment, Partition
from kpc.storage.store import FileEntry

_CHUNK = schema.chunk


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk of a staged generation. The counts are None until its result is known (`ChunkState.DONE`)."""

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
    state: ChunkState
    loaded: int | None
    created: int | None
    failed: int | None
    unprocessed: int | None
    planned_utc: datetime
    finished_utc: datetime | None


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """The result of a chunk's rows; `created` of the `loaded` ones are new in the org."""

    loaded: int
    created: int
    failed: int
    unprocessed: int

    @property
    def rows(self) -> int:
        return self.loaded + self.failed + self.unprocessed


class Chunks:
    """The chunks of each staged generation. A chunk whose result is known is not sent again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(
        self, generation: str, mapping_version: str, files: Sequence[FileEntry], *, lease: Lease
    ) -> list[ChunkRow]:
        """Record the chunks of a staged generation, once; returns all of them, by name.

        Raises `Terminal` when the content of a planned chunk differs: staging is deterministic, so somebody changed it.
        """
        known = {chunk.name: chunk for chunk in self.of_generation(generation, mapping_version)}
        with self._database.writing(lease) as connection:
            for file in files:
                if file.name not in known:
                    _insert(connection, generation, mapping_version, file, lease, self._database.clock())
                elif known[file.name].sha256 != file.sha256:
                    raise Terminal(
                        f"{file.name} of {lease.partition}, generation {generation}, is not the file that was planned: "
                        f"its sha256 was {known[file.name].sha256[:12]}... and is {file.sha256[:12]}...",
                        f"Extract the partition again: `kpc rerun {lease.partition}`.",
                    )
        return self.of_generation(generation, mapping_version)

    def of_generation(self, generation: str, mapping_version: str) -> list[ChunkRow]:
        """The chunks of a staged generation, by name."""
        query = (
            select(_CHUNK)
            .where(_CHUNK.c.generation == generation, _CHUNK.c.mapping_version == mapping_version)
            .order_by(_CHUNK.c.name)
        )
        with self._database.reading() as connection:
            return [ChunkRow(**row) for row in connection.execute(query).mappings()]

    def planned(self, environment: Environment, partition: Partition) -> list[ChunkRow]:
        """Every chunk of every load that was planned for the partition, oldest generation first, by name.

        Those of rolled-back generations are left out.
        """
        generations = schema.generation
        query = (
            select(_CHUNK)
            .join(generations, generations.c.id == _CHUNK.c.generation)
            .where(in_partition(_CHUNK, environment, partition), generations.c.state == GenerationState.SEALED)
            .order_by(generations.c.ordinal, _CHUNK.c.mapping_version, _CHUNK.c.name)
        )
        with self._database.reading() as connection:
            return [ChunkRow(**row) for row in connection.execute(query).mappings()]

    def finish(self, generation: str, mapping_version: str, name: str, counts: ChunkCounts, *, lease: Lease) -> None:
        """Record the result of a chunk's rows."""
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_CHUNK)
                .where(
                    _CHUNK.c.generation == generation,
                    _CHUNK.c.mapping_version == mapping_version,
                    _CHUNK.c.name == name,
                )
                .values(
                    state=ChunkState.DONE,
                    loaded=counts.loaded,
                    created=counts.created,
                    failed=counts.failed,
                    unprocessed=counts.unprocessed,
                    finished_utc=self._database.clock(),
                )
            )


def _insert(
    connection: Connection, generation: str, mapping_version: str, file: FileEntry, lease: Lease, now: datetime
) -> None:
    connection.execute(
        insert(_CHUNK).values(
            generation=generation,
            mapping_version=mapping_version,
            name=file.name,
            **partition_values(lease.environment, lease.partition),
            rows=file.rows,
            raw_bytes=file.raw_bytes or 0,
            sha256=file.sha256,
            state=ChunkState.PLANNED,
            planned_utc=now,
        )
    )
