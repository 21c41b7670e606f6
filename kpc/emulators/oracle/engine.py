"""The database behind the listener: DuckDB, users, sessions, system change numbers (`interface.ServedDatabase`)."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kpc.emulators.oracle.container import Container, database_id
from kpc.emulators.oracle.interface import StatementKind
from kpc.emulators.oracle.sql.context import SessionSettings
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.session import EmulatedSession
from kpc.emulators.oracle.sql.storage.character_set import UNICODE, CharacterSet
from kpc.emulators.oracle.sql.storage.costs import Costs
from kpc.emulators.oracle.sql.storage.grants import DBA, OWNERS, User
from kpc.emulators.oracle.sql.storage.physical import TableStatistics
from kpc.emulators.oracle.sql.storage.scans import Scans
from kpc.emulators.oracle.sql.storage.store import TableStore
from kpc.emulators.oracle.sql.transactions.locks import LockTable

MAX_SESSIONS = 500
ROWS_IN_MEMORY = 1_000_000
DEFAULT_MONTHS = ("2024-01", "2024-02", "2024-03")


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


class EmulatedDatabase:
    """One pluggable database of a container.

    `folder` None keeps everything in memory; otherwise DuckDB's file lies in it, and `close` removes it.
    `scale` is the number of rows that each stored row stands for when a statement's cost is reckoned; 0: no cost.
    """

    def __init__(
        self,
        service_names: tuple[str, ...],
        *,
        folder: Path | None = None,
        scale: int = 1,
        character_set: str = UNICODE,
        clock: Callable[[], dt.datetime] = _utc_now,
        container: Container | None = None,
    ) -> None:
        self.service_names = service_names
        self.container = container or Container()
        self.version = (19, 3, 0, 0, 0)
        self.clock = clock
        self.started_utc = clock()
        self._folder = folder
        path = str(folder / "oracle.duckdb") if folder else ":memory:"
        self.store: TableStore = TableStore(path, clock, CharacterSet(character_set))
        self.locks = LockTable()
        self.sessions: dict[int, EmulatedSession] = {}
        self.scans = Scans(self.store)
        self.costs = Costs(self.store, scale)
        self.session_limit: int | None = None
        self._next_session = 0
        self._guard = threading.Lock()

    @property
    def name(self) -> str:
        return self.service_names[0].split(".")[0].upper()

    @property
    def con_dbid(self) -> int:
        """V$DATABASE.CON_DBID: this pluggable database's own."""
        return database_id(f"{self.container.name}:{self.name}")

    def create_user(self, user: str, password: str, privileges: Iterable[str] = OWNERS) -> None:
        self.store.grants.users[user] = User(user, password, set(privileges))

    def password_of(self, user: str) -> str | None:
        found = self.store.grants.users.get(user)
        return found.password if found else None

    def login(self, user: str, *, service: str, program: str = "", machine: str = "") -> EmulatedSession:
        found = self.store.grants.users.get(user)
        if found is None:
            raise ora(1017)
        if found.is_locked:
            raise ora(28000)
        if not self.store.grants.has_system(user, "CREATE SESSION"):
            raise ora(1045, user)
        with self._guard:
            if len(self.sessions) >= min(MAX_SESSIONS, self.session_limit or MAX_SESSIONS):
                raise ora(18)
            mine = sum(session.user == user for session in self.sessions.values())
            most = self.store.facts.most_sessions()
            if most is not None and mine >= most:
                raise ora(2391)
            self._next_session += 1
            number = self._next_session
        settings = SessionSettings(
            user, user, number, 1 + number % 60_000, service, self.name, program, machine, facts=self.store.facts
        )
        settings.container = self.container.name
        settings.character_set = self.store.character_set.name
        session = EmulatedSession(self, settings)
        with self._guard:
            self.sessions[number] = session
        return session

    def logins(self) -> list[tuple[SessionSettings, dt.datetime]]:
        return [(session.settings, session.logged_on_utc) for session in list(self.sessions.values())]

    def forget(self, session_id: int) -> None:
        with self._guard:
            self.sessions.pop(session_id, None)

    def rows_scanned(self) -> dict[str, int]:
        return self.scans.rows_by_table()

    def forget_scans(self) -> None:
        self.scans.forget()

    def gather_statistics(self) -> None:
        """Give every table statistics for the dictionary."""
        cursor = self.store.cursor()
        for table in self.store.tables():
            self.costs.gather(table, cursor, self.clock())
        cursor.close()

    def limit(self, *, undo_retention: int | None, session_limit: int | None) -> None:
        """Limit how many SCNs of undo are kept and how many sessions may log in; None means no limit."""
        self.store.undo_retention = undo_retention
        self.session_limit = session_limit

    def run_as_dba(self, sql: str, schema: str | None = None) -> int:
        """Run one statement with every right, names meaning those of `schema` (the first user's), and commit it."""
        owner = schema or next(iter(self.store.grants.users))
        session = EmulatedSession(
            self, SessionSettings(DBA, owner, 0, 1, self.service_names[0], self.name, "admin", "")
        )
        try:
            statement = session.prepare(sql)
            outcome = session.execute(statement, [])
            if statement.kind is StatementKind.QUERY and outcome.rows is not None:
                return sum(batch.num_rows for batch in outcome.rows.batches())
            session.commit()
        finally:
            session.close()
        return outcome.row_count

    def change_facts(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """What a DBA sets (`InstanceFacts`); all facts as they are then. Raises `OptionError`."""
        self.store.facts.change(wanted)
        for table in self.store.tables():
            if table.name in self.store.facts.statistics:
                rows, blocks = self.store.facts.statistics[table.name]
                table.statistics = TableStatistics(rows, blocks, 200, self.clock(), ())
        return asdict(self.store.facts)

    def expire_undo(self) -> None:
        """From here on, `AS OF` any SCN before now is ORA-01555 (a fault switch)."""
        self.store.forget_undo()

    def open_resetlogs(self) -> None:
        """A new incarnation of the container. Undo stays, as on a standby database that takes over."""
        self.container.open_resetlogs(self.store.advance())

    def close(self) -> None:
        for session in list(self.sessions.values()):
            session.interrupt()
            session.close()
        self.store.connection.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """The KPS tables to make: about `rows` rows in all, `bad_rows` of which a staging rule must reject."""

    rows: int
    seed: int = 42
    bad_rows: int = 0
    months: tuple[str, ...] = DEFAULT_MONTHS
    layout: str = "heap"  # of monthly tables: heap, index (on the date) or partitions (by month)
    stored_through: str | None = None  # text was stored as bytes of TIS620 or MSWIN874: a wrong NLS_LANG


def open_database(
    *,
    user: str,
    password: str,
    service_names: tuple[str, ...] = ("KPCDB",),
    seed: SeedPlan | None = None,
    scale: int = 1,
    character_set: str = UNICODE,
    container: Container | None = None,
) -> EmulatedDatabase:
    """A database with one user, who owns the KPS tables when a `seed` is given.

    Many rows go to a DuckDB file in a temporary folder, so that memory stays bounded.
    """
    is_large = seed is not None and seed.rows > ROWS_IN_MEMORY
    folder = Path(tempfile.mkdtemp(prefix="oracle-emulator-")) if is_large else None
    database = EmulatedDatabase(
        service_names, folder=folder, scale=scale, character_set=character_set, container=container
    )
    database.create_user(user.upper(), password)
    if seed is not None:
        from kpc.emulators.oracle import seed as seeding  # noqa: PLC0415  the catalog and numpy are needed only here

        seeding.fill(database.store, user.upper(), seed)
        database.gather_statistics()
    return database
