"""The surroundings of a simulated campaign: a clock that jumps from event to event, and an org that only counts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kpc.salesforce import Limit
from kpc.salesforce.constants import BATCH_ROWS
from kpc.settings import SalesforceSettings

DAY_S = 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC)
_CALLS_ALLOWED = 5_000_000


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

    def processed(self, job_id: str) -> int:
        self.calls += 1
        at_s, rows = self.closed[job_id]
        return min(rows, int((self.clock.now_s - at_s) / self.row_s))

    def _forget(self) -> None:
        while self.window and self.window[0][0] <= self.clock.now_s - DAY_S:
            self.used -= self.window.popleft()[1]
