"""The org's allowances over a rolling 24 hours."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

MEGABYTE = 1 << 20
_DAY_S = 86_400.0
_GRAIN_S = 60.0


class Rolling:
    """How much was used in the last 24 hours, to the minute."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._uses: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, amount: int, at: datetime | None = None) -> None:
        minute = (at or self._now()).timestamp() // _GRAIN_S * _GRAIN_S
        with self._lock:
            if self._uses and self._uses[-1][0] == minute:
                self._uses[-1] = (minute, self._uses[-1][1] + amount)
            else:
                self._uses.append((minute, amount))
            self._total += amount

    @property
    def used(self) -> int:
        oldest = self._now().timestamp() - _DAY_S
        with self._lock:
            while self._uses and self._uses[0][0] <= oldest:
                self._total -= self._uses.popleft()[1]
            return self._total

    def clear(self) -> None:
        with self._lock:
            self._uses.clear()
            self._total = 0
