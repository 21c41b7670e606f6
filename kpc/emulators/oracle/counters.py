"""Counters of the listener's work, for tests and benchmarks that measure how much work a client caused."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass

_REMEMBERED = 2000
_COUNTED = ("connections", "refused", "sessions_opened", "statements", "rows_served", "virtual_ms")


@dataclass(slots=True)
class StatementRecord:
    """One execution. Bind values are not kept: they may be personal. `end` is "" while rows are still to come.

    `virtual_s` and `temp_bytes` are what a query costs a database of the declared size.
    """

    sql: str
    user: str
    module: str = ""
    action: str = ""
    rows: int = 0
    end: str = ""
    virtual_s: float = 0.0
    temp_bytes: int = 0


class Counters:
    """Counts since the start or the last reset; safe for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._counts = dict.fromkeys(_COUNTED, 0)
            self._statements: deque[StatementRecord] = deque(maxlen=_REMEMBERED)

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    def start(self, record: StatementRecord) -> StatementRecord:
        with self._lock:
            self._counts["statements"] += 1
            self._statements.append(record)
        return record

    def serve(self, record: StatementRecord | None, rows: int) -> None:
        with self._lock:
            self._counts["rows_served"] += rows
            if record is not None:
                record.rows += rows

    def as_dict(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def statements(self) -> list[dict[str, object]]:
        """The last executions, oldest first."""
        with self._lock:
            return [asdict(record) for record in self._statements]
