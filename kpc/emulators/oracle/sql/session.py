"""One logged-in session: prepare, describe, execute, and Oracle's transaction rules. See `interface.Session`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.interface import Bind, ExecutionOutcome, OraColumn, OraError, StatementKind
from kpc.emulators.oracle.interface import PreparedStatement as StatementContract
from kpc.emulators.oracle.sql.context import Context, SessionSettings
from kpc.emulators.oracle.sql.ddl import dispatch
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.dml import array_dml
from kpc.emulators.oracle.sql.dml.effects import Executor
from kpc.emulators.oracle.sql.messages import from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing import lexer
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.plsql import interpreter
from kpc.emulators.oracle.sql.plsql.packages import OutputBuffer
from kpc.emulators.oracle.sql.query import bind_rows
from kpc.emulators.oracle.sql.query.compiler import CompiledQuery, QueryCompiler
from kpc.emulators.oracle.sql.query.late_rows import Replay
from kpc.emulators.oracle.sql.query.results import OpenQuery
from kpc.emulators.oracle.sql.storage.grants import READING
from kpc.emulators.oracle.sql.transactions import commands
from kpc.emulators.oracle.sql.transactions.transaction import Transaction
from kpc.emulators.oracle.sql.types.values import Expr

if TYPE_CHECKING:
    from kpc.emulators.oracle.engine import EmulatedDatabase

_MOST_IDLE_CURSORS = 4


class OracleSession:
    """Used by one thread at a time, except `interrupt`."""

    def __init__(self, database: EmulatedDatabase, settings: SessionSettings) -> None:
        self.database = database
        self.settings = settings
        self.user = settings.user
        self._interrupted = False
        self._busy: duckdb.DuckDBPyConnection | None = None
        self._open: set[OpenQuery] = set()
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._guard = threading.Lock()
        self.transaction = Transaction(settings.session_id, database.store, database.locks, self._check_interrupt)
        self.schema = SessionSchema(database, self.transaction, settings.schema, settings.user)
        self._worker = database.store.cursor()
        self.output = OutputBuffer()
        self.is_closed = False
        self.logged_on_utc = database.clock()

    # Contract

    @property
    def in_transaction(self) -> bool:
        return self.transaction.is_open

    def prepare(self, sql: str) -> ParsedStatement:
        self._check_open()
        return parse_statement(sql)

    def describe(self, statement: StatementContract) -> tuple[OraColumn, ...]:
        self._check_open()
        assert isinstance(statement, ParsedStatement)
        if statement.kind is not StatementKind.QUERY:
            return ()
        context = self.context(bind_rows.unset(len(statement.bind_names)), is_describe=True)
        query = self._compile(statement, context)
        self._validate(query, context, statement)
        return tuple(output.described for output in query.columns)

    def execute(
        self,
        statement: StatementContract,
        rows: Sequence[Sequence[Bind]],
        *,
        batch_errors: bool = False,
        row_counts: bool = False,
    ) -> ExecutionOutcome:
        self._check_open()
        assert isinstance(statement, ParsedStatement)
        self._interrupted = False
        self._check_binds(statement, rows)
        try:
            match statement.kind:
                case StatementKind.QUERY:
                    return self._query(statement, rows[0] if rows else ())
                case StatementKind.DML:
                    return array_dml.execute(self, statement, rows, batch_errors=batch_errors, row_counts=row_counts)
                case StatementKind.DDL:
                    return dispatch.execute(self, statement)
                case StatementKind.PLSQL:
                    return interpreter.execute(self, statement, rows)
                case _:
                    return commands.execute(self, statement)
        except (duckdb.Error, pa.ArrowException) as error:
            raise self._explained(error, statement) from None
        finally:
            self._busy = None

    def commit(self) -> None:
        self._check_open()
        self.transaction.commit()

    def rollback(self) -> None:
        self._check_open()
        self.transaction.rollback()

    def interrupt(self) -> None:
        self._interrupted = True
        busy = self._busy
        if busy is not None:
            busy.interrupt()
        with self._guard:
            running = list(self._open)
        for query in running:
            query.interrupt()

    def set_attributes(self, **attributes: str | None) -> None:
        """Unknown attributes are kept too: V$SESSION shows those it has a column for."""
        schema = attributes.pop("current_schema", None)
        if schema:
            self.change_schema(schema)
        self.settings.attributes.update(attributes)

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        with self._guard:
            running = list(self._open)
        for query in running:
            query.close()
        self.transaction.close()
        for cursor in (*self._idle, self._worker):
            cursor.close()
        self.database.forget(self)

    # For the modules that run statements

    def change_schema(self, name: str) -> None:
        if not self.database.has_user(name):
            raise ora(1435)
        self.settings.schema = self.schema.name = name

    def context(self, binds: dict[str, Expr], *, is_describe: bool = False) -> Context:
        store = self.database.store
        return Context(self.settings, self.schema, binds, self.database.clock(), store.scn, is_describe=is_describe)

    def executor(self, context: Context) -> Executor:
        self._busy = self._worker
        return Executor(context, self.schema, self.transaction, self._worker)

    def check_interrupt(self) -> None:
        self._check_interrupt()

    # Own

    def _check_open(self) -> None:
        if self.is_closed:
            raise ora(1012)

    def _check_interrupt(self) -> None:
        if self._interrupted:
            raise ora(1013)

    def _check_binds(self, statement: ParsedStatement, rows: Sequence[Sequence[Bind]]) -> None:
        wanted = len(statement.bind_names)
        if wanted and not rows:
            raise ora(1008)
        for row in rows:
            if len(row) != wanted:
                raise ora(1008 if len(row) < wanted else 1006)

    def _compile(self, statement: ParsedStatement, context: Context) -> CompiledQuery:
        assert statement.tree is not None
        names = lexer.select_items(statement.sql, statement.tokens)
        return QueryCompiler(context).compile(statement.tree, names=names)

    def _query(self, statement: ParsedStatement, row: Sequence[Bind]) -> ExecutionOutcome:
        store = self.database.store
        context = self.context(bind_rows.constants(row))
        if statement.tree is not None and statement.tree.args.get("locks"):
            with store.lock:
                query = self._compile(statement, context)
            self._lock_rows(query)
        cursor = self._cursor()
        try:
            with store.snapshot(cursor):
                context.scn = store.scn
                query = self._compile(statement, context)
            for name, table in context.arrow.items():
                cursor.register(name, table)
            self._busy = cursor
            self._check_interrupt()
            self.database.scans.note(context.scans)
            opened = OpenQuery(query, cursor, self._release, self._replay(query, context))
        except BaseException:
            self._release(cursor)
            raise
        with self._guard:
            self._open.add(opened)
        return ExecutionOutcome(StatementKind.QUERY, rows=opened)

    def _replay(self, query: CompiledQuery, context: Context) -> Replay | None:
        if query.late is None or context.arrow:
            return None
        changes, tables = self.transaction.changes, [scan.table for scan in context.scans]

        def is_unchanged() -> bool:
            return self.transaction.changes == changes and all(table.changed_scn <= context.scn for table in tables)

        return Replay(self.database.store, query.late, is_unchanged)

    def _lock_rows(self, query: CompiledQuery) -> None:
        """FOR UPDATE: lock until nothing more had to be waited for."""
        if query.locks is None:
            return
        for name, sql in query.locks.tables:
            owner, _, table_name = name.partition(".")
            table = self.schema.table(owner or None, table_name, READING)
            waited = True
            while waited:
                self._busy = self._worker
                rids = self._worker.sql(sql).to_arrow_table()["p"].to_pylist()
                wanted: list[object] = [(table.object_id, rid) for rid in rids if rid is not None]
                if query.locks.skip_locked:
                    raise ora(3001)
                waited = self.transaction.lock(wanted, query.locks.wait_s)

    def _validate(self, query: CompiledQuery, context: Context, statement: ParsedStatement) -> None:
        """Let DuckDB bind the query, so that describe refuses what execute would."""
        with self.database.store.lock:
            for name, table in context.arrow.items():
                self._worker.register(name, table)
            try:
                self._worker.execute(f"EXPLAIN {query.sql}").fetchall()
            except duckdb.Error as error:
                raise self._explained(error, statement) from None

    def _explained(self, error: BaseException, statement: ParsedStatement) -> OraError:
        made = from_duckdb(error)
        if made.code == 979 and "GROUP" not in statement.text.upper():
            return ora(937)
        if made.code == 978 and "GROUP" in statement.text.upper():
            return unsupported("nested group functions")
        return made

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._guard:
            return self._idle.pop() if self._idle else self.database.store.cursor()

    def _release(self, cursor: duckdb.DuckDBPyConnection) -> None:
        with contextlib.suppress(duckdb.Error):  # when no transaction is open
            cursor.execute("ROLLBACK")
        with self._guard:
            self._open = {query for query in self._open if query.is_open}
            if len(self._idle) < _MOST_IDLE_CURSORS and not self.is_closed:
                self._idle.append(cursor)
                return
        cursor.close()
