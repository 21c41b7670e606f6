"""Row and key locks of open transactions, with waiting and deadlock detection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable

from kpc.emulators.oracle.sql.messages import ora

_POLL_S = 0.1


class LockTable:
    """A lock is any hashable thing, held by one session until its transaction ends."""

    def __init__(self) -> None:
        self._holders: dict[Hashable, int] = {}
        self._held: dict[int, set[Hashable]] = {}
        self._waits: dict[int, int] = {}
        self._changed = threading.Condition()

    def acquire(
        self,
        session: int,
        wanted: Iterable[Hashable],
        check: Callable[[], None],
        wait_s: float | None = None,
    ) -> bool:
        """Take all of them, waiting for their holders; True if there was a wait, so that the caller must look again.

        Raises ORA-00054 after `wait_s` (None: no limit), ORA-00060 on a deadlock, and what `check` raises (a cancel).
        """
        locks = list(wanted)
        deadline = None if wait_s is None else time.monotonic() + wait_s
        waited = False
        with self._changed:
            while (holder := self._conflict(session, locks)) is not None:
                if deadline is not None and time.monotonic() >= deadline:
                    raise ora(54) if not wait_s else ora(30006)
                self._waits[session] = holder
                try:
                    if self._is_circle(session):
                        raise ora(60)
                    check()
                    self._changed.wait(_POLL_S)
                    waited = True
                finally:
                    self._waits.pop(session, None)
            for lock in locks:
                self._holders[lock] = session
            self._held.setdefault(session, set()).update(locks)
        return waited

    def holds(self, session: int, lock: Hashable) -> bool:
        return self._holders.get(lock) == session

    def _conflict(self, session: int, locks: list[Hashable]) -> int | None:
        if not self._holders or not (self._held.keys() - {session}):
            return None
        for lock in locks:
            holder = self._holders.get(lock)
            if holder is not None and holder != session:
                return holder
        return None

    def _is_circle(self, session: int) -> bool:
        seen, at = {session}, self._waits.get(session)
        while at is not None:
            if at in seen:
                return True
            seen.add(at)
            at = self._waits.get(at)
        return False

    def release(self, session: int) -> None:
        """The session's transaction ended."""
        with self._changed:
            for lock in self._held.pop(session, set()):
                if self._holders.get(lock) == session:
                    del self._holders[lock]
            self._changed.notify_all()
