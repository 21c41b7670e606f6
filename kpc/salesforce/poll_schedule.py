"""When each followed job is due, so that its end is noticed in time and the number of requests stays bounded.

While a job makes progress, its own estimate decides. While nothing changes, the waits grow with the length of the
silence, the faster the fewer polls are left of those that the followed jobs may take together.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from kpc.salesforce.job_pace import FollowedJob, Pace

POLLS_PER_JOB = 9  # on average; with create, upload, close, the final state and results 14 or 15 requests
POLLS_RESUMED = 4  # what a job that another process followed before may still take
_KEPT = 2  # polls kept for each job until it has begun
_KEPT_OF_MANY = 1  # and up to this more, when several are followed: one request serves all that wait
_LOAN = 6  # polls of jobs at work, beyond those granted
_OVERDRAWN_SHARE = 0.04  # of the working time between polls, for each further poll per job
_OVERDRAWN_MOST = 0.5
_HORIZON_S = 6 * 3600.0  # the polls that are left suffice for a silence of this length, or of so many times as long
_HORIZON_LEAST, _HORIZON_MOST = 2.0, 50.0
_MOST_GROWTH = 3.0  # of the silence, between two polls
_GROWTH_AT_WORK = 0.5  # at most, for a job at work that shows no progress
_GROWTH_AT_START = 0.2  # at least, until a job at work shows its first rows
_GROWTH_BEHIND = 0.25  # at least, for jobs that wait while one of ours is at work: its end is followed
_PACES = 5  # of the latest ended jobs of a kind
_PACE_CHANGE = 2.0  # since an earlier process, the org may have become this many times as fast


@dataclass
class PollSchedule:
    """Sets `due_s` of jobs. `requests` are the polls made, `granted` those allowed, `pages` the length of the list."""

    first_s: float
    longest_s: float
    requests: int = 0
    granted: int = 0
    pages: int = 1  # of the org's list of jobs, as far as we had to read it
    news_s: float = float("-inf")  # when a job last changed its state
    paces: defaultdict[str, deque[Pace]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_PACES)))
    learned: dict[str, Pace] = field(default_factory=dict)  # by kind, from an earlier process

    def known(self, job: FollowedJob, unfinished: Sequence[FollowedJob]) -> float | None:
        """The fastest pace of similar jobs; small ones say little about large ones."""
        rows = job.rows or 0
        paces = list(self.paces[job.kind])
        if job.is_queued:  # as long as none has ended
            at_work = (one.pace_at_work() for one in unfinished if one.kind == job.kind)
            paces += [pace for pace in at_work if pace is not None]
        if not paces and (learned := self.learned.get(job.kind)):
            paces = [Pace(learned.rows, learned.rows_per_s * _PACE_CHANGE)]
        return max((pace.rows_per_s for pace in paces if pace.rows * 2 >= rows), default=None)

    def plan(self, unfinished: Sequence[FollowedJob]) -> None:
        """Set when each job is due."""
        left = self._polls_left(unfinished)
        is_any_at_work = any(job.is_working for job in unfinished)
        paces = [self.known(job, unfinished) for job in unfinished]
        margins = [job.margin_s(known) for job, known in zip(unfinished, paces, strict=True)]
        waiting = [(margin_s, job.closed_s) for job, margin_s in zip(unfinished, margins, strict=True) if job.is_queued]
        shortest_s = min((margin_s for margin_s, _ in waiting), default=float("inf"))
        first_closed_s = min((closed_s for _, closed_s in waiting), default=float("inf"))
        for job, known, own_margin_s in zip(unfinished, paces, margins, strict=True):
            margin_s = own_margin_s
            if job.is_working:  # with its end, others begin that may be shorter
                margin_s = min(margin_s, shortest_s)
            if job.is_working or job.closed_s <= first_closed_s:
                margin_s = min(margin_s, max(self.first_s, job.seen_s - job.closed_s))
            silent_s = self._silent_s(job, known)
            growth = _growth(silent_s, left)
            if job.is_working:
                growth = min(growth, _GROWTH_AT_WORK) if job.processed else max(growth, _GROWTH_AT_START)
            if job.is_queued and is_any_at_work:
                growth = max(growth, _GROWTH_BEHIND)
            job.due_s = self._due_s(job, known, margin_s, growth * silent_s)

    def _silent_s(self, job: FollowedJob, known: float | None) -> float:
        if job.is_working:
            return job.silent_s(known)
        return max(0.0, job.seen_s - max(job.closed_s, self.news_s))

    def _due_s(self, job: FollowedJob, known: float | None, margin_s: float, silence_wait_s: float) -> float:
        if job.is_awaited:
            return job.seen_s
        if job.is_working and job.counted_s is None and job.has_counter and not self.paces[job.kind]:
            return job.seen_s + margin_s  # its counter is the first that is known of today's pace
        since_s = job.seen_s if job.is_near_end(known) else job.told_pace_s
        due_s = max(max(job.earliest_end_s(known), since_s) + margin_s, since_s + silence_wait_s)
        overdrawn = (self.requests - self.granted - _LOAN) / max(1.0, self.granted / POLLS_PER_JOB)
        if overdrawn > 0 and job.working_s is not None:
            share = min(_OVERDRAWN_MOST, _OVERDRAWN_SHARE * overdrawn)
            due_s = max(due_s, job.seen_s + share * (job.seen_s - job.working_s))
        return min(due_s, job.seen_s + self.longest_s)

    def _polls_left(self, unfinished: Sequence[FollowedJob]) -> float:
        """How many more polls, each for all that wait, the followed jobs may take before they begin."""
        many = max(1, len(unfinished))
        kept = (_KEPT + _KEPT_OF_MANY * (1 - 1 / many)) * sum(job.is_queued for job in unfinished)
        return max(1.0, (self.granted - self.requests - kept) / max(1, min(self.pages, many)))


def _growth(silent_s: float, polls_left: float) -> float:
    """By which share of a silence to wait on, so that the polls last to the horizon."""
    times = min(_HORIZON_MOST, max(_HORIZON_LEAST, _HORIZON_S / max(silent_s, 1.0)))
    return min(_MOST_GROWTH, float(times ** (1 / polls_left)) - 1)
