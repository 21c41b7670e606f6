"""Queries: joins, grouping, windows, ROWNUM, set operations, and how their columns are described."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from oracle_sql_client import Client, empty_database

from kpc.emulators.oracle.interface import OraError, OraType


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    database = empty_database()
    made = Client(database)
    made.execute("create table dept (id number(4) primary key, name varchar2(10 char) not null)")
    made.execute(
        "create table emp (id number(6) primary key, dept_id number(4), name varchar2(20 char), pay number(8,2), "
        "code char(4),"
        " extra number, hired date)"
    )
    made.execute("insert into dept values (:1, :2)", (1, "ไทย"), (2, "b"), (3, "empty"))
    made.execute(
        "insert into emp values (:1, :2, :3, :4, :5, :6, date '2024-01-01' + :7)",
        (1, 1, "ann", Decimal("10.50"), "A", Decimal("0.5"), 0),
        (2, 1, "bob", Decimal("20.25"), "B", None, 1),
        (3, 2, "cid", None, "C", Decimal("1.5"), 2),
        (4, None, None, Decimal(5), None, Decimal("2.25"), 3),
    )
    made.session.commit()
    yield made
    database.close()


D = Decimal
QUERIES = {
    "select e.name, d.name from emp e join dept d on d.id = e.dept_id order by e.id": [
        ("ann", "ไทย"), ("bob", "ไทย"), ("cid", "b"),
    ],
    "select e.id, d.id from emp e, dept d where e.dept_id = d.id(+) order by 1": [(1, 1), (2, 1), (3, 2), (4, None)],
    "select d.id, e.id from emp e, dept d where d.id = e.dept_id(+) and e.id(+) > 1 order by 1": [
        (1, 2), (2, 3), (3, None),
    ],
    "select d.id, count(e.id) from dept d left join emp e on e.dept_id = d.id group by d.id order by d.id": [
        (1, 2), (2, 1), (3, 0),
    ],
    "select id, name from emp order by name": [(1, "ann"), (2, "bob"), (3, "cid"), (4, None)],
    "select id from emp order by name desc": [(4,), (3,), (2,), (1,)],
    "select id from emp order by pay nulls first, id": [(3,), (4,), (1,), (2,)],
    "select id n from emp order by n desc fetch first 2 rows only": [(4,), (3,)],
    "select id from emp order by id offset 1 rows fetch next 2 rows only": [(2,), (3,)],
    "select id from emp where rownum <= 2 order by id desc": [(2,), (1,)],
    "select count(*) from emp where rownum < 3": [(2,)],
    "select level from dual connect by level < 3": [(1,), (2,)],
    "select 2 x from dual union select null from dual union select 1 from dual": [(1,), (2,), (None,)],
    "select id from emp minus select 2 from dual": [(1,), (3,), (4,)],
    "select level l, level * 2 from dual d connect by level <= 4 order by l desc fetch first 1 rows only": [(4, 8)],
    "select rownum, mod(level, 2), d.dummy from dual d where level > 1 connect by level <= 3": [
        (1, 0, "X"), (2, 1, "X"),
    ],
    "select level from dual connect by rownum <= 2": [(1,), (2,)],
    "select level from dual connect by level <= 0": [(1,)],
    "select count(*), sum(n) from (select level n from dual connect by level <= 1000)": [(1000, 500500)],
    "select a.l, b.l from (select level l from dual connect by level <= 2) a, "
    "(select level l from dual connect by level <= 2) b order by 1, 2": [(1, 1), (1, 2), (2, 1), (2, 2)],
    "select id from (select id from emp order by id desc) where rownum = 1": [(4,)],
    "select id from emp where rownum > 1": [],
    "select rownum, id from emp where id > 2": [(1, 3), (2, 4)],
    "select * from (select rownum r, id from emp) where r between 2 and 3": [(2, 2), (3, 3)],
    "select sum(pay), count(pay), count(*), min(pay), max(name) from emp": [(D("35.75"), 3, 4, D(5), "cid")],
    "select avg(pay) from emp": [(D("11." + "91" + "6" * 35 + "7"),)],
    "select avg(extra), sum(extra) from emp where id < 0": [(None, None)],
    "select dept_id, sum(extra) from emp group by dept_id having sum(extra) > 1 order by 1 nulls first": [
        (None, D("2.25")), (2, D("1.5")),
    ],
    "select count(distinct dept_id) from emp": [(2,)],
    "select distinct dept_id from emp order by dept_id": [(1,), (2,), (None,)],
    "select id, row_number() over (partition by dept_id order by id desc) from emp order by id": [
        (1, 2), (2, 1), (3, 1), (4, 1),
    ],
    "select id, row_number() over (order by rowid) from emp order by id": [(1, 1), (2, 2), (3, 3), (4, 4)],
    "select id, lag(id) over (order by id), lead(id, 1, 0) over (order by id) from emp order by id": [
        (1, None, 2), (2, 1, 3), (3, 2, 4), (4, 3, 0),
    ],
    "select id, ntile(2) over (order by id) from emp order by id": [(1, 1), (2, 1), (3, 2), (4, 2)],
    "select id, sum(id) over (order by id rows between 1 preceding and current row) from emp order by id": [
        (1, 1), (2, 3), (3, 5), (4, 7),
    ],
    "select id from emp where dept_id = 1 union all select id from dept union select 1 from dual order by 1": [
        (1,), (2,), (3,),
    ],
    "select id from emp minus select id from dept": [(4,)],
    "select id from emp intersect select id from dept order by 1 desc": [(3,), (2,), (1,)],
    "with a as (select id from emp where id < 3), b as (select max(id) m from a) select m from b": [(2,)],
    "with a (x) as (select id from emp) select max(x) from a": [(4,)],
    "select listagg(name, ', ') within group (order by id) from emp": [("ann, bob, cid",)],
    "select id from emp where code = 'A'": [(1,)],
    "select id from emp where code in ('A', 'B  ') order by id": [(1,), (2,)],
    "select id from emp where code like 'A'": [],
    "select id from emp where (dept_id, name) in (select id, 'ann' from dept)": [(1,)],
    "select id from emp e where exists (select 1 from dept d where d.id = e.dept_id and d.name = 'b')": [(3,)],
    "select (select name from dept d where d.id = e.dept_id) from emp e order by id": [
        ("ไทย",), ("ไทย",), ("b",), (None,),
    ],
    "select max(name) keep (dense_rank first order by pay desc) from emp where pay is not null": [("bob",)],
    "select id from emp natural join dept where 1 = 2": [],
    "select e.id from emp e join dept using (id) where id = 2": None,
    "select /*+ PARALLEL(e 4) */ count(*) from emp e": [(4,)],
    "select decode(id, 1, 'x', 4, 'x', 'y') x, count(*) from emp group by decode(id, 1, 'x', 4, 'x', 'y') order by 1": [
        ("x", 2), ("y", 2),
    ],
    "select to_char(hired, 'YYYY-MM'), count(*) from emp group by to_char(hired, 'YYYY-MM')": [("2024-01", 4)],
    "select dept_id, count(*) from emp group by rollup (dept_id) order by 2": [(2, 1), (None, 1), (1, 2), (None, 4)],
    "select id from emp where name = ''": [],
}  # fmt: skip


@pytest.mark.parametrize(("sql", "rows"), QUERIES.items())
def test_a_query_gives_oracles_rows(client: Client, sql: str, rows: list[tuple[object, ...]] | None) -> None:
    """Order of NULLs, blank-padding, ROWNUM before ORDER BY and exact averages are Oracle's."""
    found = client.rows(sql)
    if rows is None:
        assert found == [(2,)]
    elif "order by 2" in sql:
        assert sorted(found, key=repr) == sorted(rows, key=repr)
    else:
        assert found == rows


DESCRIBED = {
    "select 'x' from dual": ("'X'", OraType.CHAR, 0, 0, 1, 1),
    "select 'ก' a from dual": ("A", OraType.CHAR, 0, 0, 3, 1),
    "select 1 from dual": ("1", OraType.NUMBER, 0, -127, 0, 0),
    "select count(*) from emp": ("COUNT(*)", OraType.NUMBER, 0, -127, 0, 0),
    "select id from emp": ("ID", OraType.NUMBER, 6, 0, 0, 0),
    "select pay from emp": ("PAY", OraType.NUMBER, 8, 2, 0, 0),
    "select extra from emp": ("EXTRA", OraType.NUMBER, 0, -127, 0, 0),
    "select pay * 2 from emp": ("PAY*2", OraType.NUMBER, 0, -127, 0, 0),
    "select max(pay) from emp": ("MAX(PAY)", OraType.NUMBER, 0, -127, 0, 0),
    "select name from emp": ("NAME", OraType.VARCHAR2, 0, 0, 80, 20),
    "select code from emp": ("CODE", OraType.CHAR, 0, 0, 4, 4),
    'select hired "When" from emp': ("When", OraType.DATE, 0, 0, 0, 0),
    "select upper( name ) from emp": ("UPPER(NAME)", OraType.VARCHAR2, 0, 0, 80, 20),
    "select 'a' || 'bc' from dual": ("'A'||'BC'", OraType.CHAR, 0, 0, 3, 3),
    "select name || 'x' from emp": ("NAME||'X'", OraType.VARCHAR2, 0, 0, 81, 21),
    "select decode(1, 1, 'a') x from dual": ("X", OraType.VARCHAR2, 0, 0, 1, 1),
    "select cast(id as varchar2(1)) x from emp": ("X", OraType.VARCHAR2, 0, 0, 1, 1),
    "select cast(1 as float) x from dual": ("X", OraType.NUMBER, 126, -127, 0, 0),
    "select cast(1 as binary_float) x from dual": ("X", OraType.BINARY_FLOAT, 0, 0, 0, 0),
    "select to_binary_double(1) x from dual": ("X", OraType.BINARY_DOUBLE, 0, 0, 0, 0),
    "select systimestamp x from dual": ("X", OraType.TIMESTAMP_TZ, 0, 6, 0, 0),
    "select to_char(hired, 'YYYY-MM-DD') x from emp": ("X", OraType.VARCHAR2, 0, 0, 10, 10),
    "select rowid from emp": ("ROWID", OraType.ROWID, 0, 0, 18, 0),
    "select to_clob(name) x from emp": ("X", OraType.CLOB, 0, 0, 0, 0),
    "select id + :1 x from emp": ("X", OraType.NUMBER, 0, -127, 0, 0),
    "select name x from emp union select 'long literal text' from dual": ("X", OraType.VARCHAR2, 0, 0, 80, 20),
}


@pytest.mark.parametrize(("sql", "expected"), DESCRIBED.items())
def test_describe_tells_what_oracle_would(client: Client, sql: str, expected: tuple[object, ...]) -> None:
    """Name, type, precision, scale, bytes and characters of the first column, without running the query."""
    (column,) = client.describe(sql)
    assert (column.name, column.type, column.precision, column.scale, column.size, column.chars) == expected


def test_not_null_columns_are_described_as_such(client: Client) -> None:
    """A primary key column is not nullable, an expression is."""
    columns = client.describe("select id, name, id + 1 from dept")
    assert [column.nullable for column in columns] == [False, False, True]


ERRORS = {
    "select * from nosuch": 942,
    "select * from scott.emp": 942,
    "select id from emp, dept": 918,
    "select x.id from emp e": 904,
    "select dept_id, count(*) from emp": 937,
    "select name, count(*) from emp group by dept_id": 979,
    "select id from emp where count(*) > 1": 934,
    "select id from emp union select name from emp": 1790,
    "select id, name from emp union select id from emp": 1789,
    "select id from emp order by 3": 1785,
    "select id from emp where id = :1": 1008,
    "select id from emp where": 936,
    "select from emp": 936,
    "select id frm emp": 923,
    "select 1": 923,
    "select (1 from dual": 907,
    "select id from emp limit 1": 933,
    "select id from emp;": 933,
    "selec 1 from dual": 900,
    "select 'x from dual": 1756,
    "select row_number() from emp": 30484,
    "select sum(name) from emp": 1722,
    "select id from emp where name > 1": 1722,
    "select level from dual": 1788,
    "select id, level from emp connect by prior id = dept_id": 3001,
    "select level from dual connect by level <= 3 and prior dummy is not null": 3001,
    "select * from emp sample (100)": 30562,
    "select * from emp pivot (count(*) for id in (1))": 3001,
    "select id from emp fetch first 10 percent rows only": 3001,
    "select * from emp versions between scn minvalue and maxvalue": 3001,
    "select * from table(x)": 3001,
}


@pytest.mark.parametrize(("sql", "code"), ERRORS.items())
def test_a_bad_query_ends_in_oracles_error(client: Client, sql: str, code: int) -> None:
    """What Oracle refuses has its number; what only the emulator cannot do is ORA-03001."""
    assert client.error(sql).code == code


def test_binds_by_name_and_number_may_repeat(client: Client) -> None:
    """Values arrive per occurrence; strings and comments with colons are left alone."""
    sql = "select id, ':no' /* :no */ from emp where id in (:a, :2) or id = :a -- :no"
    assert client.session.prepare(sql).bind_names == ("A", "2", "A")
    assert client.rows(sql, 1, 2, 1) == [(1, ":no"), (2, ":no")]


def test_a_text_bind_does_not_pad(client: Client) -> None:
    """A VARCHAR2 bind equals a CHAR column only with its blanks, as in Oracle."""
    assert client.rows("select id from emp where code = :1", "A") == []
    assert client.rows("select id from emp where code = :1", "A   ") == [(1,)]


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        10**17,
        -(10**18),
        10**37,
        10**39 + 1,
        Decimal("1e125"),
        Decimal("1e-120"),
        Decimal("-0.000123"),
        None,
        "ก😀",
    ],
)
def test_a_bind_comes_back_as_it_was_sent(client: Client, value: object) -> None:
    """Numbers of every size and sign, and text, survive a round trip exactly."""
    assert client.one("select :1 from dual", value) == value


def test_rows_come_before_the_query_is_done(client: Client) -> None:
    """The first batch of a long query is there at once, and closing early ends it."""
    many = ", ".join(f"all_tab_columns {alias}" for alias in "abcdefghi")
    outcome = client.execute(f"select a.column_name from {many}")
    assert outcome.rows is not None
    assert next(outcome.rows.batches()).num_rows > 0
    outcome.rows.close()
    assert client.one("select 1 from dual") == 1


LATE = {
    "select id, 1 / (id - 70000) from wide": 69_999,
    "select id, 1 / (id - 1000) from wide order by id": 999,
    "select id, 1 / (id - 1000) x from wide order by 1 desc": 70_000 - 1_000 + 30_000,
    "select id, to_number(name) from wide": 89_999,
    "select id, to_number(name), 1 / (id - 3000) from wide where id > 100": 2_899,
    "select * from (select id, 1 / (id - 5000) x from wide)": 4_999,
    "with w as (select id, 1 / (id - 5000) x from wide) select x from w where id > 10": 4_989,
    "select id from wide where id > 66000 and 1 / (id - 66600) is not null": 599,
    "select rownum, 1 / (rownum - 2500) from wide": 2_499,
    "select id, 1 / (id - 1000) from wide fetch first 1500 rows only": 999,
    "select a.id, 1 / (b.id - 4000) from wide a join wide b on b.id = a.id order by a.id": 3_999,
}  # fmt: skip


@pytest.fixture(scope="module")
def wide(client: Client) -> Client:
    """100,000 rows, the one of id 90,000 with a name that is no number."""
    client.execute("create table wide (id number(10), name varchar2(20))")
    client.execute(
        "insert into wide values (:1, :2)", *[(i, "x" if i == 90_000 else str(i)) for i in range(1, 100_001)]
    )
    client.session.commit()
    return client


@pytest.mark.parametrize(("sql", "rows"), LATE.items())
def test_an_error_in_a_late_row_follows_all_rows_before_it(wide: Client, sql: str, rows: int) -> None:
    """Every row before the failing one is delivered, then its own error, and the session lives on."""
    outcome = wide.execute(sql)
    assert outcome.rows is not None
    seen = 0
    with pytest.raises(
        OraError, match="ORA-01722" if rows == LATE["select id, to_number(name) from wide"] else "01476"
    ):
        for batch in outcome.rows.batches():
            seen += batch.num_rows
    assert seen == rows
    assert wide.one("select count(*) from wide") == 100_000


def test_a_failed_query_whose_table_has_changed_since_gives_no_rows_of_the_new_state(wide: Client) -> None:
    """The rows before the failing one are computed again, so only from what the query saw at first."""
    other = Client(wide.database)
    outcome = wide.execute("select id, 1 / (id - 99000) from wide")
    assert outcome.rows is not None
    other.execute("delete from wide where id < 10")
    other.session.commit()
    seen: list[int] = []
    with pytest.raises(OraError, match="ORA-01476"):
        for batch in outcome.rows.batches():
            seen += batch.column(0).to_pylist()
    assert seen == list(range(1, len(seen) + 1))
    other.execute(
        "insert into wide select id, name from wide as of scn :1 where id < 10", (wide.database.store.scn - 1,)
    )
    other.session.commit()


def test_a_session_goes_on_after_breaks_at_any_moment(client: Client) -> None:
    """A break may hit a query, its end, or the ROLLBACK after it; the next query runs all the same."""
    sql = "select e.id, d.id from emp e, dept d order by e.id, d.id"
    wanted = client.rows(sql)
    for _ in range(150):
        breaking = threading.Thread(target=_break_for_a_moment, args=(client,))
        breaking.start()
        while breaking.is_alive():
            try:
                assert client.rows(sql) == wanted
            except OraError as error:
                assert error.code == 1013
        assert client.rows(sql) == wanted


def _break_for_a_moment(client: Client) -> None:
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        client.session.interrupt()
