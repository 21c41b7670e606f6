"""Executing, executing again, describing and fetching."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from kpc.emulators.oracle.counters import StatementRecord
from kpc.emulators.oracle.faults import ConnectionCut
from kpc.emulators.oracle.interface import Bind, ExecutionOutcome, LobHome, OraError, Rows, StatementCost, StatementKind
from kpc.emulators.oracle.wire.calls import requests, responses
from kpc.emulators.oracle.wire.calls.call_context import CallContext
from kpc.emulators.oracle.wire.calls.cursors import Cursor, CursorQuery, CursorTable
from kpc.emulators.oracle.wire.calls.requests import ExecuteOption, ExecuteRequest
from kpc.emulators.oracle.wire.transport.packets import BreakRequested
from kpc.emulators.oracle.wire.transport.streams import ResponseWriter
from kpc.emulators.oracle.wire.values.bind_spec import RawValue
from kpc.emulators.oracle.wire.values.bind_values import decode_bind
from kpc.emulators.oracle.wire.values.codec import ub
from kpc.emulators.oracle.wire.values.out_values import encode_out

_COMMIT_AFTER = 0x1  # second options of a repeated execution
_MAX_ROWS_WANTED = 1 << 31


class Statements:
    """The statements of one session; each method answers one request."""

    def __init__(self, context: CallContext) -> None:
        self._context = context
        self.cursors = CursorTable()

    def execute(self, writer: ResponseWriter) -> None:
        """Function 94: any of parse, describe, define, execute and fetch, by its options."""
        context = self._context
        request = requests.read_execute(
            context.stream, context.field_version, lambda number: self.cursors.find(number).sql
        )
        if request.is_scrollable:
            raise OraError(3001, "unimplemented feature: scrollable cursors")
        cursor, is_new = self._cursor_of(request)
        try:
            self._execute_on(cursor, request, writer)
        except (OraError, BreakRequested):
            if is_new:
                self.cursors.close(cursor.number, context.worker)
            raise

    def _cursor_of(self, request: ExecuteRequest) -> tuple[Cursor, bool]:
        """The cursor to work on, prepared anew if the text came along; whether it did not exist before."""
        if request.sql is None:
            return self.cursors.find(request.cursor_id), False
        sql, session = request.sql, self._context.session
        statement = self._context.run(lambda: session.prepare(sql))
        if request.cursor_id:
            cursor = self.cursors.find(request.cursor_id)
            cursor.sql, cursor.statement = sql, statement
            return cursor, False
        return self.cursors.add(sql, statement), True

    def _execute_on(self, cursor: Cursor, request: ExecuteRequest, writer: ResponseWriter) -> None:
        if request.has(ExecuteOption.EXECUTE):
            cursor.is_plsql = not request.has(ExecuteOption.NOT_PLSQL)
            cursor.binds = request.binds
            is_query = cursor.statement.kind == StatementKind.QUERY
            raw_rows = request.bind_rows or [[] for _ in range(1 if is_query else max(request.iterations, 1))]
            self._run_statement(cursor, raw_rows, request, writer)
        elif request.has(ExecuteOption.DEFINE):
            cursor.define(request.defines)
            cursor.query = None
        elif cursor.statement.kind == StatementKind.QUERY:
            session = self._context.session
            columns = self._context.run(lambda: session.describe(cursor.statement))
            cursor.describe(columns)
            writer.write(responses.describe(columns, self._context.field_version))
        if request.has(ExecuteOption.FETCH) and cursor.rows is not None and cursor.is_defined:
            self._deliver(cursor, request.rows_wanted, writer)
        elif cursor.rows is not None or not request.has(ExecuteOption.EXECUTE):
            writer.write(self._context.end(cursor_id=cursor.number))

    def execute_again(self, writer: ResponseWriter, *, has_fetch: bool) -> None:
        """Functions 4 and 78: a known cursor with new bind values."""
        stream = self._context.stream
        number, iterations, options, more_options = (stream.ub() for _ in range(4))
        try:
            cursor = self.cursors.find(number)
        except OraError:
            stream.skip_request()
            raise
        is_query = cursor.statement.kind == StatementKind.QUERY
        rows = 1 if has_fetch or is_query else iterations
        raw_rows: list[list[RawValue]] = [[] for _ in range(rows)]
        if cursor.binds:
            raw_rows = requests.read_bind_rows(stream, cursor.binds, rows, cursor.sql, is_plsql=cursor.is_plsql)
        request = ExecuteRequest(options, number, None, iterations, rows, is_full=False)
        if more_options & _COMMIT_AFTER:
            request.options |= ExecuteOption.COMMIT
        self._run_statement(cursor, raw_rows, request, writer)
        if has_fetch and cursor.rows is not None and cursor.is_defined:
            self._deliver(cursor, iterations, writer)
        elif cursor.rows is not None:
            writer.write(self._context.end(cursor_id=cursor.number))

    def fetch(self, writer: ResponseWriter) -> None:
        """Function 5."""
        number, wanted = self._context.stream.ub(), self._context.stream.ub()
        self._deliver(self.cursors.find(number), wanted, writer)

    def _run_statement(
        self, cursor: Cursor, raw_rows: Sequence[Sequence[RawValue]], request: ExecuteRequest, writer: ResponseWriter
    ) -> None:
        """Run it; a query is left open on the cursor, anything else is answered in full."""
        cursor.close_query(self._context.worker)
        rows = self._decode(cursor, raw_rows)
        cursor.record = record = self._context.record(cursor.sql)
        with self._recorded(cursor):
            self._meet_faults(cursor)
            outcomes = self._outcomes(cursor, rows, request, writer)
            self._work(cursor, outcomes[0].cost, record)
            self._commit_if_wanted(request, outcomes)
        if outcomes[0].rows is not None:
            self._open(cursor, outcomes[0].rows, request, writer)
            return
        record.end = "done"
        self._write_out(cursor, outcomes, writer)
        if request.wants_row_counts:
            writer.write(responses.row_counts([count for outcome in outcomes for count in outcome.row_counts]))
        errors = [error for outcome in outcomes for error in outcome.batch_errors]
        writer.write(
            self._context.end(
                cursor_id=cursor.number,
                row_count=_row_count(cursor, outcomes),
                code=responses.ARRAY_ERRORS if errors else 0,
                message="error(s) in array DML" if errors else "",
                batch_errors=errors,
                rowid=outcomes[-1].last_rowid,
            )
        )

    def _decode(self, cursor: Cursor, raw_rows: Sequence[Sequence[RawValue]]) -> list[list[Bind]]:
        binds, lobs = cursor.binds, self._context.lobs
        first_out = len(binds) - (0 if cursor.is_plsql else requests.return_binds(cursor.sql))
        return [
            [
                decode_bind(spec, raw, lobs.value, is_out=at >= first_out)
                for at, (spec, raw) in enumerate(zip(binds, row, strict=True))
            ]
            for row in raw_rows
        ]

    def _outcomes(
        self, cursor: Cursor, rows: list[list[Bind]], request: ExecuteRequest, writer: ResponseWriter
    ) -> list[ExecutionOutcome]:
        try:
            return self._call_all(cursor, rows, request)
        except OraError as error:
            if request.wants_row_counts:
                writer.write(responses.row_counts(error.row_counts))
            raise

    def _call_all(self, cursor: Cursor, rows: list[list[Bind]], request: ExecuteRequest) -> list[ExecutionOutcome]:
        """One call for an array of DML; row by row where every row has values of its own to give back."""
        has_out = bool(rows) and any(bind.is_out for bind in rows[0])
        if len(rows) <= 1 or not (cursor.is_plsql or has_out):
            return [self._call(cursor, rows, request)]
        outcomes: list[ExecutionOutcome] = []
        for row in rows:
            try:
                outcomes.append(self._call(cursor, [row], request))
            except OraError as error:
                error.row_offset, error.row_count = len(outcomes), _row_count(cursor, outcomes)
                raise
        return outcomes

    def _call(self, cursor: Cursor, rows: Sequence[Sequence[Bind]], request: ExecuteRequest) -> ExecutionOutcome:
        session = self._context.session
        return self._context.run(
            lambda: session.execute(
                cursor.statement,
                rows,
                batch_errors=request.has(ExecuteOption.BATCH_ERRORS),
                row_counts=request.wants_row_counts,
            )
        )

    def _commit_if_wanted(self, request: ExecuteRequest, outcomes: Sequence[ExecutionOutcome]) -> None:
        """Autocommit; an array with failed rows is left for the client to decide."""
        has_failed_rows = any(outcome.batch_errors for outcome in outcomes)
        if request.has(ExecuteOption.COMMIT) and not has_failed_rows and self._context.session.in_transaction:
            self._context.run(self._context.session.commit)

    def _open(self, cursor: Cursor, rows: Rows, request: ExecuteRequest, writer: ResponseWriter) -> None:
        """Describe on every full execution, and on a short one only what has changed since."""
        cursor.rows = rows
        if cursor.describe(rows.columns) or request.is_full:
            writer.write(responses.describe(rows.columns, self._context.field_version))

    def _write_out(self, cursor: Cursor, outcomes: Sequence[ExecutionOutcome], writer: ResponseWriter) -> None:
        """OUT values of PL/SQL after the directions of its binds; RETURNING gives lists of values.

        Nothing is written before all values are encoded: one that does not fit makes an error of the whole call.
        """
        positions = sorted({at for outcome in outcomes for at in outcome.out})
        values = [self._out_row(cursor, outcome, positions) for outcome in outcomes] if positions else []
        if cursor.is_plsql and cursor.binds:
            writer.write(
                responses.io_vector(
                    [
                        responses.DIRECTION_IN_OUT if at in positions else responses.DIRECTION_IN
                        for at in range(len(cursor.binds))
                    ]
                )
            )
        for row in values:
            writer.write(row)

    def _out_row(self, cursor: Cursor, outcome: ExecutionOutcome, positions: Sequence[int]) -> bytes:
        parts = [b"\x07"]
        for at in positions:
            values = outcome.out.get(at, [])
            homes: Sequence[LobHome | None] = outcome.lob_homes.get(at) or [None] * len(values)
            if not cursor.is_plsql:
                parts.append(ub(len(values)))
            may_cut = not cursor.is_plsql
            parts += [
                encode_out(cursor.binds[at], value, partial(self._context.lobs.out_bind, home=home), may_cut=may_cut)
                for value, home in zip(values, homes, strict=True)
            ]
        return b"".join(parts)

    def _deliver(self, cursor: Cursor, wanted: int, writer: ResponseWriter) -> None:
        """Rows, then the end of call: 1403 once there are no more.

        Drivers throw away the rows of a response that ends with an error. So rows that come before one are a response
        of their own, a short one, and the error answers the next fetch.
        """
        query = cursor.open(self._context.worker, self._context.lobs.described)
        before = query.delivered
        writer.write(responses.ROW_HEADER)
        try:
            with self._recorded(cursor):
                self._send_rows(cursor, query, min(wanted, _MAX_ROWS_WANTED), writer)
        except OraError as error:
            if query.delivered == before:
                cursor.close_query(self._context.worker)
                raise
            query.fail_next(error)
        except BreakRequested:
            cursor.close_query(self._context.worker)
            raise
        if query.is_done and cursor.record is not None:
            cursor.record.end = "done"
        writer.write(
            self._context.end(
                cursor_id=cursor.number,
                row_count=query.delivered,
                code=responses.NO_DATA_FOUND if query.is_done else 0,
                message="no data found" if query.is_done else "",
            )
        )

    def _send_rows(self, cursor: Cursor, query: CursorQuery, wanted: int, writer: ResponseWriter) -> None:
        """Up to `wanted` rows, as fast as the faults allow."""
        faults, counters = cursor.faults, self._context.control.counters
        while wanted and not query.is_done:
            before = query.delivered
            faults.strike_at(before)
            step = faults.step(wanted, before)
            for part in query.take(step):
                writer.write(part)
                self._context.stop_on_break()
            rows = query.delivered - before
            counters.serve(cursor.record, rows)
            if query.is_done:
                self._context.pause(cursor.ends_at - time.monotonic())
            wanted -= rows
            if faults.rows_per_s and rows:
                writer.flush()
                self._context.pause(rows / faults.rows_per_s)

    def _work(self, cursor: Cursor, cost: StatementCost, record: StatementRecord) -> None:
        """Wait for what must be done before the first row is known; the rest passes while rows are fetched."""
        record.virtual_s, record.temp_bytes = round(cost.last_row_s, 3), cost.temp_bytes
        self._context.control.counters.add("virtual_ms", round(cost.last_row_s * 1000))
        cursor.ends_at = time.monotonic() + cost.last_row_s / cost.scale
        if cost.first_row_s:
            self._context.pause(cost.first_row_s / cost.scale)

    def _meet_faults(self, cursor: Cursor) -> None:
        """Find the faults of this execution; what has nothing to do with rows happens now."""
        context = self._context
        cursor.faults = context.control.faults.on_statement(cursor.sql, context.session.user)
        wait_s = cursor.faults.before()
        if wait_s:
            context.pause(wait_s)
        cursor.faults.strike_at(0)

    @contextmanager
    def _recorded(self, cursor: Cursor) -> Iterator[None]:
        """Note how an execution or a fetch ended, if badly."""
        try:
            yield
        except (OraError, BreakRequested, ConnectionCut) as error:
            if cursor.record is not None:
                cursor.record.end = f"ORA-{error.code:05d}" if isinstance(error, OraError) else type(error).__name__
            raise


def _row_count(cursor: Cursor, outcomes: Sequence[ExecutionOutcome]) -> int:
    """Changed rows; for PL/SQL the number of executions."""
    return len(outcomes) if cursor.is_plsql else sum(outcome.row_count for outcome in outcomes)
