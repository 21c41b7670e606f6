"""Independent clients against the Oracle emulator: each must see what python-oracledb sees."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pandas
import polars
import pytest
import sqlalchemy as sa
from node_packages import run_node
from oracle_emulator_process import MODES, emulator

pytestmark = pytest.mark.emulator_only
NODE_ORACLEDB = ("6.10.0", "26.0.0")
MOMENT = dt.datetime.fromisoformat("2024-02-29T23:59:58.123456")
VALUES = {
    "cast('ขาย' as varchar2(20))": "ขาย",
    "cast('ab' as char(4))": "ab  ",
    "cast('ส้ม' as nvarchar2(10))": "ส้ม",
    "-0.5": Decimal("-0.5"),
    "1234567.89": Decimal("1234567.89"),
    "1e125": Decimal("1e125"),
    "123456789012345678901234567890123456789": Decimal(123456789012345678901234567890123456789),
    "date '2024-02-29'": dt.datetime(2024, 2, 29),  # noqa: DTZ001  Oracle's DATE has no zone
    "timestamp '2024-02-29 23:59:58.123456'": MOMENT,
    "hextoraw('00ff')": b"\x00\xff",
    "to_binary_double('1.5')": 1.5,
    "to_binary_float('-2.25')": -2.25,
    "interval '1 02:03:04.5' day to second": dt.timedelta(days=1, hours=2, minutes=3, seconds=4.5),
    "to_clob(rpad('ก', 1000, 'ข'))": "ก" + "ข" * 999,
    "to_blob(hextoraw('0102'))": b"\x01\x02",
    "cast(null as number)": None,
}


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with emulator(tmp_path_factory.mktemp("oracle"), *request.param) as (_, connection):
        yield connection


@pytest.fixture
def exact() -> Iterator[None]:
    """Numbers as Decimal and LOBs as values, from python-oracledb as from the others."""
    before = oracledb.defaults.fetch_decimals, oracledb.defaults.fetch_lobs
    oracledb.defaults.fetch_decimals, oracledb.defaults.fetch_lobs = True, False
    yield
    oracledb.defaults.fetch_decimals, oracledb.defaults.fetch_lobs = before


def test_python_oracledb_gives_every_type_in_both_worlds(target: dict[str, str], exact: None) -> None:
    """The blocking and the asyncio driver agree with the values that were written."""
    sql = f"select {', '.join(VALUES)} from dual"

    async def by_asyncio() -> tuple[Any, ...]:
        async with oracledb.connect_async(**target) as connection:
            row: tuple[Any, ...] = await connection.fetchone(sql)
            return row

    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        assert cursor.execute(sql).fetchone() == tuple(VALUES.values())
    assert asyncio.run(by_asyncio()) == tuple(VALUES.values())


@pytest.mark.parametrize("array_rows", [1, 90, 100, 5000])
def test_the_driver_gets_every_row_before_the_failing_one(target: dict[str, str], array_rows: int) -> None:
    """Rows 1 to 999 arrive one by one and by frames, then ORA-01476, and the session lives on."""
    sql = "select level, 1 / (1000 - level) x from dual connect by level <= 3000"
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        cursor.arraysize = cursor.prefetchrows = array_rows
        seen: list[int] = []
        with pytest.raises(oracledb.DatabaseError, match="ORA-01476"):
            for number, _ in cursor.execute(sql):
                seen.append(number)
        assert seen == list(range(1, 1000))
        rows = 0
        with pytest.raises(oracledb.DatabaseError, match="ORA-01476"):
            for frame in connection.fetch_df_batches(sql, size=array_rows):
                rows += frame.num_rows()
        assert rows == 999
        assert cursor.execute("select 'alive' from dual").fetchone() == ("alive",)


@pytest.mark.parametrize("version", NODE_ORACLEDB)
def test_node_oracledb_makes_its_whole_tour(target: dict[str, str], version: str) -> None:
    """Types, LOBs, array DML with errors, statements repeated with every fetch size and other binds, PL/SQL, errors."""
    script = Path(__file__).with_name("node_oracledb_tour.cjs")
    seen = json.loads(run_node(script, "oracledb", version, input=json.dumps(target)))
    described = dict(seen["types"]["described"])
    assert (described["NV"], described["TZ"], described["ROWID"]) == ("NVARCHAR2", "TIMESTAMP WITH TIME ZONE", "ROWID")
    first = dict(zip(described, seen["types"]["first"], strict=True))
    assert (first["C"], first["CH"], first["NV"], first["N"], first["M"]) == ("ขาย", "ab  ", "ส้ม", "-.5", 1234567.89)
    assert (first["D"], first["TS"], first["TZ"]) == ("2024-02-29T23:59:58.000Z", *["2024-02-29T23:59:58.123Z"] * 2)
    assert (first["R"], first["BD"], first["BF"], first["CL"], first["BL"]) == (
        "00ff", 1.5, -2.25, [40_000, "กก"], [70_000, "0707"],
    )  # fmt: skip
    assert seen["types"]["isRowid"]
    assert seen["types"]["second"] == [2, *[None] * 13]
    assert seen["lobs"] == {"clob": 40_000, "blob": 70_000}
    assert seen["manyRows"] == {
        "inserted": 2500, "again": [True] * 10, "offsets": [[1, "ORA-00001"], [3, "ORA-00001"]], "counts": [1, 0, 1, 0],
    }  # fmt: skip
    assert seen["cached"] == [[1, 2, 3], 11, [500, 501, 502], 510, [-7, -6, -5], 3, [1400, 1401, 1402], 1410]
    assert seen["changes"] == {
        "updated": 10, "returned": {"id": [1, 2], "t": ["new", "new"]}, "back": 0, "scn": True,
    }  # fmt: skip
    assert seen["errors"] == [942, 1476, 1, 1722, 900, 936, [999, 1476], "alive"]


def test_seerdb_reads_and_writes_the_same(target: dict[str, str], request: pytest.FixtureRequest) -> None:
    """A third client, of other authors: every type, arrays of rows, repeated statements, errors on a live session."""
    if "23ai" in request.node.name:
        pytest.skip("of a 23ai server seerdb demands fast authentication, which the emulator does not offer")
    seerdb = pytest.importorskip("seerdb", reason="seerdb is not installed (pip install seerdb)")
    connection = seerdb.connect(**target)
    cursor = connection.cursor()
    for sql, value in VALUES.items():
        cursor.execute(f"select {sql} from dual")
        ((found,),) = cursor.fetchall()
        assert (found.read() if hasattr(found, "read") else found) == value
    rows = [(n - 1000, f"row {n}", (n - 1000) * 1_000_003 if n % 3 else None) for n in range(2500)]
    cursor.execute("create table seer (id number(9) primary key, t varchar2(20), x number)")
    cursor.executemany("insert into seer values (:1, :2, :3)", rows)
    assert cursor.rowcount == 2500
    connection.commit()
    for array_rows in (1, 7, 100, 1000):
        cursor.arraysize = array_rows
        for _ in range(2):
            cursor.execute("select id, t, x from seer order by id")
            assert cursor.fetchall() == rows
    for sql, code in (("select * from nowhere", "00942"), ("select 1/0 from dual", "01476"), ("selec 1", "00900")):
        with pytest.raises(seerdb.DatabaseError, match=f"ORA-{code}"):
            cursor.execute(sql)
    cursor.execute("delete from seer where id < 0")
    assert cursor.rowcount == 1000
    connection.rollback()
    cursor.execute("select count(*) from seer")
    assert cursor.fetchall() == [(2500,)]
    cursor.execute("drop table seer purge")
    connection.close()


def test_the_driver_learns_the_rowid_of_the_last_changed_row(target: dict[str, str]) -> None:
    """After a single row and after an array; none when nothing was changed."""
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        cursor.execute("create table last_rows (id number(9))")
        cursor.execute("insert into last_rows values (1)")
        single = cursor.lastrowid
        cursor.executemany("insert into last_rows values (:1)", [(n,) for n in range(2, 226)])
        many = cursor.lastrowid
        cursor.execute("update last_rows set id = 0 where id = 999")
        assert cursor.lastrowid is None
        found = cursor.execute("select rowid from last_rows where id in (1, 225) order by id").fetchall()
        assert found == [(single,), (many,)]
        cursor.execute("drop table last_rows purge")


def sqlalchemy_engine(target: dict[str, str]) -> sa.Engine:
    address, _, service = target["dsn"].partition("/")
    host, _, port = address.partition(":")
    url = sa.URL.create("oracle+oracledb", target["user"], target["password"], host, int(port))
    return sa.create_engine(url.update_query_dict({"service_name": service}))


PEOPLE = sa.Table(
    "sa_people",
    sa.MetaData(),
    sa.Column("id", sa.Integer, sa.Identity(start=10), primary_key=True),
    sa.Column("name", sa.String(60), nullable=False, comment="as in the register"),
    sa.Column("code", sa.String(10), unique=True),
    comment="who buys",
)
ORDERS = sa.Table(
    "sa_orders",
    PEOPLE.metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("buyer", sa.Integer, sa.ForeignKey("sa_people.id", name="sa_buyer")),
    sa.Column("amount", sa.Numeric(12, 2)),
    sa.Column("day", sa.Date),
    sa.Column("made", sa.TIMESTAMP),
    sa.Column("waited", sa.Interval),
    sa.Column("note", sa.Text),
    sa.CheckConstraint("amount >= 0", name="sa_positive"),
    sa.Index("sa_by_day", "day", "buyer"),
)


@pytest.fixture
def engine(target: dict[str, str]) -> Iterator[sa.Engine]:
    engine = sqlalchemy_engine(target)
    PEOPLE.metadata.create_all(engine)
    yield engine
    PEOPLE.metadata.drop_all(engine)
    engine.dispose()


def test_sqlalchemy_reflects_what_it_created(engine: sa.Engine) -> None:
    """Columns, identity, keys, checks, indexes and comments come back from the dictionary views."""
    seen = sa.inspect(engine)
    assert {"sa_people", "sa_orders"} <= set(seen.get_table_names())
    columns = {c["name"]: c for c in seen.get_columns("sa_people")}
    assert columns["id"]["identity"]["start"] == 10
    assert columns["name"]["comment"] == "as in the register"
    assert [c["nullable"] for c in columns.values()] == [False, False, True]
    assert str(columns["name"]["type"]) == "VARCHAR(60)"
    assert seen.get_table_comment("sa_people") == {"text": "who buys"}
    assert seen.get_pk_constraint("sa_orders")["constrained_columns"] == ["id"]
    (key,) = seen.get_foreign_keys("sa_orders")
    assert (key["name"], key["referred_table"], key["referred_columns"]) == ("sa_buyer", "sa_people", ["id"])
    assert [c["name"] for c in seen.get_check_constraints("sa_orders")] == ["sa_positive"]
    assert [i["column_names"] for i in seen.get_indexes("sa_orders")] == [["day", "buyer"]]
    assert [c["column_names"] for c in seen.get_unique_constraints("sa_people")] == [["code"]]
    reflected = sa.MetaData()
    reflected.reflect(engine, views=True)
    assert {"sa_people", "sa_orders"} <= set(reflected.tables)


def test_sqlalchemy_writes_and_reads(engine: sa.Engine) -> None:
    """Identity values come back from INSERT, also from many rows; every type survives; the order and page hold."""
    day, made = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 23, 59, 58, 123456)  # noqa: DTZ001  no zone
    with engine.begin() as connection:
        first = connection.execute(PEOPLE.insert().values(name="A")).inserted_primary_key
        connection.execute(PEOPLE.insert(), [{"name": "B", "code": "b"}, {"name": "C", "code": "c"}])
        rows = [
            {"id": n, "buyer": 10, "amount": Decimal(n) / 4, "day": day, "made": made, "waited": made - made.min,
             "note": "ข" * 5000}
            for n in range(1, 6)
        ]  # fmt: skip
        connection.execute(ORDERS.insert(), rows)
    assert first is not None
    assert tuple(first) == (10,)
    with engine.connect() as connection:
        assert connection.scalars(sa.select(PEOPLE.c.id).order_by(PEOPLE.c.name)).all() == [10, 11, 12]
        page = connection.execute(sa.select(ORDERS).order_by(ORDERS.c.id.desc()).offset(1).limit(1)).one()
        assert page._asdict() == rows[3]
        totals = sa.select(PEOPLE.c.name, sa.func.sum(ORDERS.c.amount)).join_from(PEOPLE, ORDERS, isouter=True)
        found = connection.execute(totals.group_by(PEOPLE.c.name).order_by(PEOPLE.c.name)).all()
        assert [tuple(row) for row in found] == [("A", Decimal("3.75")), ("B", None), ("C", None)]
    with pytest.raises(sa.exc.IntegrityError, match="ORA-02290"), engine.begin() as connection:
        connection.execute(ORDERS.update().values(amount=-1))


@pytest.mark.parametrize("read", [pandas.read_sql, polars.read_database])
def test_data_frame_libraries_read_through_sqlalchemy(engine: sa.Engine, read: Callable[[str, sa.Engine], Any]) -> None:
    """pandas and polars see the rows and names that were written."""
    with engine.begin() as connection:
        connection.execute(PEOPLE.insert(), [{"name": f"N{n}"} for n in range(300)])
    frame = read("select id, name from sa_people order by id", engine)
    assert [name.upper() for name in frame.columns] == ["ID", "NAME"]
    assert frame.shape == (300, 2)
    assert list(frame.iloc[-1] if hasattr(frame, "iloc") else frame.row(-1)) == [309, "N299"]


def test_the_driver_says_that_a_returned_text_was_cut(target: dict[str, str]) -> None:
    """RETURNING into too short a variable is the driver's DPY-4002, and ORA-01745 names a reserved bind name."""
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        cursor.execute("create table short (id number, name varchar2(40))")
        into = cursor.var(str, 2)
        with pytest.raises(oracledb.DatabaseError, match="DPY-4002"):
            cursor.execute("insert into short values (1, 'longer than that') returning name into :x", x=into)
        with pytest.raises(oracledb.DatabaseError, match="ORA-01745"):
            cursor.execute("select id from short where name = :date", ["x"])
        assert (
            cursor.execute('select name from short where name = :"date"', ["longer than that"]).fetchone() is not None
        )
        cursor.execute("drop table short")


def test_a_national_column_may_become_a_clob(target: dict[str, str]) -> None:
    """A statement that the driver still knows is described again, and its text arrives in the form it expects."""
    forms = {"cast('ข1' as nvarchar2(9))": "to_clob('ข2')", "cast('ข1' as varchar2(9))": "to_nclob('ข2')"}
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        for before, after in forms.items():
            for expression, expected in ((before, "ข1"), (after, "ข2")):
                cursor.execute(f"create or replace view changing as select {expression} as v from dual")
                assert cursor.execute("select v from changing").fetchall() == [(expected,)]
        cursor.execute("drop view changing")


def test_an_empty_lob_is_not_null(target: dict[str, str], exact: None) -> None:
    """EMPTY_CLOB() and a temporary LOB without content are stored as empty LOBs; '' is NULL."""
    with oracledb.connect(**target) as connection, connection.cursor() as cursor:
        cursor.execute("create table empties (id number, c clob, b blob)")
        cursor.execute("insert into empties values (1, empty_clob(), empty_blob())")
        lobs = [connection.createlob(kind) for kind in (oracledb.DB_TYPE_CLOB, oracledb.DB_TYPE_BLOB)]
        cursor.execute("insert into empties values (2, :1, :2)", lobs)
        cursor.execute("insert into empties values (3, '', null)")
        sizes = "select id, dbms_lob.getlength(c), dbms_lob.getlength(b) from empties order by id"
        assert cursor.execute(sizes).fetchall() == [(1, 0, 0), (2, 0, 0), (3, None, None)]
        cursor.execute("select c, b from empties where c is not null", fetch_lobs=True)
        assert [(c.read() or "", b.read()) for c, b in cursor.fetchall()] == [("", b""), ("", b"")]
        cursor.execute("drop table empties")
