"""Row locks: rows get UNABLE_TO_LOCK_ROW, as under lock contention at Salesforce.

A job holds the parents of its rows from the batch in which it meets them until its end: longer than an org, where each
200 rows are a transaction, but several batches of a job run there at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.settings import Switches
from kpc.emulators.salesforce.writing.columns import UploadColumn

_LOCKED = "unable to obtain exclusive access to this record or 1 records"


class RowLocks:
    """Which job in progress holds which parent, and which rows have been refused once already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By object and naming field: for each parent the job that holds it; and for each job the parents it holds.
        self._holder: dict[tuple[str, str], dict[str, str]] = {}
        self._held: dict[str, list[tuple[tuple[str, str], list[str]]]] = {}
        self._refused: set[tuple[str, ...]] = set()
        self._seen = 0

    def refuse(
        self, job_id: str, switches: Switches, columns: Sequence[UploadColumn], cells: pl.DataFrame
    ) -> dict[int, RowRefusal]:
        """The rows of a batch that find something locked, by their position."""
        refused: dict[int, RowRefusal] = {}
        if switches.lock_parents:
            for column in columns:
                if column.field.locks_parent:
                    parents = cells.to_series(column.position)
                    busy = self._take(job_id, column, parents.drop_nulls().unique())
                    for row in parents.is_in(busy).fill_null(value=False).arg_true() if busy else ():
                        refused[row] = RowRefusal("UNABLE_TO_LOCK_ROW", f"{_LOCKED}: {parents[row]}")
        if switches.lock_rows_every:
            self._refuse_each(switches.lock_rows_every, cells, refused)
        return refused

    def _refuse_each(self, every: int, cells: pl.DataFrame, refused: dict[int, RowRefusal]) -> None:
        with self._lock:
            first = -self._seen % every
            self._seen += cells.height
            for row in range(first, cells.height, every):
                known = tuple(str(each) for each in cells.row(row))
                if known not in self._refused:
                    self._refused.add(known)
                    refused[row] = RowRefusal("UNABLE_TO_LOCK_ROW", _LOCKED)

    def _take(self, job_id: str, column: UploadColumn, parents: Iterable[str]) -> list[str]:
        """Hold all of `parents` that no other job holds; returns those that another job holds.

        They are told apart by object, and by the field that names them: one job may use ids, the other external ids.
        """
        where = (column.field.reference_to or "", column.key.name if column.key else "Id")
        busy: list[str] = []
        mine: list[str] = []
        with self._lock:
            holder = self._holder.setdefault(where, {})
            self._held.setdefault(job_id, []).append((where, mine))
            for parent in parents:
                known = parent.strip().lower() if column.key else parent
                if holder.setdefault(known, job_id) == job_id:
                    mine.append(known)
                else:
                    busy.append(parent)
        return busy

    def release(self, job_id: str) -> None:
        with self._lock:
            for where, parents in self._held.pop(job_id, ()):
                for known in parents:
                    self._holder[where].pop(known, None)
