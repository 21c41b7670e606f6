"""The environment of a simulated campaign: a clock that jumps from event to event, and an org that only counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kpc.salesforce import Limit
from kpc.salesforce.constants import BATCH_ROWS, BulkJobState
from kpc.salesforce.job_poller import JobAnswer
from kpc.settings import SalesforceSettings

DAY_S = 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC)
_CALLS_ALLOWED = 5_000_000
_PAGE_JOBS = 1_000


@dataclass
class VirtualClock:
    now_s: float = 0.0

    def __call__(self) -> datetime:
        return START + timedelta(seconds=self.now_s)


@dataclass
class CountingOrg:
    """Counts uploads and processes jobs; stores nothing."""

    settings: SalesforceSettings
    clock: VirtualClock
    row_s: float  # seconds per row of a job
    closed: dict[str, tuple[float, int]] = field(default_factory=dict)  # job id: when it was closed, its rows
    window: deque[tuple[float, int]] = field(default_factory=deque)
    used: int = 0
    calls: int = 0
    over_quota_rows: int = 0

    def count(self, batches: int, *, is_ours: bool) -> bool:
        """Count batches uploaded now. False if another user's batches exceed the limit; ours always count."""
        self._forget()
        excess = self.used + batches - self.settings.daily_batches
        if excess > 0 and not is_ours:
            return False
        self.over_quota_rows += max(0, excess) * BATCH_ROWS
        self.window.append((self.clock.now_s, batches))
        self.used += batches
        return True

    def limits(self) -> dict[str, Limit]:
        self.calls += 1
        self._forget()
        most = self.settings.daily_batches
        return {
            "DailyBulkApiBatches": Limit(most, most - self.used),
            "DailyApiRequests": Limit(_CALLS_ALLOWED, _CALLS_ALLOWED - self.calls % _CALLS_ALLOWED),
        }

    def answer(self, job_id: str) -> JobAnswer:
        """State and counter of a job."""
        self.calls += 1
        return self._answer(job_id)

    def answers(self) -> Iterator[list[JobAnswer]]:
        """The list of jobs, page by page."""
        names = list(self.closed)
        for start in range(0, len(names), _PAGE_JOBS):
            self.calls += 1
            yield [self._answer(name) for name in names[start : start + _PAGE_JOBS]]

    def _answer(self, job_id: str) -> JobAnswer:
        at_s, rows = self.closed[job_id]
        processed = min(rows, int((self.clock.now_s - at_s) / self.row_s))
        state = BulkJobState.JOB_COMPLETE if processed == rows else BulkJobState.IN_PROGRESS
        return JobAnswer(job_id, state, processed)

    def _forget(self) -> None:
        while self.window and self.window[0][0] <= self.clock.now_s - DAY_S:
            self.used -= self.window.popleft()[1]
