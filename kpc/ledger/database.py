"""The ledger's database: engine, transactions, and translation of its errors."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    CursorResult,
    Engine,
    Table,
    and_,
    create_engine,
    event,
    insert,
    make_url,
    text,
    update,
)
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    ProgrammingError,
)

from kpc.errors import ConfigError, KpcError, OutOfSpace, Transient
from kpc.file_errors import explained
from kpc.ledger.fencing import Lease, check_lease
from kpc.private_files import keep_private, make_private
from kpc.setting_sources import expanded

BUSY_TIMEOUT_S = 60.0  # how long SQLite waits for another writer
CONNECT_TIMEOUT_S = 10
_RAISED = "P0001"  # PostgreSQL's code of what a trigger refuses
_IDLE_IN_TRANSACTION_S = 60  # after which PostgreSQL ends a transaction whose client says nothing
_WRITES = "kpc_writes"  # execution option: this transaction will write
_MISCONFIGURED = re.compile(
    r"password authentication failed|no password supplied|does not exist|no pg_hba.conf entry|"
    r"permission denied|invalid dsn|invalid connection option",
    re.IGNORECASE,
)
_FULL = re.compile(r"disk is full|no space left|disk full", re.IGNORECASE)
_MAY_PASS = re.compile(r"is locked|I/O error", re.IGNORECASE)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def make_engine(url: str, *, is_durable: bool = True, makes_folder: bool = True) -> Engine:
    """An engine for a SQLite file or a PostgreSQL database. Raises `ConfigError` for any other address."""
    parsed = _parse(url)
    if parsed.drivername == "postgresql+psycopg2":
        engine = create_engine(
            parsed, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "kpc"}
        )
        event.listen(engine, "connect", _configure_postgres)
        return engine
    _prepare_folder(Path(parsed.database or ""), is_made=makes_folder)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure_sqlite if is_durable else _configure_scratch)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is no number
        raise ConfigError(
            "The ledger's address is not a database URL.",
            "Set KPC__LEDGER_URL to sqlite:///FILE or postgresql+psycopg2://USER@HOST/DATABASE.",
        ) from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        return parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database and parsed.database != ":memory:":
        if parsed.query:
            raise ConfigError(
                f"The ledger's address has parameters that a SQLite file does not take: {', '.join(parsed.query)}.",
                "Set KPC__LEDGER_URL to sqlite:///FILE.",
            )
        file = expanded(parsed.database, "The file in KPC__LEDGER_URL")
        return parsed.set(drivername="sqlite+pysqlite", database=str(file))
    raise ConfigError(
        f"The ledger cannot be kept in {parsed.drivername}{'' if parsed.database else ' without a file or database'}.",
        "Set KPC__LEDGER_URL to sqlite:///FILE (one machine) or postgresql+psycopg2://USER@HOST/DATABASE.",
    )


def _prepare_folder(file: Path, *, is_made: bool) -> None:
    """Make the ledger's folder, or require it. Raises `ConfigError` if the ledger cannot be a file in it."""
    remedy = "Point KPC__LEDGER_URL at the ledger's own folder; make it first if this is to be a new ledger."
    try:
        if is_made:
            make_private(file.parent)
        is_there, is_other = file.parent.is_dir(), file.exists() and not file.is_file()
    except OSError as error:
        raise explained(error, f"The ledger's folder {file.parent}", remedy) from None
    if not is_there:
        raise ConfigError(f"The ledger's folder {file.parent} does not exist.", remedy)
    if is_other:
        raise ConfigError(f"The ledger {file} is a folder or a device, not a file.", remedy)
    keep_private(file)  # SQLite gives its journal and its index of shared memory the same mode


def _configure_postgres(connection: Any, _record: object) -> None:
    """A worker that is paused or lost in the middle of a transaction must not keep its locks from all others."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION_S}s'")
    connection.commit()


def _configure_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by _begin_sqlite; the driver's own implicit BEGIN would come too late for IMMEDIATE.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")


def _configure_scratch(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY")


def _begin_sqlite(connection: Connection) -> None:
    # Otherwise a transaction that reads before it writes would fail with "database is locked" instead of waiting.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Translate the driver's errors into ours, without the URL's password.

    Two kinds pass: by `IntegrityError` callers learn that another worker was first, and an `InternalError` may be a
    trigger of the ledger that refuses a change.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        if isinstance(error, InternalError) and getattr(error.orig, "pgcode", None) in (None, _RAISED):
            raise
        raise _explained(engine, error) from None


def _explained(engine: Engine, error: DBAPIError) -> KpcError:
    where = engine.url.render_as_string(hide_password=True)
    # The text of a DataError quotes the value.
    reason = type(error).__name__ if isinstance(error, DataError) else " ".join(str(error.orig).split())
    if engine.url.password:
        reason = reason.replace(str(engine.url.password), "***")
    if _FULL.search(reason):
        return OutOfSpace(f"The ledger {where} has no room: {reason}.", "Free space on its disk and run it again.")
    if engine.dialect.name == "sqlite" and not _MAY_PASS.search(reason):
        return ConfigError(
            f"The ledger {where} cannot be used: {reason}.",
            "Point KPC__LEDGER_URL at the ledger's own file, in a folder that this user may write; restore a damaged "
            "one from its backup.",
        )
    if _MISCONFIGURED.search(reason) or isinstance(error, DataError | ProgrammingError | NotSupportedError):
        return ConfigError(
            f"The ledger {where} refuses the login or a statement: {reason}.",
            "Correct KPC__LEDGER_URL, or create the database and its user.",
        )
    return Transient(
        f"The ledger {where} does not answer: {reason}.",
        "Check that the database is running and reachable, then repeat the command; nothing is lost.",
    )


class Database:
    """Transactions on the ledger, and its clock; shared by all parts of the ledger."""

    def __init__(self, engine: Engine, clock: Clock = utc_now) -> None:
        self.engine = engine
        self.clock = clock
        self._joined = threading.local()  # the transaction of `together`, in the thread that opened it

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for all that this thread reads and writes in the block: a row and what vouches for it."""
        if self._outer is not None:
            yield
            return
        with self.writing() as connection:
            self._joined.connection = connection
            try:
                yield
            finally:
                self._joined.connection = None

    @property
    def _outer(self) -> Connection | None:
        return getattr(self._joined, "connection", None)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self._outer is not None:
            yield self._outer
            return
        with translated(self.engine), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, lease: Lease | None = None) -> Iterator[Connection]:
        """A transaction, committed on exit. With a lease, raises `LeaseLost` if its holder has changed."""
        if self._outer is not None:
            if lease is not None:
                check_lease(self._outer, lease)
            yield self._outer
            return
        with translated(self.engine), self.engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin():
                if lease is not None:
                    check_lease(connection, lease)
                yield connection

    def one_at_a_time(self, connection: Connection, what: str) -> None:
        """Hold the lock called `what` until the transaction ends, waiting for other holders.

        SQLite has only one writer anyway.
        """
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 7406))"), {"what": what})

    def upsert(self, table: Table, where: dict[str, str], values: dict[str, Any]) -> None:
        """Update the row with key `where`, or insert it. Safe when several workers do so at the same time."""
        condition = and_(*(table.c[name] == value for name, value in where.items()))
        try:
            with self.writing() as connection:
                if connection.execute(update(table).where(condition).values(values)).rowcount == 0:
                    connection.execute(insert(table).values(**where, **values))
        except IntegrityError:  # another worker inserted the row first
            with self.writing() as connection:
                connection.execute(update(table).where(condition).values(values))

    def close(self) -> None:
        self.engine.dispose()


def inserted_id(inserted: CursorResult[Any]) -> int:
    """The id of the row that was just inserted."""
    return int(inserted.inserted_primary_key[0]) if inserted.inserted_primary_key else 0
