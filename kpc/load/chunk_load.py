"""One chunk to load: the spec that is passed between tasks, and the context in which a worker loads it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import Transient
from kpc.ledger import JobIntent, JobRow, Lease, Ledger
from kpc.ledger.states import DEAD, JobPurpose, JobState
from kpc.partition import Environment, Partition, find_partition
from kpc.salesforce import Salesforce
from kpc.salesforce.constants import BATCH_ROWS
from kpc.settings import SalesforceSettings
from kpc.stages.context import LeasedContext, PartitionContext
from kpc.stages.quota_governor import Governor
from kpc.stages.workspace import Workspace
from kpc.storage.layout import GenerationPaths, loaded_folder
from kpc.storage.store import FileEntry, Store


class ChunkSpec(BaseModel):
    """A chunk to load, as passed between tasks. `folder` is relative to the generation's folder.

    `key_sum` is the checksum of its external ids; None if staging did not record one.
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
    pre_image: bool = False  # save the records it will change before the first upload

    @classmethod
    def of(
        cls,
        entry: FileEntry,
        context: PartitionContext,
        *,
        generation: str,
        folder: str,
        attempt: int = 0,
        purpose: str = "chunk",
        operation: Literal["upsert", "delete", "update"] = "upsert",
        pre_image: bool = False,
    ) -> ChunkSpec:
        """The spec of one file of a generation, under the table's current mapping."""
        return cls(
            source_id=context.environment.source_id,
            target_id=context.environment.target_id,
            table=context.table.name,
            key=context.key,
            generation=generation,
            mapping_version=context.table.mapping_version,
            attempt=attempt,
            chunk=entry.name,
            folder=folder,
            rows=entry.rows,
            bytes=entry.bytes,
            raw_bytes=entry.raw_bytes or 0,
            sha256=entry.sha256,
            key_sum=entry.key_sum,
            purpose=purpose,
            operation=operation,
            pre_image=pre_image,
        )

    def sent_again(self, entry: FileEntry) -> ChunkSpec:
        """The spec of a retry: `entry` holds some of the chunk's rows and lies beside the load's results."""
        return self.model_copy(
            update={
                "chunk": entry.name,
                "folder": loaded_folder(self.mapping_version),
                "rows": entry.rows,
                "bytes": entry.bytes,
                "raw_bytes": entry.raw_bytes or 0,
                "sha256": entry.sha256,
                "key_sum": None,
                "purpose": "retry",
            }
        )

    @property
    def environment(self) -> Environment:
        """The two systems of the plan, so that a polling task need not connect to Oracle to identify it."""
        return Environment(self.source_id, self.target_id)

    @property
    def partition(self) -> Partition:
        return find_partition(self.table, self.key)

    @property
    def entry(self) -> FileEntry:
        return FileEntry(
            name=self.chunk, rows=self.rows, bytes=self.bytes, sha256=self.sha256, raw_bytes=self.raw_bytes
        )

    def context(self, workspace: Workspace) -> PartitionContext:
        """The partition that the chunk belongs to."""
        return PartitionContext(workspace, self.partition, self.environment)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class ChunkLoad:
    """One worker's load of one chunk. Setting `stop` ends its waits early; the job continues in the org.

    While a sibling's job locks the same parents, or no slot is free, it waits in this process, or raises with
    `waits_here` False.
    """

    spec: ChunkSpec
    context: LeasedContext
    stop: threading.Event = field(default_factory=threading.Event)
    waits_here: bool = True

    @property
    def table(self) -> Table:
        return self.context.table

    @property
    def lease(self) -> Lease:
        return self.context.lease

    @property
    def ledger(self) -> Ledger:
        return self.context.ledger

    @property
    def store(self) -> Store:
        return self.context.store

    @property
    def salesforce(self) -> Salesforce:
        return self.context.salesforce

    @property
    def settings(self) -> SalesforceSettings:
        return self.context.settings.salesforce

    @property
    def governor(self) -> Governor:
        return self.context.governor

    @cached_property
    def paths(self) -> GenerationPaths:
        """The folders of the chunk's generation."""
        return self.context.paths.generation(self.spec.generation)

    @property
    def results(self) -> Path:
        """The folder of the load's result files."""
        return self.paths.loaded(self.spec.mapping_version)

    def chunk_file(self) -> Path:
        """The chunk's file, with its checksum verified. Raises `DamagedFile`."""
        remedy = f"Stage it again: `kpc rerun {self.spec.table} {self.spec.key}`."
        return self.store.file(self.paths.folder / self.spec.folder, self.spec.entry, remedy=remedy)

    def jobs(self) -> list[JobRow]:
        return self.ledger.jobs.of_chunk(self.spec.generation, self.spec.mapping_version, self.spec.chunk)

    def job(self, job_id: str) -> JobRow:
        """The ledger's row of one of the chunk's jobs."""
        return next(job for job in self.jobs() if job.job_id == job_id)

    def live_job(self) -> JobRow | None:
        """The chunk's running or finished job; None if the chunk must be sent (again)."""
        living = [job for job in self.jobs() if job.state not in DEAD]
        return living[-1] if living else None

    def end_job(self, job: JobRow, state: JobState, error: str | None = None) -> None:
        """Record that a job no longer takes a slot."""
        self.ledger.jobs.end(job.id, state=state, error=error, lease=self.lease)

    def pause(self, wait_s: float) -> None:
        """Wait. Raises `Transient` if the load is being stopped or another run has taken over the lease."""
        if self.stop.wait(wait_s) or self.lease.lost.is_set():
            raise Transient(
                f"Polling the job of {self.spec.chunk} of {self.context} was stopped.",
                "The job continues in the org; run the load again to resume with it.",
            )

    def __str__(self) -> str:
        return f"{self.context} {self.spec.chunk}"


def chunk_intent(spec: ChunkSpec, table: Table) -> JobIntent:
    """What the ledger records about a chunk's job before the job is created."""
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
        purpose=JobPurpose(spec.purpose),
    )
