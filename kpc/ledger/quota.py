"""The rolling 24 h of an org, counted by us because Salesforce shows only part of it: bulk records, batches, API calls.

Three kinds of entries share one window:

    job      ours: reserved when a job is intended, debited when it is about to be closed (uploads count, not successes:
             Salesforce Bulk API 2.0 guide, limits), released when the job never got that far
    others   what other software used, as far as `/limits` shows more batches than ours; one counts as 10,000 records
    calls    API calls of everybody, from the same answer

The org counts our batches some time between the close and the end of a job. What it says can therefore only bound the
use of others: `book_limits` moves their entries no further than that bound demands, and then the org's answer wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from kpc.errors import ConfigError, QuotaExhausted
from kpc.ledger import schema
from kpc.ledger.database import Database

WINDOW = timedelta(hours=24)
SAFETY = timedelta(seconds=60)  # our clock and the org's may differ
BATCH_ROWS = 10_000  # Salesforce counts and bills a job's rows in batches of this size

Kind = Literal["job", "others", "calls"]

_TABLE = schema.quota_entry
_LIMITS = schema.org_limits
_JOB = schema.job
_GRAIN = timedelta(minutes=1)  # entries of others and of calls are merged to this, or there would be one per answer


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the org grants in any 24 h, and how much of it this migration takes.

    `share` is ours, the rest is left to other software; `reserve`, of our share, is kept for retries and undo.
    `call_share` bounds the API calls of everybody together.
    """

    rows: int = 150_000_000
    batches: int = 15_000
    share: float = 1.0
    reserve: float = 0.0
    call_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What one job takes: records, batches and about how many API calls. `is_repair`: it may use the reserve."""

    rows: int
    batches: int
    calls: int = 0
    is_repair: bool = False


@dataclass(frozen=True, slots=True)
class OrgUsage:
    """What `/limits` said: allowed and used in the last 24 h, by everybody. 0 allowed: the org did not say."""

    batches_max: int
    batches_used: int
    calls_max: int
    calls_used: int


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The window as `kpc status` shows it: ours (reserved included), of others, calls; and whether we stand still."""

    rows: int
    batches: int
    others_rows: int
    others_batches: int
    calls: int
    calls_max: int
    read_utc: datetime | None
    blocked_until_utc: datetime | None
    blocked_reason: str | None


class Quota(Database):
    def quota_used(self, target_id: str) -> tuple[int, int]:
        """Records and batches of ours in the last 24 h, those reserved included."""
        with self.reading() as connection:
            used = _used(connection, target_id, self.clock())["job"]
        return used.rows, used.batches

    def quota_state(self, target_id: str) -> QuotaState:
        with self.reading() as connection:
            now = self.clock()
            used, known = _used(connection, target_id, now), _known_limits(connection, target_id)
        blocked = known["blocked_until_utc"] if known else None
        is_blocked = blocked is not None and blocked > now
        return QuotaState(
            used["job"].rows,
            used["job"].batches,
            used["others"].rows,
            used["others"].batches,
            used["calls"].calls,
            known["calls_max"] if known else 0,
            known["read_utc"] if known else None,
            blocked if is_blocked else None,
            known["blocked_reason"] if known and is_blocked else None,
        )

    def book_limits(self, target_id: str, usage: OrgUsage) -> None:
        """Reconcile the window with what the org just said; see the module's docstring."""
        now = self.clock()
        with self.writing() as connection:
            self.one_at_a_time(connection, f"jobs of {target_id}")
            used = _used(connection, target_id, now)
            if usage.batches_max:
                least = max(0, usage.batches_used - _debited(connection, target_id, now))
                most = max(0, least + _uncounted(connection, target_id))
                wanted = min(max(used["others"].batches, least), most)
                _adjust(connection, target_id, "others", wanted - used["others"].batches, now)
            if usage.calls_max:
                _adjust(connection, target_id, "calls", usage.calls_used - used["calls"].calls, now)
            _remember_limits(connection, target_id, usage, now)

    def block_jobs(self, target_id: str, until_utc: datetime, reason: str) -> None:
        """The org itself refused: nobody begins a job before `until_utc`."""
        with self.writing() as connection:
            if _known_limits(connection, target_id) is None:
                _remember_limits(connection, target_id, OrgUsage(0, 0, 0, 0), self.clock())
            connection.execute(
                update(_LIMITS)
                .where(_LIMITS.c.target_id == target_id)
                .values(blocked_until_utc=until_utc, blocked_reason=reason)
            )

    def unblock_jobs(self, target_id: str) -> None:
        with self.writing() as connection:
            connection.execute(
                update(_LIMITS)
                .where(_LIMITS.c.target_id == target_id)
                .values(blocked_until_utc=None, blocked_reason=None)
            )

    def check_quota(self, target_id: str, request: Request, allowance: Allowance) -> None:
        """Raises `QuotaExhausted` if a job like this could not begin now; books nothing."""
        with self.reading() as connection:
            refuse_without_room(connection, target_id, request, allowance, self.clock())

    def next_expiry(self, target_id: str) -> datetime | None:
        """When the oldest entry leaves the window; None when it is empty."""
        with self.reading() as connection:
            oldest = next(iter(_entries(connection, target_id, self.clock())), None)
        return None if oldest is None else oldest["counted_utc"] + WINDOW + SAFETY


def reserve(connection: Connection, target_id: str, *, job: int, request: Request, now: datetime) -> None:
    """Count a job that is about to be created, after `refuse_without_room` in the same transaction."""
    connection.execute(
        insert(_TABLE).values(
            target_id=target_id,
            kind="job",
            job=job,
            rows=request.rows,
            batches=request.batches,
            calls=0,  # the org counts them, see `book_limits`
            state="reserved",
            counted_utc=now,
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


def refuse_without_room(
    connection: Connection, target_id: str, request: Request, allowance: Allowance, now: datetime
) -> None:
    """Raises `QuotaExhausted` with the exact moment at which the window has room for the request."""
    known = _known_limits(connection, target_id)
    blocked = known["blocked_until_utc"] if known else None
    if known and blocked is not None and blocked > now:
        raise _exhausted(f"Salesforce refused a job: {known['blocked_reason']}", blocked)
    used = _used(connection, target_id, now)
    over = [one for one in _bounds(request, allowance, used, known) if one.excess > 0]
    if not over:
        return
    if hopeless := [one for one in over if one.needed > one.allowed]:
        raise ConfigError(
            f"A job of {request.rows:,} rows can never begin: {hopeless[0]}.",
            "Stage smaller chunks (KPC__STAGING__CHUNK_ROWS), or raise KPC__SALESFORCE__QUOTA_SHARE.",
        )
    entries = list(_entries(connection, target_id, now))
    next_free = max(_free_at(one, entries, now) for one in over)
    raise _exhausted("; ".join(str(one) for one in over), next_free)


@dataclass(frozen=True, slots=True)
class _Sum:
    rows: int = 0
    batches: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class _Bound:
    """One measure of the kinds `kinds` against what it may be."""

    measure: str
    kinds: tuple[Kind, ...]
    used: int
    needed: int
    allowed: int

    @property
    def excess(self) -> int:
        return self.used + self.needed - self.allowed

    def __str__(self) -> str:
        words = {"rows": "records", "batches": "batches", "calls": "API calls"}
        whose = "" if self.kinds == ("job",) else " (other software included)"
        return (
            f"{self.used:,} of {self.allowed:,} {words[self.measure]}{whose} are used in the last 24 h, and this job "
            f"needs {self.needed:,}"
        )


def _bounds(
    request: Request, allowance: Allowance, used: dict[str, _Sum], known: RowMapping | None
) -> Iterable[_Bound]:
    """Ours within our share, everybody's within the org's allowance; a first upload leaves the reserve untouched."""
    org_batches = known["batches_max"] if known else 0
    granted = {"rows": allowance.rows, "batches": allowance.batches}
    everybodys = {"rows": org_batches * BATCH_ROWS, "batches": org_batches} if org_batches else granted
    ours = {measure: min(most, everybodys[measure]) for measure, most in granted.items()}
    for measure, most in ours.items():
        share = int(most * allowance.share)
        kept = 0 if request.is_repair else int(share * allowance.reserve)
        own, others, needed = (getattr(one, measure) for one in (used["job"], used["others"], request))
        yield _Bound(measure, ("job",), own, needed, share - kept)
        yield _Bound(measure, ("job", "others"), own + others, needed, everybodys[measure] - kept)
    if known and known["calls_max"]:
        most_calls = int(known["calls_max"] * allowance.call_share)
        yield _Bound("calls", ("calls",), used["calls"].calls, request.calls, most_calls)


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


def _used(connection: Connection, target_id: str, now: datetime) -> dict[str, _Sum]:
    sums = [func.coalesce(func.sum(_TABLE.c[name]), 0) for name in ("rows", "batches", "calls")]
    query = select(_TABLE.c.kind, *sums).where(*_in_window(target_id, now)).group_by(_TABLE.c.kind)
    found = {row[0]: _Sum(int(row[1]), int(row[2]), int(row[3])) for row in connection.execute(query)}
    return {"job": _Sum(), "others": _Sum(), "calls": _Sum()} | found


def _entries(connection: Connection, target_id: str, now: datetime) -> Iterable[RowMapping]:
    query = select(_TABLE).where(*_in_window(target_id, now)).order_by(_TABLE.c.counted_utc, _TABLE.c.id)
    return connection.execute(query).mappings()


def _in_window(target_id: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        _TABLE.c.target_id == target_id,
        _TABLE.c.state != "released",
        _TABLE.c.counted_utc > now - WINDOW - SAFETY,
    )


def _debited(connection: Connection, target_id: str, now: datetime) -> int:
    """Our batches that the org may have counted by now."""
    query = select(func.coalesce(func.sum(_TABLE.c.batches), 0)).where(
        *_in_window(target_id, now), _TABLE.c.kind == "job", _TABLE.c.state == "debited"
    )
    return int(connection.execute(query).scalar_one())


def _uncounted(connection: Connection, target_id: str) -> int:
    """Batches of jobs under way that the org may not have counted yet."""
    query = select(_JOB.c.batches, _JOB.c.processed).where(
        _JOB.c.target_id == target_id, _JOB.c.state.in_(("closing", "closed"))
    )
    return sum(max(0, batches - (processed or 0) // BATCH_ROWS) for batches, processed in connection.execute(query))


def _adjust(connection: Connection, target_id: str, kind: Kind, change: int, now: datetime) -> None:
    """More of a kind counts from now; less means that its oldest use has left the window already."""
    measure = "calls" if kind == "calls" else "batches"
    mine = (_TABLE.c.target_id == target_id, _TABLE.c.kind == kind)
    if change > 0:
        _add(connection, target_id, kind, change, now)
    for entry in connection.execute(select(_TABLE).where(*mine).order_by(_TABLE.c.counted_utc)).mappings().all():
        if change >= 0:
            break
        taken = min(entry[measure], -change)
        change += taken
        if taken == entry[measure]:
            connection.execute(delete(_TABLE).where(_TABLE.c.id == entry["id"]))
        else:
            left = _amounts(kind, entry[measure] - taken)
            connection.execute(update(_TABLE).where(_TABLE.c.id == entry["id"]).values(left))
    connection.execute(delete(_TABLE).where(*mine, _TABLE.c.counted_utc <= now - WINDOW - SAFETY))


def _add(connection: Connection, target_id: str, kind: Kind, amount: int, now: datetime) -> None:
    newest = connection.execute(
        select(_TABLE.c.id, _TABLE.c.batches, _TABLE.c.calls)
        .where(_TABLE.c.target_id == target_id, _TABLE.c.kind == kind, _TABLE.c.counted_utc > now - _GRAIN)
        .order_by(_TABLE.c.counted_utc.desc())
        .limit(1)
    ).one_or_none()
    if newest is not None:
        amount += newest.calls if kind == "calls" else newest.batches
        connection.execute(update(_TABLE).where(_TABLE.c.id == newest.id).values(**_amounts(kind, amount)))
        return
    fixed = {"target_id": target_id, "kind": kind, "job": None, "state": "debited", "counted_utc": now}
    connection.execute(insert(_TABLE).values(**fixed, **_amounts(kind, amount)))


def _amounts(kind: Kind, amount: int) -> dict[str, int]:
    if kind == "calls":
        return {"rows": 0, "batches": 0, "calls": amount}
    return {"rows": amount * BATCH_ROWS, "batches": amount, "calls": 0}


def _known_limits(connection: Connection, target_id: str) -> RowMapping | None:
    return connection.execute(select(_LIMITS).where(_LIMITS.c.target_id == target_id)).mappings().one_or_none()


def _remember_limits(connection: Connection, target_id: str, usage: OrgUsage, now: datetime) -> None:
    values = {
        "batches_max": usage.batches_max,
        "batches_used": usage.batches_used,
        "calls_max": usage.calls_max,
        "calls_used": usage.calls_used,
        "read_utc": now,
    }
    if connection.execute(update(_LIMITS).where(_LIMITS.c.target_id == target_id).values(values)).rowcount == 0:
        connection.execute(insert(_LIMITS).values(target_id=target_id, **values))
