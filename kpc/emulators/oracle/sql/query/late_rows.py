"""The rows before a run-time error. DuckDB computes thousands of rows at a time and loses them all with the one that
fails; Oracle has sent those before it. So a failed query is computed again, in ever smaller steps, up to that row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.sql.interruption import stop_running
from kpc.emulators.oracle.sql.storage.store import TableStore

_WINDOW_ROWS = 262_144
_STEP_ROWS = 2_048
_TABLE = "late_rows"


@dataclass(frozen=True, slots=True)
class LateQuery:
    """A query cut in two: SQL that yields what it reads, in order, and SQL around it that computes its columns."""

    sources: str
    head: str
    tail: str

    def over(self, rows: str) -> str:
        return f"{self.head}{rows}{self.tail}"

    def with_(self, names: str) -> LateQuery:
        """The same below a WITH clause."""
        return LateQuery(f"{names} {self.sources}", f"{names} {self.head}", self.tail)


class Replay:
    """`is_unchanged` tells, inside a snapshot, whether the query would still read what it read at first."""

    def __init__(self, store: TableStore, query: LateQuery, is_unchanged: Callable[[], bool]) -> None:
        self._store = store
        self._query = query
        self._is_unchanged = is_unchanged
        self._cursor: duckdb.DuckDBPyConnection | None = None

    def interrupt(self) -> None:
        """From another thread."""
        cursor = self._cursor
        if cursor is not None:
            stop_running(cursor)

    def rows_after(self, delivered: int) -> Iterator[pa.RecordBatch]:
        """The rows from number `delivered` on; ends before the one that fails, with its duckdb.Error."""
        self._cursor = cursor = self._store.cursor()
        try:
            start = 0
            while window_rows := self._read_window(cursor, start):
                for table in self._compute(cursor, window_rows):
                    skipped = min(delivered, table.num_rows)
                    delivered -= skipped
                    yield from table.slice(skipped).to_batches()
                start += window_rows
        finally:
            self._cursor = None
            cursor.close()

    def _read_window(self, cursor: duckdb.DuckDBPyConnection, start: int) -> int:
        """Keep the next rows that the query reads; how many there are."""
        with self._store.snapshot(cursor):
            if not self._is_unchanged():
                return 0
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS "
            f"SELECT * FROM ({self._query.sources}) LIMIT {_WINDOW_ROWS} OFFSET {start}"
        ).fetchall()
        cursor.execute("COMMIT")
        return int(cursor.execute(f"SELECT count(*) FROM {_TABLE}").fetchall()[0][0])

    def _compute(self, cursor: duckdb.DuckDBPyConnection, window_rows: int) -> Iterator[pa.Table]:
        for start in range(0, window_rows, _STEP_ROWS):
            rows = min(_STEP_ROWS, window_rows - start)
            try:
                table = self._slice(cursor, start, rows)
            except duckdb.InterruptException:
                raise
            except duckdb.Error:
                good = self._good_rows(cursor, start, rows)
                yield self._slice(cursor, start, good)
                self._slice(cursor, start + good, 1)
                raise
            yield table

    def _good_rows(self, cursor: duckdb.DuckDBPyConnection, start: int, rows: int) -> int:
        """How many rows from `start` on can be computed together, fewer than `rows`."""
        good, bad = 0, rows
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                self._slice(cursor, start, middle)
            except duckdb.InterruptException:
                raise
            except duckdb.Error:
                bad = middle
            else:
                good = middle
        return good

    def _slice(self, cursor: duckdb.DuckDBPyConnection, start: int, rows: int) -> pa.Table:
        window = f"(SELECT * FROM {_TABLE} WHERE rowid >= {start} AND rowid < {start + rows})"
        return cursor.sql(self._query.over(window)).to_arrow_table()
