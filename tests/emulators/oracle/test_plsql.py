"""Anonymous blocks, as clients and their test suites send them."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pytest
from oracle_emulator_process import emulator

pytestmark = pytest.mark.emulator_only


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder: Path = tmp_path_factory.mktemp("oracle")
    with emulator(folder) as (_, connection):
        yield connection


@pytest.fixture
def cursor(target: dict[str, str]) -> Iterator[oracledb.Cursor]:
    """A session with a table T of three rows."""
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        cursor.execute("create table t (id number primary key, name varchar2(20), amount number(9,2))")
        cursor.executemany("insert into t values (:1, :2, :3)", [(i, f"N{i}", i / 4) for i in (1, 2, 3)])
        connection.commit()
        yield cursor
        cursor.execute("drop table t purge")


def output_of(cursor: oracledb.Cursor) -> list[str]:
    """The lines that wait in DBMS_OUTPUT."""
    line, status = cursor.var(str), cursor.var(int)
    lines = []
    while True:
        cursor.callproc("dbms_output.get_line", (line, status))
        if status.getvalue() != 0:
            return lines
        lines.append(line.getvalue() or "")


BLOCKS: dict[str, tuple[str, Any]] = {
    "declared variables": ("declare a number := 2; b number; begin b := a * 21; :r := b; end;", 42),
    "text and numbers": ("declare s varchar2(10) := 'x'; begin s := s || 1.50; :r := s; end;", "x1.5"),
    "rounding": ("declare a number(5,1) := 2.25; begin :r := a; end;", Decimal("2.3")),
    "integer": ("declare a pls_integer := 7 / 2; begin :r := a; end;", 4),
    "if": ("begin if 1 > 2 then :r := 'a'; elsif null = 1 then :r := 'b'; else :r := 'c'; end if; end;", "c"),
    "case in a condition": (
        "begin if case when 1 = 1 then 1 else 0 end = 1 then :r := 'yes'; else :r := 'no'; end if; end;",
        "yes",
    ),
    "for": ("declare n number := 0; begin for i in 1..4 loop n := n + i; end loop; :r := n; end;", 10),
    "for reverse": (
        "declare s varchar2(9); begin for i in reverse 1 .. 3 loop s := s || i; end loop; :r := s; end;",
        "321",
    ),
    "empty for": ("declare n number := 5; begin for i in 2..1 loop n := 0; end loop; :r := n; end;", 5),
    "while and exit": (
        (
            "declare n number := 0; begin while true_is_no_column < 1 loop null; end loop; :r := n; "
            "exception when others then :r := sqlcode; end;"
        ),
        -904,
    ),
    "loop": (
        "declare n number := 0; begin loop n := n + 1; continue when n < 5; exit when n = 7; end loop; :r := n; end;",
        7,
    ),
    "nested block": ("declare a number := 1; begin declare a number := 2; begin a := 3; end; :r := a; end;", 1),
    "select into": ("declare n varchar2(20); begin select name into n from t where id = 2; :r := n; end;", "N2"),
    "query loop": (
        (
            "declare s varchar2(99); begin for r in (select id, name from t order by id) loop "
            "s := s || r.name || '=' || r.id || ';'; end loop; :r := s; end;"
        ),
        "N1=1;N2=2;N3=3;",
    ),
    "a column hides a variable": (
        ("declare id number := 2; n number; begin select count(*) into n from t where id = id; :r := n; end;"),
        3,
    ),
    "no data found": (
        (
            "declare n number; begin select id into n from t where id = 9; exception when no_data_found then "
            ":r := 'none ' || sqlcode; end;"
        ),
        "none 100",
    ),
    "too many rows": (
        (
            "declare n number; begin select id into n from t; exception when no_data_found or too_many_rows then "
            ":r := sqlerrm; end;"
        ),
        "ORA-01422: exact fetch returns more than requested number of rows",
    ),
    "row count": ("begin update t set amount = 0 where id > 1; :r := sql%rowcount; rollback; end;", 2),
    "found": ("begin delete from t where id = 9; if sql%notfound then :r := 'none'; end if; end;", "none"),
    "values": (
        (
            "declare id number := 7; name varchar2(20) := 'seven'; n number; begin "
            "insert into t (id, name) values (id, name); select count(*) into n from t where t.name = 'seven'; "
            ":r := n; rollback; end;"
        ),
        1,
    ),
    "returning": (
        (
            "declare n number; begin update t set amount = amount + 1 where id = 2 returning amount into n; "
            ":r := n; rollback; end;"
        ),
        Decimal("1.5"),
    ),
    "dynamic query": (
        (
            "declare n number; begin execute immediate 'select count(*) from t where id > :x' into n using 1; "
            ":r := n; end;"
        ),
        2,
    ),
    "failed drop": (
        (
            "begin execute immediate 'drop table nowhere'; exception when others then if sqlcode != -942 then raise; "
            "end if; :r := 'gone'; end;"
        ),
        "gone",
    ),
    "raised again": (
        (
            "begin begin raise no_data_found; exception when others then raise; end; exception when others then "
            ":r := sqlcode; end;"
        ),
        100,
    ),
    "application error": (
        "begin raise_application_error(-20001, 'no ' || 'way'); exception when others then :r := sqlerrm; end;",
        "ORA-20001: no way",
    ),
    "return": ("begin :r := 1; return; :r := 2; end;", 1),
    "date": (
        "declare d date := date '2024-02-28'; begin d := d + 1; :r := to_char(d, 'YYYY-MM-DD'); end;",
        "2024-02-29",
    ),
}


@pytest.mark.parametrize(("block", "expected"), BLOCKS.values(), ids=BLOCKS)
def test_a_block_computes_what_oracle_would(cursor: oracledb.Cursor, block: str, expected: object) -> None:
    """Variables, control flow, SQL and handlers; the result comes back in :r."""
    result = cursor.var(type(expected) if isinstance(expected, int | str) else Decimal, 200)
    cursor.execute(block, r=result)
    assert result.getvalue() == expected


ERRORS = {
    "begin :r := 1 end;": "ORA-06550",
    "begin nothing_like_this := 1; end;": "ORA-06550",
    "declare s varchar2(2); begin s := 'abc'; end;": "ORA-06502",
    "declare n number; begin n := 'x'; end;": "ORA-06502",
    "declare n number(2); begin n := 100; end;": "ORA-06502",
    "declare n number; begin select id into n from t where id = 9; end;": "ORA-01403",
    "begin raise_application_error(-20999, 'stop'); end;": "ORA-20999: stop",
    "begin raise_application_error(-1, 'stop'); end;": "ORA-21000",
    "begin insert into t (id) values (4); insert into t (id) values (1); end;": "ORA-00001",
    "begin open c; exception when others then null; end;": "ORA-03001",
    "declare r t%rowtype; begin null; end;": "ORA-03001",
    "begin no_such_package.run(1); end;": "ORA-03001",
    "begin dbms_output.put_line(1, 2); end;": "PLS-00306",
    "begin if 1 = 1 then exit; end if; end;": "PLS-00376",
}


@pytest.mark.parametrize(("block", "message"), ERRORS.items(), ids=ERRORS)
def test_a_failing_block_says_why_and_changes_nothing(cursor: oracledb.Cursor, block: str, message: str) -> None:
    """The session lives on, earlier work of the transaction stays, the block's own is gone."""
    cursor.execute("insert into t (id) values (100)")
    with pytest.raises(oracledb.DatabaseError, match=message):
        cursor.execute(block, {"r": cursor.var(int)} if ":r" in block else {})
    cursor.execute("select id from t order by id")
    assert [row[0] for row in cursor] == [1, 2, 3, 100]


def test_a_script_builds_its_table_and_prints(cursor: oracledb.Cursor) -> None:
    """EXECUTE IMMEDIATE of DDL and DML in a loop, and DBMS_OUTPUT line by line."""
    cursor.callproc("dbms_output.enable")
    cursor.execute(
        """
        begin
          execute immediate 'create table made (n number, at date)';
          for i in 1 .. 3 loop
            execute immediate 'insert into made values (:1, :2)' using i * 10, date '2024-01-01' + i;
            dbms_output.put('row ');
            dbms_output.put_line(i);
          end loop;
          commit;
        end;
        """
    )
    assert output_of(cursor) == ["row 1", "row 2", "row 3"]
    assert cursor.execute("select n, at from made order by n").fetchall()[2] == (30, dt.datetime(2024, 1, 4))  # noqa: DTZ001
    cursor.execute("drop table made")


def test_executemany_of_a_block_gives_a_value_per_row(cursor: oracledb.Cursor) -> None:
    """Each bind row runs the block anew, with its own variables."""
    out = cursor.var(int, arraysize=3)
    cursor.setinputsizes(None, out)
    cursor.executemany("declare n number := :1; begin n := n * n; :2 := n; end;", [(1,), (2,), (3,)])
    assert [out.getvalue(at) for at in range(3)] == [1, 4, 9]


def test_an_endless_loop_and_a_sleep_can_be_broken_off(target: dict[str, str]) -> None:
    """call_timeout ends both with DPY-4024, cancel() with ORA-01013, and the session lives on."""
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        connection.call_timeout = 300
        for block in ("begin loop null; end loop; end;", "begin dbms_session.sleep(30); end;"):
            with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
                cursor.execute(block)
        connection.call_timeout = 0
        threading.Timer(0.3, connection.cancel).start()
        started = time.monotonic()
        with pytest.raises(oracledb.DatabaseError, match="ORA-01013"):
            cursor.execute("begin dbms_session.sleep(30); exception when others then null; end;")
        assert time.monotonic() - started < 10
        assert cursor.execute("select 1 from dual").fetchone() == (1,)
