"""Logging in with the unmodified driver: who gets in, who does not, and what each is told."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import PASSWORD, FixedDatabase, connect

from kpc.emulators.oracle.interface import OraColumn, OraError, OraType
from kpc.emulators.oracle.wire.login.logon import ListenerOptions
from kpc.emulators.oracle.wire.server import Listener

ONE = "select 1 from dual"


@pytest.fixture
def database() -> FixedDatabase:
    database = FixedDatabase()
    database.table(ONE, [OraColumn("1", OraType.NUMBER, scale=-127)], pa.record_batch([pa.array([1])], names=["1"]))
    return database


def test_the_driver_logs_in_queries_and_leaves(server: Listener, database: FixedDatabase) -> None:
    """With real authentication, in every mode; the session ends with the connection."""
    with connect(server) as connection:
        assert connection.version == "19.3.0.0.0"
        assert connection.service_name == "KPCDB"
        assert connection.max_open_cursors == 1000
        with connection.cursor() as cursor:
            assert cursor.execute(ONE).fetchall() == [(1,)]
        connection.ping()
    assert _eventually(lambda: all(session.is_closed for session in database.sessions))


@pytest.mark.parametrize(("user", "password"), [("kpc", "wrong"), ("nobody", PASSWORD), ("kpc", "x" * 64)])
def test_wrong_password_and_unknown_user_are_told_the_same(server: Listener, user: str, password: str) -> None:
    """ORA-01017 for both: nobody learns which users exist."""
    with pytest.raises(oracledb.DatabaseError, match="ORA-01017: invalid username/password; logon denied"):
        connect(server, user=user, password=password)
    with connect(server) as connection:
        connection.ping()


def test_quoted_users_keep_their_case(database: FixedDatabase, server: Listener) -> None:
    """And unquoted ones are upper-cased."""
    database.users["Mixed"] = "pässwörd-กขค"
    with connect(server, user='"Mixed"', password="pässwörd-กขค") as connection:
        connection.ping()
    with pytest.raises(oracledb.DatabaseError, match="ORA-01017"):
        connect(server, user="Mixed", password="pässwörd-กขค")


def test_unknown_service_is_refused_as_a_listener_does(server: Listener) -> None:
    """ORA-12514 for a service, ORA-12505 for a SID."""
    with pytest.raises(oracledb.OperationalError, match=r"DPY-6001.*ORA-12514"):
        connect(server, dsn=f"127.0.0.1:{server.port}/NOSUCH")
    with pytest.raises(oracledb.OperationalError, match=r"DPY-6003.*ORA-12505"):
        connect(server, dsn=oracledb.makedsn("127.0.0.1", server.port, sid="NOSUCH"))


def test_a_long_connect_string_travels_in_its_own_packet(server: Listener) -> None:
    """More than 230 bytes of connect data."""
    padding = "".join(f"(ADDRESS=(PROTOCOL=tcp)(HOST=127.0.0.1)(PORT={server.port}))" for _ in range(6))
    dsn = f"(DESCRIPTION=(ADDRESS_LIST={padding})(CONNECT_DATA=(SERVICE_NAME=KPCDB)))"
    with connect(server, dsn=dsn) as connection:
        connection.ping()


def test_a_refused_login_reaches_the_client_with_its_code(database: FixedDatabase, server: Listener) -> None:
    """For example a locked account."""
    database.login_error = OraError(28000, "The account is locked.")
    with pytest.raises(oracledb.DatabaseError, match="ORA-28000: The account is locked"):
        connect(server)


def test_privileged_logins_are_refused(server: Listener) -> None:
    """There is no SYSDBA here."""
    with pytest.raises(oracledb.DatabaseError, match="ORA-01031"):
        connect(server, mode=oracledb.AUTH_MODE_SYSDBA)


def test_the_session_knows_its_program_and_attributes(server: Listener, database: FixedDatabase) -> None:
    """What V$SESSION shows: set at login, changed with the next call."""
    with connect(server, program="extractor", machine="here") as connection:
        connection.module, connection.action = "kpc", "extract"
        connection.clientinfo, connection.client_identifier = "กะดึก", "run-7"
        connection.current_schema = "KPS"
        connection.ping()
        attributes = database.sessions[-1].attributes
        assert (
            attributes.items()
            >= {
                "service": "KPCDB",
                "program": "extractor",
                "machine": "here",
                "module": "kpc",
                "action": "extract",
                "client_info": "กะดึก",
                "client_identifier": "run-7",
                "current_schema": "KPS",
            }.items()
        )
        connection.action = None
        connection.ping()
        assert attributes["action"] in (None, "")


def test_many_connections_work_at_the_same_time(server: Listener) -> None:
    """Forty threads, each with its own connection and queries."""

    def work(_: int) -> int:
        with connect(server) as connection, connection.cursor() as cursor:
            return sum(cursor.execute(ONE).fetchone()[0] for _ in range(5))

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(work, range(40))) == [5] * 40


def test_session_pools_hand_out_and_take_back(server: Listener, database: FixedDatabase) -> None:
    """Fewer sessions than borrowers, pings in between, all closed at the end."""
    pool = oracledb.create_pool(
        user="kpc", password=PASSWORD, dsn=f"127.0.0.1:{server.port}/KPCDB", min=1, max=3, increment=1, ping_interval=0
    )

    def work(_: int) -> int:
        with pool.acquire() as connection, connection.cursor() as cursor:
            return int(cursor.execute(ONE).fetchone()[0])

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(work, range(30))) == 30
    pool.close()
    assert 1 <= len(database.sessions) <= 3
    assert _eventually(lambda: all(session.is_closed for session in database.sessions))


def test_the_asyncio_driver_works_the_same_way(server: Listener) -> None:
    """Connect, query, data frame and many at once."""

    async def work() -> list[int]:
        async def one() -> int:
            async with oracledb.connect_async(
                user="kpc", password=PASSWORD, dsn=f"127.0.0.1:{server.port}/KPCDB"
            ) as connection:
                with connection.cursor() as cursor:
                    await cursor.execute(ONE)
                    [(value,)] = await cursor.fetchall()
                frame = await connection.fetch_df_all(ONE)
                return int(value) + int(frame.num_rows())

        return list(await asyncio.gather(*(one() for _ in range(10))))

    assert asyncio.run(work()) == [2] * 10


def test_pipelines_of_the_asyncio_driver_are_answered_in_order(server: Listener) -> None:
    """Several requests sent before the first answer (one by one where the server cannot pipeline)."""

    async def work() -> list[object]:
        async with oracledb.connect_async(
            user="kpc", password=PASSWORD, dsn=f"127.0.0.1:{server.port}/KPCDB"
        ) as connection:
            pipeline = oracledb.create_pipeline()
            for _ in range(3):
                pipeline.add_fetchall(ONE)
            pipeline.add_commit()
            return [result.rows for result in await connection.run_pipeline(pipeline)]

    assert asyncio.run(work()) == [[(1,)]] * 3 + [None]


def test_stopping_the_server_ends_sessions_and_frees_the_port(database: FixedDatabase) -> None:
    """No thread and no socket stays behind; clients see a lost connection."""
    before = threading.active_count()
    server = Listener(database)
    port = server.start()
    connection = connect(server)
    server.stop()
    with pytest.raises(oracledb.DatabaseError, match=r"DPY-4011|DPY-1001"):
        connection.ping()
    assert _eventually(lambda: threading.active_count() <= before)
    assert all(session.is_closed for session in database.sessions)
    with Listener(database, port=port):
        pass


def test_a_client_that_never_speaks_is_sent_away(database: FixedDatabase) -> None:
    """A silent connection does not hold its thread for ever."""
    with (
        Listener(database, options=ListenerOptions(login_timeout_s=0.2)) as server,
        socket.create_connection(("127.0.0.1", server.port), 5) as sock,
    ):
        assert sock.recv(1) == b""


def _eventually(condition: object, seconds: float = 5.0) -> bool:
    """Poll, because a connection's thread ends a moment after its client."""
    done = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():  # type: ignore[operator]
            return True
        done.wait(0.02)
    return False
