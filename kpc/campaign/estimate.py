"""When the migration will be finished, from the ledger alone: rows left, measured rates, and the rolling quota.

Rows of partitions that are not extracted yet are those that `kpc plan` counted. The rates are those of the last 24 h:
rows moved, divided by the time in which at least one job (or run of the stage) was under way. The load is then followed
on a virtual clock: never faster than the measured rate, never more in 24 h than the quota leaves to this migration,
what was sent in the last 24 h counted. The stages work at the same time, so the slowest of them decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kpc.campaign.planned_partitions import partitions_in_scope
from kpc.campaign.quota_flow import MOST_DAYS, sending_s
from kpc.ledger import Ledger, PartitionWork, ScopeRow
from kpc.ledger.partition_work import Span
from kpc.partition import Environment, Partition
from kpc.salesforce.constants import BATCH_ROWS
from kpc.settings import SalesforceSettings
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, RECONCILED_STATES

ASSUMED_ROWS_PER_S = 3_000.0  # of the org, until a job has ended; `kpc plan --simulate` assumes the same
_MEASURED = timedelta(hours=24)
_GAP = timedelta(minutes=2)  # longest pause between two jobs of one load


class FinishLimit(StrEnum):
    """What decides the end of the migration."""

    NOTHING_LEFT = "nothing left"
    EXTRACTING = "extracting"
    LOADING = "loading"  # the org's rate
    QUOTA = "quota"  # the records that the org allows in 24 h
    COMPARING = "comparing"


@dataclass(frozen=True, slots=True)
class RowsLeft:
    """What is left to do in the scope, in rows.

    `to_send` counts new rows as planned, and for a partition that was loaded before only the rows that staging found
    changed. `unknown` partitions were never counted: they are assumed to have their table's mean size.
    `largest`: rows of the largest partition that is not compared yet.
    """

    partitions: int = 0
    finished: int = 0
    unknown: int = 0
    total: int = 0
    to_extract: int = 0
    to_send: int = 0
    to_compare: int = 0
    largest: int = 0


@dataclass(frozen=True, slots=True)
class FinishEstimate:
    """The estimate at `as_of_utc`; times are UTC, rates in rows per second of the whole migration.

    `left`: rows and partitions that are left. `load_rows_per_s` is assumed until a job has ended (`is_rate_measured`);
    the other two rates are None, and not part of the estimate, until a run of their stage has ended.
    `quota_rows_free`: records that may be sent now; `quota_rows_per_day`: in any 24 h. `finish_utc` is None if it is
    more than `MOST_DAYS` days away. While the load is paused the estimate is as if it were resumed now.
    """

    as_of_utc: datetime
    left: RowsLeft
    load_rows_per_s: float
    is_rate_measured: bool
    extract_rows_per_s: float | None
    compare_rows_per_s: float | None
    quota_rows_free: int
    quota_rows_per_day: int
    load_end_utc: datetime | None
    finish_utc: datetime | None
    limited_by: FinishLimit
    is_paused: bool

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    @property
    def summary(self) -> str:
        """One sentence for people."""
        left, rate = self.left, "measured" if self.is_rate_measured else "assumed"
        if self.limited_by is FinishLimit.NOTHING_LEFT:
            return f"All {left.partitions:,} partitions in scope are reconciled."
        done = f"{left.finished:,} of {left.partitions:,} partitions are reconciled, {left.to_send:,} rows to send"
        if self.finish_utc is None:
            return f"{done}: that takes more than {MOST_DAYS} days."
        end = f"{self.finish_utc:%Y-%m-%d %H:%M} UTC"
        paused = " if the load is resumed now" if self.is_paused else ""
        return f"{done}; estimated end {end}{paused} ({self.load_rows_per_s:,.0f} rows/s {rate}; {self.limited_by})."


def estimate_finish(ledger: Ledger, environment: Environment, settings: SalesforceSettings) -> FinishEstimate | None:
    """The estimate for the planned scope; None if nothing was planned. Only queries the ledger."""
    scope = ledger.scope.current(environment)
    if scope is None:
        return None
    now = ledger.clock()
    left = rows_left(scope, ledger.work.current(environment))
    return _estimated(ledger, environment, settings, left, now)


def rows_left(scope: ScopeRow, work: Iterable[PartitionWork]) -> RowsLeft:
    """What is left to do for the partitions in scope. A partition being read again counts with its former state."""
    known = {(one.table_name, one.partition_key): one for one in work}
    partitions = partitions_in_scope(None, scope)
    planned = {partition: _planned(partition, scope) for partition in partitions}
    finished = unknown = total = to_extract = to_send = to_compare = largest = 0
    for partition in partitions:
        one = known.get((partition.table.name, partition.key))
        if one is None:
            counted = planned[partition]
            unknown += counted is None
            rows = _mean(planned, known, partition) if counted is None else counted
            to_extract, to_send = to_extract + rows, to_send + rows
        else:
            rows = one.rows
            to_send += _unsent(one)
        total += rows
        if one is not None and one.verdict in RECONCILED_STATES:
            finished += 1
        else:
            to_compare, largest = to_compare + rows, max(largest, rows)
    return RowsLeft(len(partitions), finished, unknown, total, to_extract, to_send, to_compare, largest)


def _planned(partition: Partition, scope: ScopeRow) -> int | None:
    return (scope.rows or {}).get(partition.table.name, {}).get(partition.key)


def _mean(
    planned: dict[Partition, int | None], known: dict[tuple[str, str], PartitionWork], partition: Partition
) -> int:
    """The mean rows of the partitions of the same table that were counted or extracted; 0 if there are none."""
    counts = [rows for other, rows in planned.items() if other.table is partition.table and rows is not None]
    counts += [one.rows for (table, _), one in known.items() if table == partition.table.name]
    return sum(counts) // len(counts) if counts else 0


def _unsent(one: PartitionWork) -> int:
    if one.is_loaded:
        return 0
    if one.rows_to_send is not None:
        return max(0, one.rows_to_send - one.rows_sent)
    return one.rows if one.was_never_loaded else 0


def _estimated(
    ledger: Ledger, environment: Environment, settings: SalesforceSettings, left: RowsLeft, now: datetime
) -> FinishEstimate:
    since = now - _MEASURED
    work, quota = ledger.work, ledger.quota.state(environment.target_id)
    load_rate = rate_of(work.load_spans(environment, since))
    extract_rate = rate_of(work.stage_spans(environment, ORACLE_EXTRACT, since))
    compare_rate = rate_of(work.stage_spans(environment, RECONCILED, since))
    rate, per_day = load_rate or ASSUMED_ROWS_PER_S, allowed_per_day(settings)
    room = min(per_day, settings.daily_rows - quota.others_rows)
    load_s = sending_of(ledger, environment, settings, left.to_send)
    extract_s = left.to_extract / extract_rate if extract_rate else 0.0
    compare_s = left.to_compare / compare_rate if compare_rate else 0.0
    last_s = left.largest / compare_rate if compare_rate else 0.0  # compared after everything is loaded
    end_s = max(extract_s, load_s) + last_s
    return FinishEstimate(
        as_of_utc=now,
        left=left,
        load_rows_per_s=round(rate, 1),
        is_rate_measured=load_rate is not None,
        extract_rows_per_s=extract_rate,
        compare_rows_per_s=compare_rate,
        quota_rows_free=max(0, room - max(quota.rows, quota.batches * BATCH_ROWS)),
        quota_rows_per_day=per_day,
        load_end_utc=_after(now, load_s),
        finish_utc=_after(now, max(end_s, compare_s)),
        limited_by=_limit(left, extract_s, load_s, compare_s, sent_alone_s=left.to_send / rate),
        is_paused=bool(ledger.pauses.active(environment)),
    )


def sending_of(ledger: Ledger, environment: Environment, settings: SalesforceSettings, rows: int) -> float:
    """Seconds until `rows` are sent, by the measured rate and what is left of the quota after the last 24 h."""
    if not rows:
        return 0.0
    now, quota = ledger.clock(), ledger.quota.state(environment.target_id)
    rate = rate_of(ledger.work.load_spans(environment, now - _MEASURED)) or ASSUMED_ROWS_PER_S
    room = min(allowed_per_day(settings), settings.daily_rows - quota.others_rows)
    used = [((now - counted).total_seconds(), sent) for counted, sent in ledger.quota.own_uses(environment.target_id)]
    blocked_s = max(0.0, ((quota.blocked_until_utc or now) - now).total_seconds())
    return blocked_s + sending_s(rows, rate, lambda _: room, used)


def allowed_per_day(settings: SalesforceSettings) -> int:
    """Records that a first upload may use in any 24 h."""
    daily = min(settings.daily_rows, settings.daily_batches * BATCH_ROWS)
    return int(daily * settings.quota_share * (1 - settings.retry_reserve))


def _limit(left: RowsLeft, extract_s: float, load_s: float, compare_s: float, *, sent_alone_s: float) -> FinishLimit:
    if left.finished == left.partitions:
        return FinishLimit.NOTHING_LEFT
    if extract_s > max(load_s, compare_s):
        return FinishLimit.EXTRACTING
    if compare_s > load_s or not left.to_send:
        return FinishLimit.COMPARING
    return FinishLimit.QUOTA if load_s > 1.01 * sent_alone_s else FinishLimit.LOADING


def _after(now: datetime, seconds: float) -> datetime | None:
    return now + timedelta(seconds=seconds) if seconds <= MOST_DAYS * 86_400 else None


def rate_of(spans: Sequence[Span]) -> float | None:
    """Rows per second while something was under way; None if nothing was. `spans` are sorted by start."""
    rows, busy = 0, timedelta()
    until: datetime | None = None
    for span in spans:
        rows += span.rows
        begins = span.from_utc if until is None or span.from_utc > until + _GAP else until
        busy += max(timedelta(), span.until_utc - begins)
        until = span.until_utc if until is None else max(until, span.until_utc)
    return rows / busy.total_seconds() if rows and busy else None
