"""What a session needs of the database instance it is logged in to. `engine.EmulatedDatabase` is one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Protocol

from kpc.emulators.oracle.container import Container
from kpc.emulators.oracle.sql.context import SessionSettings
from kpc.emulators.oracle.sql.storage.costs import Costs
from kpc.emulators.oracle.sql.storage.scans import Scans
from kpc.emulators.oracle.sql.storage.store import TableStore
from kpc.emulators.oracle.sql.transactions.locks import LockTable


class Instance(Protocol):
    """The storage that all sessions share, and what the V$ views say about the instance."""

    store: TableStore
    locks: LockTable
    scans: Scans
    costs: Costs
    clock: Callable[[], dt.datetime]
    started_utc: dt.datetime
    container: Container

    @property
    def name(self) -> str: ...

    @property
    def con_dbid(self) -> int: ...

    def logins(self) -> list[tuple[SessionSettings, dt.datetime]]:
        """Each session's settings, and when it logged on (UTC)."""
        ...

    def forget(self, session_id: int) -> None:
        """A session has ended."""
        ...
