"""Queries on the quota entries of the rolling 24 h, and on the org's last `/limits`.

kpc.ledger.quota defines the kinds of entries. All functions work in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from kpc.ledger import schema
from kpc.ledger.states import JobState, QuotaEntryState, QuotaKind
from kpc.salesforce.constants import BATCH_ROWS

WINDOW = timedelta(hours=24)
SAFETY = timedelta(seconds=60)  # the ledger's clock and the org's may differ

_QUOTA_ENTRY = schema.quota_entry
_ORG_LIMITS = schema.org_limits
_JOB = schema.job
_GRAIN = timedelta(minutes=1)  # entries of others and calls within it are merged, to avoid one per reading


@dataclass(frozen=True, slots=True)
class OrgUsage:
    """From `/limits`: allowed and used in the last 24 h, by everybody. A maximum of 0 means unknown."""

    batches_max: int
    batches_used: int
    calls_max: int
    calls_used: int


@dataclass(frozen=True, slots=True)
class Used:
    """The sum of the entries of one kind."""

    rows: int = 0
    batches: int = 0
    calls: int = 0


def used_in_window(connection: Connection, target_id: str, now: datetime) -> dict[QuotaKind, Used]:
    """The sums of each kind in the window."""
    sums = [func.coalesce(func.sum(_QUOTA_ENTRY.c[name]), 0) for name in ("rows", "batches", "calls")]
    query = select(_QUOTA_ENTRY.c.kind, *sums).where(*_in_window(target_id, now)).group_by(_QUOTA_ENTRY.c.kind)
    found = {row[0]: Used(int(row[1]), int(row[2]), int(row[3])) for row in connection.execute(query)}
    return dict.fromkeys(QuotaKind, Used()) | found


def entries(connection: Connection, target_id: str, now: datetime) -> Iterable[RowMapping]:
    """Every entry in the window, oldest first."""
    query = (
        select(_QUOTA_ENTRY).where(*_in_window(target_id, now)).order_by(_QUOTA_ENTRY.c.counted_utc, _QUOTA_ENTRY.c.id)
    )
    return connection.execute(query).mappings()


def _in_window(target_id: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        _QUOTA_ENTRY.c.target_id == target_id,
        _QUOTA_ENTRY.c.state != QuotaEntryState.RELEASED,
        _QUOTA_ENTRY.c.counted_utc > now - WINDOW - SAFETY,
    )


def debited_batches(connection: Connection, target_id: str, now: datetime) -> int:
    """Our debited batches, which the org may have counted by now."""
    query = select(func.coalesce(func.sum(_QUOTA_ENTRY.c.batches), 0)).where(
        *_in_window(target_id, now),
        _QUOTA_ENTRY.c.kind == QuotaKind.JOB,
        _QUOTA_ENTRY.c.state == QuotaEntryState.DEBITED,
    )
    return int(connection.execute(query).scalar_one())


def uncounted_batches(connection: Connection, target_id: str) -> int:
    """Batches of running jobs that the org may not have counted yet."""
    query = select(_JOB.c.batches, _JOB.c.processed).where(
        _JOB.c.target_id == target_id, _JOB.c.state.in_((JobState.CLOSING, JobState.CLOSED))
    )
    return sum(max(0, batches - (processed or 0) // BATCH_ROWS) for batches, processed in connection.execute(query))


def adjust(connection: Connection, target_id: str, kind: QuotaKind, change: int, now: datetime) -> None:
    """Change a kind's sum: an increase counts from now, a decrease removes the oldest entries first."""
    measure = "calls" if kind is QuotaKind.CALLS else "batches"
    mine = (_QUOTA_ENTRY.c.target_id == target_id, _QUOTA_ENTRY.c.kind == kind)
    if change > 0:
        _add(connection, target_id, kind, change, now)
    for entry in (
        connection.execute(select(_QUOTA_ENTRY).where(*mine).order_by(_QUOTA_ENTRY.c.counted_utc)).mappings().all()
    ):
        if change >= 0:
            break
        taken = min(entry[measure], -change)
        change += taken
        if taken == entry[measure]:
            connection.execute(delete(_QUOTA_ENTRY).where(_QUOTA_ENTRY.c.id == entry["id"]))
        else:
            left = _amounts(kind, entry[measure] - taken)
            connection.execute(update(_QUOTA_ENTRY).where(_QUOTA_ENTRY.c.id == entry["id"]).values(left))
    connection.execute(delete(_QUOTA_ENTRY).where(*mine, _QUOTA_ENTRY.c.counted_utc <= now - WINDOW - SAFETY))


def _add(connection: Connection, target_id: str, kind: QuotaKind, amount: int, now: datetime) -> None:
    newest = connection.execute(
        select(_QUOTA_ENTRY.c.id, _QUOTA_ENTRY.c.batches, _QUOTA_ENTRY.c.calls)
        .where(
            _QUOTA_ENTRY.c.target_id == target_id,
            _QUOTA_ENTRY.c.kind == kind,
            _QUOTA_ENTRY.c.counted_utc > now - _GRAIN,
        )
        .order_by(_QUOTA_ENTRY.c.counted_utc.desc())
        .limit(1)
    ).one_or_none()
    if newest is not None:
        amount += newest.calls if kind is QuotaKind.CALLS else newest.batches
        connection.execute(update(_QUOTA_ENTRY).where(_QUOTA_ENTRY.c.id == newest.id).values(**_amounts(kind, amount)))
        return
    fixed = {"target_id": target_id, "kind": kind, "job": None, "state": QuotaEntryState.DEBITED, "counted_utc": now}
    connection.execute(insert(_QUOTA_ENTRY).values(**fixed, **_amounts(kind, amount)))


def _amounts(kind: QuotaKind, amount: int) -> dict[str, int]:
    if kind is QuotaKind.CALLS:
        return {"rows": 0, "batches": 0, "calls": amount}
    return {"rows": amount * BATCH_ROWS, "batches": amount, "calls": 0}


def known_limits(connection: Connection, target_id: str) -> RowMapping | None:
    return connection.execute(select(_ORG_LIMITS).where(_ORG_LIMITS.c.target_id == target_id)).mappings().one_or_none()


def remember_limits(connection: Connection, target_id: str, usage: OrgUsage, now: datetime) -> None:
    values = {
        "batches_max": usage.batches_max,
        "batches_used": usage.batches_used,
        "calls_max": usage.calls_max,
        "calls_used": usage.calls_used,
        "read_utc": now,
    }
    if connection.execute(update(_ORG_LIMITS).where(_ORG_LIMITS.c.target_id == target_id).values(values)).rowcount == 0:
        connection.execute(insert(_ORG_LIMITS).values(target_id=target_id, **values))
