"""Values that come back, with the unmodified driver: PL/SQL OUT parameters and RETURNING INTO."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import oracledb
import pytest
from oracle_wire_double import FixedDatabase, FixedSession

from kpc.emulators.oracle.interface import (
    Bind,
    BindValue,
    ExecutionOutcome,
    OraError,
    StatementKind,
)
from kpc.emulators.oracle.wire.calls.requests import return_binds

MOMENT = dt.datetime.fromisoformat("2024-02-29T23:59:58.123456")


def test_plsql_gives_out_values_of_every_type(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Numbers, text, dates, LOBs and NULL, in one block, twice."""
    sql = "begin p(:a, :b, :c, :d, :e, :f); end;"
    values: list[BindValue] = [Decimal("-12345678901234567890.5"), "กขค" * 100, MOMENT, None, "y" * 90_000, b"\x01\x02"]

    def block(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        assert [bind.value for bind in rows[0]] == [None] * 6
        return ExecutionOutcome(StatementKind.PLSQL, out={at: [value] for at, value in enumerate(values)})

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
    database.answers[function] = lambda _s, _r: ExecutionOutcome(StatementKind.PLSQL, out={0: [987654321]})
    sql = "begin :x := :x * 2; end;"
    database.answers[sql] = lambda _s, rows: ExecutionOutcome(StatementKind.PLSQL, out={0: [rows[0][0].value * 2]})  # type: ignore[operator]
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

    def block(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        [[bind]] = rows
        if bind.value == 13:
            raise OraError(20001, "thirteen")
        seen.append(bind.value)
        return ExecutionOutcome(StatementKind.PLSQL)

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
    database.answers[sql] = lambda _s, _r: ExecutionOutcome(StatementKind.PLSQL, out={0: ["much too long"]})
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match="ORA-06502"):
        cursor.execute(sql, [cursor.var(str, 3)])
    connection.ping()


def test_returning_into_gives_lists_for_each_row(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """RETURNING binds carry no value in and a list of values out, per execution."""
    sql = "update t set a = :1 where b = :2 returning id, name into :3, :4"

    def update(_session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        [row] = rows
        assert [bind.is_out for bind in row] == [False, False, True, True]
        count = row[0].value
        assert isinstance(count, int)
        return ExecutionOutcome(
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
