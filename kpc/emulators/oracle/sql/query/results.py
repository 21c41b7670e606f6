"""An open query: Arrow batches in the form that `interface.Rows` promises, read lazily from DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.interface import OraColumn, OraError, OraType
from kpc.emulators.oracle.sql.interruption import stop_running
from kpc.emulators.oracle.sql.messages import from_duckdb
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery, QueryColumn
from kpc.emulators.oracle.sql.query.late_rows import Replay
from kpc.emulators.oracle.sql.storage.character_set import CharacterSet
from kpc.emulators.oracle.sql.types import positions

BATCH_ROWS = 65_536
_NOT_OF_A_ROW = frozenset({1013, 4030})  # interrupted, out of memory
_UNSUPPORTED = 3001


def shown_column(output: QueryColumn, column: pa.Array) -> pa.Array:
    """One column as the wire side takes it."""
    kind = output.type
    if kind.is_wide:
        return column.cast(pa.binary())
    if kind.ora is OraType.DATE:
        return column.cast(pa.timestamp("s"), safe=False)
    if kind.is_rowid:
        return positions.texts(column.cast(pa.int64()))
    if kind.ora is OraType.INTERVAL_DS:
        return column.cast(pa.int64()).cast(pa.duration("us"))
    if pa.types.is_decimal(column.type) and kind.places == 0 and kind.digits <= 18:
        return column.cast(pa.int64())
    if pa.types.is_integer(column.type) and column.type != pa.int64():
        return column.cast(pa.int64())
    if pa.types.is_null(column.type):
        return column.cast(kind.arrow)
    return column


def delivered_column(output: QueryColumn, column: pa.Array, character_set: CharacterSet) -> pa.Array:
    """One column of a query's answer; its text in the client's character set."""
    shown, kind = shown_column(output, column), output.type
    if not kind.is_text or kind.national or not pa.types.is_string(shown.type):
        return shown
    return character_set.delivered(shown, is_lob=kind.ora is OraType.CLOB)


def shown_batch(columns: tuple[QueryColumn, ...], batch: pa.RecordBatch, character_set: CharacterSet) -> pa.RecordBatch:
    """The described columns, then the row numbers of LOBs as they are."""
    arrays = [
        delivered_column(output, array, character_set) for output, array in zip(columns, batch.columns, strict=False)
    ]
    arrays += batch.columns[len(columns) :]
    return pa.RecordBatch.from_arrays(arrays, [f"c{i}" for i in range(len(arrays))])


class OpenQuery:
    """See `interface.Rows`. Holds a DuckDB connection until it is closed or read to the end."""

    def __init__(
        self,
        query: CompiledQuery,
        cursor: duckdb.DuckDBPyConnection,
        release: Callable[[duckdb.DuckDBPyConnection], None],
        character_set: CharacterSet,
        replay: Replay | None = None,
    ) -> None:
        self._character_set = character_set
        self.columns: tuple[OraColumn, ...] = tuple(output.described for output in query.columns)
        self.lob_columns = query.lob_columns
        self._outputs = query.columns
        self._cursor: duckdb.DuckDBPyConnection | None = cursor
        self._release = release
        self._replay = replay
        self._relation: Any = cursor.sql(query.sql)  # bound, but not running yet
        self._reader: Any = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        delivered = 0
        try:
            self._reader = self._relation.to_arrow_reader(BATCH_ROWS)
            while self._reader is not None:
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    break
                if batch.num_rows:
                    yield shown_batch(self._outputs, batch, self._character_set)
                    delivered += batch.num_rows
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            yield from self._before(from_duckdb(error), delivered)
        finally:
            self.close()

    def _before(self, error: OraError, delivered: int) -> Iterator[pa.RecordBatch]:
        """The rows that come before the one that failed, then the error."""
        self._reader = None
        if self._replay is not None and error.code not in _NOT_OF_A_ROW:
            try:
                for batch in self._replay.rows_after(delivered):
                    yield shown_batch(self._outputs, batch, self._character_set)
            except duckdb.Error as again:
                exact = from_duckdb(again)
                error = error if exact.code == _UNSUPPORTED else exact  # what could not be cut up stays as it was
        raise error

    @property
    def is_open(self) -> bool:
        return self._cursor is not None

    def interrupt(self) -> None:
        """From another thread."""
        cursor = self._cursor
        if cursor is not None:
            stop_running(cursor)
        if self._replay is not None:
            self._replay.interrupt()

    def close(self) -> None:
        self._reader = self._relation = None  # an open result keeps the connection busy
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            self._release(cursor)
