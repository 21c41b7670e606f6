"""Simulation of a campaign on a virtual clock: the real governor, ledger and polling against an org that only counts.

The org processes each job at its share of `rows_per_s`, counts a job's batches when it is closed (uploads count, not
successes), and answers `/limits`. It measures when the last job ends, whether the org ever counted more than it
allows, and how many API calls a job took.
"""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kpc.campaign.quota_flow import MOST_DAYS, sending_s
from kpc.campaign.simulated_org import DAY_S, CountingOrg, VirtualClock
from kpc.errors import QuotaExhausted
from kpc.ledger import JobIntent, JobRow, Lease, Ledger, open_ledger
from kpc.ledger.states import JobState
from kpc.partition import Environment, find_partition
from kpc.salesforce.constants import BATCH_ROWS
from kpc.salesforce.job_poller import JobPoller
from kpc.settings import SalesforceSettings
from kpc.stages.quota_governor import Governor

_ENVIRONMENT = Environment("simulated", "simulated")
_PARTITION = find_partition("KPS_T_SALES_MD", "2024-01")
_UPLOAD_S = 10.0  # 100 MB
_RESTART_S = 3600.0
_NO_SLOT_S = 1.0
_LOOK_S = 60.0  # seconds between a worker's checks of the poller; coarse, because the simulation covers days
_SHORTEST_S = 0.005
_OTHERS_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. Another user uploads `others_batches` over one day, starting at `others_from_s`."""

    name: str
    rows: int
    chunk_rows: int = 500_000
    rows_per_s: float = 3_000.0
    restarts: bool = False
    others_batches: int = 0
    others_from_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """The result of a scenario. `floor_days` is the minimum that the quota allows; `over_quota_rows` must be 0."""

    name: str
    jobs: int
    days: float
    floor_days: float
    over_quota_rows: int
    calls_per_job: float
    restarts: int

    @property
    def ratio(self) -> float:
        return self.days / self.floor_days

    @property
    def is_ok(self) -> bool:
        return self.ratio <= 1.01 and self.over_quota_rows == 0 and self.calls_per_job <= 15

    def as_json(self) -> dict[str, object]:
        return {
            "scenario": self.name,
            "jobs": self.jobs,
            "days": round(self.days, 4),
            "floor_days": round(self.floor_days, 4),
            "ratio": round(self.ratio, 5),
            "over_quota_records": self.over_quota_rows,
            "calls_per_job": round(self.calls_per_job, 2),
            "restarts": self.restarts,
            "ok": self.is_ok,
        }


def scenarios(rows: int, settings: SalesforceSettings, rows_per_s: float) -> list[Scenario]:
    """An undisturbed campaign, one with a restart every hour, and one with another user's load from halfway on."""
    half_way_s = floor_s(Scenario("", rows, rows_per_s=rows_per_s), settings) / 2
    others = max(1, settings.daily_batches // 50)
    return [
        Scenario("undisturbed", rows, rows_per_s=rows_per_s),
        Scenario("a restart every hour", rows, rows_per_s=rows_per_s, restarts=True),
        Scenario(
            "another user's load from half-way on", rows, rows_per_s=rows_per_s, others_batches=others,
            others_from_s=half_way_s,
        ),
    ]  # fmt: skip


def simulate(scenario: Scenario, settings: SalesforceSettings) -> Simulated:
    """Run a scenario to its end; takes some seconds of real time."""
    with tempfile.TemporaryDirectory(prefix="kpc-simulation-") as folder:
        return _Run(scenario, settings, Path(folder)).result()


def floor_s(scenario: Scenario, settings: SalesforceSettings) -> float:
    """The earliest possible end: rows are sent continuously, as fast as the org and the rolling 24 h allow.

    Other users first use what our share leaves free; only their use beyond that reduces ours.
    """
    ours = settings.daily_rows * settings.quota_share * (1 - settings.retry_reserve)
    total_allowed = settings.daily_rows - settings.daily_rows * settings.quota_share * settings.retry_reserve
    return sending_s(
        scenario.rows,
        scenario.rows_per_s,
        lambda now_s: min(ours, total_allowed - _others_in_window(scenario, now_s)),
    )


def _others_in_window(scenario: Scenario, now_s: float) -> float:
    """Records that the other user uploaded in the 24 h before `now_s`, at a constant rate over one day."""
    since_s = now_s - scenario.others_from_s
    if not scenario.others_batches or not 0 <= since_s <= 2 * DAY_S:
        return 0.0
    return scenario.others_batches * BATCH_ROWS * min(since_s, 2 * DAY_S - since_s) / DAY_S


class _Run:
    """One simulated campaign: a queue of timed events, and workers that lose their memory at a restart."""

    def __init__(self, scenario: Scenario, settings: SalesforceSettings, folder: Path) -> None:
        self.scenario, self.settings = scenario, settings
        self.clock = VirtualClock()
        self.org = CountingOrg(settings, self.clock, settings.jobs_in_flight / scenario.rows_per_s)
        self.url = f"sqlite:///{folder}/ledger.db"
        self.order = itertools.count()
        self.queue: list[tuple[float, int, bool, Callable[[], None]]] = []  # third item: whether a restart drops it
        self.sizes = deque(_chunk_sizes(scenario))
        self.jobs, self.begun, self.ended, self.restarts = len(self.sizes), 0, 0, 0
        self.finished_s = 0.0

    def result(self) -> Simulated:
        if self.scenario.others_batches:
            self._at(self.scenario.others_from_s, lambda: self._others(0), is_worker=False)
        with self._opened():
            while self.ended < self.jobs:
                at_s, _, _, act = heapq.heappop(self.queue)
                self.clock.now_s = max(self.clock.now_s, at_s)
                act()
        return Simulated(
            self.scenario.name,
            self.jobs,
            self.finished_s / DAY_S,
            floor_s(self.scenario, self.settings) / DAY_S,
            self.org.over_quota_rows,
            self.org.calls / self.jobs,
            self.restarts,
        )

    @contextmanager
    def _opened(self) -> Iterator[None]:
        self._open()
        try:
            yield
        finally:
            self.ledger.close()

    def _open(self) -> None:
        """Start a process, which knows only what is in the ledger."""
        self.ledger: Ledger = open_ledger(self.url, clock=self.clock, is_durable=False)
        self.lease: Lease = self.ledger.leases.acquire(
            _ENVIRONMENT, _PARTITION, "sf_loaded", owner="simulated", ttl_s=MOST_DAYS * DAY_S, wait_s=0
        )
        self.governor = Governor(self.ledger, self.settings, _ENVIRONMENT.target_id, self.org.limits)
        settings = self.settings
        self.poller = JobPoller(settings.poll_first_s, settings.poll_longest_s, clock_s=lambda: self.clock.now_s)
        at_work = self.ledger.jobs.at_work(_ENVIRONMENT, _PARTITION)
        for job in at_work:
            self._soon(lambda job=job: self._resume(job))  # type: ignore[misc]
        for _ in range(self.settings.jobs_in_flight - len(at_work)):
            self._soon(self._begin)
        if self.scenario.restarts:
            self._at(self.clock.now_s + _RESTART_S, self._restart, is_worker=True)

    def _restart(self) -> None:
        self.restarts += 1
        self.queue = [entry for entry in self.queue if not entry[2]]
        heapq.heapify(self.queue)
        self.ledger.close()
        self._open()

    def _at(self, at_s: float, act: Callable[[], None], *, is_worker: bool) -> None:
        heapq.heappush(self.queue, (at_s, next(self.order), is_worker, act))

    def _soon(self, act: Callable[[], None], wait_s: float = 0.0) -> None:
        self._at(self.clock.now_s + wait_s, act, is_worker=True)

    def _begin(self) -> None:
        """Start the next chunk, or retry later if the governor refuses."""
        if not self.sizes:
            return
        rows = self.sizes[0]
        intent = JobIntent(
            generation="simulated",
            mapping_version="simulated",
            chunk=f"chunk-{self.begun + 1:05d}.csv.gz",
            attempt=1,
            object_name=_PARTITION.table.target,
            external_id_field="External_ID__c",
            rows=rows,
            batches=-(-rows // BATCH_ROWS),
        )
        try:
            job = self.governor.intend(intent, self.lease)
        except QuotaExhausted as full:
            self._soon(self._begin, (full.next_free_utc - self.clock()).total_seconds())
            return
        if job is None:
            self._soon(self._begin, _NO_SLOT_S)
            return
        self.sizes.popleft()
        self.begun += 1
        self.org.calls += 1
        self.ledger.jobs.mark_open(job.id, f"750{job.id:015d}", lease=self.lease)
        self._upload(job.id, f"750{job.id:015d}", rows)

    def _upload(self, job: int, job_id: str, rows: int) -> None:
        self.org.calls += 1
        self._soon(lambda: self._close(job, job_id, rows), _UPLOAD_S)

    def _close(self, job: int, job_id: str, rows: int) -> None:
        self.ledger.jobs.mark_uploaded(job, "gzip", lease=self.lease)
        try:
            self.governor.confirm()
        except QuotaExhausted as full:
            wait_s = (full.next_free_utc - self.clock()).total_seconds()
            self._soon(lambda: self._close(job, job_id, rows), wait_s)
            return
        self.ledger.jobs.mark_closing(job, lease=self.lease)
        self.org.calls += 1
        self.org.count(-(-rows // BATCH_ROWS), is_ours=True)
        self.org.closed[job_id] = (self.clock.now_s, rows)
        self.ledger.jobs.mark_closed(job, lease=self.lease)
        self.poller.follow(job_id, "upsert", rows)
        self._poll(job, job_id)

    def _poll(self, job: int, job_id: str) -> None:
        """Poll the job if it is due, or if another job's poll has found it ended; poll again when it is next due."""
        sighting = self.poller.poll(job_id, self.org.answer, self.org.answers)
        if sighting.is_news:
            self.ledger.jobs.touch(job, processed=sighting.processed, lease=self.lease)
        if sighting.is_final:
            self._end(job)
            return
        self._soon(lambda: self._poll(job, job_id), min(max(sighting.wait_s, _SHORTEST_S), _LOOK_S))

    def _end(self, job: int) -> None:
        self.org.calls += 1  # the request for its successfulResults
        self.ledger.jobs.end(job, state=JobState.ENDED, lease=self.lease)
        self.ledger.jobs.end(job, state=JobState.COMPLETE, lease=self.lease)
        self.ended += 1
        self.finished_s = self.clock.now_s
        self._begin()

    def _resume(self, job: JobRow) -> None:
        """Resume a job after a restart: its upload was not confirmed, or it is running."""
        assert job.job_id is not None  # noqa: S101  creation takes no simulated time
        if job.state == JobState.OPEN:
            self.org.calls += 1  # the request for its state
            self._upload(job.id, job.job_id, job.rows)
            return
        now = self.clock()
        self.poller.follow(
            job.job_id,
            "upsert",
            job.rows,
            age_s=(now - (job.closed_utc or now)).total_seconds(),
            seen_ago_s=(now - job.touched_utc).total_seconds(),
            processed=job.processed or 0,
        )
        self._poll(job.id, job.job_id)

    def _others(self, done: int) -> None:
        """Upload the other user's batches evenly over one day, and retry refused ones."""
        elapsed_s = self.clock.now_s - self.scenario.others_from_s
        wanted = int(self.scenario.others_batches * min(1.0, elapsed_s / DAY_S))
        while done < wanted and self.org.count(1, is_ours=False):
            done += 1
        if done < self.scenario.others_batches:
            self._at(self.clock.now_s + _OTHERS_EVERY_S, lambda: self._others(done), is_worker=False)


def _chunk_sizes(scenario: Scenario) -> Iterator[int]:
    for start in range(0, scenario.rows, scenario.chunk_rows):
        yield min(scenario.chunk_rows, scenario.rows - start)
