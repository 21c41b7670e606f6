"""Where records, jobs and settings live: one DuckDB file, or memory.

Writers take turns (`writing`); readers see committed state and never wait. Every call fetches its whole result,
because an open result would keep the connection busy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject

# The file is attached under this name: by itself it is called after the file, and `org.duckdb` clashes with schema org.
_CATALOG = "store"
_CONFIG: dict[str, str | int | float | list[str]] = {
    "checkpoint_threshold": "256MB",  # a checkpoint at every few batches, as by default, costs more than the batches
    "threads": 1,  # per statement: jobs and requests run side by side, and sharing out a batch costs more than it saves
}


def quoted(name: str) -> str:
    """An SQL identifier. Names come from the schema, never from a request."""
    return '"' + name.replace('"', '""') + '"'


def table_of(sobject: SObject) -> str:
    """The rows of the object that its user sees. Writes name the object of `Org.whole_schema`, whose rows are all."""
    if sobject.rows_sql:
        return f"({sobject.rows_sql})"
    table = f"org.{quoted(sobject.name)}"
    return f"(SELECT * FROM {table} WHERE {sobject.visible_sql})" if sobject.visible_sql else table


class StorageSession:
    """One connection, for one thread at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, list(parameters)).fetchall()

    def run_named(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def table(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        return self._connection.sql(sql, params=list(parameters)).to_arrow_table()

    def batches(self, sql: str, parameters: Sequence[object], rows: int) -> Iterator[pa.RecordBatch]:
        """The result in Arrow batches of at most `rows`, without holding all of it."""
        yield from self._connection.sql(sql, params=list(parameters)).to_arrow_reader(rows)

    @contextmanager
    def given(self, name: str, rows: pa.Table) -> Iterator[None]:
        """`rows` can be read as table `name`."""
        self._connection.register(name, rows)
        try:
            yield
        finally:
            self._connection.unregister(name)

    def close(self) -> None:
        self._connection.close()


class BrokenTransaction(Exception):
    """Ends a transaction of several writes of which one was undone."""


@dataclass(slots=True)
class _Joined:
    session: StorageSession
    is_broken: bool = False


_JOINED: ContextVar[_Joined | None] = ContextVar("joined", default=None)


class Storage:
    """The database. `data_file` None keeps everything in memory; what does not fit spills into `folder`."""

    def __init__(self, data_file: Path | None, schema: OrgSchema, folder: Path) -> None:
        self._lock = threading.RLock()
        self._jobs_lock = threading.RLock()
        self._is_file = data_file is not None
        try:
            self._root = duckdb.connect(":memory:", config={**_CONFIG, "temp_directory": str(folder / "spill")})
            where = str(data_file).replace("'", "''") if data_file else ":memory:"
            self._root.execute(f"ATTACH '{where}' AS {_CATALOG}").fetchall()
        except duckdb.Error as error:
            raise OptionError(
                f"The emulator cannot open its data file {data_file}: {error}",
                "Name a file that no other emulator has open, or leave --data-file out.",
            ) from error
        if data_file:
            data_file.chmod(0o600)  # it holds the client's secret
        self._idle: list[StorageSession] = []
        with self.reading() as session:
            _create(session, schema)

    @contextmanager
    def reading(self) -> Iterator[StorageSession]:
        """A connection that nobody else uses meanwhile."""
        if joined := _JOINED.get():
            yield joined.session
            return
        with self._connected() as session:
            yield session

    @contextmanager
    def _connected(self) -> Iterator[StorageSession]:
        try:
            session = self._idle.pop()
        except IndexError:
            session = StorageSession(self._root.cursor())
            session.run(f"USE {_CATALOG}")
        try:
            yield session
        except BaseException:
            session.close()  # it may be in the middle of a result
            raise
        else:
            self._idle.append(session)

    @contextmanager
    def writing(self) -> Iterator[StorageSession]:
        """One transaction over records: all of it is kept, or on an exception none."""
        joined = _JOINED.get()
        if joined is None:
            with self._lock, self._transaction() as session:
                yield session
            return
        try:
            yield joined.session
        except BaseException:
            joined.is_broken = True
            raise

    @contextmanager
    def joining(self) -> Iterator[None]:
        """One transaction for everything that is read and written by the threads and tasks that begin in here.

        Raises `BrokenTransaction` at the end, and nothing is kept, if one of the writes in it was undone.
        """
        with self.writing() as session:
            joined = _Joined(session)
            mark = _JOINED.set(joined)
            try:
                yield
            finally:
                _JOINED.reset(mark)
            if joined.is_broken:
                raise BrokenTransaction

    @contextmanager
    def writing_jobs(self) -> Iterator[StorageSession]:
        """One transaction over the table of jobs alone, which waits for no batch of records."""
        with self._jobs_lock, self._transaction() as session:
            yield session

    @contextmanager
    def _transaction(self) -> Iterator[StorageSession]:
        with self._connected() as session:
            session.run("BEGIN")
            try:
                yield session
            except BaseException:
                with suppress(duckdb.Error):  # what went wrong matters more; the connection is not used again
                    session.run("ROLLBACK")
                raise
            session.run("COMMIT")

    def close(self) -> None:
        with self._lock, self._jobs_lock:
            if self._is_file:
                self._root.execute(f"CHECKPOINT {_CATALOG}").fetchall()
            for session in self._idle:
                session.close()
            self._root.close()


def get_setting(session: StorageSession, name: str) -> str | None:
    rows = session.run("SELECT value FROM emulator.setting WHERE name = ?", [name])
    return str(rows[0][0]) if rows else None


def put_setting(session: StorageSession, name: str, value: str) -> None:
    session.run("INSERT OR REPLACE INTO emulator.setting VALUES (?, ?)", [name, value])


def take_numbers(session: StorageSession, name: str, count: int) -> int:
    """The first of `count` consecutive numbers that nobody else gets. Call it inside `writing`."""
    taken = session.run(
        "UPDATE emulator.setting SET value = (value::BIGINT + $1)::VARCHAR WHERE name = $2 RETURNING value::BIGINT",
        [count, f"next {name}"],
    )
    if taken:
        return int(taken[0][0]) - count
    put_setting(session, f"next {name}", str(1 + count))
    return 1


def _create(session: StorageSession, schema: OrgSchema) -> None:
    session.run("CREATE SCHEMA IF NOT EXISTS emulator")
    session.run("CREATE SCHEMA IF NOT EXISTS org")
    session.run("CREATE TABLE IF NOT EXISTS emulator.setting (name VARCHAR PRIMARY KEY, value VARCHAR)")
    session.run("CREATE TABLE IF NOT EXISTS emulator.job (id VARCHAR PRIMARY KEY, kind VARCHAR, body VARCHAR)")
    session.run(
        "CREATE TABLE IF NOT EXISTS emulator.batch"
        " (job_id VARCHAR, number INTEGER, rows INTEGER, failed INTEGER, started TIMESTAMP)"
    )
    session.run("CREATE SEQUENCE IF NOT EXISTS emulator.history_number")
    session.run("CREATE SEQUENCE IF NOT EXISTS emulator.job_number")
    session.run(
        "CREATE TABLE IF NOT EXISTS emulator.history"
        " (number BIGINT, written TIMESTAMP, source VARCHAR, operation VARCHAR,"
        " object VARCHAR, record_id VARCHAR, key VARCHAR)"
    )
    for sobject in schema:
        _create_object(session, sobject)


def _create_object(session: StorageSession, sobject: SObject) -> None:
    """Create the object's table, or add the columns that the catalog has got since the file was made."""
    wanted = {each.name: each.sql_type for each in sobject.fields}
    wanted |= {each.key_column: "VARCHAR" for each in sobject.keys}
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
    session.run(f"CREATE TABLE IF NOT EXISTS {table_of(sobject)} ({columns})")
    present = {
        row[0]: row[1]
        for row in session.run(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'org' AND table_name = ?",
            [sobject.name],
        )
    }
    for name, kind in wanted.items():
        if name not in present:
            session.run(f"ALTER TABLE {table_of(sobject)} ADD COLUMN {quoted(name)} {kind}")
        elif present[name] != kind:
            raise OptionError(
                f"The emulator's data file holds {sobject.name}.{name} as {present[name]}, the catalog says {kind}.",
                "Start with a new --data-file, and load it again.",
            )
