"""An org on a virtual clock that works on few jobs at once, and a process that follows them with our poller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kpc.errors import SalesforceDown
from kpc.salesforce.constants import BulkJobState
from kpc.salesforce.job_poller import JobAnswer, JobPoller, JobSighting

PAGE_JOBS = 1_000
WAKE_S = 0.25  # a thread looks this often whether its job is due
REQUEST_S = 0.2
Progress = Callable[[float], float]  # share of a job's working time that has passed -> share of its rows


def steady(share: float) -> float:
    return share


@dataclass
class VirtualJob:
    job_id: str
    rows: int
    works_s: float
    progress: Progress = steady
    counts: bool = True  # whether the org reports numberRecordsProcessed
    ends_as: BulkJobState = BulkJobState.JOB_COMPLETE
    closed_s: float = 0.0
    started_s: float = float("inf")
    deleted_s: float = float("inf")
    noticed_s: float | None = None
    noticed: JobSighting | None = None

    @property
    def ended_s(self) -> float:
        return self.started_s + self.works_s

    @property
    def delay_s(self) -> float:
        assert self.noticed_s is not None, f"{self.job_id} was never noticed"
        return self.noticed_s - min(self.ended_s, self.deleted_s)

    @property
    def allowed_s(self) -> float:
        return max(5.0, 0.05 * self.works_s)


@dataclass
class VirtualOrg:
    """Works on `slots` of the jobs at once, in the order in which they were closed, from `opens_s` on."""

    slots: int = 3
    opens_s: float = 0.0
    others: int = 0  # jobs of other software in the list
    now_s: float = 1_000.0
    jobs: dict[str, VirtualJob] = field(default_factory=dict)
    lists: int = 0
    singles: int = 0
    is_down: bool = False
    hides_list: bool = False  # this user may not list jobs

    def clock_s(self) -> float:
        return self.now_s

    def close(self, job: VirtualJob) -> None:
        job.closed_s = self.now_s
        ends = sorted((one.ended_s for one in self.jobs.values()), reverse=True)[: self.slots]
        free_s = ends[-1] if len(ends) == self.slots else 0.0
        job.started_s = max(self.opens_s, job.closed_s, free_s)
        self.jobs[job.job_id] = job

    def state(self, job: VirtualJob) -> BulkJobState:
        if self.now_s >= job.ended_s:
            return job.ends_as
        return BulkJobState.IN_PROGRESS if self.now_s >= job.started_s else BulkJobState.UPLOAD_COMPLETE

    def ask_one(self, job_id: str) -> JobAnswer | None:
        self.singles += 1
        self.now_s += REQUEST_S
        if self.is_down:
            raise SalesforceDown("The org is down.", "Wait.")
        job = self.jobs[job_id]
        if self.now_s >= job.deleted_s:
            return None
        share = min(1.0, max(0.0, (self.now_s - job.started_s) / job.works_s))
        processed = int(job.rows * job.progress(share)) // 200 * 200 if share < 1 else job.rows
        return JobAnswer(job_id, self.state(job), processed if job.counts else None)

    def ask_all(self) -> Iterator[list[JobAnswer]]:
        if self.is_down:
            self.lists += 1
            raise SalesforceDown("The org is down.", "Wait.")
        if self.hides_list:
            return
        foreign = [JobAnswer(f"other-{number}", BulkJobState.UPLOAD_COMPLETE) for number in range(self.others)]
        listed = [*foreign, *(job for job in self.jobs.values() if self.now_s < job.deleted_s)]
        for start in range(0, max(1, len(listed)), PAGE_JOBS):
            self.lists += 1
            self.now_s += REQUEST_S
            page = listed[start : start + PAGE_JOBS]
            yield [one if isinstance(one, JobAnswer) else JobAnswer(one.job_id, self.state(one)) for one in page]


@dataclass
class Followers:
    """Threads that follow one job each, with one poller; `in_flight` jobs at once, the next as soon as one ended."""

    org: VirtualOrg
    in_flight: int = 15
    upload_s: float = 0.3
    longest_s: float = 7_200.0
    poller: JobPoller = field(init=False)
    running: list[VirtualJob] = field(default_factory=list)
    touched: dict[str, tuple[float, int]] = field(default_factory=dict)  # as in the ledger: last poll, its counter

    def __post_init__(self) -> None:
        self.poller = JobPoller(0.5, self.longest_s, clock_s=self.org.clock_s)

    def restart(self) -> None:
        """A new process, which knows what the ledger knows."""
        self.poller = JobPoller(0.5, self.longest_s, clock_s=self.org.clock_s)
        for job in self.running:
            seen_s, processed = self.touched.get(job.job_id, (job.closed_s, 0))
            self.poller.follow(
                job.job_id,
                "upsert",
                job.rows,
                age_s=self.org.now_s - job.closed_s,
                seen_ago_s=self.org.now_s - seen_s,
                processed=processed,
            )

    def run(self, jobs: list[VirtualJob], until_s: float = float("inf")) -> None:
        """Load all jobs, or as far as it is until then."""
        waiting = list(jobs)
        while (waiting or self.running) and self.org.now_s < until_s:
            if waiting and len(self.running) < self.in_flight:
                self._begin(waiting.pop(0))
                self._poll()
            else:
                self._step(until_s)

    def _begin(self, job: VirtualJob) -> None:
        self.org.now_s += self.upload_s
        self.org.close(job)
        self.poller.follow(job.job_id, "upsert", job.rows)
        self.running.append(job)

    def _step(self, until_s: float) -> None:
        soonest_s = min(self.poller.due_in_s(job.job_id) for job in self.running)
        self.org.now_s = min(max(self.org.now_s + WAKE_S, self.org.now_s + soonest_s + WAKE_S / 2), until_s)
        self._poll()

    def _poll(self) -> None:
        for job in list(self.running):
            try:
                sighting = self.poller.poll(job.job_id, self.org.ask_one, self.org.ask_all)
            except SalesforceDown:
                continue
            if sighting.is_news:
                self.touched[job.job_id] = (self.org.now_s, sighting.processed)
            if sighting.is_final or sighting.is_gone:
                job.noticed_s, job.noticed = self.org.now_s, sighting
                self.running.remove(job)
