"""INSERT, UPDATE, DELETE, MERGE; transactions, locks and flashback."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from oracle_sql_client import Client, empty_database, out

from kpc.emulators.oracle.engine import EmulatedDatabase
from kpc.emulators.oracle.interface import Bind, OraError, OraType


@pytest.fixture
def database() -> Iterator[EmulatedDatabase]:
    made = empty_database()
    yield made
    made.close()


@pytest.fixture
def client(database: EmulatedDatabase) -> Client:
    made = Client(database)
    made.execute(
        "create table t (id number(10) constraint t_pk primary key, name varchar2(5 char) not null, amount "
        "number(6,2), note char(4),"
        " free number, seen date default date '2024-01-01', constraint t_amount check (amount < 5000), constraint "
        "t_note unique (note))"
    )
    made.execute("insert into t (id, name, amount, note) values (:1, :2, :3, :4)", (1, "a", 1, "x"), (2, "b", 2, "y"))
    made.session.commit()
    return made


ERRORS = {
    "insert into t (id, name) values (1, 'z')": (1, "unique constraint (KPS.T_PK) violated"),
    "insert into t (id, name, note) values (9, 'z', 'x')": (1, "unique constraint (KPS.T_NOTE) violated"),
    "insert into t (id) values (9)": (1400, 'cannot insert NULL into ("KPS"."T"."NAME")'),
    "insert into t (id, name) values (9, '')": (1400, 'cannot insert NULL into ("KPS"."T"."NAME")'),
    "insert into t (id, name) values (9, 'กขคงจฉ')": (
        12899, 'value too large for column "KPS"."T"."NAME" (actual: 6, maximum: 5)',
    ),
    "insert into t (id, name, note) values (9, 'z', 'กข')": (
        12899, 'value too large for column "KPS"."T"."NOTE" (actual: 6, maximum: 4)',
    ),
    "insert into t (id, name, amount) values (9, 'z', 12345)": (1438,
    "value larger than specified precision allowed for this column"),
    "insert into t (id, name, amount) values (9, 'z', 5000)": (2290, "check constraint (KPS.T_AMOUNT) violated"),
    "insert into t (id, name) values ('q', 'z')": (1722, "invalid number"),
    "insert into t (id, nope) values (9, 'z')": (904, '"NOPE": invalid identifier'),
    "insert into t (id) values (9, 'z')": (913, "too many values"),
    "insert into t (id, name) values (9)": (947, "not enough values"),
    "insert into nosuch values (1)": (942, "table or view does not exist"),
    "insert into t (id, name, seen) values (9, 'z', '2024-01-01')": (1861, "literal does not match format string"),
    "update t set name = null": (1407, 'cannot update ("KPS"."T"."NAME") to NULL'),
    "update t set id = 5": (1, "unique constraint (KPS.T_PK) violated"),
    "update t set nope = 1": (904, '"NOPE": invalid identifier'),
    "delete from t where nope = 1": (904, '"NOPE": invalid identifier'),
    "insert all into t (id, name) values (8, 'z') select 1 from dual": (3001, None),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), ERRORS.items())
def test_a_bad_change_changes_nothing(client: Client, sql: str, expected: tuple[int, str | None]) -> None:
    """Oracle's code and text, and the table as it was; the open transaction lives on."""
    client.execute("update t set amount = 3 where id = 1")
    error = client.error(sql)
    assert error.code == expected[0]
    assert expected[1] is None or error.message == expected[1]
    assert client.rows("select id, name, amount from t order by id") == [(1, "a", 3), (2, "b", 2)]


def test_values_are_rounded_padded_and_defaulted(client: Client) -> None:
    """NUMBER(p,s) rounds half away from zero, CHAR is padded, DEFAULT fills what is not given."""
    client.execute("insert into t (id, name, amount, note) values (3, 'c', 1.005, 'ก')")
    client.execute("insert into t (id, name, seen) values (4, 'd', null)")
    client.execute("insert into t (id, name, seen, amount) values (5, 'e', default, -1.005)")
    assert client.rows("select amount, note, seen from t where id > 2 order by id") == [
        (Decimal("1.01"), "ก ", dt.datetime(2024, 1, 1)),  # noqa: DTZ001  Oracle's DATE has no zone
        (None, None, None),
        (Decimal("-1.01"), None, dt.datetime(2024, 1, 1)),  # noqa: DTZ001
    ]


@pytest.mark.parametrize(
    "value", [Decimal("1e100"), Decimal("1e-30"), Decimal(10**38 + 1), Decimal("0.12345678901234567890")]
)
def test_a_free_number_holds_whatever_number_comes(client: Client, value: Decimal) -> None:
    """The column is made wide when a value needs it; older values, open changes and flashback stay right."""
    client.execute("update t set free = 1.5 where id = 1")
    before = client.one("select current_scn from v$database")
    client.execute("update t set free = :1 where id = 2", (value,))
    assert client.rows("select free from t order by id") == [(Decimal("1.5"),), (value,)]
    client.session.commit()
    assert client.rows("select free from t order by free") == sorted([(Decimal("1.5"),), (value,)])
    assert client.rows("select free from t as of scn :1 order by id", before) == [(None,), (None,)]
    assert client.one("select sum(free) from t where id = 1") == Decimal("1.5")


def test_update_delete_and_merge_report_their_rows(client: Client) -> None:
    """Row counts, subqueries in SET, and both branches of MERGE."""
    assert client.execute("update t set (amount, name) = (select 7, 'q' from dual) where id < 9").row_count == 2
    assert client.rows("select amount, name from t") == [(7, "q"), (7, "q")]
    merged = client.execute(
        "merge into t using (select 2 id, 'two' n from dual union all select 3, 'three' from dual) s on (t.id = s.id)"
        " when matched then update set t.name = s.n when not matched then insert (id, name) values (s.id, s.n)"
    )
    assert merged.row_count == 2
    assert client.rows("select id, name from t order by id") == [(1, "q"), (2, "two"), (3, "three")]
    assert client.execute("delete from t where id in (select id from t where id > 1)").row_count == 2
    assert client.execute("delete from t where id = 99").row_count == 0


@pytest.mark.parametrize(("sql", "value"), {"1/8": Decimal("0.125"), "2/3 * 3": 2, "power(10, 30)": 10**30}.items())
def test_a_quotient_comes_back_from_plsql(client: Client, sql: str, value: object) -> None:
    """NUMBERs that no DECIMAL holds leave through OUT binds like all others."""
    assert client.execute(f"begin :1 := {sql}; end;", (out(OraType.NUMBER),)).out == {0: [value]}


def test_returning_gives_the_changed_rows(client: Client) -> None:
    """RETURNING INTO after INSERT, UPDATE and DELETE, several rows included."""
    made = client.execute(
        "insert into t (id, name) values (:1, 'r') returning rowid, id + 1 into :2, :3",
        (7, out(OraType.ROWID), out(OraType.NUMBER)),
    )
    rowid = client.one("select rowid from t where id = 7")
    assert made.out == {1: [rowid], 2: [8]}
    changed = client.execute("update t set amount = 9 where id < :1 returning id into :2", (3, out(OraType.NUMBER)))
    assert set(changed.out[1]) == {1, 2}
    gone = client.execute("delete from t where id = 1 returning name into :1", (out(OraType.VARCHAR2),))
    assert gone.out == {0: ["a"]}


def test_array_insert_reports_the_rows_that_failed(client: Client) -> None:
    """With batch errors the good rows stay; offsets and counts are by bind row."""
    rows = [(10, "a", 1), (1, "a", 1), (11, "toolong", 1), (12, "b", 99999), (13, "c", None)]
    made = client.execute(
        "insert into t (id, name, amount) values (:1, :2, :3)", *rows, batch_errors=True, row_counts=True
    )
    assert [(offset, error.code) for offset, error in made.batch_errors] == [(1, 1), (2, 12899), (3, 1438)]
    assert (made.row_count, made.row_counts) == (2, [1, 0, 0, 0, 1])
    assert client.one("select count(*) from t") == 4


def test_array_insert_stops_at_the_first_bad_row(client: Client) -> None:
    """Without batch errors the rows before it stay done, as in Oracle, and the error knows how many."""
    with pytest.raises(OraError) as caught:
        client.execute("insert into t (id, name) values (:1, :2)", *[(i, "x") for i in (20, 21, 22, 1, 23)])
    assert caught.value.code == 1
    assert (caught.value.row_offset, caught.value.row_count) == (3, 3)
    assert client.one("select count(*) from t") == 5


def test_array_update_and_delete_act_row_by_row(client: Client) -> None:
    """Counts per bind row, also where two rows meet in one table row."""
    made = client.execute("update t set amount = :1 where id = :2", (5, 1), (6, 2), (7, 3), (8, 1), row_counts=True)
    assert made.row_counts == [1, 1, 0, 1]
    assert client.rows("select amount from t order by id") == [(8,), (6,)]
    gone = client.execute("delete from t where id = :1", (1,), (1,), (2,), row_counts=True)
    assert gone.row_counts == [1, 0, 1]


def test_array_insert_is_fast(client: Client) -> None:
    """Tens of thousands of rows take a second or two, not minutes."""
    started = time.monotonic()
    client.execute("insert into t (id, name) values (:1, :2)", *[(i, "n") for i in range(100, 30_100)])
    client.session.commit()
    assert time.monotonic() - started < 20
    assert client.one("select count(*) from t") == 30_002


# Transactions


def test_nobody_sees_what_is_not_committed(database: EmulatedDatabase, client: Client) -> None:
    """Readers see the committed rows, the writer its own; each statement sees the latest commit."""
    other = Client(database)
    client.execute("update t set amount = 100 where id = 1")
    client.execute("delete from t where id = 2")
    client.execute("insert into t (id, name) values (3, 'c')")
    other.execute("insert into t (id, name) values (4, 'd')")
    assert client.rows("select id, amount from t order by id") == [(1, 100), (3, None)]
    assert other.rows("select id, amount from t order by id") == [(1, 1), (2, 2), (4, None)]
    assert client.session.in_transaction
    client.session.commit()
    assert other.rows("select id, amount from t order by id") == [(1, 100), (3, None), (4, None)]
    other.session.rollback()
    assert other.rows("select id from t order by id") == [(1,), (3,)]


def test_savepoints_undo_a_part(client: Client) -> None:
    """ROLLBACK TO keeps what came before; an unknown savepoint is ORA-01086."""
    client.execute("update t set amount = 50 where id = 1")
    client.execute("savepoint here")
    client.execute("delete from t")
    client.execute("rollback to savepoint here")
    assert client.rows("select amount from t order by id") == [(50,), (2,)]
    assert client.error("rollback to nowhere").code == 1086
    client.execute("rollback")
    assert client.rows("select amount from t order by id") == [(1,), (2,)]


def test_a_rowid_stays_with_its_row(client: Client) -> None:
    """Unique, in insertion order, unchanged by updates and by other rows' deletion."""
    before = dict(client.rows("select id, rowid from t"))
    client.execute("update t set amount = 3 where id = 1")
    client.execute("delete from t where id = 2")
    client.session.commit()
    client.execute("insert into t (id, name) values (3, 'c')")
    client.session.commit()
    assert client.rows("select id from t where rowid = :1", before[1]) == [(1,)]
    assert client.rows(
        "select id from t where rowid between chartorowid(:1) and chartorowid(:2)", before[1], before[2]
    ) == [(1,)]
    assert client.rows("select id from t order by rowid") == [(1,), (3,)]
    assert client.one("select max(rowid) from t") != before[2]


def test_a_writer_waits_for_the_row_another_holds(database: EmulatedDatabase, client: Client) -> None:
    """It then works on what was committed; NOWAIT is ORA-00054 at once."""
    other = Client(database)
    client.execute("update t set amount = 10 where id = 1")
    assert other.error("select * from t where id = 1 for update nowait").code == 54
    assert other.error("select * from t where id = 1 for update wait 1").code == 30006
    waiting = threading.Thread(target=other.execute, args=("update t set amount = amount + 1 where id = 1",))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    client.session.commit()
    waiting.join(10)
    assert other.one("select amount from t where id = 1") == 11


def test_two_sessions_cannot_commit_the_same_key(database: EmulatedDatabase, client: Client) -> None:
    """The second waits for the first, and then finds the key taken."""
    other = Client(database)
    found: list[int] = []
    client.execute("insert into t (id, name) values (50, 'a')")
    waiting = threading.Thread(
        target=lambda: found.append(other.error("insert into t (id, name) values (50, 'b')").code)
    )
    waiting.start()
    time.sleep(0.3)
    assert not found
    client.session.commit()
    waiting.join(10)
    assert found == [1]


def test_a_deadlock_ends_for_one_of_the_two(database: EmulatedDatabase, client: Client) -> None:
    """ORA-00060 goes to the one who closes the circle; the other gets its row."""
    other = Client(database)
    client.execute("update t set amount = 1 where id = 1")
    other.execute("update t set amount = 1 where id = 2")
    waiting = threading.Thread(target=client.execute, args=("update t set amount = 2 where id = 2",))
    waiting.start()
    time.sleep(0.3)
    assert other.error("update t set amount = 2 where id = 1").code == 60
    other.session.rollback()
    waiting.join(10)
    assert client.one("select amount from t where id = 2") == 2


def test_a_running_call_can_be_interrupted(client: Client) -> None:
    """ORA-01013 within moments, and the session works on."""
    timer = threading.Timer(0.3, client.session.interrupt)
    client.execute("create table big (n number(9))")
    client.execute("insert into big values (:1)", *[(i,) for i in range(30_000)])
    timer.start()
    started = time.monotonic()
    assert client.error("select count(*) from big a, big b, big c where a.n + b.n > c.n").code == 1013
    assert time.monotonic() - started < 10
    assert client.one("select 1 from dual") == 1


# Flashback


def test_as_of_scn_reads_the_past(database: EmulatedDatabase, client: Client) -> None:
    """Updates, deletes and inserts after the SCN do not show, for every session and also beside open changes."""
    other = Client(database)
    scn = client.one("select current_scn from v$database")
    client.execute("update t set amount = 77 where id = 1")
    client.execute("delete from t where id = 2")
    client.execute("insert into t (id, name) values (3, 'c')")
    client.session.commit()
    later = other.one("select dbms_flashback.get_system_change_number from dual")
    other.execute("delete from t")
    assert other.rows("select id, amount from t as of scn :1 order by id", scn) == [(1, 1), (2, 2)]
    assert other.rows(f"select id, amount from t as of scn {later} x where x.id > 0 order by id") == [
        (1, 77),
        (3, None),
    ]
    assert later > scn


def test_flashback_ends_where_it_must(database: EmulatedDatabase, client: Client) -> None:
    """ORA-08181 for the future, ORA-01555 past the undo, ORA-01466 before a change of the table."""
    scn = client.one("select current_scn from v$database")
    assert client.error("select * from t as of scn :1", (scn + 1000,)).code == 8181
    assert client.error("select * from t as of scn 12").code == 1555
    client.execute("alter table t add (more number)")
    assert client.error("select * from t as of scn :1", (scn,)).code == 1466
    now = client.one("select current_scn from v$database")
    client.execute("update t set amount = 8")
    client.session.commit()
    database.expire_undo()
    assert client.error("select * from t as of scn :1", (now,)).code == 1555


def test_sums_at_one_scn_agree_while_others_write(database: EmulatedDatabase, client: Client) -> None:
    """Money moves between accounts all the time; at one SCN the total is always the same, read by several sessions."""
    client.execute("create table account (id number(4) primary key, balance number)")
    client.execute("insert into account values (:1, 100)", *[(i,) for i in range(100)])
    client.session.commit()
    scn = client.one("select current_scn from v$database")
    stop = threading.Event()

    def move() -> None:
        writer = Client(database)
        turn = 0
        while not stop.is_set():
            turn += 1
            writer.execute("update account set balance = balance - 1 where id = :1", (turn % 100,))
            writer.execute("update account set balance = balance + 1 where id = :1", ((turn * 7) % 100,))
            writer.session.commit()

    moving = threading.Thread(target=move)
    moving.start()
    try:
        readers = [Client(database) for _ in range(3)]
        for reader in readers * 3:
            parts = [
                reader.one(
                    "select sum(balance) from account as of scn :1 where id between :2 and :3", scn, low, low + 24
                )
                for low in (0, 25, 50, 75)
            ]
            assert parts == [2500] * 4
    finally:
        stop.set()
        moving.join(20)


# PL/SQL


def test_small_blocks_run(client: Client) -> None:
    """Assignments to binds, NULL, and the packages that clients call."""
    made = client.execute("begin :1 := dbms_flashback.get_system_change_number(); end;", (out(OraType.NUMBER),))
    assert made.out[0] == [client.one("select current_scn from v$database")]
    twice = client.execute("begin :x := upper(:y) || :x; null; end;", (Bind(OraType.VARCHAR2, "a", 10), "b"))
    assert twice.out[0] == ["Ba"]
    client.execute("begin dbms_application_info.set_module('loader', action_name => 'chunk 7'); end;")
    assert client.rows("select module, action from v$session where sid = sys_context('userenv', 'sid')") == [
        ("loader", "chunk 7")
    ]
    client.execute("begin dbms_session.set_identifier(:1); end;", ("me",))
    assert client.one("select sys_context('userenv', 'client_identifier') from dual") == "me"


@pytest.mark.parametrize(
    "block",
    [
        "begin for r in c loop null; end loop; end;",
        "declare cursor c is select 1 from dual; begin null; end;",
        "begin nosuch(1); end;",
    ],
)
def test_other_blocks_are_refused(client: Client, block: str) -> None:
    """A block that is not understood is ORA-03001 and does nothing."""
    assert client.error(block).code == 3001
