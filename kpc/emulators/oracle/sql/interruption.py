"""A break from another thread: it stops what DuckDB is doing, and is noticed between two steps."""

from __future__ import annotations

import contextlib

import duckdb

from kpc.emulators.oracle.sql.messages import ora


def stop_running(connection: duckdb.DuckDBPyConnection) -> None:
    """Interrupt what runs on a connection of another thread, which may close it at the same moment."""
    with contextlib.suppress(duckdb.ConnectionException):
        connection.interrupt()


class Interruption:
    """Used by the session's thread, except `interrupt`."""

    def __init__(self) -> None:
        self._is_interrupted = False
        self._running: duckdb.DuckDBPyConnection | None = None

    def begin(self) -> None:
        """Start a new call and clear any older break."""
        self._is_interrupted = False

    def watch(self, connection: duckdb.DuckDBPyConnection) -> None:
        """From here on a break stops what runs on `connection`."""
        self._running = connection

    def end(self) -> None:
        self._running = None

    def interrupt(self) -> None:
        self._is_interrupted = True
        running = self._running
        if running is not None:
            stop_running(running)

    def check(self) -> None:
        """Raises ORA-01013 after a break."""
        if self._is_interrupted:
            raise ora(1013)
