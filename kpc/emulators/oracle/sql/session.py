"""One logged-in session: prepare, describe, execute, and Oracle's transaction rules (`interface.DatabaseSession`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.interface import (
    Bind,
    ExecutionOutcome,
    LobHome,
    OraColumn,
    PreparedStatement,
    StatementKind,
)
from kpc.emulators.oracle.sql import queries
from kpc.emulators.oracle.sql.context import Context, SessionSettings
from kpc.emulators.oracle.sql.ddl import dispatch
from kpc.emulators.oracle.sql.dml import array_dml, lob_writing
from kpc.emulators.oracle.sql.instance import Instance
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.plsql import interpreter
from kpc.emulators.oracle.sql.plsql.packages import OutputBuffer
from kpc.emulators.oracle.sql.query import bind_rows
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery
from kpc.emulators.oracle.sql.query.late_rows import Replay
from kpc.emulators.oracle.sql.query.results import OpenQuery
from kpc.emulators.oracle.sql.transactions import commands
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

_MOST_IDLE_CURSORS = 4
_WRITING = (StatementKind.DML, StatementKind.DDL)


class EmulatedSession:
    """Used by one thread at a time, except `interrupt`."""

    def __init__(self, instance: Instance, settings: SessionSettings) -> None:
        self._instance = instance
        self.settings = settings
        self.user = settings.user
        self._workspace = StatementWorkspace(instance, settings)
        self._open: set[OpenQuery] = set()
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._guard = threading.Lock()
        self._output = OutputBuffer()
        self.is_closed = False
        self.logged_on_utc = instance.clock()

    # The interface of a session

    @property
    def in_transaction(self) -> bool:
        return self._workspace.transaction.is_open

    def prepare(self, sql: str) -> ParsedStatement:
        self._check_open()
        return parse_statement(self._workspace.store.character_set.received(sql))

    def describe(self, statement: PreparedStatement) -> tuple[OraColumn, ...]:
        self._check_open()
        assert isinstance(statement, ParsedStatement)
        return queries.describe(self._workspace, statement) if statement.kind is StatementKind.QUERY else ()

    def execute(
        self,
        statement: PreparedStatement,
        rows: Sequence[Sequence[Bind]],
        *,
        batch_errors: bool = False,
        row_counts: bool = False,
    ) -> ExecutionOutcome:
        self._check_open()
        assert isinstance(statement, ParsedStatement)
        self._workspace.interruption.begin()
        _check_binds(statement, rows)
        if statement.kind in _WRITING and self._instance.store.facts.is_read_only:
            raise ora(16000)
        rows = bind_rows.received(rows, self._workspace.store.character_set)
        try:
            match statement.kind:
                case StatementKind.QUERY:
                    return self._query(statement, rows[0] if rows else ())
                case StatementKind.DML:
                    return array_dml.execute(
                        self._workspace, statement, rows, batch_errors=batch_errors, row_counts=row_counts
                    )
                case StatementKind.DDL:
                    return dispatch.execute(self._workspace, statement)
                case StatementKind.PLSQL:
                    return interpreter.execute(self._workspace, self._output, statement, rows)
                case _:
                    return commands.execute(self._workspace, statement)
        except (duckdb.Error, pa.ArrowException) as error:
            raise queries.explained(error, statement) from None
        finally:
            self._workspace.interruption.end()

    def write_lob(self, home: LobHome, content: str | bytes) -> None:
        self._check_open()
        lob_writing.write(self._workspace, home, content)

    def commit(self) -> None:
        self._check_open()
        self._workspace.transaction.commit()

    def rollback(self) -> None:
        self._check_open()
        self._workspace.transaction.rollback()

    def interrupt(self) -> None:
        self._workspace.interruption.interrupt()
        with self._guard:
            running = list(self._open)
        for query in running:
            query.interrupt()

    def set_attributes(self, **attributes: str | None) -> None:
        self._workspace.set_attributes(**attributes)

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        with self._guard:
            running = list(self._open)
        for query in running:
            query.close()
        self._workspace.close()
        for cursor in self._idle:
            cursor.close()
        self._instance.forget(self.settings.session_id)

    # Internals

    def _check_open(self) -> None:
        if self.is_closed:
            raise ora(1012)

    def _query(self, statement: ParsedStatement, row: Sequence[Bind]) -> ExecutionOutcome:
        workspace, store = self._workspace, self._workspace.store
        context = workspace.context(bind_rows.constants(row))
        if statement.tree is not None and statement.tree.args.get("locks"):
            with store.lock:
                query = queries.compile_query(statement, context)
            queries.lock_rows(workspace, query)
        cursor = self._cursor()
        try:
            with store.snapshot(cursor):
                context.scn = store.scn
                query = queries.compile_query(statement, context)
            for name, table in context.arrow.items():
                cursor.register(name, table)
            workspace.interruption.watch(cursor)
            workspace.interruption.check()
            self._instance.scans.note(context.scans)
            cost = self._instance.costs.cost(statement.sql, context)
            opened = OpenQuery(query, cursor, self._release, store.character_set, self._replay(query, context))
        except BaseException:
            self._release(cursor)
            raise
        with self._guard:
            self._open.add(opened)
        return ExecutionOutcome(StatementKind.QUERY, rows=opened, cost=cost)

    def _replay(self, query: CompiledQuery, context: Context) -> Replay | None:
        if query.late is None or context.arrow:
            return None
        transaction = self._workspace.transaction
        changes, tables = transaction.changes, [scan.table for scan in context.scans]

        def is_unchanged() -> bool:
            return transaction.changes == changes and all(table.changed_scn <= context.scn for table in tables)

        return Replay(self._workspace.store, query.late, is_unchanged)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._guard:
            return self._idle.pop() if self._idle else self._workspace.store.cursor()

    def _release(self, cursor: duckdb.DuckDBPyConnection) -> None:
        is_clean = _ends_transaction(cursor)
        with self._guard:
            self._open = {query for query in self._open if query.is_open}
            if is_clean and len(self._idle) < _MOST_IDLE_CURSORS and not self.is_closed:
                self._idle.append(cursor)
                return
        cursor.close()


def _ends_transaction(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether the cursor can be used again: a break can hit this ROLLBACK too, and the transaction stays open."""
    try:
        cursor.execute("ROLLBACK")
    except duckdb.TransactionException:  # none was open
        return True
    except duckdb.Error:
        return False
    return True


def _check_binds(statement: ParsedStatement, rows: Sequence[Sequence[Bind]]) -> None:
    wanted = len(statement.bind_names)
    if wanted and not rows:
        raise ora(1008)
    for row in rows:
        if len(row) != wanted:
            raise ora(1008 if len(row) < wanted else 1006)
