"""Statements with the unmodified driver: binds of every type, arrays, OUT values, parsing, errors, transactions."""

from __future__ import annotations

import datetime as dt
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import MODE_NAMES, MODES, FixedDatabase, FixedSession, connect
from parameter_ids import short

from kpc.emulators.oracle.interface import Bind, BindValue, OraColumn, OraError, OraType, Outcome, StatementKind
from kpc.emulators.oracle.requests import return_binds
from kpc.emulators.oracle.server import Server

INSERT = "insert into t values (:1, :2)"
ONE_BIND = "insert into t values (:1)"
MOMENT = dt.datetime.fromisoformat("2024-02-29T23:59:58.123456")


@pytest.fixture
def database() -> FixedDatabase:
    return FixedDatabase()


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def server(request: pytest.FixtureRequest, database: FixedDatabase) -> Iterator[Server]:
    with Server(database, options=request.param) as server:
        yield server


@pytest.fixture
def connection(server: Server) -> Iterator[oracledb.Connection]:
    with connect(server) as connection:
        yield connection


def _dml(session: FixedSession, rows: Sequence[Sequence[Bind]]) -> Outcome:
    session.in_transaction = True
    return Outcome(StatementKind.DML, row_count=len(rows), row_counts=[1] * len(rows))


def _received(database: FixedDatabase) -> list[list[BindValue]]:
    return [[bind.value for bind in row] for _, rows in database.sessions[-1].executed for row in rows]


BIND_VALUES = [
    0, 1, -1, 99, 100, -100, 10**18, -(10**18), 2**63 - 1, 10**37, 10**125, -(10**125), 255, 256, 65535, 65536,
    2**31, -(2**31), Decimal("0.01"), Decimal("-123456789012345678901234567890.12345678"), Decimal("1E-120"),
    Decimal(1234567890123456789012345678901234567890),
    "text", "ภาษาไทย", "x" * 252, "x" * 253, "x" * 32767, "ก" * 10_000, "x" * 100_000, "ก" * 50_000,
    b"raw", b"\x00" * 300, b"z" * 100_000,
    MOMENT.replace(microsecond=0), None,
    dt.timedelta(days=5, seconds=1), -dt.timedelta(hours=1, microseconds=3),
]  # fmt: skip


@pytest.mark.parametrize("value", BIND_VALUES, ids=lambda value: f"{type(value).__name__}-{short(str(value), 16)}")
def test_every_bind_arrives_exactly(connection: oracledb.Connection, database: FixedDatabase, value: BindValue) -> None:
    """The first execution, and again by the short request; a second bind shows that nothing shifts."""
    database.answers[INSERT] = _dml
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [value, 7])
        cursor.execute(INSERT, [value, 8])
        assert cursor.rowcount == 1
    assert _received(database) == [[value, 7], [value, 8]]


@pytest.mark.parametrize(
    ("db_type", "value"),
    [
        (oracledb.DB_TYPE_TIMESTAMP, MOMENT),
        (oracledb.DB_TYPE_TIMESTAMP_TZ, MOMENT),
        (oracledb.DB_TYPE_TIMESTAMP_LTZ, MOMENT.replace(microsecond=0)),
        (oracledb.DB_TYPE_BINARY_DOUBLE, -1.5e300),
        (oracledb.DB_TYPE_BINARY_FLOAT, 0.25),
        (oracledb.DB_TYPE_NVARCHAR, "ก" * 300),
        (oracledb.DB_TYPE_CHAR, "ab "),
        (oracledb.DB_TYPE_BINARY_INTEGER, -12345),
        (oracledb.DB_TYPE_CLOB, "ก" * 40_000),
        (oracledb.DB_TYPE_NCLOB, "ไทย"),
        (oracledb.DB_TYPE_BLOB, b"\x00\x01" * 40_000),
        (oracledb.DB_TYPE_LONG, "x" * 70_000),
        (oracledb.DB_TYPE_ROWID, "AAAR3sAAEAAAACXAAB"),
        (oracledb.DB_TYPE_BOOLEAN, True),
        (oracledb.DB_TYPE_BOOLEAN, False),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_declared_bind_types_arrive_exactly(
    connection: oracledb.Connection, database: FixedDatabase, db_type: oracledb.DbType, value: BindValue
) -> None:
    """With `setinputsizes`, among NULLs."""
    database.answers[INSERT] = _dml
    with connection.cursor() as cursor:
        cursor.setinputsizes(db_type, oracledb.DB_TYPE_NUMBER)
        cursor.execute(INSERT, [value, 7])
        cursor.setinputsizes(db_type, oracledb.DB_TYPE_NUMBER)
        cursor.execute(INSERT, [None, 8])
    assert _received(database) == [[value, 7], [None, 8]]


def test_an_array_of_binds_arrives_row_by_row(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Ten thousand rows, long values behind short ones, NULLs."""
    database.answers[INSERT] = _dml
    rows = [(f"text {at}" if at % 3 else None, at - 5000) for at in range(10_000)]
    wide = [("ก" * 40_000, 1), (None, 2), ("short", 3)]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)
        assert cursor.rowcount == 10_000
        cursor.executemany(INSERT, wide)
    assert _received(database) == [list(row) for row in [*rows, *wide]]


def test_a_data_frame_can_be_inserted(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """`executemany` with Arrow data."""
    database.answers[INSERT] = _dml
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, pa.table({"A": ["a", None, "ก"], "B": [1, 2, None]}))
    assert _received(database) == [["a", 1], [None, 2], ["ก", None]]


def test_row_counts_and_batch_errors_of_an_array_reach_the_client(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Counts per row, and the offset, code and text of each failed row; nothing is committed automatically."""

    def partly(session: FixedSession, rows: Sequence[Sequence[Bind]]) -> Outcome:
        session.in_transaction = True
        errors = [
            (1, OraError(1, "unique constraint (T.PK) violated")),
            (70_000 % len(rows), OraError(1438, "value larger")),
        ]
        return Outcome(StatementKind.DML, row_count=len(rows) - 2, row_counts=[1, 0, 2], batch_errors=errors)

    database.answers[ONE_BIND] = partly
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.executemany(ONE_BIND, [(at,) for at in range(300)], batcherrors=True, arraydmlrowcounts=True)
        assert cursor.rowcount == 298
        assert cursor.getarraydmlrowcounts() == [1, 0, 2]
        errors = [(error.offset, error.full_code, error.message.splitlines()[0]) for error in cursor.getbatcherrors()]
    assert errors == [
        (1, "ORA-00001", "ORA-00001: unique constraint (T.PK) violated"),
        (100, "ORA-01438", "ORA-01438: value larger"),
    ]
    assert database.sessions[-1].flags == (True, True)
    assert database.sessions[-1].commits == 0


def test_a_failing_row_of_an_array_tells_what_was_done_before_it(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """The row count, and the counts row by row; the rows before stay done."""

    def fail_at_third(_session: FixedSession, _rows: object) -> Outcome:
        error = OraError(1, "unique constraint (T.PK) violated")
        error.row_offset, error.row_count, error.row_counts = 2, 4, [1, 3]
        raise error

    database.answers[ONE_BIND] = fail_at_third
    with connection.cursor() as cursor:
        with pytest.raises(oracledb.IntegrityError):
            cursor.executemany(ONE_BIND, [(1,), (2,), (3,)], arraydmlrowcounts=True)
        assert cursor.rowcount == 4
        assert cursor.getarraydmlrowcounts() == [1, 3]


def test_transactions_end_as_the_client_wishes(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Autocommit, commit, rollback; the open transaction is known to the client."""
    database.answers[ONE_BIND] = _dml
    session = database.sessions[-1]
    cursor = connection.cursor()
    cursor.execute(ONE_BIND, [1])
    assert connection.transaction_in_progress
    connection.commit()
    assert (session.commits, connection.transaction_in_progress) == (1, False)
    cursor.execute(ONE_BIND, [1])
    connection.rollback()
    assert (session.commits, session.in_transaction) == (1, False)
    connection.autocommit = True
    cursor.execute(ONE_BIND, [1])
    cursor.execute(ONE_BIND, [2])
    assert session.commits == 3


def test_plsql_gives_out_values_of_every_type(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Numbers, text, dates, LOBs and NULL, in one block, twice."""
    sql = "begin p(:a, :b, :c, :d, :e, :f); end;"
    values: list[BindValue] = [Decimal("-12345678901234567890.5"), "กขค" * 100, MOMENT, None, "y" * 90_000, b"\x01\x02"]

    def block(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> Outcome:
        assert [bind.value for bind in rows[0]] == [None] * 6
        return Outcome(StatementKind.PLSQL, out={at: [value] for at, value in enumerate(values)})

    database.answers[sql] = block
    types = [
        oracledb.DB_TYPE_NUMBER,
        str,
        oracledb.DB_TYPE_TIMESTAMP,
        int,
        oracledb.DB_TYPE_CLOB,
        oracledb.DB_TYPE_BLOB,
    ]
    for _ in range(2):
        with connection.cursor() as cursor:
            variables = [cursor.var(kind, outconverter=None) for kind in types]
            cursor.execute(sql, variables)
            got = [variable.getvalue() for variable in variables]
        assert (got[0], got[1], got[2], got[3]) == (float(values[0]), values[1], MOMENT, None)  # type: ignore[arg-type]
        assert (got[4].read(), got[5].read()) == (values[4], values[5])


def test_plsql_functions_and_in_out_parameters_work(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """`callfunc`, and a parameter that goes both ways on every execution."""
    function = "begin :retval := dbms_flashback.get_system_change_number(); end;"
    database.answers[function] = lambda _s, _r: Outcome(StatementKind.PLSQL, out={0: [987654321]})
    sql = "begin :x := :x * 2; end;"
    database.answers[sql] = lambda _s, rows: Outcome(StatementKind.PLSQL, out={0: [rows[0][0].value * 2]})  # type: ignore[operator]
    with connection.cursor() as cursor:
        assert cursor.callfunc("dbms_flashback.get_system_change_number", int) == 987654321
        x = cursor.var(int)
        x.setvalue(0, 21)
        cursor.execute(sql, x=x)
        cursor.execute(sql, x=x)
        assert x.getvalue() == 84


def test_an_array_of_plsql_runs_row_by_row_and_counts_its_runs(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Also when one fails: the runs before it are counted."""
    sql = "begin p(:1); end;"
    seen: list[BindValue] = []

    def block(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> Outcome:
        [[bind]] = rows
        if bind.value == 13:
            raise OraError(20001, "thirteen")
        seen.append(bind.value)
        return Outcome(StatementKind.PLSQL)

    database.answers[sql] = block
    with connection.cursor() as cursor:
        cursor.executemany(sql, [(at,) for at in range(5)])
        with pytest.raises(oracledb.DatabaseError, match="ORA-20001") as failed:
            cursor.executemany(sql, [(10,), (11,), (13,), (14,)])
        assert failed.value.args[0].offset == 2
    assert seen == [0, 1, 2, 3, 4, 10, 11]


def test_an_out_value_that_does_not_fit_is_an_oracle_error(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """ORA-06502, and the session lives."""
    sql = "begin p(:a); end;"
    database.answers[sql] = lambda _s, _r: Outcome(StatementKind.PLSQL, out={0: ["much too long"]})
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match="ORA-06502"):
        cursor.execute(sql, [cursor.var(str, 3)])
    connection.ping()


def test_returning_into_gives_lists_for_each_row(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """RETURNING binds carry no value in and a list of values out, per execution."""
    sql = "update t set a = :1 where b = :2 returning id, name into :3, :4"

    def update(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> Outcome:
        [row] = rows
        assert [bind.is_out for bind in row] == [False, False, True, True]
        count = row[0].value
        assert isinstance(count, int)
        return Outcome(
            StatementKind.DML, row_count=count, out={2: list(range(count)), 3: [f"ก{at}" for at in range(count)]}
        )

    database.answers[sql] = update
    with connection.cursor() as cursor:
        ids, names = cursor.var(int, arraysize=3), cursor.var(str, arraysize=3)
        cursor.execute(sql, [2, 9, ids, names])
        assert (ids.getvalue(), names.getvalue(), cursor.rowcount) == ([0, 1], ["ก0", "ก1"], 2)
        cursor.setinputsizes(int, int, ids, names)
        cursor.executemany(sql, [(1, 1), (0, 1), (3, 1)])
        assert [ids.getvalue(at) for at in range(3)] == [[0], [], [0, 1, 2]]
        assert cursor.rowcount == 4


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("insert into t values (:1) returning a into :2", 1),
        ("insert /* returning a into :x */ into t values (:1, 'returning x into :y', q'[it's :z]')", 0),
        ('UPDATE t SET a = 1 WHERE b = :b RETURN c, d\n INTO :c -- :e\n , :"D"', 2),
        ("select returning, a into from t where b = :1", 0),
        ('delete from t where ":x" = :x returning a into :y', 1),
    ],
)
def test_returning_binds_are_found_in_the_text(sql: str, count: int) -> None:
    """Not in comments, strings or quoted names; only in DML."""
    assert return_binds(sql) == count


def test_parse_describes_without_running(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Also with unset binds, and an error is an error already here."""
    sql = "select a from t where b = :b"
    database.table(
        sql, [OraColumn("A", OraType.VARCHAR2, size=10, chars=10)], pa.record_batch([pa.array(["x"])], names=["A"])
    )
    database.answers[ONE_BIND] = _dml
    with connection.cursor() as cursor:
        cursor.parse(sql)
        assert [item[0] for item in cursor.description] == ["A"]
        assert database.sessions[-1].executed == []
        assert cursor.execute(sql, b=1).fetchall() == [("x",)]
        cursor.parse(ONE_BIND)
        cursor.execute(ONE_BIND, [1])
        with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
            cursor.parse("select nothing")


def test_errors_carry_code_offset_and_text_and_leave_the_session_alive(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """At prepare and at execution; integrity errors have their class."""

    def fail(_session: FixedSession, _rows: object) -> Outcome:
        raise OraError(1, "unique constraint (KPC.PK) violated")

    database.answers[ONE_BIND] = fail
    with connection.cursor() as cursor:
        with pytest.raises(oracledb.DatabaseError) as missing:
            cursor.execute("select * from missing")
        assert (missing.value.args[0].code, missing.value.args[0].offset) == (942, 14)
        assert missing.value.args[0].message.splitlines()[0] == "ORA-00942: table or view does not exist"
        for _ in range(3):
            with pytest.raises(oracledb.IntegrityError, match="ORA-00001"):
                cursor.execute(ONE_BIND, [1])
    database.answers[ONE_BIND] = _dml
    connection.cursor().execute(ONE_BIND, [1])


def test_a_failing_note_in_front_of_a_call_fails_the_call_only(
    connection: oracledb.Connection, database: FixedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example an unknown schema: the call behind it is not made, and the stream stays in step."""
    _check_usable(connection, database)
    session = database.sessions[-1]

    def refuse(**_: str | None) -> None:
        raise OraError(1435, "user does not exist")

    with monkeypatch.context() as patched:
        patched.setattr(session, "set_attributes", refuse)
        connection.current_schema = "NOBODY"
        with pytest.raises(oracledb.DatabaseError, match="ORA-01435"):
            connection.cursor().execute("select 1 from t")
    _check_usable(connection, database)


def test_a_fault_of_the_emulator_itself_is_an_error_on_a_live_session(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Whatever the SQL side raises, the connection survives it."""

    def broken(_session: FixedSession, _rows: object) -> Outcome:
        raise ZeroDivisionError("bug")

    database.answers[ONE_BIND] = broken
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match=r"ORA-00604.*bug"):
        cursor.execute(ONE_BIND, [1])
    connection.ping()


def test_what_is_not_emulated_says_so_on_a_live_session(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Cursor and array binds, scrollable cursors, objects of the protocol that nobody wrote."""
    database.answers["begin p(:a); end;"] = lambda _s, _r: Outcome(StatementKind.PLSQL)
    database.table("select 1 from t", [OraColumn("A", OraType.NUMBER)], pa.record_batch([pa.array([1])], names=["A"]))
    with connection.cursor() as cursor:
        for variable in (cursor.var(oracledb.DB_TYPE_CURSOR), cursor.arrayvar(int, [1, 2, 3])):
            with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
                cursor.execute("begin p(:a); end;", [variable])
        with pytest.raises(oracledb.DatabaseError, match="ORA-03115"):
            cursor.execute("begin p(:a); end;", [cursor.var(oracledb.DB_TYPE_JSON)])
    with connection.cursor(scrollable=True) as cursor, pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
        cursor.execute("select 1 from t")
    with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
        connection.changepassword("a", "b")
    with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
        connection.tpc_begin(connection.xid(1, "txn", "branch"))
    connection.ping()


def test_many_open_statements_are_closed_by_the_client(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """The statement cache drops what it does not keep; its cursors do not pile up."""
    for at in range(1200):
        sql = f"select {at} from t"
        database.table(sql, [OraColumn("A", OraType.NUMBER)], pa.record_batch([pa.array([at])], names=["A"]))
        with connection.cursor() as cursor:
            assert cursor.execute(sql).fetchone() == (at,)


def test_a_thousand_cursors_are_the_limit(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """ORA-01000, and closing one makes room."""
    database.table("select 1 from t", [OraColumn("A", OraType.NUMBER)], pa.record_batch([pa.array([1])], names=["A"]))
    cursors = [connection.cursor() for _ in range(1001)]
    with pytest.raises(oracledb.DatabaseError, match="ORA-01000"):
        for cursor in cursors:
            cursor.execute("select 1 from t")
    for cursor in cursors:
        cursor.close()
    assert connection.cursor().execute("select 1 from t").fetchall() == [(1,)]


SLOW = "select slow from t"


def _slow(session: FixedSession, _rows: object) -> Outcome:
    """Runs until it is interrupted, as a long query does."""
    if not session.interrupted.wait(20):
        return Outcome(StatementKind.QUERY)
    raise OraError(1013, "user requested cancel of current operation")


def _check_usable(connection: oracledb.Connection, database: FixedDatabase) -> None:
    database.table("select 1 from t", [OraColumn("A", OraType.NUMBER)], pa.record_batch([pa.array([1])], names=["A"]))
    for _ in range(2):
        with connection.cursor() as cursor:
            assert cursor.execute("select 1 from t").fetchall() == [(1,)]


def test_cancel_interrupts_the_running_call(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """ORA-01013 soon, and the session is usable."""
    database.answers[SLOW] = _slow
    timer = threading.Timer(0.2, connection.cancel)
    timer.start()
    started = time.monotonic()
    with connection.cursor() as cursor, pytest.raises(oracledb.OperationalError, match="ORA-01013"):
        cursor.execute(SLOW)
    assert time.monotonic() - started < 15
    _check_usable(connection, database)


def test_call_timeout_interrupts_the_running_call(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """DPY-4024 after the time, and the session is usable."""
    database.answers[SLOW] = _slow
    connection.call_timeout = 200
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        cursor.execute(SLOW)
    connection.call_timeout = 0
    _check_usable(connection, database)


def test_a_slow_call_ends_normally_when_nobody_interrupts(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Long enough that the socket was being watched."""

    def slow(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> Outcome:
        time.sleep(0.2)
        return Outcome(StatementKind.DML, row_count=len(rows))

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
    _check_usable(connection, database)


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
    _check_usable(connection, database)


def test_a_client_that_dies_during_a_call_is_noticed(server: Server, database: FixedDatabase) -> None:
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


def _sever(server: Server) -> None:
    """Cut the server's side of every connection, as a dying network does."""
    for sock in list(server._sockets.values()):  # noqa: SLF001 - there is no other way to break a healthy connection
        sock.shutdown(socket.SHUT_RD)
