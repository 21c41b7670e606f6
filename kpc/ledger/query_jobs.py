"""Bulk query jobs of the last 24 h: the org allows 10,000 of them, and 1 TB of results, for all software together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from kpc.errors import QuotaExhausted
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.quota_entries import SAFETY, WINDOW

_QUERY_JOB = schema.query_job


@dataclass(frozen=True, slots=True)
class QueryAllowance:
    """Query jobs and bytes of results that this migration may use in any 24 h."""

    jobs: int
    raw_bytes: int


class QueryJobs:
    """The migration's query jobs, by org."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, target_id: str, object_name: str, allowance: QueryAllowance, run_id: str) -> int:
        """Record a query job about to be created; returns its id here.

        Raises `QuotaExhausted`, with the time from which there is room, if the allowance is used up.
        """
        now = self._database.clock()
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"query jobs of {target_id}")
            _refuse_without_room(connection, target_id, allowance, now)
            made = connection.execute(
                insert(_QUERY_JOB).values(
                    target_id=target_id, object=object_name, raw_bytes=0, rows=0, run_id=run_id, begun_utc=now
                )
            )
            key = made.inserted_primary_key
            assert key is not None  # noqa: S101  an insert of one row has one
            return int(key[0])

    def finish(self, number: int, *, rows: int, raw_bytes: int) -> None:
        """Record how much a query job delivered."""
        with self._database.writing() as connection:
            connection.execute(
                update(_QUERY_JOB).where(_QUERY_JOB.c.id == number).values(rows=rows, raw_bytes=raw_bytes)
            )

    def used(self, target_id: str) -> tuple[int, int]:
        """Our query jobs in the last 24 h, and the bytes that they delivered."""
        with self._database.reading() as connection:
            return _used(connection, target_id, self._database.clock())


def _used(connection: Connection, target_id: str, now: datetime) -> tuple[int, int]:
    query = select(func.count(), func.coalesce(func.sum(_QUERY_JOB.c.raw_bytes), 0)).where(
        _QUERY_JOB.c.target_id == target_id, _QUERY_JOB.c.begun_utc > now - WINDOW - SAFETY
    )
    jobs, raw_bytes = connection.execute(query).one()
    return int(jobs), int(raw_bytes)


def _refuse_without_room(connection: Connection, target_id: str, allowance: QueryAllowance, now: datetime) -> None:
    jobs, raw_bytes = _used(connection, target_id, now)
    if jobs < allowance.jobs and raw_bytes < allowance.raw_bytes:
        return
    query = select(func.min(_QUERY_JOB.c.begun_utc)).where(
        _QUERY_JOB.c.target_id == target_id, _QUERY_JOB.c.begun_utc > now - WINDOW - SAFETY
    )
    oldest = connection.execute(query).scalar_one()
    next_free = (oldest or now) + WINDOW + SAFETY
    raise QuotaExhausted(
        f"{jobs:,} of {allowance.jobs:,} query jobs and {raw_bytes / 1e9:,.1f} of {allowance.raw_bytes / 1e9:,.0f} GB "
        "of their results are used in the last 24 h.",
        f"Reconcile again after {next_free:%Y-%m-%d %H:%M:%S} UTC.",
        next_free_utc=next_free,
    )
