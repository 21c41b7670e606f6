"""A chunk on its way into Salesforce: what travels between tasks, and one worker's hold of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import Transient
from kpc.ledger import JobIntent, JobRow, Lease
from kpc.partition import Partition, find_partition
from kpc.salesforce import Encoding, Salesforce
from kpc.salesforce.constants import BATCH_ROWS
from kpc.stages.quota_governor import Governor
from kpc.stages.workspace import Workspace
from kpc.storage.store import Environment, FileEntry

ENCODING_TRAIT = "upload_encoding"
_DEAD = ("failed", "aborted", "given_up")


class ChunkSpec(BaseModel):
    """A chunk to load, as it travels between tasks. `folder` is relative to the generation's folder.

    `key_sum` stands for its external ids, where staging noted it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_id: str
    target_id: str
    table: str
    key: str
    generation: str
    mapping_version: str
    attempt: int
    chunk: str
    folder: str
    rows: int
    bytes: int
    raw_bytes: int
    sha256: str
    key_sum: str | None = None
    purpose: str = "chunk"
    operation: Literal["upsert", "delete", "update"] = "upsert"
    pre_image: bool = False  # what its rows will change is kept before its first upload

    @classmethod
    def of(cls, entry: FileEntry, partition: Partition, environment: Environment, **more: Any) -> ChunkSpec:
        """A file of a partition; `more` says of which generation, mapping and attempt it is, and where it lies."""
        return cls(
            source_id=environment.source_id,
            target_id=environment.target_id,
            table=partition.table.name,
            key=partition.key,
            chunk=entry.name,
            rows=entry.rows,
            bytes=entry.bytes,
            raw_bytes=entry.raw_bytes or 0,
            sha256=entry.sha256,
            key_sum=entry.key_sum,
            **more,
        )

    @property
    def environment(self) -> Environment:
        """The two systems of the plan; a task that follows a job need not ask Oracle who it is."""
        return Environment(self.source_id, self.target_id)

    @property
    def entry(self) -> FileEntry:
        return FileEntry(
            name=self.chunk, rows=self.rows, bytes=self.bytes, sha256=self.sha256, raw_bytes=self.raw_bytes
        )

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class ChunkLoad:
    """One worker's load of one chunk. `stop` ends its waits early; the job itself goes on in the org."""

    spec: ChunkSpec
    workspace: Workspace
    lease: Lease
    stop: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def partition(self) -> Partition:
        return find_partition(self.spec.table, self.spec.key)

    @property
    def table(self) -> Table:
        return self.partition.table

    @property
    def salesforce(self) -> Salesforce:
        return self.workspace.salesforce

    @cached_property
    def generation_dir(self) -> Path:
        return self.workspace.store.generation_dir(self.lease.environment, self.partition, self.spec.generation)

    def chunk_file(self) -> Path:
        """The chunk, verified."""
        folder = self.generation_dir / self.spec.folder
        return self.workspace.store.file(folder, self.spec.entry, remedy=_restage(self))

    def jobs(self) -> list[JobRow]:
        return self.workspace.ledger.jobs_of_chunk(self.spec.generation, self.spec.mapping_version, self.spec.chunk)

    def live_job(self) -> JobRow | None:
        """The job that carries this chunk, at work or done; None if it must be sent (again)."""
        living = [job for job in self.jobs() if job.state not in _DEAD]
        return living[-1] if living else None

    def pause(self, wait_s: float) -> None:
        """Wait, unless the load is being stopped or another run has taken over."""
        if self.stop.wait(wait_s) or self.lease.lost.is_set():
            raise Transient(
                f"Following {self.spec.chunk} of {self.partition} was stopped.",
                "Its job goes on in the org; run the load again, it continues there.",
            )

    def __str__(self) -> str:
        return f"{self.partition} {self.spec.chunk}"


def chunk_intent(spec: ChunkSpec, table: Table) -> JobIntent:
    """What the ledger must know of a chunk's job before it exists."""
    return JobIntent(
        generation=spec.generation,
        mapping_version=spec.mapping_version,
        chunk=spec.chunk,
        attempt=spec.attempt,
        object_name=table.target,
        external_id_field=EXTERNAL_ID if spec.operation == "upsert" else None,
        rows=spec.rows,
        batches=-(-spec.rows // BATCH_ROWS),
        operation=spec.operation,
        purpose=spec.purpose,
    )


def row_of(load: ChunkLoad, job_id: str) -> JobRow:
    return next(job for job in load.jobs() if job.job_id == job_id)


def governor_of(workspace: Workspace) -> Governor:
    """The quota governor of the org that this worker is logged in to."""
    client = workspace.salesforce
    return Governor(workspace.ledger, workspace.settings.salesforce, client.org_id, client.limits)


def encodings(load: ChunkLoad) -> Sequence[Encoding]:
    """How to upload, in order of preference."""
    wanted = load.workspace.settings.salesforce.upload_encoding
    if wanted != "auto":
        return (wanted,)
    learned = load.workspace.ledger.trait_of(load.salesforce.org_id, ENCODING_TRAIT)
    if learned == "identity" or (learned is None and not may_teach(load.spec)):
        return ("identity",)
    return ("gzip",) if learned == "gzip" else ("gzip", "identity")


def may_teach(spec: ChunkSpec) -> bool:
    """Whether a chunk may find out what the org thinks of gzip: a misread one costs a batch at most."""
    return spec.purpose == "chunk" and spec.rows <= BATCH_ROWS


def is_learning_encoding(load: ChunkLoad) -> bool:
    """Whether gzip is still a trial in this org."""
    return len(encodings(load)) > 1


def _restage(load: ChunkLoad) -> str:
    return f"Stage it again: `kpc rerun {load.spec.table} {load.spec.key}`."
