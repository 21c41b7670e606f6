"""The poller on a virtual clock: each end is noticed in time, and no job takes more than its polls."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence

import pytest
from virtual_org import Followers, VirtualJob, VirtualOrg

from kpc.salesforce.constants import BulkJobState
from kpc.salesforce.job_pace import Pace
from kpc.salesforce.job_poller import JobAnswer, JobPoller, shared_poller
from kpc.salesforce.poll_schedule import POLLS_PER_JOB

HOUR_S = 3_600.0
OTHER_CALLS = 5  # create, upload, close, the final state, results
MOST_POLLS = 15 - OTHER_CALLS


def jobs_of(count: int, works_s: float, rows: int = 500_000) -> list[VirtualJob]:
    return [VirtualJob(f"750-{number}", rows, works_s) for number in range(count)]


def late(jobs: Sequence[VirtualJob]) -> list[tuple[str, float, float]]:
    return [(job.job_id, job.delay_s, job.allowed_s) for job in jobs if job.delay_s > job.allowed_s]


def requests(org: VirtualOrg) -> int:
    return org.lists + org.singles


@pytest.mark.parametrize("works_s", [2, 10, 60, 100, 300, 1_000, 2_500, 10_000])
@pytest.mark.parametrize("slots", [1, 3, 5, 15])
def test_thirty_jobs_in_a_queue_are_noticed_in_time_with_few_calls(works_s: float, slots: int) -> None:
    """Whatever a job takes and however few the org works on at once: 5 % or 5 s, and 15 calls with all the others."""
    org, jobs = VirtualOrg(slots=slots), jobs_of(30, works_s, rows=5_000 if works_s < 10 else 500_000)
    Followers(org, in_flight=30).run(jobs)
    assert late(jobs) == []
    assert requests(org) / len(jobs) <= POLLS_PER_JOB < MOST_POLLS


@pytest.mark.parametrize("works_s", [1, 20, 100, 2_500])
def test_a_single_job_is_noticed_in_time(works_s: float) -> None:
    """There is no other job to learn from, nor one to share a list with."""
    org, jobs = VirtualOrg(), jobs_of(1, works_s)
    Followers(org).run(jobs)
    assert late(jobs) == []
    assert requests(org) <= POLLS_PER_JOB


@pytest.mark.parametrize("works_s", [4, 100])
def test_a_free_slot_is_used_at_once(works_s: float) -> None:
    """With 15 jobs in flight of which the org works on three, it never waits for us: 1.15 times its time at most."""
    org, jobs = VirtualOrg(slots=3), jobs_of(90, works_s)
    began_s = org.now_s
    Followers(org, in_flight=15).run(jobs)
    assert late(jobs) == []
    assert org.now_s - began_s <= 1.15 * sum(job.works_s for job in jobs) / org.slots


@pytest.mark.parametrize(("count", "polls"), [(1, 10), (2, 10), (15, 9), (30, 9)])
def test_a_queue_that_is_stuck_for_hours_stays_within_the_calls(count: int, polls: float) -> None:
    """Nothing begins for six hours; a single job then has 15 calls in all, several share theirs."""
    org, jobs = VirtualOrg(opens_s=1_000.0 + 6 * HOUR_S), jobs_of(count, 100)
    followers = Followers(org, in_flight=30)
    followers.run(jobs)
    assert requests(org) / count <= polls
    assert max(job.delay_s for job in jobs) <= 2 * HOUR_S


def test_a_queue_that_moves_again_is_followed_closely() -> None:
    """After an hour in which nothing began, news of one job is a reason to look at the others again."""
    org, jobs = VirtualOrg(slots=3, opens_s=1_000.0 + HOUR_S), jobs_of(30, 300)
    Followers(org, in_flight=30).run(jobs)
    assert late(jobs[6:]) == []
    assert requests(org) / len(jobs) <= MOST_POLLS


def test_short_jobs_behind_a_long_one_are_noticed_when_it_ends() -> None:
    """Its end is the moment at which they begin."""
    sizes = [(500_000, 2_500.0) if number % 5 == 0 else (200, 2.0) for number in range(30)]
    org = VirtualOrg(slots=1)
    jobs = [VirtualJob(f"750-{number}", rows, works_s) for number, (rows, works_s) in enumerate(sizes)]
    Followers(org, in_flight=30).run(jobs)
    assert late(jobs) == []
    assert requests(org) / len(jobs) <= POLLS_PER_JOB


@pytest.mark.parametrize(("others", "late_at_most"), [(100, 0), (900, 0), (5_000, 0), (100_000, 1)])
def test_jobs_of_other_software_cost_few_calls(others: int, late_at_most: int) -> None:
    """The list shows them all, 1,000 a page: from some number on each of our jobs is asked for alone."""
    org, jobs = VirtualOrg(others=others), jobs_of(30, 100)
    Followers(org, in_flight=30).run(jobs)
    assert len(late(jobs)) <= late_at_most
    assert requests(org) / len(jobs) <= MOST_POLLS


def test_a_user_who_may_not_list_jobs_is_served_as_well() -> None:
    """Each job is asked for alone; those behind a waiting one need not be."""
    org, jobs = VirtualOrg(hides_list=True), jobs_of(30, 300)
    Followers(org, in_flight=30).run(jobs)
    assert late(jobs) == []
    assert org.singles / len(jobs) <= MOST_POLLS


@pytest.mark.parametrize("state", [BulkJobState.FAILED, BulkJobState.ABORTED])
def test_a_failed_or_aborted_job_is_noticed_as_fast(state: BulkJobState) -> None:
    """A job that ends early, with most of its rows unprocessed, ends before it was expected to."""
    org, jobs = VirtualOrg(), jobs_of(30, 100)
    for job in jobs[5::5]:
        job.works_s, job.ends_as, job.progress = 40.0, state, lambda share: share * 0.4
    Followers(org, in_flight=30).run(jobs)
    assert max(job.delay_s for job in jobs) <= 30
    assert [job.noticed.state for job in jobs[5::5] if job.noticed] == [state] * 5
    assert late([job for job in jobs if job.ends_as is BulkJobState.JOB_COMPLETE]) == []


def test_a_job_deleted_by_hand_is_noticed_and_the_others_are_not_disturbed() -> None:
    """The list no longer shows it; only its own address says that it is gone."""
    org, jobs = VirtualOrg(), jobs_of(15, 100)
    jobs[2].deleted_s, jobs[9].deleted_s = 1_050.0, 1_060.0
    Followers(org).run(jobs)
    assert [job.job_id for job in jobs if job.noticed and job.noticed.is_gone] == ["750-2", "750-9"]
    assert late([job for job in jobs if job.noticed and not job.noticed.is_gone]) == []
    assert jobs[9].delay_s <= 100


def test_a_missing_counter_costs_no_more_calls() -> None:
    """Without numberRecordsProcessed the first jobs show how long the others will take."""
    org, jobs = VirtualOrg(), jobs_of(30, 1_000)
    for job in jobs:
        job.counts = False
    Followers(org, in_flight=30).run(jobs)
    assert late(jobs) == []
    assert requests(org) / len(jobs) <= POLLS_PER_JOB


def test_a_job_that_the_org_begins_again_is_noticed_in_time() -> None:
    """Its counter falls back to 0 after two fifths of its time."""
    org, jobs = VirtualOrg(), jobs_of(12, 1_000)
    for job in jobs[4::3]:
        job.progress = lambda share: share * 2 if share < 0.4 else (share - 0.4) / 0.6
    Followers(org).run(jobs)
    assert late(jobs) == []
    assert requests(org) / len(jobs) <= POLLS_PER_JOB


@pytest.mark.parametrize("turn", [0.3, 0.5])
def test_a_job_that_becomes_twice_as_fast_is_noticed_in_time(turn: float) -> None:
    """The estimate is never trusted to its end: half of the remaining time passes at most."""
    org, jobs = VirtualOrg(slots=2), jobs_of(12, 900)
    before = 1 / (2 - turn)  # pace before the turn; twice as much after it
    for job in jobs:
        job.progress = lambda share: share * before if share < turn else turn * before + (share - turn) * 2 * before
    Followers(org).run(jobs)
    assert late(jobs) == []


@pytest.mark.parametrize("every_s", [20.0, 300.0, 3_600.0])
def test_a_restart_is_no_reason_to_poll(every_s: float) -> None:
    """A process that is started again and again asks no more than one that runs on."""
    org = VirtualOrg(opens_s=1_000.0 + 2 * HOUR_S)
    jobs = jobs_of(15, 100)
    followers = Followers(org)
    followers.run(jobs, until_s=1_015.0)
    waiting = [job for job in jobs if job not in followers.running]
    while followers.running and org.now_s < 1_000.0 + 2 * HOUR_S:
        followers.restart()
        followers.run(waiting, until_s=org.now_s + every_s)
        waiting = []
    followers.run([])
    assert requests(org) / len(jobs) <= POLLS_PER_JOB
    assert all(job.noticed for job in jobs)


def test_an_outage_is_waited_out_with_few_requests() -> None:
    """Requests that fail become rarer; the jobs that ended meanwhile are noticed soon afterwards."""
    org, jobs = VirtualOrg(slots=15), jobs_of(15, 100)
    followers = Followers(org)
    followers.run(jobs, until_s=1_050.0)
    before, org.is_down = requests(org), True
    followers.run([], until_s=1_900.0)
    assert requests(org) - before <= 60
    assert followers.poller.silent_s > 600
    org.is_down = False
    followers.run([])
    assert org.now_s <= 1_900.0 + 90.0
    assert followers.poller.silent_s == 0


def test_jobs_begun_in_another_order_are_found() -> None:
    """Without a list a job behind a waiting one is not asked for each time, but it is not forgotten either."""
    org, jobs = VirtualOrg(slots=1, hides_list=True), jobs_of(6, 200)
    followers = Followers(org)
    followers.run(jobs, until_s=1_003.0)
    first, last = jobs[1], jobs[-1]
    first.started_s, last.started_s = last.started_s, first.started_s
    followers.run([])
    assert last.delay_s <= last.works_s


def test_an_ended_job_is_known_to_its_thread_without_a_request() -> None:
    """One thread's list says that the other's job has ended; that thread is told at once and asks nobody."""
    now = [0.0]
    poller = JobPoller(0.5, 7_200.0, clock_s=lambda: now[0])
    for name in ("a", "b"):
        poller.follow(name, "upsert", 100)
    now[0] = 10.0
    ended = [JobAnswer("a", BulkJobState.IN_PROGRESS), JobAnswer("b", BulkJobState.JOB_COMPLETE)]
    poller.poll("a", lambda _: None, lambda: iter([ended]))
    assert poller.requests == 1
    assert poller.due_in_s("b") == 0
    assert poller.poll("b", lambda _: pytest.fail("asked for b"), lambda: pytest.fail("asked for the list")).is_final
    assert not poller.is_following("b")


def test_a_pace_of_small_jobs_says_nothing_about_large_ones() -> None:
    """A small job mostly waits for the org itself; its rows per second would put off the poll of a large one."""
    now = [0.0]
    poller = JobPoller(0.5, 7_200.0, clock_s=lambda: now[0])
    poller.learn("upsert", Pace(100, 20.0))
    poller.follow("small", "upsert", 150)
    poller.follow("large", "upsert", 500_000)
    assert poller.due_in_s("large") < 60


@pytest.mark.parametrize("faster", [0.2, 1.0, 3.9])
def test_the_pace_of_an_earlier_process_may_be_wrong(faster: float) -> None:
    """The org is slower or much faster today than the pace in the ledger says."""
    org, jobs = VirtualOrg(slots=2), jobs_of(6, 600)
    followers = Followers(org)
    followers.poller.learn("upsert", Pace(500_000, 500_000 / 600 / faster))
    followers.run(jobs)
    assert late(jobs) == []
    assert requests(org) / len(jobs) <= MOST_POLLS


def test_clients_of_one_org_share_a_poller_while_one_of_them_lasts() -> None:
    """Two triggers of one process ask once; another org, or the same id at another address, has its own."""
    first = shared_poller("http://127.0.0.1:1", "00D1", first_s=0.5, longest_s=60.0)
    assert shared_poller("http://127.0.0.1:1", "00D1", first_s=0.5, longest_s=60.0) is first
    assert shared_poller("http://127.0.0.1:2", "00D1", first_s=0.5, longest_s=60.0) is not first
    first.follow("a", "upsert", 100)
    del first
    gc.collect()
    assert not shared_poller("http://127.0.0.1:1", "00D1", first_s=0.5, longest_s=60.0).is_following("a")


def test_orgs_of_every_kind_are_followed_in_time() -> None:
    """120 seeded ones: 1 to 60 jobs, unequal ones too, 1 to 15 worked on at once, other software's jobs in the list."""
    jobs_late = jobs_all = polls = 0
    for seed in range(120):
        choose = random.Random(seed)  # noqa: S311  repeatable, no secret
        count, spread, works_s = (
            choose.choice([1, 2, 5, 15, 30, 60]),
            choose.choice([0.05, 0.3]),
            choose.uniform(2, 2_000),
        )
        org = VirtualOrg(slots=choose.choice([1, 2, 3, 5, 15]), others=choose.choice([0, 100, 3_000]))
        rows = choose.choice([100_000, 500_000])
        jobs = [
            VirtualJob(f"750-{number}", rows, works_s * choose.uniform(1 - spread, 1 + spread))
            for number in range(count)
        ]
        Followers(org, in_flight=choose.choice([15, 30])).run(jobs)
        assert requests(org) / count <= MOST_POLLS + 4, seed
        assert max(job.delay_s / job.allowed_s for job in jobs) <= 4, seed
        jobs_late, jobs_all, polls = jobs_late + len(late(jobs)), jobs_all + count, polls + requests(org)
    assert jobs_late / jobs_all <= 0.01
    assert polls / jobs_all <= POLLS_PER_JOB
