"""The rolling 24 h of an org, counted here because Salesforce shows only part of it: bulk records, batches, API calls.

Three kinds of entries share one window:

    job      ours: reserved when a job is intended, debited when it is about to be closed (uploads count, not successes:
             Salesforce Bulk API 2.0 guide, limits), released if the job ends before that
    others   use by other software: batches in `/limits` beyond ours, each counted as 10,000 records
    calls    API calls by all software, from `/limits`

The org counts our batches at some time between the close and the end of a job. `/limits` therefore only gives bounds
for the use by others: `record_limits` changes their entries only as far as needed to stay within these bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, update

from kpc.errors import ConfigError, QuotaExhausted
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.quota_entries import (
    SAFETY,
    WINDOW,
    OrgUsage,
    Used,
    adjust,
    debited_batches,
    entries,
    known_limits,
    remember_limits,
    uncounted_batches,
    used_in_window,
)
from kpc.ledger.states import QuotaEntryState, QuotaKind
from kpc.salesforce.constants import BATCH_ROWS

_QUOTA_ENTRY = schema.quota_entry
_ORG_LIMITS = schema.org_limits


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the org allows in any 24 h, and how much of it this migration uses.

    `share` is our fraction, the rest is left to other software. `reserve` is the fraction of our share kept for retries
    and rollbacks. `call_share` limits the API calls of all software together.
    """

    rows: int = 150_000_000
    batches: int = 15_000
    share: float = 1.0
    reserve: float = 0.0
    call_share: float = 1.0


@dataclass(frozen=True, slots=True)
class QuotaRequest:
    """What one job uses: records, batches and about how many API calls. `is_repair`: it may use the reserve."""

    rows: int
    batches: int
    calls: int = 0
    is_repair: bool = False


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The window as `kpc status` shows it: our use (including reserved), use by others, calls, and any block."""

    rows: int
    batches: int
    others_rows: int
    others_batches: int
    calls: int
    calls_max: int
    read_utc: datetime | None
    blocked_until_utc: datetime | None
    blocked_reason: str | None


class Quota:
    """The use of the daily quota, by org."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def used(self, target_id: str) -> tuple[int, int]:
        """Our records and batches in the last 24 h, including reserved ones."""
        with self._database.reading() as connection:
            used = used_in_window(connection, target_id, self._database.clock())[QuotaKind.JOB]
        return used.rows, used.batches

    def state(self, target_id: str) -> QuotaState:
        """The current window of an org."""
        with self._database.reading() as connection:
            now = self._database.clock()
            used, known = used_in_window(connection, target_id, now), known_limits(connection, target_id)
        blocked = known["blocked_until_utc"] if known else None
        is_blocked = blocked is not None and blocked > now
        return QuotaState(
            used[QuotaKind.JOB].rows,
            used[QuotaKind.JOB].batches,
            used[QuotaKind.OTHERS].rows,
            used[QuotaKind.OTHERS].batches,
            used[QuotaKind.CALLS].calls,
            known["calls_max"] if known else 0,
            known["read_utc"] if known else None,
            blocked if is_blocked else None,
            known["blocked_reason"] if known and is_blocked else None,
        )

    def own_uses(self, target_id: str) -> list[tuple[datetime, int]]:
        """Our use in the window, oldest first: when it was counted, and its records; a batch counts as a full one."""
        with self._database.reading() as connection:
            found = list(entries(connection, target_id, self._database.clock()))
        ours = [one for one in found if one["kind"] == QuotaKind.JOB]
        return [(one["counted_utc"], max(int(one["rows"]), int(one["batches"]) * BATCH_ROWS)) for one in ours]

    def record_limits(self, target_id: str, usage: OrgUsage) -> None:
        """Adjust the window to the org's `/limits`; see the module's docstring."""
        now = self._database.clock()
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"jobs of {target_id}")
            used = used_in_window(connection, target_id, now)
            if usage.batches_max:
                least = max(0, usage.batches_used - debited_batches(connection, target_id, now))
                most = max(0, least + uncounted_batches(connection, target_id))
                wanted = min(max(used[QuotaKind.OTHERS].batches, least), most)
                adjust(connection, target_id, QuotaKind.OTHERS, wanted - used[QuotaKind.OTHERS].batches, now)
            if usage.calls_max:
                adjust(connection, target_id, QuotaKind.CALLS, usage.calls_used - used[QuotaKind.CALLS].calls, now)
            remember_limits(connection, target_id, usage, now)

    def block(self, target_id: str, until_utc: datetime, reason: str) -> None:
        """The org itself refused a job: none begins before `until_utc`."""
        with self._database.writing() as connection:
            if known_limits(connection, target_id) is None:
                remember_limits(connection, target_id, OrgUsage(0, 0, 0, 0), self._database.clock())
            connection.execute(
                update(_ORG_LIMITS)
                .where(_ORG_LIMITS.c.target_id == target_id)
                .values(blocked_until_utc=until_utc, blocked_reason=reason)
            )

    def unblock(self, target_id: str) -> None:
        with self._database.writing() as connection:
            connection.execute(
                update(_ORG_LIMITS)
                .where(_ORG_LIMITS.c.target_id == target_id)
                .values(blocked_until_utc=None, blocked_reason=None)
            )

    def check(self, target_id: str, request: QuotaRequest, allowance: Allowance) -> None:
        """Raises `QuotaExhausted` if a job like this could not begin now; reserves nothing."""
        with self._database.reading() as connection:
            refuse_without_room(connection, target_id, request, allowance, self._database.clock())

    def next_expiry(self, target_id: str) -> datetime | None:
        """When the oldest entry leaves the window; None when it is empty."""
        with self._database.reading() as connection:
            oldest = next(iter(entries(connection, target_id, self._database.clock())), None)
        return None if oldest is None else oldest["counted_utc"] + WINDOW + SAFETY


def reserve(connection: Connection, target_id: str, *, job: int, request: QuotaRequest, now: datetime) -> None:
    """Reserve quota for a job about to be created; call `refuse_without_room` before, in the same transaction."""
    connection.execute(
        insert(_QUOTA_ENTRY).values(
            target_id=target_id,
            kind=QuotaKind.JOB,
            job=job,
            rows=request.rows,
            batches=request.batches,
            calls=0,  # the org counts them, see `record_limits`
            state=QuotaEntryState.RESERVED,
            counted_utc=now,
        )
    )


def debit(connection: Connection, job: int, now: datetime) -> None:
    """Debit a job's reservation right before the job is closed; its 24 h begin now."""
    connection.execute(
        update(_QUOTA_ENTRY)
        .where(_QUOTA_ENTRY.c.job == job, _QUOTA_ENTRY.c.state != QuotaEntryState.RELEASED)
        .values(state=QuotaEntryState.DEBITED, counted_utc=now)
    )


def release(connection: Connection, job: int) -> None:
    """Free what an ended job reserved and never used."""
    connection.execute(
        update(_QUOTA_ENTRY)
        .where(_QUOTA_ENTRY.c.job == job, _QUOTA_ENTRY.c.state == QuotaEntryState.RESERVED)
        .values(state=QuotaEntryState.RELEASED)
    )


def refuse_without_room(
    connection: Connection, target_id: str, request: QuotaRequest, allowance: Allowance, now: datetime
) -> None:
    """Raises `QuotaExhausted`, with the exact time from which the window has room, if the request does not fit now.

    Raises `ConfigError` if it can never fit.
    """
    known = known_limits(connection, target_id)
    blocked = known["blocked_until_utc"] if known else None
    if known and blocked is not None and blocked > now:
        raise _exhausted(f"Salesforce refused a job: {known['blocked_reason']}", blocked)
    used = used_in_window(connection, target_id, now)
    over = [one for one in _bounds(request, allowance, used, known) if one.excess > 0]
    if not over:
        return
    if impossible := [one for one in over if one.needed > one.allowed]:
        raise ConfigError(
            f"A job of {request.rows:,} rows can never start: {impossible[0]}.",
            "Stage smaller chunks (KPC__STAGING__CHUNK_ROWS), or raise KPC__SALESFORCE__QUOTA_SHARE.",
        )
    oldest_first = list(entries(connection, target_id, now))
    next_free = max(_free_at(one, oldest_first, now) for one in over)
    raise _exhausted("; ".join(str(one) for one in over), next_free)


@dataclass(frozen=True, slots=True)
class _Bound:
    """The limit of one measure, summed over `kinds`."""

    measure: str
    kinds: tuple[QuotaKind, ...]
    used: int
    needed: int
    allowed: int

    @property
    def excess(self) -> int:
        return self.used + self.needed - self.allowed

    def __str__(self) -> str:
        words = {"rows": "records", "batches": "batches", "calls": "API calls"}
        whose = "" if self.kinds == (QuotaKind.JOB,) else " (other software included)"
        return (
            f"{self.used:,} of {self.allowed:,} {words[self.measure]}{whose} are used in the last 24 h, and this job "
            f"needs {self.needed:,}"
        )


def _bounds(
    request: QuotaRequest, allowance: Allowance, used: dict[QuotaKind, Used], known: RowMapping | None
) -> Iterable[_Bound]:
    """The migration within its share, everybody within the org's allowance; a first upload may not use the reserve."""
    org_batches = known["batches_max"] if known else 0
    granted = {"rows": allowance.rows, "batches": allowance.batches}
    total_allowed = {"rows": org_batches * BATCH_ROWS, "batches": org_batches} if org_batches else granted
    ours = {measure: min(most, total_allowed[measure]) for measure, most in granted.items()}
    for measure, most in ours.items():
        share = int(most * allowance.share)
        kept = 0 if request.is_repair else int(share * allowance.reserve)
        own, others, needed = (getattr(one, measure) for one in (used[QuotaKind.JOB], used[QuotaKind.OTHERS], request))
        yield _Bound(measure, (QuotaKind.JOB,), own, needed, share - kept)
        yield _Bound(measure, (QuotaKind.JOB, QuotaKind.OTHERS), own + others, needed, total_allowed[measure] - kept)
    if known and known["calls_max"]:
        most_calls = int(known["calls_max"] * allowance.call_share)
        yield _Bound("calls", (QuotaKind.CALLS,), used[QuotaKind.CALLS].calls, request.calls, most_calls)


def _free_at(bound: _Bound, oldest_first: list[RowMapping], now: datetime) -> datetime:
    excess = bound.excess
    for entry in oldest_first:
        if entry["kind"] in bound.kinds:
            excess -= entry[bound.measure]
            if excess <= 0:
                free: datetime = entry["counted_utc"] + WINDOW + SAFETY
                return free
    return now + WINDOW + SAFETY


def _exhausted(why: str, next_free: datetime) -> QuotaExhausted:
    return QuotaExhausted(
        f"The org's daily allowance is used up: {why}.",
        f"Run the load again after {next_free:%Y-%m-%d %H:%M:%S} UTC; it continues where it stopped.",
        next_free_utc=next_free,
    )
