"""The emulator as a process of its own, engine included, seen by the unmodified driver."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pyarrow as pa
import pytest
from oracle_emulator_process import MODES, emulator

MOMENT = dt.datetime.fromisoformat("2024-02-29T23:59:58.123456")
THAI = "ขายปลีก 'กรุงเทพฯ'\n"


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with emulator(tmp_path_factory.mktemp("oracle"), *request.param) as (_, connection):
        yield connection


@pytest.fixture
def connection(target: dict[str, str]) -> Iterator[oracledb.Connection]:
    with oracledb.connect(**target) as connection:
        yield connection


@contextmanager
def table(connection: oracledb.Connection, columns: str) -> Iterator[str]:
    name = f"WIRE_{time.monotonic_ns()}"
    with connection.cursor() as cursor:
        cursor.execute(f"create table {name} ({columns})")
        try:
            yield name
        finally:
            cursor.execute(f"drop table {name} purge")


def test_the_ready_file_tells_how_to_connect_and_only_its_owner(tmp_path: Path) -> None:
    """Written once connections are accepted, mode 0600, removed at the end; the password is new each time."""
    with emulator(tmp_path) as (process, first):
        ready = tmp_path / "ready.json"
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        assert json.loads(ready.read_text()).keys() == {"dsn", "user", "password"}
        with oracledb.connect(**first) as connection:
            connection.ping()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert list(tmp_path.iterdir()) == []
    with emulator(tmp_path) as (process, second):
        assert second["password"] != first["password"]
        with pytest.raises(oracledb.DatabaseError, match="ORA-01017"):
            oracledb.connect(dsn=second["dsn"], user=second["user"], password=first["password"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_even_during_a_long_query(tmp_path: Path, number: signal.Signals) -> None:
    """Exit 0 within seconds; the client sees a lost connection."""
    with emulator(tmp_path) as (process, target):
        connection = oracledb.connect(**target)
        with table_of_numbers(connection, 3000) as name:
            busy = threading.Thread(target=_run_until_lost, args=(connection, _endless(name)))
            busy.start()
            time.sleep(0.5)
            process.send_signal(number)
            assert process.wait(10) == 0
            busy.join(10)
            assert not busy.is_alive()


@contextmanager
def table_of_numbers(connection: oracledb.Connection, rows: int) -> Iterator[str]:
    """Left behind on purpose: the process that holds it may be gone at the end."""
    name = f"WIRE_{time.monotonic_ns()}"
    with connection.cursor() as cursor:
        cursor.execute(f"create table {name} (a number(9))")
        cursor.executemany(f"insert into {name} values (:1)", [(at,) for at in range(rows)])
    connection.commit()
    yield name


def _endless(name: str) -> str:
    return f"select sum(x.a * y.a + z.a) from {name} x, {name} y, {name} z"


def _run_until_lost(connection: oracledb.Connection, sql: str) -> None:
    with pytest.raises(oracledb.Error):
        connection.cursor().execute(sql).fetchall()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    """Exit 1 with the remedy, and no ready file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "kpc.emulators.oracle", "--rows", "0", "--port", port]
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, "--ready-file", str(tmp_path / "ready.json")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert "Choose another with --port, or 0 for a free one." in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ready.json").exists()


@pytest.mark.parametrize("month", ["1", "2024-1", "2024-13", "x"])
def test_a_wrong_month_is_named(month: str) -> None:
    command = [sys.executable, "-m", "kpc.emulators.oracle", "--months", month]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - our own command
    assert done.returncode == 2
    assert f"{month} is not a month like 2024-01" in done.stderr


def test_the_unmodified_driver_stores_and_reads_every_type(connection: oracledb.Connection) -> None:
    """Through binds, tuples and data frames."""
    columns = (
        "i number(18), d number(15,2), n number, v varchar2(100), c char(5), da date, ts timestamp(6), r raw(50),"
        " bf binary_float, bd binary_double, cl clob, bl blob"
    )
    rows: list[tuple[Any, ...]] = [
        (
            10**17,
            Decimal("-12.34"),
            Decimal("1E125"),
            THAI,
            "ab",
            MOMENT.replace(microsecond=0),
            MOMENT,
            b"\x00\xff",
            0.5,
            -1e300,
            "ก" * 40_000,
            b"z" * 70_000,
        ),
        (
            -1,
            Decimal("0.01"),
            Decimal(1234567890123456789012345678901234567890),
            "x",
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
        ),
        (None, None, None, None, None, None, None, None, None, None, "short", b"\x01"),
    ]
    expected = [tuple(value.ljust(5) if at == 4 and value else value for at, value in enumerate(row)) for row in rows]
    with table(connection, columns) as name, connection.cursor() as cursor:
        cursor.setinputsizes(
            None,
            None,
            None,
            None,
            None,
            oracledb.DB_TYPE_DATE,
            oracledb.DB_TYPE_TIMESTAMP,
            None,
            oracledb.DB_TYPE_BINARY_FLOAT,
            oracledb.DB_TYPE_BINARY_DOUBLE,
            oracledb.DB_TYPE_CLOB,
            oracledb.DB_TYPE_BLOB,
        )
        cursor.executemany(f"insert into {name} values (:1,:2,:3,:4,:5,:6,:7,:8,:9,:10,:11,:12)", rows)
        connection.commit()
        with connection.cursor() as reader:
            reader.outputtypehandler = _exact
            fetched = reader.execute(f"select * from {name}").fetchall()
        assert fetched == expected
        frame = pa.table(
            connection.fetch_df_all(f"select i, d, v, c, da, ts, r, bd, cl, bl from {name}", fetch_decimals=True)
        )
        wanted = [tuple(value for at, value in enumerate(row) if at not in (2, 8)) for row in expected]
        assert [tuple(row.values()) for row in frame.to_pylist()] == wanted


def _exact(cursor: oracledb.Cursor, metadata: oracledb.FetchInfo) -> oracledb.Var | None:
    """Numbers as Decimal, LOBs as their content."""
    kinds = {
        oracledb.DB_TYPE_NUMBER: Decimal,
        oracledb.DB_TYPE_CLOB: oracledb.DB_TYPE_LONG,
        oracledb.DB_TYPE_BLOB: oracledb.DB_TYPE_LONG_RAW,
    }
    kind = kinds.get(metadata.type_code)
    return None if kind is None else cursor.var(kind, arraysize=cursor.arraysize)


def test_errors_of_the_database_leave_the_session_alive(connection: oracledb.Connection) -> None:
    """At parsing, at running and while rows are fetched."""
    cases = {
        "select * from no_such_table": "ORA-00942",
        "select 1/0 from dual": "ORA-01476",
        "select to_number('abc') from dual": "ORA-01722",
        "selec 1": "ORA-00900",
    }
    for sql, code in cases.items():
        with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match=code):
            cursor.execute(sql).fetchall()
        assert connection.cursor().execute("select 1 from dual").fetchone() == (1,)


def test_array_dml_reports_the_rows_that_failed(connection: oracledb.Connection) -> None:
    """With batch errors all others are done; without, those before the failing one."""
    with table(connection, "a number(5) primary key") as name, connection.cursor() as cursor:
        insert = f"insert into {name} values (:1)"
        cursor.executemany(insert, [(1,), (2,), (1,), (123_456,), (3,)], batcherrors=True, arraydmlrowcounts=True)
        assert [(error.offset, error.code) for error in cursor.getbatcherrors()] == [(2, 1), (3, 1438)]
        assert cursor.getarraydmlrowcounts() == [1, 1, 0, 0, 1]
        assert cursor.rowcount == 3
        with pytest.raises(oracledb.IntegrityError, match="ORA-00001"):
            cursor.executemany(insert.upper(), [(7,), (8,), (1,), (9,)], arraydmlrowcounts=True)
        assert cursor.rowcount == 2
        assert cursor.getarraydmlrowcounts() == [1, 1]
        assert cursor.execute(f"select count(*) from {name}").fetchone() == (5,)
        connection.rollback()
        assert cursor.execute(f"select count(*) from {name}").fetchone() == (0,)


def test_returning_and_plsql_give_values_back(connection: oracledb.Connection) -> None:
    """RETURNING INTO, and the current SCN as the extractor asks for it."""
    with table(connection, "a number(5), b varchar2(10)") as name, connection.cursor() as cursor:
        out = cursor.var(str)
        cursor.execute(f"insert into {name} values (1, 'ก') returning b into :1", [out])
        assert out.getvalue() == ["ก"]
        before = cursor.callfunc("dbms_flashback.get_system_change_number", int)
        connection.commit()
        assert cursor.callfunc("dbms_flashback.get_system_change_number", int) > before


def test_cancel_and_call_timeout_stop_real_queries(connection: oracledb.Connection) -> None:
    """Within seconds, and the session works on."""
    with table_of_numbers(connection, 3000) as name, connection.cursor() as cursor:
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(oracledb.OperationalError, match="ORA-01013"):
            cursor.execute(_endless(name)).fetchall()
        connection.call_timeout = 300
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            cursor.execute(_endless(name)).fetchall()
        assert time.monotonic() - started < 10
        connection.call_timeout = 0
        assert cursor.execute(f"select count(*) from {name}").fetchone() == (3000,)


def test_a_cached_statement_follows_a_changed_table(connection: oracledb.Connection) -> None:
    """New columns appear in tuples and data frames."""
    with table(connection, "a number(5)") as name, connection.cursor() as cursor:
        sql = f"select * from {name}"
        cursor.execute(f"insert into {name} values (1)")
        with connection.cursor() as reader:
            assert reader.execute(sql).fetchall() == [(1,)]
        cursor.execute(f"alter table {name} add (b varchar2(10))")
        cursor.execute(f"update {name} set b = 'new'")
        with connection.cursor() as reader:
            assert reader.execute(sql).fetchall() == [(1, "new")]
        assert pa.table(connection.fetch_df_all(sql)).to_pylist() == [{"A": 1, "B": "new"}]


def test_many_sessions_read_and_write_at_the_same_time(target: dict[str, str]) -> None:
    """Each with its own table and transaction, over a session pool; and many asyncio sessions."""
    pool = oracledb.create_pool(**target, min=2, max=6, increment=1)

    def work(at: int) -> int:
        with (
            pool.acquire() as connection,
            table(connection, "a number(9), b varchar2(20)") as name,
            connection.cursor() as cursor,
        ):
            cursor.executemany(f"insert into {name} values (:1, :2)", [(row, f"{at}-{row}") for row in range(200)])
            connection.commit()
            total = sum(row[0] for row in cursor.execute(f"select a from {name} where b like :1", [f"{at}-%"]))
            return int(total)

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(12))) == [199 * 100] * 12
    pool.close()

    async def ask(number: int) -> int:
        async with oracledb.connect_async(**target) as connection:
            [(value,)] = await connection.fetchall("select :1 * 2 from dual", [number])
            return int(value)

    async def ask_all() -> list[int]:
        return list(await asyncio.gather(*map(ask, range(15))))

    assert asyncio.run(ask_all()) == [2 * number for number in range(15)]
