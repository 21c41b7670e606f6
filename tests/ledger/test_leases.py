"""One worker at a time on a partition's stage: leases wait, expire, are renewed and fence off old holders."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger_samples import JANUARY, PRODUCTION, SANDBOX, STAGE, SUPPLIERS, start_generation, take_lease
from moved_clock import MovedClock
from sqlalchemy import text

from kpc.errors import LeaseLost, Transient
from kpc.ledger import Ledger, open_ledger


def test_second_worker_waits_then_is_told_who_works(ledger: Ledger) -> None:
    """A lease that stays taken ends the wait with an error that names its holder and its end."""
    take_lease(ledger, "run-a")
    with pytest.raises(Transient, match=r"run-a; its lease runs until 2024-05-01 12:01:00 UTC"):
        take_lease(ledger, "run-b", wait_s=0.1)


def test_waiting_worker_gets_the_lease_when_it_is_free(ledger: Ledger) -> None:
    """The loser of a race gets the lease afterwards and knows that it waited."""
    first = take_lease(ledger, "run-a")
    release = threading.Timer(0.3, ledger.leases.release, [first])
    release.start()
    second = take_lease(ledger, "run-b", wait_s=20)
    release.join()
    assert second.has_waited
    assert second.token == first.token + 1


def test_same_owner_reenters_and_does_not_free_the_outer_lease(ledger: Ledger) -> None:
    """Tasks of one run share the run's lease; leaving an inner block keeps it."""
    outer = take_lease(ledger, "run-a")
    with ledger.leases.hold(SANDBOX, SUPPLIERS, STAGE, owner="run-a", ttl_s=60, wait_s=0) as inner:
        assert inner.token == outer.token
        assert inner.is_reentered
    ledger.leases.require(outer)


def test_expired_holder_is_fenced_off(ledger: Ledger, clock: MovedClock) -> None:
    """After a takeover every write of the old holder fails, and leaves nothing behind."""
    old = take_lease(ledger, "run-a")
    clock.advance(seconds=61)
    new = take_lease(ledger, "run-b")
    assert new.token > old.token
    with pytest.raises(LeaseLost, match="run-b has taken it over"):
        start_generation(ledger, old)
    assert old.lost.is_set()
    assert ledger.generations.unfinished(SANDBOX, SUPPLIERS) is None
    ledger.leases.release(old)
    ledger.leases.require(new)


def test_expired_lease_that_nobody_took_still_counts(ledger: Ledger, clock: MovedClock) -> None:
    """A worker that was only slow goes on."""
    lease = take_lease(ledger, "run-a")
    clock.advance(hours=5)
    assert start_generation(ledger, lease)


def test_held_lease_is_renewed_in_the_background(tmp_path: Path) -> None:
    """A worker that takes longer than the lease's life keeps it."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with ledger.leases.hold(SANDBOX, SUPPLIERS, STAGE, owner="run-a", ttl_s=0.6, wait_s=0) as lease:
        time.sleep(1.2)
        with pytest.raises(Transient):
            take_lease(ledger, "run-b")
        ledger.leases.require(lease)
    assert take_lease(ledger, "run-b")
    ledger.close()


def test_only_one_of_many_gets_a_new_lease(ledger: Ledger) -> None:
    """Eight workers ask for a lease that never existed; one gets it."""

    def ask(number: int) -> bool:
        try:
            take_lease(ledger, f"run-{number}")
        except Transient:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


def test_leases_of_another_org_or_partition_are_free(ledger: Ledger) -> None:
    """A sandbox run blocks neither production nor another partition."""
    take_lease(ledger, "run-a")
    assert ledger.leases.acquire(PRODUCTION, SUPPLIERS, STAGE, owner="run-b", ttl_s=60, wait_s=0)
    assert take_lease(ledger, "run-b", JANUARY)


def test_a_later_try_of_the_same_run_fences_off_the_earlier_one(ledger: Ledger) -> None:
    """The worker of the first try was only paused: when it goes on, it can neither write nor release."""
    first = take_lease(ledger, "run-a")
    second = ledger.leases.acquire(SANDBOX, SUPPLIERS, STAGE, owner="run-a", ttl_s=60, wait_s=0, is_alone=True)
    with pytest.raises(LeaseLost, match="a later try of the same run has taken it over"):
        start_generation(ledger, first)
    with pytest.raises(LeaseLost):
        ledger.leases.renew(first, ttl_s=60)
    ledger.leases.release(first)
    assert start_generation(ledger, second)


def test_tries_of_one_chunk_exclude_each_other_and_no_other_chunk(ledger: Ledger) -> None:
    """Tasks of one run share its lease, each for its own chunk; a repeated task excludes only its earlier try."""
    shared = take_lease(ledger, "run-a")
    first, other = ledger.leases.fence(shared, "chunk-1"), ledger.leases.fence(shared, "chunk-2")
    second = ledger.leases.fence(shared, "chunk-1")
    with pytest.raises(LeaseLost, match="a later try of the same run"):
        start_generation(ledger, first)
    assert first.lost.is_set()
    ledger.leases.require(other)
    assert start_generation(ledger, second)


def test_a_part_is_lost_with_the_whole(ledger: Ledger, clock: MovedClock) -> None:
    """When another run takes the stage over, no task of the old run may write, and none can fence a part again."""
    shared = take_lease(ledger, "run-a")
    part = ledger.leases.fence(shared, "chunk-1")
    clock.advance(seconds=61)
    theirs = ledger.leases.fence(take_lease(ledger, "run-b"), "chunk-1")
    for attempt in (lambda: ledger.leases.require(part), lambda: ledger.leases.fence(shared, "chunk-1")):
        with pytest.raises(LeaseLost, match="run-b has taken it over"):
            attempt()
    ledger.leases.require(theirs)


def test_a_worker_frozen_in_a_transaction_does_not_lock_out_the_others(postgres_database: str) -> None:
    """PostgreSQL ends a transaction whose client says nothing; its worker reads one sentence when it goes on."""
    ledger = open_ledger(postgres_database)
    lease = take_lease(ledger, "run-a")
    with pytest.raises(Transient, match="does not answer"), ledger.database.writing(lease) as frozen:
        frozen.execute(text("SET LOCAL idle_in_transaction_session_timeout = '300ms'"))
        time.sleep(1.5)
        ledger.leases.renew(lease, ttl_s=60)  # needs the row that the frozen transaction had locked
        frozen.execute(text("SELECT 1"))
    with ledger.database.reading() as connection:
        limit = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert limit == "1min"
    ledger.close()
