"""The org's rolling 24 h allowance of bulk records and batches, counted by us because Salesforce shows only one half.

An entry is reserved when a job is intended, debited when the job is about to be closed (uploads count, not successes:
Salesforce Bulk API 2.0 guide, limits), and released when the job never got that far.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from kpc.errors import QuotaExhausted
from kpc.ledger import schema
from kpc.ledger.database import Database

WINDOW = timedelta(hours=24)
SAFETY = timedelta(seconds=60)  # our clock and the org's may differ

_TABLE = schema.quota_entry


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many records and batches this migration may upload in any 24 h."""

    rows: int = 150_000_000
    batches: int = 15_000


class Quota(Database):
    def quota_used(self, target_id: str) -> tuple[int, int]:
        """Records and batches of the last 24 h, those reserved included."""
        with self.reading() as connection:
            return _used(connection, target_id, self.clock())


def reserve(
    connection: Connection, target_id: str, *, job: int, rows: int, batches: int, allowance: Allowance, now: datetime
) -> None:
    """Count a job that is about to be created. The caller serialises reservations of one org.

    Raises `QuotaExhausted` with the moment at which enough of the window has passed.
    """
    used_rows, used_batches = _used(connection, target_id, now)
    too_many = (used_rows + rows - allowance.rows, used_batches + batches - allowance.batches)
    if max(too_many) > 0:
        next_free = _next_free(connection, target_id, now, *too_many)
        raise QuotaExhausted(
            f"The org's daily allowance is used up: {used_rows:,} of {allowance.rows:,} records and {used_batches:,} "
            f"of {allowance.batches:,} batches in the last 24 h; this job needs {rows:,} and {batches:,}.",
            f"Run the load again after {next_free:%Y-%m-%d %H:%M} UTC; it continues where it stopped.",
            next_free_utc=next_free,
        )
    connection.execute(
        insert(_TABLE).values(
            target_id=target_id, job=job, rows=rows, batches=batches, state="reserved", counted_utc=now
        )
    )


def debit(connection: Connection, job: int, now: datetime) -> None:
    """A job is about to be closed: its reservation counts from now."""
    connection.execute(
        update(_TABLE).where(_TABLE.c.job == job, _TABLE.c.state != "released").values(state="debited", counted_utc=now)
    )


def release(connection: Connection, job: int) -> None:
    """A job ended: what was reserved and never debited is free again."""
    connection.execute(update(_TABLE).where(_TABLE.c.job == job, _TABLE.c.state == "reserved").values(state="released"))


def _used(connection: Connection, target_id: str, now: datetime) -> tuple[int, int]:
    used = connection.execute(
        select(func.coalesce(func.sum(_TABLE.c.rows), 0), func.coalesce(func.sum(_TABLE.c.batches), 0)).where(
            _TABLE.c.target_id == target_id,
            _TABLE.c.state != "released",
            _TABLE.c.counted_utc > now - WINDOW - SAFETY,
        )
    ).one()
    return int(used[0]), int(used[1])


def _next_free(connection: Connection, target_id: str, now: datetime, rows_over: int, batches_over: int) -> datetime:
    oldest_first = connection.execute(
        select(_TABLE.c.rows, _TABLE.c.batches, _TABLE.c.counted_utc)
        .where(
            _TABLE.c.target_id == target_id,
            _TABLE.c.state != "released",
            _TABLE.c.counted_utc > now - WINDOW - SAFETY,
        )
        .order_by(_TABLE.c.counted_utc)
    )
    free_at: datetime = now + WINDOW + SAFETY
    for rows, batches, counted_utc in oldest_first:
        rows_over, batches_over = rows_over - rows, batches_over - batches
        if rows_over <= 0 and batches_over <= 0:
            free_at = counted_utc + WINDOW + SAFETY
            break
    return free_at
