"""CREATE, ALTER, DROP and what the dictionary says afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from oracle_sql_client import Client, empty_database

from kpc.emulators.oracle.interface import OraType


@pytest.fixture
def client() -> Iterator[Client]:
    database = empty_database()
    yield Client(database)
    database.close()


TYPES = {
    "number": ("NUMBER", 22, None, None, "1.5"),
    "number(5)": ("NUMBER", 22, 5, 0, "12"),
    "number(5,2)": ("NUMBER", 22, 5, 2, "1.25"),
    "number(5,-2)": ("NUMBER", 22, 5, -2, "1200"),
    "number(3,5)": ("NUMBER", 22, 3, 5, "0.00123"),
    "number(38,10)": ("NUMBER", 22, 38, 10, "1.5"),
    "integer": ("NUMBER", 22, 38, 0, "7"),
    "float": ("FLOAT", 22, 126, None, "1.5"),
    "float(10)": ("FLOAT", 22, 10, None, "1.5"),
    "binary_double": ("BINARY_DOUBLE", 8, None, None, "1.5"),
    "varchar2(10)": ("VARCHAR2", 10, None, None, "'a'"),
    "varchar2(10 char)": ("VARCHAR2", 40, None, None, "'a'"),
    "nvarchar2(10)": ("NVARCHAR2", 20, None, None, "'a'"),
    "char(3)": ("CHAR", 3, None, None, "'abc'"),
    "clob": ("CLOB", 4000, None, None, "'abc'"),
    "date": ("DATE", 7, None, None, "date '2024-01-01'"),
    "timestamp": ("TIMESTAMP(6)", 11, None, 6, "timestamp '2024-01-01 10:00:00.123456'"),
    "timestamp(9)": ("TIMESTAMP(9)", 11, None, 9, "timestamp '2024-01-01 10:00:00.123456789'"),
    "timestamp with time zone": ("TIMESTAMP(6) WITH TIME ZONE", 13, None, 6, "timestamp '2024-01-01 10:00:00 +07:00'"),
    "interval day to second": ("INTERVAL DAY(2) TO SECOND(6)", 11, 2, 6, "interval '1 02:03:04' day to second"),
    "raw(4)": ("RAW", 4, None, None, "hextoraw('0A')"),
}


@pytest.mark.parametrize(("declared", "expected"), TYPES.items())
def test_a_column_keeps_its_type_and_value(client: Client, declared: str, expected: tuple[object, ...]) -> None:
    """Every type can be declared, filled, read back and found in the dictionary."""
    *dictionary, value = expected
    client.execute(f"create table t (x {declared})")
    client.execute(f"insert into t values ({value})")
    client.session.commit()
    sql = "select data_type, data_length, data_precision, data_scale from user_tab_columns where table_name = 'T'"
    assert client.rows(sql) == [tuple(dictionary)]
    assert (
        client.one(f"select count(*) from t where x = {value}" if declared != "clob" else "select count(*) from t") == 1
    )
    assert client.one("select x from t") is not None


def test_constraints_are_enforced_and_listed(client: Client) -> None:
    """Primary, unique, foreign and check constraints; dropping a parent needs CASCADE CONSTRAINTS."""
    client.execute("create table p (id number(4), constraint p_pk primary key (id))")
    client.execute("create table c (id number(4) references p, n number check (n > 0), u varchar2(3) unique)")
    assert client.error("insert into c values (1, 1, 'a')").code == 2291
    client.execute("insert into p values (1)")
    client.execute("insert into c values (1, 1, 'a')")
    assert client.error("delete from p").code == 2292
    assert client.error("update p set id = 2").code == 2292
    assert client.error("insert into c values (null, 0, 'b')").code == 2290
    assert client.error("insert into c values (null, 1, 'a')").code == 1
    client.session.commit()
    kinds = client.rows(
        "select constraint_type, count(*) from all_constraints where table_name = 'C' group by constraint_type "
        "order by 1"
    )
    assert kinds == [("C", 1), ("R", 1), ("U", 1)]
    assert client.rows("select column_name, position from user_cons_columns where constraint_name = 'P_PK'") == [
        ("ID", 1)
    ]
    assert client.error("drop table p").code == 2449
    client.execute("drop table p cascade constraints purge")
    client.execute("insert into c values (99, 1, 'z')")


def test_tables_change_shape(client: Client) -> None:
    """ADD, MODIFY, RENAME and DROP COLUMN keep the rows; the same statement is described anew."""
    client.execute("create table t (a number(4), b varchar2(2))")
    client.execute("insert into t values (1, 'x')")
    statement = client.session.prepare("select * from t")
    client.execute("alter table t add (c number(5,1) default 1.5 not null, d date)")
    client.execute("alter table t modify (b varchar2(10 char))")
    client.execute("alter table t rename column a to id")
    client.execute("alter table t drop column d")
    columns = client.session.describe(statement)
    assert [(c.name, c.chars, c.nullable) for c in columns] == [("ID", 0, True), ("B", 10, True), ("C", 0, False)]
    assert client.rows("select * from t") == [(1, "x", Decimal("1.5"))]
    assert client.error("alter table t modify b varchar2(10 char) not null, id number").code in (1735, 922, 3001)
    assert client.error("alter table t add c number").code == 1430
    assert client.error("alter table t modify id varchar2(3)").code == 1439
    assert client.error("alter table t add constraint t_ck check (id > 5)").code == 2293
    client.execute("alter table t add constraint t_pk primary key (id)")
    assert client.error("insert into t (id) values (1)").code == 1
    client.execute("alter table t drop primary key")
    client.execute("insert into t (id) values (1)")


def test_create_table_as_select_copies_types_and_rows(client: Client) -> None:
    """Names and types come from the query; an expression needs an alias."""
    client.execute("create table a (id number(4), name varchar2(5 char), code char(2))")
    client.execute("insert into a values (1, 'ก', 'x')")
    client.session.commit()
    client.execute("create table b as select id, name, code, id * 2 twice from a")
    assert client.rows("select * from b") == [(1, "ก", "x ", 2)]
    assert [c.type for c in client.describe("select * from b")] == [
        OraType.NUMBER,
        OraType.VARCHAR2,
        OraType.CHAR,
        OraType.NUMBER,
    ]
    assert client.error("create table c as select id * 2 from a").code == 998


def test_sequences_count(client: Client) -> None:
    """NEXTVAL once per row, CURRVAL after it; the numbers are not given back by ROLLBACK."""
    client.execute("create sequence s start with 10 increment by 5")
    assert client.error("select s.currval from dual").code == 8002
    client.execute("create table t (id number)")
    client.execute("insert into t values (s.nextval)")
    client.execute("insert into t select s.nextval from (select 1 x from dual union all select 2 from dual)")
    assert client.rows("select id from t order by id") == [(10,), (15,), (20,)]
    client.session.rollback()
    assert client.rows("select s.nextval, s.currval from dual") == [(25, 25)]
    client.execute(
        "insert into t values (s.nextval)",
    )
    client.execute("drop sequence s")
    assert client.error("select s.nextval from dual").code == 2289


def test_views_follow_their_tables(client: Client) -> None:
    """A view is expanded at each use, can be replaced, and is read-only here."""
    client.execute("create table t (id number(4))")
    client.execute("create view v (n) as select id from t where id > 1")
    client.execute("insert into t values (:1)", (1,), (2,))
    assert client.rows("select n from v") == [(2,)]
    client.execute("create or replace view v as select id from t")
    assert client.one("select count(*) from v") == 2
    assert client.error("delete from v").code == 1732
    assert client.error("create table v (x number)").code == 955


def test_ddl_commits(client: Client) -> None:
    """What was open is committed before, and TRUNCATE cannot be rolled back."""
    client.execute("create table t (id number)")
    client.execute("insert into t values (1)")
    client.execute("create table u (id number)")
    client.session.rollback()
    assert client.one("select count(*) from t") == 1
    client.execute("truncate table t")
    client.session.rollback()
    assert client.one("select count(*) from t") == 0


ERRORS = {
    "create table t (a number)": 955,
    "create table u (a number, a date)": 957,
    "create table u (a nosuch)": 902,
    "create table u (a number(39))": 1727,
    "create table u (a varchar2)": 906,
    "create table u (a varchar2(9000))": 910,
    "create table u (a boolean)": 902,
    "create table u (a number, primary key (b))": 904,
    "create table u (a number primary key, b number primary key)": 2260,
    "create table u ()": 904,
    "drop table nosuch": 942,
    "drop index nosuch": 1418,
    "create index i on t (nosuch)": 904,
    "create unique index i on t (a)": 1452,
    "truncate table nosuch": 942,
    "comment on table nosuch is 'x'": 942,
    "alter table nosuch add x number": 942,
    "alter table t drop column nosuch": 904,
    "create user x identified by y": 1031,
    "grant select on t to x": 1917,
    "create procedure p is begin null; end;": 3001,
    "alter session set nosuch = 1": 2248,
    "alter session set nls_sort = 'THAI'": 3001,
    "alter session set current_schema = nosuch": 1435,
}


@pytest.mark.parametrize(("sql", "code"), ERRORS.items())
def test_bad_ddl_ends_in_oracles_error(client: Client, sql: str, code: int) -> None:
    """Nothing is half made."""
    client.execute("create table t (a number)")
    client.execute("insert into t values (:1)", (1,), (1,))
    client.session.commit()
    assert client.error(sql).code == code
    assert client.one("select count(*) from user_tables") == 1


def test_the_session_can_be_tuned_and_asked(client: Client) -> None:
    """ALTER SESSION changes implicit formats and the time zone; V$SESSION and SYS_CONTEXT tell."""
    client.execute(
        "alter session set nls_date_format = 'YYYY-MM-DD' nls_timestamp_format = 'YYYY-MM-DD HH24:MI:SS.FF3'"
    )
    assert client.one("select date '2024-03-05' || '' from dual") == "2024-03-05"
    assert client.one("select count(*) from dual where date '2024-03-05' = '2024-03-05'") == 1
    client.execute("alter session set time_zone = '+07:00'")
    assert client.one("select sessiontimezone from dual") == "+07:00"
    assert client.one("select round((cast(localtimestamp as date) - sysdate) * 24) from dual") == 7
    client.session.set_attributes(module="m", client_info="info")
    assert client.rows("select module, client_info from v$session where username = user") == [("m", "info")]


def test_the_database_says_who_it_is(client: Client) -> None:
    """Identity, version and character sets, for preflight."""
    dbid, resetlogs, scn = client.rows("select dbid, resetlogs_change#, current_scn from v$database")[0]
    assert dbid > 0
    assert resetlogs > 0
    assert scn > 0
    assert "emulator" in client.one("select banner_full from v$version")
    sql = "select value from nls_database_parameters where parameter = 'NLS_CHARACTERSET'"
    assert client.one(sql) == "AL32UTF8"
    assert client.one("select count(*) from session_privs where privilege = 'CREATE TABLE'") == 1
    assert client.one("select version from product_component_version") == "19.0.0.0.0"
    assert client.one("select dummy from sys.dual") == "X"
