"""Ingest jobs: the intent before the request, the id after it, and how many may be in flight.

    intended -> open -> closing -> closed -> ended -> complete
            \\________\\________\\________\\-> failed | aborted | given_up     (dead: its rows must be sent again)

`closing` is written, with the quota debit, right before UploadComplete is sent: after a crash the server is asked.
`ended` takes no slot any more; its results are still to be read and booked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from kpc.ledger import schema
from kpc.ledger.fencing import Lease
from kpc.ledger.pauses import refuse_paused
from kpc.ledger.places import at, place
from kpc.ledger.quota import Allowance, Quota, Request, debit, refuse_without_room, release, reserve
from kpc.partition import Partition
from kpc.storage.store import Environment

IN_FLIGHT = ("intended", "open", "closing", "closed")
FOLLOWED = timedelta(minutes=15)  # a job whose worker was not heard of for so long takes no slot

_TABLE = schema.job


@dataclass(frozen=True, slots=True)
class JobRow:
    """One ingest job as the ledger knows it; `job_id` is None while its creation is not confirmed."""

    id: int
    source_id: str
    target_id: str
    table_name: str
    partition_key: str
    generation: str
    mapping_version: str
    chunk: str
    attempt: int
    purpose: str
    object_name: str
    operation: str
    external_id_field: str | None
    state: str
    job_id: str | None
    encoding: str | None
    rows: int
    batches: int
    processed: int | None
    intent_utc: datetime
    touched_utc: datetime
    closed_utc: datetime | None
    finished_utc: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobIntent:
    """What an ingest job is to be, before it exists."""

    generation: str
    mapping_version: str
    chunk: str
    attempt: int
    object_name: str
    external_id_field: str | None
    rows: int
    batches: int
    operation: str = "upsert"
    purpose: str = "chunk"

    def request(self, calls: int = 0) -> Request:
        """What it asks of the quota; whatever repairs or undoes may use the reserve."""
        return Request(self.rows, self.batches, calls, is_repair=self.purpose != "chunk")


class Jobs(Quota):
    def intend_job(
        self, intent: JobIntent, *, slots: int, allowance: Allowance, lease: Lease, calls: int = 0
    ) -> JobRow | None:
        """Claim a slot and reserve quota for a job about to be created; None while all `slots` are taken.

        `calls` is how many API calls it may make. Raises `Paused` when a person stopped new jobs, `QuotaExhausted`
        when the rolling 24 h have no room for it; both before a slot is asked for.
        """
        target, now = lease.environment.target_id, self.clock()
        request = intent.request(calls)
        with self.writing(lease) as connection:
            self.one_at_a_time(connection, f"jobs of {target}")
            refuse_paused(connection, lease.environment, lease.partition.table)
            refuse_without_room(connection, target, request, allowance, now)
            if _in_flight(connection, target, now) >= slots:
                return None
            if intent.purpose == "retry" and _in_flight(connection, target, now, "retry") >= max(1, slots // 5):
                return None  # rows that were in each other's way are sent again with fewer beside them
            added = connection.execute(
                insert(_TABLE).values(
                    **place(lease.environment, lease.partition),
                    **_columns(intent),
                    state="intended",
                    intent_utc=now,
                    touched_utc=now,
                )
            )
            key = int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0
            reserve(connection, target, job=key, request=request, now=now)
            return _job(connection, key)

    def job_created(self, job: int, job_id: str, *, lease: Lease) -> bool:
        """The server confirmed the job: `intended` becomes `open`. False if another worker has recorded this id."""
        try:
            self._set_job(job, lease, state="open", job_id=job_id)
        except IntegrityError:
            return False
        return True

    def job_uploaded(self, job: int, encoding: str, *, lease: Lease) -> None:
        """The data was taken; how it was encoded matters if the job later fails on its header."""
        self._set_job(job, lease, encoding=encoding)

    def job_closing(self, job: int, *, lease: Lease) -> None:
        """Debit the quota and note the intent to close, in one transaction, right before UploadComplete is sent."""
        now = self.clock()
        with self.writing(lease) as connection:
            connection.execute(
                update(_TABLE).where(_TABLE.c.id == job).values(state="closing", closed_utc=now, touched_utc=now)
            )
            debit(connection, job, now)

    def job_closed(self, job: int, *, lease: Lease) -> None:
        """The server confirmed that the job's data is complete."""
        self._set_job(job, lease, state="closed")

    def touch_job(self, job: int, *, processed: int | None, lease: Lease) -> None:
        """Note that a worker follows the job, and how far it is."""
        self._set_job(job, lease, processed=processed)

    def end_job(self, job: int, *, state: str, lease: Lease, error: str | None = None) -> None:
        """Note that a job takes no slot any more (`ended` or a later state); quota that was only reserved is freed."""
        now = self.clock()
        with self.writing(lease) as connection:
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == job)
                .values(state=state, error=error, finished_utc=now, touched_utc=now)
            )
            release(connection, job)

    def jobs_of_chunk(self, generation: str, mapping_version: str, chunk: str) -> list[JobRow]:
        """Every job that was meant for a chunk, oldest first."""
        query = (
            select(_TABLE)
            .where(
                _TABLE.c.generation == generation,
                _TABLE.c.mapping_version == mapping_version,
                _TABLE.c.chunk == chunk,
            )
            .order_by(_TABLE.c.id)
        )
        with self.reading() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def jobs_at_work(self, environment: Environment, partition: Partition) -> list[JobRow]:
        """The partition's jobs whose end or results are still to come, oldest first."""
        query = (
            select(_TABLE)
            .where(at(_TABLE, environment, partition), _TABLE.c.state.in_((*IN_FLIGHT, "ended")))
            .order_by(_TABLE.c.id)
        )
        with self.reading() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def other_intents(self, job: JobRow) -> int:
        """How many other jobs of the same object are being created just now, their ids not yet known."""
        query = select(func.count()).where(
            _TABLE.c.target_id == job.target_id,
            _TABLE.c.object_name == job.object_name,
            _TABLE.c.state == "intended",
            _TABLE.c.id != job.id,
        )
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def is_known_job(self, target_id: str, job_id: str) -> bool:
        """Whether any partition of this ledger recorded the job."""
        query = select(func.count()).where(_TABLE.c.target_id == target_id, _TABLE.c.job_id == job_id)
        with self.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def jobs_in_flight(self, target_id: str) -> int:
        with self.reading() as connection:
            return _in_flight(connection, target_id, self.clock())

    def _set_job(self, job: int, lease: Lease, **values: Any) -> None:
        with self.writing(lease) as connection:
            connection.execute(update(_TABLE).where(_TABLE.c.id == job).values(touched_utc=self.clock(), **values))


def _columns(intent: JobIntent) -> dict[str, Any]:
    return {name: getattr(intent, name) for name in JobIntent.__slots__}


def _in_flight(connection: Connection, target_id: str, now: datetime, purpose: str = "") -> int:
    query = select(func.count()).where(
        _TABLE.c.target_id == target_id, _TABLE.c.state.in_(IN_FLIGHT), _TABLE.c.touched_utc > now - FOLLOWED
    )
    if purpose:
        query = query.where(_TABLE.c.purpose == purpose)
    return int(connection.execute(query).scalar_one())


def _job(connection: Connection, key: int) -> JobRow:
    return JobRow(**connection.execute(select(_TABLE).where(_TABLE.c.id == key)).mappings().one())
