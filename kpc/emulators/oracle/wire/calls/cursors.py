"""Server-side cursors: a prepared statement, the description its client has, and the rows of its open query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from kpc.emulators.oracle.counters import StatementRecord
from kpc.emulators.oracle.faults import NO_FAULTS, StatementFaults
from kpc.emulators.oracle.interface import OraColumn, OraError, OraType, PreparedStatement, Rows
from kpc.emulators.oracle.wire.calls.responses import buffer_bytes
from kpc.emulators.oracle.wire.calls.worker import SessionWorker
from kpc.emulators.oracle.wire.rows.encoder import ColumnPlan, EncodedRows, LobDescriber, RowEncoder
from kpc.emulators.oracle.wire.values.bind_spec import BindSpec

MAX_CURSORS = 1000
_LOBS = frozenset({OraType.CLOB, OraType.BLOB})
_LONG_OF = {OraType.CLOB: OraType.LONG, OraType.BLOB: OraType.LONG_RAW}
_ALWAYS_SENT = frozenset({OraType.LONG, OraType.LONG_RAW, OraType.UROWID, *_LOBS})


class CursorQuery:
    """The rows of one execution, encoded ahead of the client on the session's thread."""

    def __init__(
        self, worker: SessionWorker, rows: Rows, plans: Sequence[ColumnPlan], describe_lob: LobDescriber
    ) -> None:
        self._worker = worker
        self._rows = rows
        self._encoder = RowEncoder(plans, describe_lob, rows.lob_columns)
        self._source: Iterator[EncodedRows] | None = None
        self._current: EncodedRows | None = None
        self._at = 0
        self._next: Future[EncodedRows | None] | None = None
        self._failure: OraError | None = None
        self.is_done = False
        self.delivered = 0

    def fail_next(self, error: OraError) -> None:
        """The next fetch raises `error`: this one still had rows to give."""
        self._failure = error

    def take(self, wanted: int) -> Iterator[memoryview]:
        """Up to `wanted` more rows as they travel. Raises OraError where the query fails; rows before it are valid."""
        if self._failure is not None:
            raise self._failure
        while wanted and (current := self._batch()) is not None:
            rows = min(wanted, current.rows - self._at)
            part = current.slice(self._at, self._at + rows)
            self._at += rows
            self.delivered += rows
            wanted -= rows
            if self._next is None and 2 * self._at >= current.rows:
                self._next = self._worker.submit(self._pull)
            yield part
        self._learn_end()

    def _batch(self) -> EncodedRows | None:
        """The batch with the next row; None after the last one."""
        while not self.is_done and (self._current is None or self._at >= self._current.rows):
            pending, self._next = self._next or self._worker.submit(self._pull), None
            self._current, self._at = self._worker.wait(pending), 0
            self.is_done = self._current is None
        return self._current

    def _learn_end(self) -> None:
        """Without waiting: when the batch is used up and nothing follows, the client need not ask again."""
        used_up = self._current is not None and self._at >= self._current.rows
        if used_up and self._next is not None and self._next.done() and self._next.exception() is None:
            self.is_done = self._next.result() is None

    def _pull(self) -> EncodedRows | None:
        if self._source is None:
            self._source = self._encoder.encode_all(self._rows.batches())
        return next(self._source, None)


@dataclass(slots=True)
class Cursor:
    """A statement under its number, and what its client knows of it."""

    number: int
    sql: str
    statement: PreparedStatement
    is_plsql: bool = False
    binds: list[BindSpec] = field(default_factory=list)
    columns: tuple[OraColumn, ...] | None = None
    wire_types: tuple[OraType, ...] = ()
    are_national: tuple[bool, ...] = ()  # the form of text that the client expects
    is_defined: bool = False  # the client has said how it wants LOB columns, or there are none
    rows: Rows | None = None
    query: CursorQuery | None = None
    faults: StatementFaults = field(default_factory=lambda: NO_FAULTS)
    record: StatementRecord | None = None
    ends_at: float = 0.0  # monotonic time before which the query's last row is not known

    def describe(self, columns: tuple[OraColumn, ...]) -> bool:
        """Take on the columns of an execution; True if the client has to be told.

        Text columns that have become LOBs are delivered as LONG, as the client expects without a new define.
        """
        before, self.columns = self.columns, columns
        if before == columns:
            return False
        texts = [column if column.type not in _LOBS else None for column in before or ()]
        texts += [None] * (len(columns) - len(texts))
        became_lob = [text if column.type in _LOBS else None for column, text in zip(columns, texts, strict=False)]
        self.wire_types = tuple(
            column.type if text is None else _LONG_OF[column.type]
            for column, text in zip(columns, became_lob, strict=True)
        )
        self.are_national = tuple(
            column.is_national if text is None else text.is_national
            for column, text in zip(columns, became_lob, strict=True)
        )
        self.is_defined = not any(kind in _LOBS for kind in self.wire_types)
        return True

    def define(self, defines: Sequence[BindSpec]) -> None:
        """The client's choice for LOB columns: a locator, or the content inside the row."""
        columns = self.columns or ()
        if len(defines) != len(columns):
            raise OraError(1007, "variable not in select list")
        self.wire_types = tuple(
            _LONG_OF[column.type] if column.type in _LOBS and spec.type not in _LOBS else column.type
            for column, spec in zip(columns, defines, strict=True)
        )
        self.are_national = tuple(column.is_national for column in columns)
        self.is_defined = True

    def plans(self) -> list[ColumnPlan]:
        known = zip(self.columns or (), self.wire_types, self.are_national, strict=True)
        return [
            ColumnPlan(
                replace(column, is_national=is_national),
                wire_type,
                wire_type not in _ALWAYS_SENT and buffer_bytes(column) == 0,
            )
            for column, wire_type, is_national in known
        ]

    def open(self, worker: SessionWorker, describe_lob: LobDescriber) -> CursorQuery:
        """The query, ready to be fetched from. Raises ORA-01002 if nothing was executed."""
        if self.query is None:
            if self.rows is None:
                raise OraError(1002, "fetch out of sequence")
            self.query = CursorQuery(worker, self.rows, self.plans(), describe_lob)
        return self.query

    def close_query(self, worker: SessionWorker) -> None:
        if self.rows is not None:
            worker.submit(self.rows.close)
        self.rows = self.query = None


class CursorTable:
    """The open cursors of a session by number; numbers are small and used again."""

    def __init__(self) -> None:
        self._cursors: dict[int, Cursor] = {}

    def add(self, sql: str, statement: PreparedStatement) -> Cursor:
        if len(self._cursors) >= MAX_CURSORS:
            raise OraError(1000, "maximum open cursors exceeded")
        number = next(number for number in range(1, MAX_CURSORS + 2) if number not in self._cursors)
        self._cursors[number] = cursor = Cursor(number, sql, statement)
        return cursor

    def find(self, number: int) -> Cursor:
        cursor = self._cursors.get(number)
        if cursor is None:
            raise OraError(1001, "invalid cursor")
        return cursor

    def close(self, number: int, worker: SessionWorker) -> None:
        cursor = self._cursors.pop(number, None)
        if cursor is not None:
            cursor.close_query(worker)

    def cancel(self, number: int, worker: SessionWorker) -> None:
        """The client wants no more rows of the open query; the statement stays known."""
        if number in self._cursors:
            self._cursors[number].close_query(worker)

    def close_all(self, worker: SessionWorker) -> None:
        for number in list(self._cursors):
            self.close(number, worker)
