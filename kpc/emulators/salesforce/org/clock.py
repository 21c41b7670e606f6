"""The org's time. It can be moved and sped up, so that 24 hours or 7 days pass in a test."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """UTC now, running at `speed` org seconds per real second from where it was last set."""

    def __init__(self, start: datetime | None = None, speed: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._set(start or datetime.now(UTC), speed)

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> datetime:
        elapsed_s = (time.monotonic() - self._mark) * self._speed
        return self._start + timedelta(seconds=elapsed_s)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._set(self.now() + timedelta(seconds=seconds), self._speed)

    def run_at(self, speed: float) -> None:
        """From now on, `speed` org seconds pass per real second; 0 stops time."""
        with self._lock:
            self._set(self.now(), speed)

    def _set(self, start: datetime, speed: float) -> None:
        self._start, self._mark, self._speed = start, time.monotonic(), speed


def iso_offset(at: datetime) -> str:
    """A time as JSON answers spell it: `2025-02-12T22:25:33.000+0000`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"
