"""When a bulk job may end: the estimate from which its next poll follows.

Salesforce tells a job's state and, if asked for this job alone, how many rows it has processed. Waiting in the org's
queue (UploadComplete) and working (InProgress) are kept apart: a pace is rows per second of working time. All times are
seconds of this process's monotonic clock, so the org's clock does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from kpc.salesforce.constants import BulkJobState

LATE_S = 5.0  # the end of a job is noticed this soon, or within LATE_SHARE of its working time if that is longer
LATE_SHARE = 0.05
_AIM = 0.6  # share of that delay which is planned; the rest is for the request itself and for waking up
_FASTER = 2.0  # a job may speed up by this factor after a poll and is still noticed in time
_FASTEST_ROWS_PER_S = 100_000  # no org is faster; used while no pace is known
_SURE_SHARE = 0.25  # a start known to within this share of the time since counts as known
_GATHERS = 1.3  # a latest pace this many times the mean pace is still rising; it is trusted for less long
_SETTLES = 3.0  # times the working time so far: a first job's pace is not trusted for longer, nor less than
_SETTLES_S = 30.0
_LIKE = 3.0  # a job slower than similar ones by more than this is unlike them


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a job of `rows` rows was processed while the org worked on it."""

    rows: int
    rows_per_s: float


@dataclass(slots=True)
class FollowedJob:
    """What is known about one job. `rows` is None if unknown (a query); `kind` names jobs of about the same pace.

    `closed_s` is when it entered the queue, `queued_s` when it was last known to wait there, `working_s` when it was
    first seen at work, `counted_s` when its counter was last read, `changed_s` when anything about it last changed.
    """

    job_id: str
    kind: str
    rows: int | None
    closed_s: float
    seen_s: float
    queued_s: float
    changed_s: float
    state: BulkJobState = BulkJobState.UPLOAD_COMPLETE
    working_s: float | None = None
    counted_s: float | None = None
    processed: int = 0
    rows_per_s: float = 0.0
    is_measured: bool = False  # the pace is that of this job at work, with no queue time in it
    is_gathering_pace: bool = False
    has_counter: bool = True  # whether the org reports the rows processed
    is_listed: bool = True  # False if the org's list of jobs does not show it, or for a query
    is_gone: bool = False
    is_awaited: bool = False  # poll at once: a job ahead of it has ended
    asked_s: float = 0.0  # when the org last named its state; since then it may only have been concluded from others
    due_s: float = 0.0
    told_s: float = float("-inf")

    @property
    def is_ended(self) -> bool:
        return self.state.is_final or self.is_gone

    @property
    def is_working(self) -> bool:
        return self.working_s is not None and not self.is_ended

    @property
    def is_queued(self) -> bool:
        return self.working_s is None and not self.is_ended

    def observe(self, state: BulkJobState, processed: int | None, now_s: float) -> bool:
        """Take in what the org says; `processed` is None if it does not say. Returns whether the state changed."""
        is_news = state is not self.state
        if is_news:
            self.changed_s = now_s
        if state is BulkJobState.IN_PROGRESS:
            if self.working_s is None:
                self.working_s = now_s
            if processed is not None:
                self._count(processed, now_s)
        elif not state.is_final:  # in the queue, or put back there
            self.working_s, self.counted_s, self.processed, self.queued_s = None, None, 0, now_s
            self.is_measured = False
        elif processed is not None:
            self.processed = processed
        self.state, self.seen_s, self.asked_s, self.is_awaited = state, now_s, now_s, False
        return is_news

    def conclude_queued(self, now_s: float) -> None:
        """A job that was closed before this one still waits, so this one does, too."""
        self.seen_s = self.queued_s = now_s
        self.is_awaited = False

    def _count(self, processed: int, now_s: float) -> None:
        before_s = self.counted_s
        if processed < self.processed:  # the org has begun again
            self.queued_s, self.working_s, before_s = before_s or self.queued_s, now_s, None
            self.is_measured = False
        if processed != self.processed:
            self.changed_s = now_s
        began_s = (self.queued_s + (self.working_s or now_s)) / 2
        overall = processed / max(now_s - began_s, 1e-3)
        recent = 0.0
        if before_s is not None and now_s > before_s:
            recent = (processed - self.processed) / (now_s - before_s)
        if processed:
            is_sure = (self.working_s or now_s) - self.queued_s <= _SURE_SHARE * (now_s - began_s)
            self.is_measured = self.is_measured or is_sure or recent > 0
            self.is_gathering_pace = recent > _GATHERS * overall
            self.rows_per_s = max(overall if is_sure or not recent else 0.0, recent)
        self.processed, self.counted_s = processed, now_s

    def earliest_end_s(self, known: float | None) -> float:
        """No earlier end is to be expected. `known` is the pace of similar jobs.

        Without it, a job may still gather pace; without a counter that moves, similar jobs say how long it takes.
        """
        if self.rows is None:
            return self.seen_s
        own = self.rows_per_s
        fast = own if self.is_measured and (known is None or known > _LIKE * own) else max(own, known or 0.0)
        end_s = self._end_s(fast * _FASTER or _FASTEST_ROWS_PER_S)
        if self.working_s is None:
            return end_s
        if known is None:
            trusted = 1.0 if self.is_gathering_pace else _SETTLES
            return min(end_s, self.told_pace_s + max(_SETTLES_S, trusted * (self.told_pace_s - self.working_s)))
        likely_s = self.likely_end_s(known)
        is_still = not self.has_counter if self.counted_s is None else self.changed_s < self.counted_s
        if is_still or (self.counted_s is not None and self._end_s(own or known) <= self.seen_s):
            return max(end_s if own else self.seen_s, self.seen_s + (likely_s - self.seen_s) / _FASTER)
        return min(end_s, likely_s) if likely_s > self.seen_s else end_s

    def likely_end_s(self, known: float) -> float:
        """When a job at work ends if it takes as long as similar ones."""
        return (self.queued_s + (self.working_s or self.seen_s)) / 2 + (self.rows or 0) / known

    def silent_s(self, known: float | None) -> float:
        """For how long a job at work has shown nothing new, although it should have."""
        expected_s = self.likely_end_s(known) if known else self.changed_s
        return max(0.0, self.told_pace_s - max(self.changed_s, expected_s))

    @property
    def told_pace_s(self) -> float:
        """When the org last said how far the job is. The list of jobs only says that it has not ended."""
        return self.counted_s if self.is_working and self.has_counter and self.counted_s else self.seen_s

    def is_near_end(self, known: float | None) -> bool:
        """Whether the next poll will likely find it ended, so that its counter is of no use any more."""
        pace = self._likely_rows_per_s(known)
        return pace > 0 and self.rows is not None and self._end_s(pace) <= self.seen_s + self.margin_s(known)

    def _likely_rows_per_s(self, known: float | None) -> float:
        return self.rows_per_s if self.is_measured else max(self.rows_per_s, known or 0.0)

    def _end_s(self, rows_per_s: float) -> float:
        left = max(0, (self.rows or 0) - self.processed) / rows_per_s
        if self.is_queued:
            return self.seen_s + left
        return (self.queued_s if self.counted_s is None else self.counted_s) + left

    def margin_s(self, known: float | None) -> float:
        """How long after its earliest end to poll the job."""
        worked_s = 0.0 if self.working_s is None else self.seen_s - self.working_s
        ahead_s = max(0.0, self.earliest_end_s(known) - self.seen_s)
        return _AIM * max(LATE_S, LATE_SHARE * (worked_s + ahead_s))

    def pace_at_end(self, before_s: float) -> Pace | None:
        """The pace of the ended job, which was last seen unfinished at `before_s`; None if it is known too vaguely."""
        if not self.rows or self.state is not BulkJobState.JOB_COMPLETE:
            return None
        began_s = (self.queued_s + (self.working_s or self.seen_s)) / 2
        worked_s = (max(before_s, began_s) + self.seen_s) / 2 - began_s
        vague_s = (self.working_s or self.seen_s) - self.queued_s + self.seen_s - before_s
        mean = self.rows / max(worked_s, 1e-3)
        if vague_s <= worked_s / 2:
            return Pace(self.rows, mean)
        return Pace(self.rows, max(mean, self.rows_per_s)) if self.is_measured else None

    def pace_at_work(self) -> Pace | None:
        """The pace read from its own counter."""
        return Pace(self.rows, self.rows_per_s) if self.rows and self.is_measured else None
