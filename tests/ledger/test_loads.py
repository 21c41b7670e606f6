"""Attempts, chunks, job slots and quota are counted once, over all workers; failures are replaced and closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from ledger_samples import JANUARY, SANDBOX, SUPPLIERS, intend_job, start_generation, take_lease
from moved_clock import MovedClock

from kpc.errors import QuotaExhausted, Superseded, Terminal
from kpc.ledger import Allowance, ChunkCounts, Ledger, RowFailure
from kpc.ledger.states import AttemptState, ChunkState, FailureClass, JobState
from kpc.storage.store import FileEntry


def test_older_generation_cannot_load_after_a_newer_one(ledger: Ledger) -> None:
    """A late load of old data is refused; an interrupted attempt keeps its number."""
    lease = take_lease(ledger, "run-a")
    old, new = start_generation(ledger, lease), start_generation(ledger, lease)
    assert ledger.attempts.begin(old, "m", run_id="r", lease=lease) == 1
    assert ledger.attempts.begin(old, "m", run_id="r2", lease=lease) == 1
    assert ledger.attempts.begin(new, "m", run_id="r", lease=lease) == 1
    ledger.attempts.end(new, "m", 1, state=AttemptState.FAILED, error="x", lease=lease)
    assert ledger.attempts.begin(new, "m", run_id="r", lease=lease) == 2
    with pytest.raises(Superseded, match="older"):
        ledger.attempts.begin(old, "m", run_id="r", lease=lease)


def test_chunk_that_changed_after_planning_is_refused(ledger: Ledger) -> None:
    """The bytes that were planned are the bytes that are sent; what is done stays done."""
    lease = take_lease(ledger, "run-a")
    file = FileEntry(name="chunk-00001.csv.gz", rows=3, bytes=9, sha256="a" * 64, raw_bytes=30)
    (chunk,) = ledger.chunks.plan("g", "m", [file], lease=lease)
    assert chunk.state is ChunkState.PLANNED
    ledger.chunks.finish("g", "m", chunk.name, ChunkCounts(loaded=2, created=1, failed=1, unprocessed=0), lease=lease)
    (again,) = ledger.chunks.plan("g", "m", [file], lease=lease)
    assert (again.state, again.loaded, again.failed) == (ChunkState.DONE, 2, 1)
    with pytest.raises(Terminal, match="not the file that was planned"):
        ledger.chunks.plan("g", "m", [file.model_copy(update={"sha256": "b" * 64})], lease=lease)


def test_slots_are_counted_over_all_partitions(ledger: Ledger) -> None:
    """Twenty workers of two partitions ask for five slots; five get one, and a finished job frees its slot."""
    leases = [take_lease(ledger, "run-a"), take_lease(ledger, "run-b", JANUARY)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda n: intend_job(ledger, leases[n % 2], slots=5), range(20)))
    taken = [job for job in claimed if job is not None]
    assert len(taken) == ledger.jobs.in_flight(SANDBOX.target_id) == 5
    mine = taken[0]
    lease = leases[0] if mine.table_name == SUPPLIERS.table.name else leases[1]
    ledger.jobs.end(mine.id, state=JobState.COMPLETE, lease=lease)
    assert intend_job(ledger, lease, slots=5) is not None


def test_forgotten_job_frees_its_slot_in_time(ledger: Ledger, clock: MovedClock) -> None:
    """A job whose worker died does not block the others for ever."""
    lease = take_lease(ledger, "run-a")
    assert intend_job(ledger, lease, slots=1)
    clock.advance(minutes=14)
    assert intend_job(ledger, lease, slots=1) is None
    clock.advance(minutes=2)
    assert intend_job(ledger, lease, slots=1)


def test_quota_is_never_exceeded_and_frees_after_a_day(ledger: Ledger, clock: MovedClock) -> None:
    """The job that does not fit is refused with the moment when it will; released reservations count no more."""
    lease = take_lease(ledger, "run-a")
    allowance = Allowance(rows=25_000, batches=3)
    first = intend_job(ledger, lease, allowance=allowance)
    second = intend_job(ledger, lease, allowance=allowance)
    assert first is not None
    assert second is not None
    clock.advance(hours=1)
    ledger.jobs.mark_closing(first.id, lease=lease)
    with pytest.raises(QuotaExhausted) as caught:
        intend_job(ledger, lease, allowance=allowance)
    assert caught.value.next_free_utc == datetime(2024, 5, 2, 12, 1, tzinfo=UTC)
    ledger.jobs.end(second.id, state=JobState.ABORTED, lease=lease)
    assert ledger.quota.used(SANDBOX.target_id) == (10_000, 1)
    assert intend_job(ledger, lease, allowance=allowance)
    ledger.jobs.end(first.id, state=JobState.COMPLETE, lease=lease)
    assert ledger.quota.used(SANDBOX.target_id)[1] == 2
    clock.advance(hours=24, minutes=1, seconds=1)
    assert ledger.quota.used(SANDBOX.target_id) == (0, 0)


def test_failures_of_a_chunk_replace_each_other_and_close_with_the_next_load(ledger: Ledger) -> None:
    """Reading results twice does not double the failures; a later generation closes what it repaired."""
    lease = take_lease(ledger, "run-a")
    failure = RowFailure("K1", "STRING_TOO_LONG", FailureClass.DATA, "too long", ("Name",), 1, "750x")
    for _ in range(2):
        assert ledger.failures.replace("g1", "m", "chunk-00001", iter([failure] * 2), lease=lease) == 2
    (record, _) = ledger.failures.of_partition(SANDBOX, SUPPLIERS)
    assert (record.external_id, record.error_code, record.fields) == ("K1", "STRING_TOO_LONG", ["Name"])
    assert ledger.failures.counts(SANDBOX) == [("KPS_R_POS_SUPPLIER", "ALL", "STRING_TOO_LONG", 2)]
    assert ledger.failures.resolve("g1", "m", lease=lease) == 0
    assert ledger.failures.resolve("g2", "m", lease=lease) == 2
    ledger.failures.replace("g2", "m", "chunk-00001", iter([failure]), lease=lease)
    assert ledger.failures.resolve("g2", "another mapping", lease=lease) == 1
    assert ledger.failures.of_partition(SANDBOX, SUPPLIERS) == []
