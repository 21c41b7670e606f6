"""What `kpc bench slots` computes from a campaign's loads and jobs."""

from __future__ import annotations

import pytest

from kpc.bench.slots import JobTimes, LoadTimes, SlotUse

LARGE = LoadTimes("LARGE 2024-01", 0.0, (0.0, 0.0, 10.0, 10.0, 20.0))
SMALL = LoadTimes("SMALL ALL", 5.0, (12.0,), is_small=True)


def test_slots_are_busy_only_while_something_waits() -> None:
    """Both slots have jobs until the last chunk begins; what happens after that does not count."""
    jobs = [JobTimes(0.0, 10.0), JobTimes(0.0, 10.0), JobTimes(10.0, 20.0), JobTimes(10.0, 20.0), JobTimes(20.0, 90.0)]
    assert SlotUse([LARGE], jobs, 2).busy() == (20.0, 1.0)


def test_a_gap_between_two_jobs_is_lost_time() -> None:
    jobs = [JobTimes(0.0, 8.0), JobTimes(0.0, 10.0), JobTimes(10.0, 20.0), JobTimes(12.0, 18.0)]
    assert SlotUse([LARGE], jobs, 2).busy() == (20.0, (8 + 10 + 10 + 6) / 40)


def test_more_jobs_than_slots_make_up_for_no_gap() -> None:
    jobs = [JobTimes(0.0, 10.0) for _ in range(4)]
    assert SlotUse([LARGE], jobs, 2).busy() == (20.0, 0.5)


def test_nothing_waited() -> None:
    at_once = LoadTimes("SMALL ALL", 3.0, (3.0,))
    assert SlotUse([at_once], [JobTimes(4.0, 9.0)], 15).busy() == (0.0, 0.0)


def test_the_small_table_that_waited_longest_is_named() -> None:
    jobs = [JobTimes(0.0, 10.0), JobTimes(10.0, 24.0), JobTimes(10.0, 20.0)]
    longest = list(SlotUse([LARGE, SMALL], jobs, 2).figures())[-1]
    assert longest.value == pytest.approx(0.7)
    assert "(SMALL ALL)" in longest.name
    assert longest.ok
