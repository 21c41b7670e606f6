"""Ingest jobs: intents recorded before the request, job ids recorded after it, and the limit of jobs in flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from kpc.ledger import schema
from kpc.ledger.database import Database, inserted_id
from kpc.ledger.fencing import Lease
from kpc.ledger.partition_filters import in_partition, partition_values
from kpc.ledger.pauses import refuse_paused
from kpc.ledger.quota import Allowance, QuotaRequest, debit, refuse_without_room, release, reserve
from kpc.ledger.sibling_jobs import refuse_sibling
from kpc.ledger.states import IN_FLIGHT, JobPurpose, JobState
from kpc.partition import Environment, Partition, Sibling

_FOLLOWED_FOR = timedelta(minutes=15)  # seconds after which a job without a sign of its worker occupies no slot

_JOB = schema.job


@dataclass(frozen=True, slots=True)
class JobRow:
    """One recorded ingest job; `job_id` is None until its creation is confirmed."""

    id: int
    source_id: str
    target_id: str
    table_name: str
    partition_key: str
    generation: str
    mapping_version: str
    chunk: str
    attempt: int
    purpose: JobPurpose
    object_name: str
    operation: str
    external_id_field: str | None
    state: JobState
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
    """The properties of an ingest job before it is created."""

    generation: str
    mapping_version: str
    chunk: str
    attempt: int
    object_name: str
    external_id_field: str | None
    rows: int
    batches: int
    operation: str = "upsert"
    purpose: JobPurpose = JobPurpose.CHUNK

    def request(self, calls: int = 0) -> QuotaRequest:
        """The quota it needs. Retries and rollbacks may use the reserve."""
        return QuotaRequest(self.rows, self.batches, calls, is_repair=self.purpose != JobPurpose.CHUNK)


class Jobs:
    """The ingest jobs of every partition, from the intent to create one to its results."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intend(
        self,
        intent: JobIntent,
        *,
        slots: int,
        allowance: Allowance,
        lease: Lease,
        calls: int = 0,
        siblings: Sequence[Sibling] = (),
    ) -> JobRow | None:
        """Claim a slot and reserve quota for a job about to be created; None while all `slots` are taken.

        `calls` is how many API calls it may make. Raises `Paused` when new jobs are paused, `QuotaExhausted` when the
        rolling 24 h have no room for it, `SiblingLoading` while a job of one of `siblings` is in flight; all are
        checked before a slot is claimed, and nothing is held while a load waits, so that two cannot block each other.
        """
        target, now = lease.environment.target_id, self._database.clock()
        request = intent.request(calls)
        with self._database.writing(lease) as connection:
            self._database.one_at_a_time(connection, f"jobs of {target}")
            refuse_paused(connection, lease.environment, lease.partition.table)
            refuse_without_room(connection, target, request, allowance, now)
            refuse_sibling(connection, lease.environment, lease.partition, siblings, now - _FOLLOWED_FOR)
            if not _has_free_slot(connection, target, intent, slots, now):
                return None
            added = connection.execute(
                insert(_JOB).values(
                    **partition_values(lease.environment, lease.partition),
                    **_columns(intent),
                    state=JobState.INTENDED,
                    intent_utc=now,
                    touched_utc=now,
                )
            )
            key = inserted_id(added)
            reserve(connection, target, job=key, request=request, now=now)
            return _job(connection, key)

    def check_siblings(self, environment: Environment, partition: Partition, siblings: Sequence[Sibling]) -> None:
        """Raises `SiblingLoading` while a job of one of the siblings is in flight; claims nothing."""
        since = self._database.clock() - _FOLLOWED_FOR
        with self._database.reading() as connection:
            refuse_sibling(connection, environment, partition, siblings, since)

    def mark_open(self, job: int, job_id: str, *, lease: Lease) -> bool:
        """Record the confirmed job id: `intended` becomes `open`. False if another worker has recorded this id."""
        try:
            self._set(job, lease, state=JobState.OPEN, job_id=job_id)
        except IntegrityError:
            return False
        return True

    def mark_uploaded(self, job: int, encoding: str, *, lease: Lease) -> None:
        """The upload was accepted; its encoding matters if the job later fails on its header."""
        self._set(job, lease, encoding=encoding)

    def mark_closing(self, job: int, *, lease: Lease) -> None:
        """Debit the quota and record the intent to close, in one transaction, right before UploadComplete is sent."""
        now = self._database.clock()
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_JOB).where(_JOB.c.id == job).values(state=JobState.CLOSING, closed_utc=now, touched_utc=now)
            )
            debit(connection, job, now)

    def mark_closed(self, job: int, *, lease: Lease) -> None:
        """Record that the server confirmed UploadComplete."""
        self._set(job, lease, state=JobState.CLOSED)

    def touch(self, job: int, *, processed: int | None, lease: Lease) -> None:
        """Record that a worker polls the job, and its progress."""
        self._set(job, lease, processed=processed)

    def end(self, job: int, *, state: JobState, lease: Lease, error: str | None = None) -> None:
        """Record that a job occupies no slot (`JobState.ENDED` or later); frees quota that was only reserved."""
        now = self._database.clock()
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_JOB).where(_JOB.c.id == job).values(state=state, error=error, finished_utc=now, touched_utc=now)
            )
            release(connection, job)

    def of_chunk(self, generation: str, mapping_version: str, chunk: str) -> list[JobRow]:
        """All jobs of a chunk, oldest first."""
        query = (
            select(_JOB)
            .where(
                _JOB.c.generation == generation,
                _JOB.c.mapping_version == mapping_version,
                _JOB.c.chunk == chunk,
            )
            .order_by(_JOB.c.id)
        )
        with self._database.reading() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def of_load(self, generation: str, mapping_version: str) -> list[JobRow]:
        """All jobs of a load's chunks and their retries, oldest first."""
        query = (
            select(_JOB)
            .where(_JOB.c.generation == generation, _JOB.c.mapping_version == mapping_version)
            .order_by(_JOB.c.id)
        )
        with self._database.reading() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def at_work(self, environment: Environment, partition: Partition) -> list[JobRow]:
        """The partition's jobs that have not ended or whose results are not read, oldest first."""
        query = (
            select(_JOB)
            .where(in_partition(_JOB, environment, partition), _JOB.c.state.in_((*IN_FLIGHT, JobState.ENDED)))
            .order_by(_JOB.c.id)
        )
        with self._database.reading() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def other_intents(self, job: JobRow) -> int:
        """How many other jobs of the same object are being created now, without a known id yet."""
        query = select(func.count()).where(
            _JOB.c.target_id == job.target_id,
            _JOB.c.object_name == job.object_name,
            _JOB.c.state == JobState.INTENDED,
            _JOB.c.id != job.id,
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def is_known(self, target_id: str, job_id: str) -> bool:
        """Whether any partition of this ledger recorded the job."""
        query = select(func.count()).where(_JOB.c.target_id == target_id, _JOB.c.job_id == job_id)
        with self._database.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def has_written(self, target_id: str, object_name: str) -> bool:
        """Whether a job of this ledger was closed for the object, so that the org may have written its rows."""
        query = select(func.count()).where(
            _JOB.c.target_id == target_id, _JOB.c.object_name == object_name, _JOB.c.closed_utc.is_not(None)
        )
        with self._database.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def processed_rows(self, target_id: str, object_name: str) -> int:
        """How many rows the org has processed for the object in all jobs of this ledger, repeated ones included."""
        query = select(func.coalesce(func.sum(_JOB.c.processed), 0)).where(
            _JOB.c.target_id == target_id, _JOB.c.object_name == object_name
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def in_flight(self, target_id: str) -> int:
        """How many jobs take a slot of the org now, over all partitions."""
        with self._database.reading() as connection:
            return _in_flight(connection, target_id, self._database.clock())

    def _set(self, job: int, lease: Lease, **values: Any) -> None:
        with self._database.writing(lease) as connection:
            connection.execute(
                update(_JOB).where(_JOB.c.id == job).values(touched_utc=self._database.clock(), **values)
            )


def _columns(intent: JobIntent) -> dict[str, Any]:
    return {name: getattr(intent, name) for name in JobIntent.__slots__}


def _has_free_slot(connection: Connection, target_id: str, intent: JobIntent, slots: int, now: datetime) -> bool:
    """Retries get a fifth of the slots: rows that failed on lock contention are retried with less concurrency."""
    if _in_flight(connection, target_id, now) >= slots:
        return False
    return intent.purpose != JobPurpose.RETRY or (
        _in_flight(connection, target_id, now, JobPurpose.RETRY) < max(1, slots // 5)
    )


def _in_flight(connection: Connection, target_id: str, now: datetime, purpose: JobPurpose | None = None) -> int:
    query = select(func.count()).where(
        _JOB.c.target_id == target_id, _JOB.c.state.in_(IN_FLIGHT), _JOB.c.touched_utc > now - _FOLLOWED_FOR
    )
    if purpose is not None:
        query = query.where(_JOB.c.purpose == purpose)
    return int(connection.execute(query).scalar_one())


def _job(connection: Connection, key: int) -> JobRow:
    return JobRow(**connection.execute(select(_JOB).where(_JOB.c.id == key)).mappings().one())
