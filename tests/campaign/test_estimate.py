"""The estimated finish, computed from a ledger alone: rows left, measured rates, and the rolling quota."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_samples import SANDBOX
from moved_clock import MovedClock

from kpc.campaign.estimate import ASSUMED_ROWS_PER_S, FinishLimit, estimate_finish, rate_of
from kpc.campaign.quota_flow import sending_s
from kpc.catalog import TABLES
from kpc.ledger import Allowance, ChunkCounts, JobIntent, Lease, Ledger, open_ledger
from kpc.ledger.partition_work import Span
from kpc.ledger.states import JobState, StageState
from kpc.partition import Partition, find_partition, month_keys
from kpc.settings import SalesforceSettings
from kpc.storage.store import FileEntry

ROWS = 500_000
HEADERS = "KPS_T_SALES_M"
ORG = SalesforceSettings(daily_rows=10_000_000, daily_batches=1_000, retry_reserve=0)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: MovedClock) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock, is_durable=False)
    yield opened
    opened.close()


def plan(ledger: Ledger, months: int, rows: int | None = ROWS) -> list[Partition]:
    keys = month_keys("2024-01", months)
    counted = None if rows is None else {HEADERS: dict.fromkeys(keys, rows)}
    ledger.scope.set(
        SANDBOX, months=keys, tables=[HEADERS], mode="incremental", run_id="r", actor="a", rows=counted
    )  # fmt: skip
    return [find_partition(HEADERS, key) for key in keys]


def lease_of(ledger: Ledger, partition: Partition, stage: str) -> Lease:
    return ledger.leases.acquire(SANDBOX, partition, stage, owner="r", ttl_s=60, wait_s=0)


def run(ledger: Ledger, partition: Partition, stage: str, generation: str, rows: int, state: StageState) -> None:
    lease = lease_of(ledger, partition, stage)
    number = ledger.stages.start(
        SANDBOX, partition, stage, generation=generation, mapping_version="m", run_id="r", actor="a", mode="full",
        lease=lease,
    )  # fmt: skip
    ledger.stages.finish(number, state=state, rows=rows, bytes=1, detail={}, lease=lease)


def extract(ledger: Ledger, partition: Partition, rows: int = ROWS) -> str:
    lease = lease_of(ledger, partition, "oracle_extract")
    generation = ledger.generations.start(
        SANDBOX, partition, scn=1, mode="full", spec_hash="s", run_id="r", lease=lease
    )  # fmt: skip
    ledger.generations.seal(generation, rows=rows, raw_bytes=1, lease=lease)
    return generation


def send(ledger: Ledger, clock: MovedClock, partition: Partition, generation: str, *, minutes: float) -> None:
    """Send one chunk of a partition, whose ingest job takes some minutes."""
    lease = lease_of(ledger, partition, "sf_loaded")
    ledger.chunks.plan(generation, "m", [FileEntry(name="c", rows=ROWS, bytes=9, sha256="a" * 64)], lease=lease)
    intent = JobIntent(generation, "m", "c", 1, "Obj__c", "External_ID__c", ROWS, ROWS // 10_000)
    job = ledger.jobs.intend(intent, slots=15, allowance=Allowance(), lease=lease)
    assert job is not None
    ledger.jobs.mark_open(job.id, f"750{job.id:015d}", lease=lease)
    ledger.jobs.mark_closing(job.id, lease=lease)
    ledger.jobs.mark_closed(job.id, lease=lease)
    clock.advance(minutes=minutes)
    lease = lease_of(ledger, partition, "sf_loaded")
    ledger.jobs.end(job.id, state=JobState.ENDED, lease=lease)
    ledger.jobs.end(job.id, state=JobState.COMPLETE, lease=lease)
    ledger.chunks.finish(generation, "m", "c", ChunkCounts(ROWS, ROWS, 0, 0), lease=lease)


def migrate(ledger: Ledger, clock: MovedClock, partition: Partition, *, minutes: float) -> None:
    generation = extract(ledger, partition)
    run(ledger, partition, "staged_csv", generation, ROWS, StageState.DONE)
    send(ledger, clock, partition, generation, minutes=minutes)
    run(ledger, partition, "sf_loaded", generation, ROWS, StageState.DONE)
    run(ledger, partition, "reconciled", generation, ROWS, StageState.RECONCILED)


def test_without_a_plan_there_is_no_estimate(ledger: Ledger) -> None:
    assert estimate_finish(ledger, SANDBOX, ORG) is None


def test_before_the_first_job_a_rate_is_assumed(ledger: Ledger, clock: MovedClock) -> None:
    """The planned rows at 3,000 rows/s, and the estimate says that nothing was measured."""
    plan(ledger, 4)
    found = estimate_finish(ledger, SANDBOX, ORG)
    assert found is not None
    assert (found.left.total, found.left.to_send, found.left.to_extract) == (4 * ROWS,) * 3
    assert not found.is_rate_measured
    assert found.limited_by is FinishLimit.LOADING
    assert found.finish_utc is not None
    assert (found.finish_utc - clock()).total_seconds() == pytest.approx(4 * ROWS / ASSUMED_ROWS_PER_S)
    assert "assumed" in found.summary


def test_rows_left_and_rate_follow_what_was_loaded(ledger: Ledger, clock: MovedClock) -> None:
    """One month of four took ten minutes: the other three take half an hour, and each is compared."""
    first, second, *_ = plan(ledger, 4)
    migrate(ledger, clock, first, minutes=10)
    generation = extract(ledger, second, rows=ROWS + 7)  # Oracle has more rows by now than the plan counted
    found = estimate_finish(ledger, SANDBOX, ORG)
    assert found is not None
    assert (found.left.finished, found.left.partitions) == (1, 4)
    assert (found.left.to_send, found.left.to_extract) == (3 * ROWS + 7, 2 * ROWS)
    assert found.load_rows_per_s == pytest.approx(ROWS / 600, abs=0.1)
    assert found.load_end_utc is not None
    assert (found.load_end_utc - clock()).total_seconds() == pytest.approx(1800, rel=0.01)
    run(ledger, second, "staged_csv", generation, ROWS, StageState.DONE)  # seven rows were rejected
    send(ledger, clock, second, generation, minutes=1)
    again = estimate_finish(ledger, SANDBOX, ORG)
    assert again is not None
    assert again.left.to_send == 2 * ROWS
    assert again.left.to_compare == 3 * ROWS + 7


def test_the_quota_decides_where_it_is_smaller(ledger: Ledger, clock: MovedClock) -> None:
    """With 600,000 records a day and 500,000 sent just now, the last of three months goes out two days later."""
    first, *_ = plan(ledger, 4)
    migrate(ledger, clock, first, minutes=10)
    org = ORG.model_copy(update={"daily_rows": 600_000})
    found = estimate_finish(ledger, SANDBOX, org)
    assert found is not None
    assert found.limited_by is FinishLimit.QUOTA
    assert (found.quota_rows_per_day, found.quota_rows_free) == (600_000, 100_000)
    assert found.load_end_utc is not None
    assert timedelta(days=2) < found.load_end_utc - clock() < timedelta(days=3)


def test_others_and_a_pause_are_part_of_it(ledger: Ledger, clock: MovedClock) -> None:
    plan(ledger, 4)
    free = estimate_finish(ledger, SANDBOX, ORG)
    ledger.pauses.start(SANDBOX, "all", "all", actor="a")  # type: ignore[arg-type]
    ledger.quota.block(SANDBOX.target_id, clock() + timedelta(hours=5), "ExceededQuota")
    found = estimate_finish(ledger, SANDBOX, ORG)
    assert free is not None
    assert found is not None
    assert found.is_paused
    assert found.finish_utc is not None
    assert free.finish_utc is not None
    assert found.finish_utc - free.finish_utc == timedelta(hours=5)
    assert "resumed now" in found.summary


def test_partitions_that_nobody_counted_are_taken_for_the_mean(ledger: Ledger) -> None:
    first, *_ = plan(ledger, 3, rows=None)
    extract(ledger, first, rows=90)
    found = estimate_finish(ledger, SANDBOX, ORG)
    assert found is not None
    assert (found.left.unknown, found.left.total) == (2, 270)


def test_when_all_is_reconciled_nothing_is_left(ledger: Ledger, clock: MovedClock) -> None:
    (only,) = plan(ledger, 1)
    migrate(ledger, clock, only, minutes=10)
    found = estimate_finish(ledger, SANDBOX, ORG)
    assert found is not None
    assert found.limited_by is FinishLimit.NOTHING_LEFT
    assert found.finish_utc == clock()
    assert found.summary == "All 1 partitions in scope are reconciled."


def test_more_than_sixty_days_is_no_date(ledger: Ledger) -> None:
    plan(ledger, 4)
    found = estimate_finish(ledger, SANDBOX, ORG.model_copy(update={"daily_rows": 1_000}))
    assert found is not None
    assert found.finish_utc is None
    assert "more than 60 days" in found.summary


def test_jobs_side_by_side_count_their_time_once(clock: MovedClock) -> None:
    """Two concurrent jobs of ten minutes count as ten minutes; a pause of an hour does not count."""
    at = clock.now
    minutes = [(0, 10), (0, 10), (11, 20), (80, 90)]
    spans = [Span(600, at + timedelta(minutes=a), at + timedelta(minutes=b)) for a, b in minutes]
    assert rate_of(spans) == 2400 / (30 * 60)
    assert rate_of([]) is None


def test_what_was_sent_yesterday_frees_its_quota_when_it_is_a_day_old() -> None:
    """80 of 100 are used for another hour: 20 can go now, the rest then."""
    assert sending_s(50, 1e9, lambda _: 100, [(23 * 3600.0, 80.0)]) == pytest.approx(3600, abs=120)
    assert sending_s(20, 1e9, lambda _: 100, [(23 * 3600.0, 80.0)]) < 1


def test_a_whole_migration_is_estimated_within_a_page_s_time(ledger: Ledger) -> None:
    """16 tables by 60 months, all extracted, staged and loaded: a fraction of a second of CPU."""
    keys = month_keys("2020-01", 60)
    tables = [table for table in TABLES.values() if table.is_monthly]
    ledger.scope.set(SANDBOX, months=keys, tables=[*TABLES], mode="full", run_id="r", actor="a")
    with ledger.together():
        for table in tables:
            for key in keys:
                partition = Partition(table, key)
                generation = extract(ledger, partition)
                run(ledger, partition, "staged_csv", generation, ROWS, StageState.DONE)
                run(ledger, partition, "sf_loaded", generation, ROWS, StageState.DONE)
    began = time.process_time()
    found = estimate_finish(ledger, SANDBOX, ORG)
    assert time.process_time() - began < 0.3
    assert found is not None
    assert found.left.to_compare == 180 * ROWS
