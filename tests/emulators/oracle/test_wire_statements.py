"""Statements with the unmodified driver: parsing, errors, transactions, many cursors."""

from __future__ import annotations

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import FixedDatabase, FixedSession, check_usable, dml_outcome

from kpc.emulators.oracle.interface import (
    ExecutionOutcome,
    OraColumn,
    OraError,
    OraType,
    StatementKind,
)

ONE_BIND = "insert into t values (:1)"


def test_transactions_end_as_the_client_wishes(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Autocommit, commit, rollback; the open transaction is known to the client."""
    database.answers[ONE_BIND] = dml_outcome
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


def test_parse_describes_without_running(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Also with unset binds, and an error is an error already here."""
    sql = "select a from t where b = :b"
    database.table(
        sql, [OraColumn("A", OraType.VARCHAR2, size=10, chars=10)], pa.record_batch([pa.array(["x"])], names=["A"])
    )
    database.answers[ONE_BIND] = dml_outcome
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

    def fail(_session: FixedSession, _rows: object) -> ExecutionOutcome:
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
    database.answers[ONE_BIND] = dml_outcome
    connection.cursor().execute(ONE_BIND, [1])


def test_a_failing_note_in_front_of_a_call_fails_the_call_only(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """For example an unknown schema: the call behind it is not made, and the stream stays in step."""
    check_usable(connection, database)
    session = database.sessions[-1]
    session.attributes_error = OraError(1435, "user does not exist")
    connection.current_schema = "NOBODY"
    with pytest.raises(oracledb.DatabaseError, match="ORA-01435"):
        connection.cursor().execute("select 1 from t")
    session.attributes_error = None
    check_usable(connection, database)


def test_a_fault_of_the_emulator_itself_is_an_error_on_a_live_session(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Whatever the SQL side raises, the connection survives it."""

    def broken(_session: FixedSession, _rows: object) -> ExecutionOutcome:
        raise ZeroDivisionError("bug")

    database.answers[ONE_BIND] = broken
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match=r"ORA-00604.*bug"):
        cursor.execute(ONE_BIND, [1])
    connection.ping()


def test_what_is_not_emulated_says_so_on_a_live_session(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Cursor and array binds, scrollable cursors, objects of the protocol that nobody wrote."""
    database.answers["begin p(:a); end;"] = lambda _s, _r: ExecutionOutcome(StatementKind.PLSQL)
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
