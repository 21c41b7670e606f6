"""One poller for all the jobs that a process follows in an org: threads of `kpc run`, triggers, rollbacks, queries.

A job is polled when it may have ended (`job_pace`). Near an end, and for jobs in the queue, one request for the list of
all jobs replaces several for single jobs, if that is cheaper: the list is unordered, has 1,000 jobs a page, those of
other software too, and no counters. When one of our jobs ends, the waiting ones are looked at again at once.

The number of requests is bounded: see `poll_schedule`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from kpc.salesforce.constants import BulkJobState
from kpc.salesforce.job_pace import FollowedJob, Pace
from kpc.salesforce.poll_schedule import POLLS_PER_JOB, POLLS_RESUMED, PollSchedule

WAKE_S = 0.25  # whoever waits for a job looks this often whether it is due, or was found ended by another's poll
_MORE_PAGES = 4  # times as many as were read are assumed of a list that was not read to its end
_NO_LIST = 1_000_000  # pages: always dearer than asking for each job
_CONCLUDED = 2.0  # times its working time, or _CONCLUDED_S: so long a job counts as waiting because one ahead waits
_CONCLUDED_S = 60.0
_TELL_S = 300.0  # a job without news is reported this often, to show that it is followed
_OUTAGE_SHARE = 0.5  # of the time since the last answer: wait that long after a request that failed
_OUTAGE_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """What the org says about one job; `processed` is None if it does not say."""

    job_id: str
    state: BulkJobState
    processed: int | None = None


AskOne = Callable[[str], JobAnswer | None]
AskAll = Callable[[], Iterator[list[JobAnswer]]]


@dataclass(frozen=True, slots=True)
class JobSighting:
    """A job as last seen. `wait_s` is the time until its next poll, `is_news` whether to record it."""

    state: BulkJobState
    processed: int
    wait_s: float
    is_gone: bool
    is_news: bool

    @property
    def is_final(self) -> bool:
        return self.state.is_final


@dataclass
class JobPoller:
    """Follows jobs of one org. Safe to share between threads; `clock_s` is monotonic."""

    first_s: float
    longest_s: float
    clock_s: Callable[[], float] = time.monotonic
    _freed_s: float | None = None  # since the last list: until when the jobs that have ended kept their places
    _failing_s: float | None = None  # when the org first left a request without an answer, since the last one
    _jobs: dict[str, FollowedJob] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._schedule = PollSchedule(self.first_s, self.longest_s)

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return self._schedule.requests

    def is_following(self, job_id: str) -> bool:
        with self._lock:
            return job_id in self._jobs

    def follow(
        self,
        job_id: str,
        kind: str,
        rows: int | None,
        *,
        age_s: float = 0.0,
        seen_ago_s: float = 0.0,
        processed: int = 0,
        in_list: bool = True,
    ) -> None:
        """Begin to follow a job that entered the queue `age_s` ago and was last polled `seen_ago_s` ago.

        A process that resumes says both, and the rows that were `processed` then, so that a restart polls no sooner.
        """
        now_s = self.clock_s()
        seen_s = now_s - min(seen_ago_s, age_s)
        is_resumed = seen_s > now_s - age_s + self.first_s
        began_s = now_s - age_s
        job = FollowedJob(job_id, kind, rows, began_s, seen_s, began_s, began_s, is_listed=in_list, asked_s=seen_s)
        if processed:
            job.state, job.working_s, job.counted_s = BulkJobState.IN_PROGRESS, seen_s, seen_s
            job.processed, job.changed_s = processed, seen_s
        elif is_resumed:
            job.queued_s = seen_s
        with self._lock:
            self._jobs[job_id] = job
            self._schedule.granted += POLLS_RESUMED if is_resumed else POLLS_PER_JOB
            self._plan()

    def forget(self, job_id: str) -> None:
        """Stop following a job."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def learn(self, kind: str, pace: Pace) -> None:
        """Take over the pace of jobs in an earlier process, until this one has seen one itself."""
        with self._lock:
            self._schedule.learned[kind] = pace

    def latest_pace(self, kind: str) -> Pace | None:
        """The fastest of the latest paces of a kind of jobs."""
        with self._lock:
            return max(self._schedule.paces[kind], key=lambda pace: pace.rows_per_s, default=None)

    def due_in_s(self, job_id: str) -> float:
        """Seconds until the job should be polled, 0 if it has ended; asks nobody."""
        with self._lock:
            job = self._jobs.get(job_id)
            return 0.0 if job is None or job.is_ended else max(0.0, job.due_s - self.clock_s())

    @property
    def silent_s(self) -> float:
        """Seconds for which requests to the org have failed; 0 if the last one was answered."""
        return 0.0 if self._failing_s is None else self.clock_s() - self._failing_s

    def poll(self, job_id: str, ask_one: AskOne, ask_all: AskAll | None = None) -> JobSighting:
        """The job as last seen; asks the org first if a poll is due and no other thread is asking.

        A request that fails raises its error here; the other threads wait longer.
        """
        job = self._jobs.get(job_id)
        if job is None:  # another follower of the same job was told of its end; whoever still follows it begins anew
            return JobSighting(BulkJobState.UPLOAD_COMPLETE, 0, WAKE_S, is_gone=False, is_news=False)
        if self.due_in_s(job_id) <= 0 and not job.is_ended and self._asking.acquire(blocking=False):
            try:
                self._ask(job, ask_one, ask_all)
            except Exception:
                self._put_off()
                raise
            finally:
                self._asking.release()
        return self._sighting(job)

    def _sighting(self, job: FollowedJob) -> JobSighting:
        with self._lock:
            now_s = self.clock_s()
            is_news = job.seen_s > job.told_s or now_s - job.told_s >= _TELL_S
            if is_news:
                job.told_s = now_s
            if job.is_ended:
                self._jobs.pop(job.job_id, None)
            return JobSighting(job.state, job.processed, max(0.0, job.due_s - now_s), job.is_gone, is_news)

    def _ask(self, job: FollowedJob, ask_one: AskOne, ask_all: AskAll | None) -> None:
        if ask_all is not None and self._is_list_cheaper(job):
            self._take_list(ask_all())
            if job.is_listed and self._schedule.pages != _NO_LIST:
                return
        job = self._first_in_queue(job)
        self._schedule.requests += 1
        answer = ask_one(job.job_id)
        with self._lock:
            now_s, self._failing_s = self.clock_s(), None
            if answer is None:
                job.is_gone, self._schedule.news_s = True, now_s
            else:
                self._take(job, answer, now_s)
                job.has_counter = answer.processed is not None
                self._note_start(job)
            if job.is_queued:
                self._conclude(job, now_s)
            self._plan()

    def _is_list_cheaper(self, job: FollowedJob) -> bool:
        """Whether the list answers for more jobs than it has pages; a counter is only in the single job's answer."""
        with self._lock:
            if not job.is_listed or (job.is_working and job.has_counter and not job.is_near_end(self._known(job))):
                return False
            now_s = self.clock_s()
            until_s = now_s + job.margin_s(self._known(job))
            listed = [one for one in self._unfinished() if one.is_listed]
            queued = [one for one in listed if one.is_queued]
            ending = [one for one in listed if one.is_working and one.due_s <= until_s]
            if self._schedule.pages == 1:
                return len(queued) + len(ending) > 1
            # Asked for one by one, the first in the queue answers for those behind it.
            apart = [one for one in queued if not self._may_conclude(one, now_s)]
            return bool(queued) + len(apart) + len(ending) >= self._schedule.pages

    def _take_list(self, pages: Iterable[list[JobAnswer]]) -> None:
        """Read the list until it has shown all our jobs, or costs more than asking for each."""
        with self._lock:
            wanted = {job.job_id: job for job in self._unfinished() if job.is_listed}
            queued = [job for job in wanted.values() if job.is_queued]
        most, read, is_whole = len(wanted), 0, True
        for page in pages:
            read += 1
            self._schedule.requests += 1
            with self._lock:
                now_s, self._failing_s = self.clock_s(), None
                for answer in page:
                    if job := wanted.pop(answer.job_id, None):
                        self._take(job, JobAnswer(answer.job_id, answer.state), now_s)
            if not wanted:
                break
            if read >= most:
                is_whole = False
                break
        if not read:  # this user may not list jobs
            self._schedule.pages = _NO_LIST
            return
        with self._lock:
            self._schedule.pages = read if is_whole else _MORE_PAGES * read
            for job in queued:
                self._note_start(job)
            self._freed_s = None
            for job in wanted.values():
                job.is_listed = not is_whole
                job.is_awaited = is_whole
            self._plan()

    def _take(self, job: FollowedJob, answer: JobAnswer, now_s: float) -> None:
        before_s = job.seen_s
        if not job.observe(answer.state, answer.processed, now_s):
            return
        self._schedule.news_s = now_s
        if job.is_ended:
            self._freed_s = before_s if self._freed_s is None else min(before_s, self._freed_s)
            if pace := job.pace_at_end(before_s):
                self._schedule.paces[job.kind].append(pace)
            for other in self._unfinished():
                other.is_awaited = other.is_awaited or (other.is_queued and other.seen_s < now_s)

    def _note_start(self, job: FollowedJob) -> None:
        """A job that was just found at work took the place of one that has ended, so it began no earlier."""
        if job.working_s is not None and job.working_s == job.seen_s and self._freed_s is not None:
            job.queued_s = max(job.queued_s, self._freed_s)

    def _first_in_queue(self, job: FollowedJob) -> FollowedJob:
        """The job to ask for, when this one is due: if it waits, the one that has waited longest says as much."""
        with self._lock:
            if not self._may_conclude(job, self.clock_s()):
                return job
            ahead = [one for one in self._unfinished() if one.is_queued and one.is_listed]
            return min(ahead, key=lambda one: one.closed_s, default=job)

    def _conclude(self, ahead: FollowedJob, now_s: float) -> None:
        """Jobs are taken in the order in which they were closed: if this one waits, the later ones do."""
        for job in self._unfinished():
            if job.closed_s > ahead.closed_s and ahead.is_listed and self._may_conclude(job, now_s):
                job.conclude_queued(now_s)

    def _may_conclude(self, job: FollowedJob, now_s: float) -> bool:
        """Whether to conclude that a job waits; not for long, because the org may take jobs in another order."""
        known = self._known(job)
        works_s = (job.rows or 0) / known if known else 0.0
        return job.is_queued and job.is_listed and now_s - job.asked_s <= max(_CONCLUDED_S, _CONCLUDED * works_s)

    def _put_off(self) -> None:
        with self._lock:
            now_s = self.clock_s()
            self._failing_s = now_s if self._failing_s is None else self._failing_s
            wait_s = max(self.first_s, min(self.longest_s, _OUTAGE_LONGEST_S, _OUTAGE_SHARE * self.silent_s))
            for job in self._unfinished():
                job.due_s = max(job.due_s, now_s + wait_s)

    def _unfinished(self) -> list[FollowedJob]:
        return [job for job in self._jobs.values() if not job.is_ended]

    def _known(self, job: FollowedJob) -> float | None:
        return self._schedule.known(job, self._unfinished())

    def _plan(self) -> None:
        self._schedule.plan(self._unfinished())


_POLLERS: WeakValueDictionary[tuple[str, str], JobPoller] = WeakValueDictionary()
_OPENING = threading.Lock()


def shared_poller(address: str, org_id: str, *, first_s: float, longest_s: float) -> JobPoller:
    """The process's poller of an org, which lasts as long as any client of the org."""
    with _OPENING:
        poller = _POLLERS.get((address, org_id))
        if poller is None:
            poller = _POLLERS[address, org_id] = JobPoller(first_s, longest_s)
        return poller
