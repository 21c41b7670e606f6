"""LOBs written in place with the unmodified driver: only in rows that the transaction holds; COMMIT keeps it."""

from __future__ import annotations

from collections.abc import Iterator

import oracledb
import pytest
from oracle_sql_client import empty_database

from kpc.emulators.oracle.wire.server import Listener

NOT_LOCKED = "ORA-22920"


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    database = empty_database()
    with Listener(database) as server:
        yield server
    database.close()


def connect(server: Listener) -> oracledb.Connection:
    return oracledb.connect(user="kps", password="secret", dsn=f"127.0.0.1:{server.port}/KPCDB")


@pytest.fixture
def connection(server: Listener) -> Iterator[oracledb.Connection]:
    with connect(server) as connection:
        cursor = connection.cursor()
        cursor.execute("create table docs (id number(9) primary key, c clob, n nclob, b blob)")
        cursor.executemany(
            "insert into docs values (:1, :2, :3, :4)", [(1, "one", "หนึ่ง", b"\x01"), (2, "two", "สอง", b"\x02\x02")]
        )
        connection.commit()
        yield connection
        connection.rollback()
        cursor.execute("drop table docs purge")


def stored(server: Listener, key: int) -> tuple[object, ...]:
    """What another session sees."""
    with connect(server) as other, other.cursor() as cursor:
        cursor.execute("select c, n, b from docs where id = :1", [key])
        return tuple(value.read() if value is not None else None for value in cursor.fetchone())


@pytest.mark.parametrize(
    "query",
    [
        "select c, n, b from docs where id = 1 for update",
        "select d.c, d.n, d.b from docs d where d.id = 1 for update of d.c",
        "select c, n, b from docs where id < 2 order by id for update",
        "select docs.c, docs.n, docs.b from docs, dual where id = 1 for update",
        "select c, n, b from docs where id = 1 and rownum = 1 for update",
    ],
    ids=["plain", "of-column", "ordered", "joined", "rownum"],
)
def test_a_locked_row_s_lobs_are_written_in_place(
    server: Listener, connection: oracledb.Connection, query: str
) -> None:
    """Text of both character sets and bytes; others see it after COMMIT, and not before."""
    with connection.cursor() as cursor:
        text, national, data = cursor.execute(query).fetchone()
        text.write("กขค" * 3000, 4)
        national.write("!", 6)
        data.trim(0)
        data.write(b"\xff" * 70_000)
        assert text.read() == "one" + "กขค" * 3000
    assert stored(server, 1) == ("one", "หนึ่ง", b"\x01")
    connection.commit()
    assert stored(server, 1) == ("one" + "กขค" * 3000, "หนึ่ง!", b"\xff" * 70_000)
    assert stored(server, 2) == ("two", "สอง", b"\x02\x02")


def test_rollback_takes_a_write_back(server: Listener, connection: oracledb.Connection) -> None:
    """The row is as it was."""
    with connection.cursor() as cursor:
        cursor.execute("select c from docs where id = 2 for update")
        cursor.fetchone()[0].write("gone")
    connection.rollback()
    assert stored(server, 2)[0] == "two"


def test_a_row_that_is_not_locked_is_refused(server: Listener, connection: oracledb.Connection) -> None:
    """Never locked, locked by somebody else, or no longer locked; an expression has no row at all."""
    with connection.cursor() as cursor, connect(server) as other:
        [free] = cursor.execute("select c from docs where id = 1").fetchone()
        with pytest.raises(oracledb.DatabaseError, match=NOT_LOCKED):
            free.write("x")
        other.cursor().execute("select id from docs where id = 1 for update").fetchall()
        with pytest.raises(oracledb.DatabaseError, match=NOT_LOCKED):
            free.write("x")
        other.rollback()
        [held, made] = cursor.execute("select c, c || '' from docs where id = 1 for update").fetchone()
        held.write("O")
        with pytest.raises(oracledb.DatabaseError, match=NOT_LOCKED):
            made.write("x")
        connection.commit()
        with pytest.raises(oracledb.DatabaseError, match=NOT_LOCKED):
            held.write("x")
    assert stored(server, 1)[0] == "One"


def test_a_changed_row_is_held_too(server: Listener, connection: oracledb.Connection) -> None:
    """UPDATE locks as FOR UPDATE does, and nobody else sees a row that this transaction inserted."""
    with connection.cursor() as cursor:
        cursor.execute("update docs set id = 10 where id = 1")
        cursor.execute("insert into docs (id, c) values (11, empty_clob())")
        for key, text in ((10, "ten"), (11, "eleven")):
            cursor.execute("select c from docs where id = :1", [key])
            cursor.fetchone()[0].write(text)
    connection.commit()
    assert [stored(server, key)[0] for key in (10, 11)] == ["ten", "eleven"]


@pytest.mark.parametrize(
    "change",
    [
        "insert into docs (id, c, b) values (:1, empty_clob(), empty_blob())",
        "update docs set c = empty_clob(), b = empty_blob() where id = :1",
    ],
    ids=["insert", "update"],
)
def test_returning_gives_the_row_s_own_locator(server: Listener, connection: oracledb.Connection, change: str) -> None:
    """The usual way to insert a large value: an empty one, then written piece by piece."""
    key = 20 if change.startswith("insert") else 2
    with connection.cursor() as cursor:
        text, data = cursor.var(oracledb.DB_TYPE_CLOB), cursor.var(oracledb.DB_TYPE_BLOB)
        cursor.execute(f"{change} returning c, b into :2, :3", [key, text, data])
        [lob], [binary] = text.getvalue(), data.getvalue()
        for at in range(3):
            lob.write("ก" * 20_000, 1 + at * 20_000)
        binary.write(b"\x07" * 10)
    connection.commit()
    kept = stored(server, key)
    assert (kept[0], kept[2]) == ("ก" * 60_000, b"\x07" * 10)
