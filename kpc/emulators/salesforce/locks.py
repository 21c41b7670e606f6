"""Row locks on parents, as a fault: children of one parent in two jobs at once get UNABLE_TO_LOCK_ROW."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class ParentLocks:
    """Which job in progress holds which parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: dict[str, str] = {}

    def take(self, job_id: str, parents: Iterable[str]) -> set[str]:
        """Hold all of `parents` that no other job holds; answers those that one does."""
        with self._lock:
            return {parent for parent in parents if self._holder.setdefault(parent, job_id) != job_id}

    def release(self, job_id: str) -> None:
        with self._lock:
            self._holder = {parent: holder for parent, holder in self._holder.items() if holder != job_id}
