"""The last queries and what they cost, so that a test can see whether each was selective."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass, field

_REMEMBERED = 2000


@dataclass(slots=True)
class QueryRecord:
    """One query. `api` is rest, bulk or bulk_v1; `end` is empty while it runs, then ok or the error's code.

    Cardinalities are records of the real size (stored records times the scale), `virtual_s` are seconds at that size.
    `sub_queries` is how many pieces by id a bulk query was split into; 1: it was not.
    """

    api: str
    soql: str
    object: str
    leading_operation: str
    fields: tuple[str, ...]
    cardinality: int
    object_cardinality: int
    relative_cost: float
    is_selective: bool
    virtual_s: float = 0.0
    sub_queries: int = 1
    end: str = field(default="")


class QueryLog:
    """Remembers the last 2,000 queries; safe for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: deque[QueryRecord] = deque(maxlen=_REMEMBERED)

    def add(self, record: QueryRecord) -> QueryRecord:
        with self._lock:
            self._records.append(record)
        return record

    def as_list(self) -> list[dict[str, object]]:
        """Oldest first."""
        with self._lock:
            return [asdict(record) for record in self._records]

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
