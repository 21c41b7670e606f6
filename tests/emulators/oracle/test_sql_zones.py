"""Time zones, and what stands for a row's address: tables, index-organised tables, views."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from oracle_sql_client import Client, empty_database

from kpc.emulators.oracle.interface import OraType


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    database = empty_database()
    made = Client(database)
    made.execute("create table t (id number(9) primary key, z timestamp(6) with time zone, u urowid, name varchar2(9))")
    made.execute("insert into t (id, z) values (1, timestamp '2024-02-29 10:00:00.5 +07:00')")
    made.execute("insert into t (id) values (2)")
    made.execute("update t set u = rowid")
    made.execute("create table iot (a number(3), b varchar2(3), primary key (a, b)) organization index compress")
    made.execute("insert into iot values (1, 'x')")
    made.session.commit()
    made.execute("create view plain_view as select id, z from t where id < 9")
    made.execute("create view grouped_view as select name, count(*) n from t group by name")
    made.execute("create view joined_view as select a.id, b.name from t a join t b on b.id = a.id")
    yield made
    database.close()


MOMENTS = {
    "sys_extract_utc(z)": "2024-02-29T03:00:00.500000",
    "cast(z at time zone '+05:30' as timestamp)": "2024-02-29T08:30:00.500000",
    "cast(z at time zone 'Asia/Bangkok' as timestamp)": "2024-02-29T10:00:00.500000",
    "cast(z at time zone 'UTC' as date)": "2024-02-29T03:00:00",
    "sys_extract_utc(from_tz(timestamp '2024-01-01 00:00:00', '+07:00'))": "2023-12-31T17:00:00",
    "cast(timestamp '2024-01-01 10:00:00 -03:30' as timestamp)": "2024-01-01T10:00:00",
    "sys_extract_utc(timestamp '2024-01-01 10:00:00 Asia/Bangkok')": "2024-01-01T03:00:00",
    "sys_extract_utc(timestamp '2024-07-01 10:00:00.123456 Europe/Berlin')": "2024-07-01T08:00:00.123456",
    "sys_extract_utc(timestamp '2024-10-27 02:30:00 Europe/Berlin')": "2024-10-27T01:30:00",
    "cast(z at time zone 'america/new_york' as timestamp)": "2024-02-28T22:00:00.500000",
}  # fmt: skip


@pytest.mark.parametrize(("sql", "moment"), MOMENTS.items())
def test_an_instant_can_be_seen_in_any_zone(client: Client, sql: str, moment: str) -> None:
    """Stored times by SYS_EXTRACT_UTC and AT TIME ZONE; literals and FROM_TZ also in their own zone."""
    found = client.one(f"select {sql} from t where id = 1")
    assert dt.datetime.fromisoformat(str(found)[:26]) == dt.datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    ("sql", "text"),
    {
        "to_char(timestamp '2024-01-01 10:00:00 +07:00', 'HH24:MI TZH:TZM')": "10:00 +07:00",
        "to_char(from_tz(timestamp '2024-01-01 10:00:00', '-03:30'), 'HH24:MI TZH:TZM')": "10:00 -03:30",
        "to_char(to_timestamp('2024-01-01 10:11:12.123456789', 'YYYY-MM-DD HH24:MI:SS.FF9'), 'FF9')": "123456789",
        "to_char(extract(timezone_hour from timestamp '2024-01-01 10:00:00 -03:30'))": "-3",
        "to_char(extract(hour from timestamp '2024-01-01 10:00:00 +07:00'))": "3",
    }.items(),
)
def test_an_expression_keeps_its_own_zone_and_nanoseconds(client: Client, sql: str, text: str) -> None:
    """EXTRACT of an hour is in UTC, as Oracle has it."""
    assert client.one(f"select {sql} from dual") == text


@pytest.mark.parametrize(
    ("sql", "code"),
    {
        "select cast(z as timestamp) from t": 3001,  # the zone of a stored value is not kept
        "select to_char(z, 'TZH') from t": 3001,
        "select to_char(z at time zone 'Europe/Berlin', 'TZH') from t": 3001,  # an offset that changes, as text
        "select cast(timestamp '2024-03-31 02:30:00 Europe/Berlin' as timestamp) from t": 1878,  # the clock skips it
        "select z at time zone 'Nowhere/Else' from t": 1882,
        "select z at time zone '+16:00' from t": 1874,
        "select rowid from grouped_view": 1446,
        "select rowid from joined_view": 1445,
        "create table no_key (a number) organization index": 25175,
    }.items(),
)
def test_what_has_no_answer_is_an_error(client: Client, sql: str, code: int) -> None:
    """Oracle's own code, or ORA-03001 where the emulator does not know."""
    assert client.error(sql).code == code


def test_a_session_may_live_in_a_region_with_summer_time(client: Client) -> None:
    """As JDBC and SQL*Plus set it, with other settings in the same statement; the former zone is set back."""
    client.execute("create table berlin (t timestamp(6) with local time zone)")
    client.execute(
        "alter session set time_zone = 'Europe/Berlin' nls_language = 'AMERICAN' nls_territory = 'AMERICA' "
        "nls_currency = '$' nls_date_format = 'YYYY-MM-DD HH24:MI' nls_time_format = 'HH24' nls_dual_currency = '$'"
    )
    client.execute("insert into berlin values (timestamp '2024-07-01 12:00:00')")
    client.execute("insert into berlin values (timestamp '2024-01-01 12:00:00')")
    assert client.one("select sessiontimezone from dual") == "Europe/Berlin"
    hours = client.rows("select extract(hour from sys_extract_utc(t)) from berlin order by t")
    assert hours == [(11,), (10,)]
    assert client.rows("select to_char(t, 'HH24') from berlin order by t") == [("12",), ("12",)]
    client.execute("alter session set time_zone = '+00:00'")
    assert client.rows("select to_char(t, 'HH24') from berlin order by t") == [("11",), ("10",)]
    assert client.error("alter session set time_zone = 'Berlin'").code == 1882
    client.session.rollback()


def test_rowids_pass_through_a_view_of_one_table(client: Client) -> None:
    """And can be compared there, with ROWID and UROWID columns alike."""
    (rowid,) = client.rows("select rowid from t where id = 1")[0]
    assert client.rows("select rowid, id from plain_view where rowid = chartorowid(:1)", rowid) == [(rowid, 1)]
    assert client.rows("select rowid from (select id from t) where id = 1") == [(rowid,)]
    assert client.rows("select u from t where u = rowid and id = 1") == [(rowid,)]
    assert [column.type for column in client.describe("select u, rowid from t")] == [OraType.UROWID, OraType.ROWID]


def test_a_view_is_read_as_of_an_scn(client: Client) -> None:
    """Its tables are, with the rows they had."""
    scn = client.database.store.scn
    client.execute("delete from t where id = 2")
    client.session.commit()
    assert client.one("select count(*) from plain_view") == 1
    assert client.one("select count(*) from plain_view as of scn :1", scn) == 2
    client.execute("insert into t (id) values (2)")
    client.session.commit()


def test_an_index_organised_table_has_urowids(client: Client) -> None:
    """The dictionary says what it is; keys compare in ORs, not as lists."""
    assert client.describe("select rowid from iot")[0].type is OraType.UROWID
    assert client.one("select iot_type from user_tables where table_name = 'IOT'") == "IOT"
    later = "select a from iot where a > :1 or (a = :2 and b > :3)"
    assert client.rows(later, 1, 1, "w") == [(1,)]
    assert client.rows(later, 1, 1, "x") == []
    assert client.error("select a from iot where (a, b) > ((1, 'w'))").code == 1796
