"""Cancelled calls, time-outs and clients that die, with the unmodified driver."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import FixedDatabase, FixedSession, check_usable, connect

from kpc.emulators.oracle.interface import (
    Bind,
    ExecutionOutcome,
    OraColumn,
    OraError,
    OraType,
    StatementKind,
)
from kpc.emulators.oracle.wire.server import Listener

ONE_BIND = "insert into t values (:1)"
SLOW = "select slow from t"


def _slow(session: FixedSession, _rows: object) -> ExecutionOutcome:
    """Runs until it is interrupted, as a long query does."""
    if not session.interrupted.wait(20):
        return ExecutionOutcome(StatementKind.QUERY)
    raise OraError(1013, "user requested cancel of current operation")


def test_cancel_interrupts_the_running_call(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """ORA-01013 soon, and the session is usable."""
    database.answers[SLOW] = _slow
    timer = threading.Timer(0.2, connection.cancel)
    timer.start()
    started = time.monotonic()
    with connection.cursor() as cursor, pytest.raises(oracledb.OperationalError, match="ORA-01013"):
        cursor.execute(SLOW)
    assert time.monotonic() - started < 15
    check_usable(connection, database)


def test_call_timeout_interrupts_the_running_call(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """DPY-4024 after the time, and the session is usable."""
    database.answers[SLOW] = _slow
    connection.call_timeout = 200
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        cursor.execute(SLOW)
    connection.call_timeout = 0
    check_usable(connection, database)


def test_a_slow_call_ends_normally_when_nobody_interrupts(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Long enough that the socket was being watched."""

    def slow(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        time.sleep(0.2)
        return ExecutionOutcome(StatementKind.DML, row_count=len(rows))

    database.answers[ONE_BIND] = slow
    with connection.cursor() as cursor:
        cursor.execute(ONE_BIND, [1])
        assert cursor.rowcount == 1


def test_cancel_on_an_idle_connection_hits_the_next_call_only(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """As with a real database: the statement after it fails with ORA-01013, and the one after that works."""
    connection.cancel()
    with pytest.raises(oracledb.OperationalError, match="ORA-01013"):
        connection.ping()
    check_usable(connection, database)


def test_a_value_that_the_client_cannot_decode_leaves_the_session_usable(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """The client breaks off in the middle of many rows and resets the stream."""
    rows = 20_000
    text = pa.array([b"\xff\xfe"] + [b"x"] * (rows - 1), pa.binary())
    columns = [OraColumn("A", OraType.VARCHAR2, size=10, chars=10)]
    database.table("select bad from t", columns, pa.record_batch([text], names=["A"]))
    with connection.cursor() as cursor, pytest.raises(UnicodeDecodeError):
        cursor.prefetchrows = cursor.arraysize = rows
        cursor.execute("select bad from t").fetchall()
    check_usable(connection, database)


def test_a_client_that_dies_during_a_call_is_noticed(server: Listener, database: FixedDatabase) -> None:
    """The call is interrupted and the session closed, with nobody left to tell."""
    database.answers[SLOW] = _slow

    connection = connect(server)
    session = database.sessions[-1]
    thread = threading.Thread(target=_run_and_fail, args=(connection,))
    thread.start()
    while not session.executed:
        time.sleep(0.01)
    _sever(server)
    assert session.interrupted.wait(30)
    thread.join(10)
    deadline = time.monotonic() + 30
    while not session.is_closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session.is_closed


def _run_and_fail(connection: oracledb.Connection) -> None:
    with pytest.raises(oracledb.Error):
        connection.cursor().execute(SLOW)


def _sever(server: Listener) -> None:
    """Cut the server's side of every connection, as a dying network does."""
    for sock in list(server._sockets.values()):  # noqa: SLF001 - there is no other way to break a healthy connection
        sock.shutdown(socket.SHUT_RD)
