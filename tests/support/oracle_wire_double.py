"""A stand-in for the SQL side: fixed Arrow tables under statement texts, to test the wire without an SQL engine."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import oracledb
import pyarrow as pa

from kpc.emulators.oracle.interface import (
    Bind,
    BindValue,
    DatabaseSession,
    ExecutionOutcome,
    LobColumn,
    LobHome,
    OraColumn,
    OraError,
    OraType,
    PreparedStatement,
    StatementKind,
)
from kpc.emulators.oracle.wire.calls.lobs import Lob
from kpc.emulators.oracle.wire.login.logon import ListenerOptions
from kpc.emulators.oracle.wire.server import Listener

MODES = [
    ListenerOptions(12, end_of_response=False, max_sdu=8192),
    ListenerOptions(12, end_of_response=False, max_sdu=512),
    ListenerOptions(24, end_of_response=True, max_sdu=8192),
]
MODE_NAMES = ["19c", "19c-sdu-512", "23ai"]
PASSWORD = "right-password"


def connect(server: Listener, **arguments: object) -> oracledb.Connection:
    """A connection with the right credentials, unless told otherwise."""
    given = {"user": "kpc", "password": PASSWORD, "dsn": f"127.0.0.1:{server.port}/KPCDB"} | arguments
    return oracledb.connect(**given)


def lobs_in_memory() -> int:
    """How many LOBs the listeners of this process keep for their clients."""
    gc.collect()
    return sum(isinstance(each, Lob) for each in gc.get_objects())


@dataclass
class FixedRows:
    """Batches that exist already; `failure` is raised after the last one."""

    columns: tuple[OraColumn, ...]
    source: Sequence[pa.RecordBatch]
    failure: Exception | None = None
    closed: bool = False
    lob_columns: Mapping[int, LobColumn] = field(default_factory=dict)

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self.source
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self.closed = True


@dataclass
class FixedStatement:
    sql: str
    kind: StatementKind
    bind_names: tuple[str, ...] = ()


_KINDS = {
    "SELECT": StatementKind.QUERY,
    "INSERT": StatementKind.DML,
    "UPDATE": StatementKind.DML,
    "BEGIN": StatementKind.PLSQL,
    "CREATE": StatementKind.DDL,
}

Answer = Callable[["FixedSession", Sequence[Sequence[Bind]]], ExecutionOutcome]


@dataclass
class FixedDatabase:
    """`answers` maps a statement's text to what executing it gives."""

    answers: dict[str, Answer] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=lambda: {"KPC": PASSWORD})
    service_names: tuple[str, ...] = ("KPCDB",)
    version: tuple[int, ...] = (19, 3, 0, 0, 0)
    sessions: list[FixedSession] = field(default_factory=list)
    login_error: OraError | None = None

    def table(
        self, sql: str, columns: Sequence[OraColumn], *batches: pa.RecordBatch, failure: Exception | None = None
    ) -> None:
        self.answers[sql] = lambda _session, _binds: ExecutionOutcome(
            StatementKind.QUERY, rows=FixedRows(tuple(columns), batches, failure)
        )

    def password_of(self, user: str) -> str | None:
        return self.users.get(user)

    def login(self, user: str, *, service: str, program: str = "", machine: str = "") -> DatabaseSession:
        if self.login_error is not None:
            raise self.login_error
        session = FixedSession(self, user, attributes={"service": service, "program": program, "machine": machine})
        self.sessions.append(session)
        return session

    def close(self) -> None:
        return None


@dataclass
class FixedSession:
    database: FixedDatabase
    user: str
    in_transaction: bool = False
    attributes: dict[str, str | None] = field(default_factory=dict)
    executed: list[tuple[str, Sequence[Sequence[Bind]]]] = field(default_factory=list)
    interrupted: threading.Event = field(default_factory=threading.Event)
    is_closed: bool = False
    commits: int = 0
    flags: tuple[bool, bool] = (False, False)
    attributes_error: OraError | None = None

    def prepare(self, sql: str) -> PreparedStatement:
        if sql not in self.database.answers:
            raise OraError(942, "table or view does not exist", position=14)
        return FixedStatement(sql, _KINDS[sql.split(maxsplit=1)[0].upper()])

    def describe(self, statement: PreparedStatement) -> tuple[OraColumn, ...]:
        rows = self.database.answers[statement.sql](self, []).rows
        assert rows is not None
        return rows.columns

    def execute(
        self,
        statement: PreparedStatement,
        rows: Sequence[Sequence[Bind]],
        *,
        batch_errors: bool = False,
        row_counts: bool = False,
    ) -> ExecutionOutcome:
        self.interrupted.clear()
        self.executed.append((statement.sql, rows))
        self.flags = (batch_errors, row_counts)
        return self.database.answers[statement.sql](self, rows)

    def write_lob(self, home: LobHome, content: str | bytes) -> None:
        raise OraError(22920, f"row containing the LOB value is not locked: {home} {len(content)}")

    def commit(self) -> None:
        self.commits += 1
        self.in_transaction = False

    def rollback(self) -> None:
        self.in_transaction = False

    def interrupt(self) -> None:
        self.interrupted.set()

    def set_attributes(self, **attributes: str | None) -> None:
        if self.attributes_error is not None:
            raise self.attributes_error
        self.attributes.update(attributes)

    def close(self) -> None:
        self.is_closed = True


def dml_outcome(session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
    """An answer to DML: every bind row changed one row, and a transaction is open."""
    session.in_transaction = True
    return ExecutionOutcome(StatementKind.DML, row_count=len(rows), row_counts=[1] * len(rows))


def received_values(database: FixedDatabase) -> list[list[BindValue]]:
    """The bind values of everything that the last session executed, row by row."""
    return [[bind.value for bind in row] for _, rows in database.sessions[-1].executed for row in rows]


def check_usable(connection: oracledb.Connection, database: FixedDatabase) -> None:
    database.table("select 1 from t", [OraColumn("A", OraType.NUMBER)], pa.record_batch([pa.array([1])], names=["A"]))
    for _ in range(2):
        with connection.cursor() as cursor:
            assert cursor.execute("select 1 from t").fetchall() == [(1,)]
