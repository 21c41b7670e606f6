"""One chunk as one ingest job, begun or carried on from wherever a crash left it.

The ledger's row comes before each request and the server is asked after each doubt:

    intended  the create may or may not have arrived     look for a job that can only be ours, else create another
    open      the upload is unconfirmed                  upload again; if the job will not take it, abort and begin anew
    closing   UploadComplete may or may not have arrived ask; still Open: close again
    closed    Salesforce works on it                     read its results when it has ended
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import OutcomeUnknown, SalesforceDown, Terminal, Transient
from kpc.ledger import JobIntent, JobRow, Lease
from kpc.ledger.quota_entries import BATCH_ROWS
from kpc.partition import Partition, find_partition
from kpc.salesforce import Encoding, Governor, JobInfo, Refused, Salesforce, State
from kpc.settings import SalesforceSettings
from kpc.store import Environment, FileEntry
from kpc.workspace import Workspace

log = logging.getLogger(__name__)

ENCODING_TRAIT = "upload_encoding"

_DEAD = ("failed", "aborted", "given_up")
_FRESH_JOBS = 4  # jobs begun for one chunk in one call before we give up
_UPLOAD_TRIES = 3
_OUTAGE_S = 600.0  # without an answer before we give up following a job
_CLOCK_SKEW = timedelta(minutes=2)
_SLOT_PAUSE_S = 1.0
_EARLY_SHARE = 0.5  # of the remaining time, as far as the progress tells: look again then
_PATIENT_SHARE = 0.03  # of a job's age: no look sooner than this after the last one
_FASTEST_ROWS_PER_S = 100_000  # no org works off a job faster


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


@dataclass(frozen=True, slots=True)
class JobState:
    """Where an ingest job is: Salesforce's `state`, rows worked off so far, and when to look again."""

    state: str
    processed: int
    rows: int
    wait_s: float
    is_final: bool


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


def start_job(load: ChunkLoad) -> str:
    """The id of the closed job that carries the chunk; it is created, uploaded and closed as far as still needed.

    Raises `QuotaExhausted`, `Superseded`, `LeaseLost`, `DamagedFile` before anything is spent.
    """
    for _ in range(_FRESH_JOBS):
        job = load.live_job()
        if job is None:
            load.chunk_file()
            job_id = _create(_intend(load), load)
        elif job.job_id is None:
            job_id = _recover(job, load)
        else:
            job_id = job.job_id
        if job_id is not None and _carry_on(job_id, load):
            return job_id
    raise Terminal(
        f"{load}: {_FRESH_JOBS} ingest jobs in a row could not be brought to their start.",
        "Look at Setup > Bulk Data Load Jobs and at the log; then run the load again.",
    )


def follow_job(load: ChunkLoad, job_id: str) -> JobInfo:
    """Wait for the job's end, through outages of some minutes.

    Raises `Transient` after `job_timeout_s`; the job then still goes on.
    """
    settings = load.workspace.settings.salesforce
    deadline = time.monotonic() + settings.job_timeout_s
    heard = time.monotonic()
    while time.monotonic() < deadline:
        wait_s = settings.poll_longest_s
        try:
            info, state = look(load, job_id)
        except SalesforceDown as outage:
            if time.monotonic() - heard > _OUTAGE_S:
                raise
            log.warning("%s: %s Job %s is asked for again.", load, outage.what, job_id)
        else:
            if info.state.is_final:
                return info
            heard, wait_s = time.monotonic(), state.wait_s
        load.pause(wait_s)
    raise Transient(
        f"Ingest job {job_id} of {load} has not ended after {settings.job_timeout_s:,.0f} s.",
        "Run the load again; it goes on with this job.",
    )


def look(load: ChunkLoad, job_id: str) -> tuple[JobInfo, JobState]:
    """Ask for a job's state once, and note that somebody follows it."""
    info = ask(load, job_id)
    job = row_of(load, job_id)
    load.workspace.ledger.touch_job(job.id, processed=info.processed, lease=load.lease)
    elapsed_s = (load.workspace.clock() - (job.closed_utc or job.intent_utc)).total_seconds()
    return info, job_state(load, info, max(0.0, elapsed_s))


def ask(load: ChunkLoad, job_id: str) -> JobInfo:
    """What the org says of a job. Raises `Terminal` if it has forgotten it (after 7 days, or deleted by hand)."""
    info = load.salesforce.job(job_id)
    if info is None:
        load.workspace.ledger.end_job(row_of(load, job_id).id, state="given_up", error="gone", lease=load.lease)
        raise Terminal(
            f"The org no longer knows ingest job {job_id} of {load}.",
            "Results are kept for 7 days. Run the load again; the chunk is sent again, which changes nothing twice.",
        )
    return info


def row_of(load: ChunkLoad, job_id: str) -> JobRow:
    return next(job for job in load.jobs() if job.job_id == job_id)


def job_state(load: ChunkLoad, info: JobInfo, elapsed_s: float) -> JobState:
    wait_s = next_look_s(load.workspace.settings.salesforce, load.spec.rows, info.processed, elapsed_s)
    return JobState(info.state.value, info.processed, load.spec.rows, wait_s, info.state.is_final)


def next_look_s(settings: SalesforceSettings, rows: int, processed: int, elapsed_s: float) -> float:
    """How long to leave a job alone: half of what is left, as far as the rows worked off tell how fast it goes.

    A large or an old job is not asked every moment: some nine looks are enough for one of 500,000 rows.
    """
    remaining_s = elapsed_s
    if processed:
        remaining_s = elapsed_s * max(0, rows - processed) / processed
    shortest_s = max(settings.poll_first_s, rows / _FASTEST_ROWS_PER_S, _PATIENT_SHARE * elapsed_s)
    return min(settings.poll_longest_s, max(shortest_s, _EARLY_SHARE * remaining_s))


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


def governor_of(workspace: Workspace) -> Governor:
    """The quota governor of the org that this worker is logged in to."""
    client = workspace.salesforce
    return Governor(workspace.ledger, workspace.settings.salesforce, client.org_id, client.limits)


def _intend(load: ChunkLoad) -> JobRow:
    """Claim quota and a slot among the jobs in flight, waiting for a slot as long as a job may last."""
    settings = load.workspace.settings.salesforce
    governor, intent = governor_of(load.workspace), chunk_intent(load.spec, load.table)
    deadline = time.monotonic() + settings.job_timeout_s
    while True:
        job = governor.intend(intent, load.lease)
        if job is not None:
            return job
        if time.monotonic() > deadline:
            raise Transient(
                f"{load} found no free slot: {settings.jobs_in_flight} ingest jobs are in flight.",
                "Run the load again later, or raise KPC__SALESFORCE__JOBS_IN_FLIGHT.",
            )
        load.pause(_SLOT_PAUSE_S)


def _create(job: JobRow, load: ChunkLoad) -> str | None:
    """Create the intended job. None if it must be intended anew."""
    try:
        with governor_of(load.workspace).heeding():
            info = load.salesforce.create_job(job.object_name, job.external_id_field, operation=job.operation)
    except OutcomeUnknown as lost:
        log.warning("%s: %s", load, lost)
        return _recover(job, load)
    except Exception:
        # It was refused or never sent: the slot and the reserved quota are free again at once.
        load.workspace.ledger.end_job(job.id, state="given_up", error="not created", lease=load.lease)
        raise
    if load.workspace.ledger.job_created(job.id, info.id, lease=load.lease):
        return info.id
    load.workspace.ledger.end_job(job.id, state="given_up", error="adopted by another worker", lease=load.lease)
    return None


def _recover(job: JobRow, load: ChunkLoad) -> str | None:
    """The id of a job whose creation was never confirmed, if the org has exactly one that can only be ours."""
    ledger = load.workspace.ledger
    candidates = [info for info in load.salesforce.list_jobs() if _may_be(info, job, load)]
    # Asked after the list: whoever creates a job of this object just now has either noted its id or shows here.
    ours = [info for info in candidates if not ledger.is_known_job(job.target_id, info.id)]
    if len(ours) == 1 and not ledger.other_intents(job) and ledger.job_created(job.id, ours[0].id, lease=load.lease):
        log.info("%s: ingest job %s was created although its reply was lost", load, ours[0].id)
        return ours[0].id
    if ours:
        names = ", ".join(info.id for info in ours)
        log.warning("%s: one of these Open jobs may be ours and is left to expire: %s", load, names)
    ledger.end_job(job.id, state="given_up", error="creation not confirmed", lease=load.lease)
    return None


def _may_be(info: JobInfo, job: JobRow, load: ChunkLoad) -> bool:
    return (
        info.state is State.OPEN
        and info.created_by == load.salesforce.user_id
        and info.object_name == job.object_name
        and info.operation == job.operation
        and info.external_id_field in (None, job.external_id_field)
        and job.intent_utc - _CLOCK_SKEW <= info.created_utc <= load.workspace.clock() + _CLOCK_SKEW
    )


def _carry_on(job_id: str, load: ChunkLoad) -> bool:
    """Upload and close what is not yet; False if the job is of no use and another is needed."""
    ledger, job = load.workspace.ledger, row_of(load, job_id)
    if job.state in ("closed", "ended", "complete"):
        return True
    info = load.salesforce.job(job_id)
    if info is None or info.state is State.ABORTED:
        ledger.end_job(job.id, state="given_up" if info is None else "aborted", error="not closed", lease=load.lease)
        return False
    if info.state is State.OPEN and job.encoding is None and not _upload(job, load):
        ledger.end_job(job.id, state="aborted", error="upload not confirmed", lease=load.lease)
        return False
    ledger.refuse_superseded(load.spec.generation, load.lease)
    if job.state != "closing":
        governor_of(load.workspace).confirm()
        ledger.job_closing(job.id, lease=load.lease)
    if info.state is State.OPEN:
        load.salesforce.complete_upload(job_id)
    ledger.job_closed(job.id, lease=load.lease)
    return True


def _upload(job: JobRow, load: ChunkLoad) -> bool:
    """Upload the verified chunk. False, and the job aborted, if an earlier upload's outcome cannot be known."""
    job_id = job.job_id or ""
    file = load.chunk_file()
    for encoding in encodings(load):
        try:
            is_confirmed = _put(job_id, file, encoding, load)
        except Refused as refused:
            if encoding == "gzip" and refused.status in (400, 415) and is_learning_encoding(load):
                log.info("The org takes no gzip uploads (%s %s); sending plain CSV", refused.status, refused.code)
                load.workspace.ledger.remember_trait(load.salesforce.org_id, ENCODING_TRAIT, "identity")
                continue
            raise
        if not is_confirmed:
            load.salesforce.abort_job(job_id)
            return False
        load.workspace.ledger.job_uploaded(job.id, encoding, lease=load.lease)
        return True
    return False


def _put(job_id: str, file: Path, encoding: Encoding, load: ChunkLoad) -> bool:
    """PUT the file. False when the job has had an upload whose end nobody saw."""
    for attempt in range(_UPLOAD_TRIES):
        try:
            load.salesforce.upload(job_id, file, encoding=encoding, raw_bytes=load.spec.raw_bytes)
        except OutcomeUnknown as lost:
            log.warning("%s: %s", load, lost)
            load.pause(load.workspace.settings.salesforce.poll_first_s * 2**attempt)
        except Refused as refused:
            if refused.code == "INVALIDJOBSTATE":
                return False
            raise
        else:
            return True
    return False


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
