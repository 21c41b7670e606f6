"""LOBs with the unmodified driver: locators, content in rows and data frames, parts, temporary LOBs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import PASSWORD, FixedDatabase, FixedSession, lobs_in_memory

from kpc.emulators.oracle.interface import Bind, ExecutionOutcome, OraColumn, OraError, OraType, StatementKind
from kpc.emulators.oracle.wire.calls.lobs import LobStore
from kpc.emulators.oracle.wire.server import Listener

SQL = "select id, c, n, b from docs"
TEXTS = ["short", "ก" * 50_000, None, "x" * 100_000 + "😀", "y"]
NATIONAL = ["ไทย", None, "n" * 70_000, "😀", "z"]
BYTES = [b"\x00\x01", None, bytes(range(256)) * 500, b"1", b"2"]


@pytest.fixture
def database() -> FixedDatabase:
    database = FixedDatabase()
    columns = [
        OraColumn("ID", OraType.NUMBER, 9, 0),
        OraColumn("C", OraType.CLOB),
        OraColumn("N", OraType.CLOB, is_national=True),
        OraColumn("B", OraType.BLOB),
    ]
    arrays = [pa.array(range(5)), pa.array(TEXTS), pa.array(NATIONAL), pa.array(BYTES, pa.binary())]
    for sql in (SQL, SQL + " d"):
        database.table(sql, columns, pa.record_batch(arrays, names=list("ICNB")))
    return database


def _read(lob: oracledb.LOB | None) -> object:
    return None if lob is None else lob.read()


@pytest.mark.parametrize("arraysize", [1, 2, 100])
def test_locators_give_the_content_afterwards(connection: oracledb.Connection, arraysize: int) -> None:
    """Even after the statement was executed again and its cursor closed."""
    with connection.cursor() as cursor:
        cursor.arraysize = arraysize
        rows = cursor.execute(SQL).fetchall()
        again = cursor.execute(SQL).fetchall()
    for fetched in (rows, again):
        assert [(_read(c), _read(n), _read(b)) for _, c, n, b in fetched] == list(
            zip(TEXTS, NATIONAL, BYTES, strict=True)
        )
        assert [row[0] for row in fetched] == list(range(5))


def test_content_can_be_fetched_in_the_row(connection: oracledb.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fetch_lobs=False`, the first time and from the statement cache."""
    monkeypatch.setattr(oracledb.defaults, "fetch_lobs", False)
    for _ in range(2):
        with connection.cursor() as cursor:
            rows = cursor.execute(SQL).fetchall()
        assert rows == list(zip(range(5), TEXTS, NATIONAL, BYTES, strict=True))


def test_a_statement_fetched_as_locators_can_later_be_fetched_as_content(
    connection: oracledb.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cached statement is described again, so that the client may choose anew."""
    for wants_lobs in (True, False, False):
        monkeypatch.setattr(oracledb.defaults, "fetch_lobs", wants_lobs)
        with connection.cursor() as cursor:
            row = cursor.execute(SQL).fetchone()
        assert [_read(value) if wants_lobs else value for value in row[1:]] == [TEXTS[0], NATIONAL[0], BYTES[0]]


@pytest.mark.parametrize("size", [2, 1000])
def test_lobs_arrive_in_data_frames(connection: oracledb.Connection, size: int) -> None:
    """As text and bytes, over several fetches, twice."""
    for _ in range(2):
        frames = [pa.table(frame) for frame in connection.fetch_df_batches(SQL, size=size)]
        table = pa.concat_tables(frames)
        assert table.column("C").to_pylist() == TEXTS
        assert table.column("N").to_pylist() == NATIONAL
        assert table.column("B").to_pylist() == BYTES


def test_the_asyncio_driver_reads_lobs(server: Listener) -> None:
    """Locators and data frames."""

    async def work() -> tuple[object, object]:
        async with oracledb.connect_async(
            user="kpc", password=PASSWORD, dsn=f"127.0.0.1:{server.port}/KPCDB"
        ) as connection:
            with connection.cursor() as cursor:
                await cursor.execute(SQL)
                row = await cursor.fetchone()
                text = await row[1].read()
            return text, pa.table(await connection.fetch_df_all(SQL + " d")).column("B").to_pylist()

    assert asyncio.run(work()) == (TEXTS[0], BYTES)


def test_parts_sizes_and_states_of_a_lob(connection: oracledb.Connection) -> None:
    """Offsets count from one; text counts UTF-16 code units; open and close are remembered."""
    with connection.cursor() as cursor:
        rows = cursor.execute(SQL).fetchall()
    text, binary = rows[3][1], rows[2][3]
    assert (text.size(), binary.size()) == (100_002, 128_000)
    assert (text.read(99_999, 2), text.read(100_001, 2), text.read(100_003)) == ("xx", "😀", "")
    assert (binary.read(256, 3), binary.read(127_999)) == (b"\xff\x00\x01", b"\xfe\xff")
    assert text.getchunksize() > 0
    assert not text.isopen()
    text.open()
    assert text.isopen()
    with pytest.raises(oracledb.DatabaseError, match="ORA-22293"):
        text.open()
    text.close()
    assert not text.isopen()
    with pytest.raises(oracledb.DatabaseError, match="ORA-22289"):
        text.close()
    with pytest.raises(oracledb.DatabaseError, match="ORA-22920"):
        text.write("lost")


@pytest.mark.parametrize(
    ("kind", "first", "second", "filler"),
    [
        (oracledb.DB_TYPE_CLOB, "กรุงเทพฯ", "มหานคร", " "),
        (oracledb.DB_TYPE_NCLOB, "กรุงเทพฯ", "มหานคร", " "),
        (oracledb.DB_TYPE_BLOB, b"\x01\x02\x03", b"\xff" * 40_000, b"\x00"),
    ],
    ids=["clob", "nclob", "blob"],
)
def test_temporary_lobs_are_written_trimmed_and_freed(
    connection: oracledb.Connection, kind: oracledb.DbType, first: str | bytes, second: str | bytes, filler: str | bytes
) -> None:
    """Writing over the end fills the gap; a freed LOB is gone with the next call."""
    lob = connection.createlob(kind, first)
    assert lob.read() == first
    lob.write(second, len(first) + 3)
    assert lob.read() == first + filler * 2 + second  # type: ignore[operator]
    assert lob.size() == len(first) + 2 + len(second)
    lob.write(first, 2)
    assert lob.read(2, len(first)) == first
    lob.trim(4)
    assert lob.size() == 4
    with pytest.raises(oracledb.DatabaseError, match="ORA-22926"):
        lob.trim(5)


def test_a_temporary_lob_can_be_bound_and_comes_back(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """In as a locator, out of PL/SQL and of RETURNING as a locator."""
    content = "ก" * 40_000

    def echo(session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        assert rows[0][0].value == content
        return ExecutionOutcome(StatementKind.DML, row_count=1, out={1: [content]})

    sql = "insert into docs (c) values (:1) returning c into :2"
    database.answers[sql] = echo
    with connection.cursor() as cursor:
        out = cursor.var(oracledb.DB_TYPE_CLOB)
        cursor.execute(sql, [connection.createlob(oracledb.DB_TYPE_CLOB, content), out])
        [lob] = out.getvalue()
        assert lob.read() == content


def test_the_client_frees_temporary_lobs_and_the_server_forgets_them(connection: oracledb.Connection) -> None:
    """By a note in front of the next call."""
    before = lobs_in_memory()
    used = [connection.createlob(oracledb.DB_TYPE_BLOB, b"x") for _ in range(3)]
    assert lobs_in_memory() == before + 3
    used.clear()
    connection.ping()
    assert lobs_in_memory() == before


def test_fetched_lobs_are_forgotten_before_memory_is_full() -> None:
    """The oldest go first, temporary ones never; a forgotten one is an Oracle error."""
    store = LobStore(lambda _home, _content: None, most_bytes=1000)
    temporary = store.add(b"t" * 500, is_temp=True)
    locators = [store.add(b"x" * 100) for _ in range(10)]
    assert store.value(temporary) == b"t" * 500
    assert store.value(locators[-1]) == b"x" * 100
    with pytest.raises(OraError, match="ORA-22922"):
        store.value(locators[0])
