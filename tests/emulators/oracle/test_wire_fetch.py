"""Fetching with the unmodified driver: every type as tuples and as data frames, any number of rows and fetches."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import FixedDatabase, lobs_in_memory

from kpc.emulators.oracle.interface import OraColumn, OraError, OraType

THAI = "ขายปลีก กรุงเทพฯ"
MOMENT = dt.datetime.fromisoformat("2024-02-29T23:59:58.123456")
ROWID = "AAAR3sAAEAAAACXAAB"


TYPES: dict[str, tuple[OraColumn, pa.DataType, list[Any]]] = {
    "int": (OraColumn("A", OraType.NUMBER, 18, 0), pa.int64(), [0, -1, 10**17, None, -(10**17)]),
    "decimal": (
        OraColumn("A", OraType.NUMBER, 38, 2),
        pa.decimal128(38, 2),
        [Decimal("0.10"), Decimal("-123456789012345678901234567890123456.78"), None],
    ),
    "plain number": (
        OraColumn("A", OraType.NUMBER, 0, -127),
        pa.string(),
        ["1" + "0" * 125, "-0.00000000000000000000000000000001", None, "1234567890123456789012345678901234567890"],
    ),
    "varchar2": (
        OraColumn("A", OraType.VARCHAR2, size=4000, chars=1000),
        pa.string(),
        ["a", THAI, None, "\n'\"", "x" * 4000],
    ),
    "nvarchar2": (
        OraColumn("A", OraType.VARCHAR2, size=2000, chars=1000, is_national=True),
        pa.string(),
        ["a", THAI, None],
    ),
    "char": (OraColumn("A", OraType.CHAR, size=5, chars=5), pa.string(), ["ab   ", None]),
    "raw": (OraColumn("A", OraType.RAW, size=2000), pa.binary(), [b"\x00\xff", None, b"z" * 2000]),
    "date": (
        OraColumn("A", OraType.DATE),
        pa.timestamp("s"),
        [
            MOMENT.replace(microsecond=0),
            None,
            dt.datetime.fromisoformat("0001-01-01"),
            dt.datetime.fromisoformat("9999-12-31T23:59:59"),
        ],
    ),
    "timestamp": (
        OraColumn("A", OraType.TIMESTAMP, scale=6),
        pa.timestamp("us"),
        [MOMENT, None, MOMENT.replace(microsecond=0)],
    ),
    "timestamp tz": (OraColumn("A", OraType.TIMESTAMP_TZ, scale=6), pa.timestamp("us"), [MOMENT, None]),
    "timestamp ltz": (OraColumn("A", OraType.TIMESTAMP_LTZ, scale=6), pa.timestamp("us"), [MOMENT, None]),
    "double": (OraColumn("A", OraType.BINARY_DOUBLE), pa.float64(), [1.5, -2.25e300, None, float("inf")]),
    "float": (OraColumn("A", OraType.BINARY_FLOAT), pa.float32(), [1.5, -0.25, None]),
}
SCALAR_ONLY: dict[str, tuple[OraColumn, pa.DataType, list[Any]]] = {
    "interval": (
        OraColumn("A", OraType.INTERVAL_DS, 2, 6),
        pa.duration("us"),
        [dt.timedelta(days=3, microseconds=7), -dt.timedelta(hours=5, seconds=1), None],
    ),
    "boolean": (OraColumn("A", OraType.BOOLEAN), pa.bool_(), [True, False, None]),
    "rowid": (
        OraColumn("A", OraType.ROWID),
        pa.string(),
        [ROWID, None, "A" * 17 + "B", "D/////A//D/////D//"],
    ),
    "urowid": (OraColumn("A", OraType.UROWID), pa.string(), [ROWID, None]),
    "long": (OraColumn("A", OraType.LONG), pa.string(), ["x" * 70_000, None, THAI]),
    "long raw": (OraColumn("A", OraType.LONG_RAW), pa.binary(), [b"x" * 70_000, None]),
}


def _python(kind: str, values: list[Any]) -> list[Any]:
    return [None if value is None else Decimal(str(value)) for value in values] if "number" in kind else list(values)


@pytest.mark.parametrize("kind", [*TYPES, *SCALAR_ONLY])
def test_every_type_arrives_as_it_left(connection: oracledb.Connection, database: FixedDatabase, kind: str) -> None:
    """As tuples, exact values and NULLs; numbers as Decimal."""
    column, arrow_type, values = (TYPES | SCALAR_ONLY)[kind]
    database.table("select a from t", [column], pa.record_batch([pa.array(values, arrow_type)], names=["A"]))
    oracledb.defaults.fetch_decimals = True
    try:
        with connection.cursor() as cursor:
            fetched = [row[0] for row in cursor.execute("select a from t")]
    finally:
        oracledb.defaults.fetch_decimals = False
    assert fetched == _python(kind, values)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_arrives_in_a_data_frame(
    connection: oracledb.Connection, database: FixedDatabase, kind: str
) -> None:
    """With decimals; a NUMBER without precision needs a requested schema, as with any Oracle."""
    column, arrow_type, values = TYPES[kind]
    database.table("select a from t", [column], pa.record_batch([pa.array(values, arrow_type)], names=["A"]))
    if kind == "plain number":
        values = ["123.45", "-99999999999999999999999999.999", None]
        database.table("select a from t", [column], pa.record_batch([pa.array(values)], names=["A"]))
        schema = pa.schema([("A", pa.decimal128(38, 3))])
        frame = connection.fetch_df_all("select a from t", requested_schema=schema)
        values = [Decimal("123.450"), Decimal("-99999999999999999999999999.999"), None]
    else:
        frame = connection.fetch_df_all("select a from t", fetch_decimals=True)
    assert pa.table(frame).column("A").to_pylist() == values


def test_the_description_says_what_the_engine_declared(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Names, types, sizes in characters and bytes, precision, scale and NULL-ness."""
    columns = [
        OraColumn("ยอด", OraType.NUMBER, 12, 2, nullable=False),
        OraColumn("N", OraType.NUMBER, 0, -127),
        OraColumn("F", OraType.NUMBER, 126, -127),
        OraColumn("V", OraType.VARCHAR2, size=400, chars=100),
        OraColumn("NV", OraType.VARCHAR2, size=200, chars=100, is_national=True),
        OraColumn("T", OraType.TIMESTAMP, scale=3),
        OraColumn("BF", OraType.BINARY_FLOAT),
        OraColumn("R", OraType.RAW, size=16),
    ]
    nothing = [
        pa.array([], kind)
        for kind in (
            pa.int64(),
            pa.int64(),
            pa.int64(),
            pa.string(),
            pa.string(),
            pa.timestamp("us"),
            pa.float32(),
            pa.binary(),
        )
    ]
    database.table("select * from t", columns, pa.record_batch(nothing, names=[column.name for column in columns]))
    with connection.cursor() as cursor:
        assert cursor.execute("select * from t").fetchall() == []
        description = [(item[0], item[1], item[2], item[3], item[4], item[5], item[6]) for item in cursor.description]
    assert description == [
        ("ยอด", oracledb.DB_TYPE_NUMBER, 16, None, 12, 2, False),
        ("N", oracledb.DB_TYPE_NUMBER, 127, None, 0, -127, True),
        ("F", oracledb.DB_TYPE_NUMBER, 127, None, 126, -127, True),
        ("V", oracledb.DB_TYPE_VARCHAR, 100, 400, None, None, True),
        ("NV", oracledb.DB_TYPE_NVARCHAR, 100, 200, None, None, True),
        ("T", oracledb.DB_TYPE_TIMESTAMP, 23, None, 0, 3, True),
        ("BF", oracledb.DB_TYPE_BINARY_FLOAT, 127, None, None, None, True),
        ("R", oracledb.DB_TYPE_RAW, 16, 16, None, None, True),
    ]


def test_a_column_that_is_always_null_sends_no_values(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """`select null` is described with size 0; the columns after it must not shift."""
    columns = [OraColumn("NULL", OraType.VARCHAR2), OraColumn("B", OraType.NUMBER)]
    database.table(
        "select null",
        columns,
        pa.record_batch([pa.array([None, None], pa.string()), pa.array([1, 2])], names=["A", "B"]),
    )
    with connection.cursor() as cursor:
        assert cursor.execute("select null").fetchall() == [(None, 1), (None, 2)]


def _numbers(database: FixedDatabase, *sizes: int, failure: Exception | None = None) -> list[tuple[int, str]]:
    rows: list[tuple[int, str]] = []
    batches = []
    for size in sizes:
        batch = [(len(rows) + at, f"row {len(rows) + at} " + "ก" * (at % 7)) for at in range(size)]
        rows += batch
        batches.append(
            pa.record_batch(
                [pa.array([a for a, _ in batch]), pa.array([b for _, b in batch], pa.string())], names=["A", "B"]
            )
        )
    columns = [OraColumn("A", OraType.NUMBER, 9, 0), OraColumn("B", OraType.VARCHAR2, size=100, chars=100)]
    database.table("select a, b from t", columns, *batches, failure=failure)
    return rows


@pytest.mark.parametrize(("arraysize", "prefetch"), [(1, 0), (1, 1), (3, 2), (100, 100), (1000, 2), (5000, 5001)])
def test_rows_arrive_complete_and_in_order_at_any_fetch_size(
    connection: oracledb.Connection, database: FixedDatabase, arraysize: int, prefetch: int
) -> None:
    """Fetches smaller, equal and larger than the engine's batches, one of which is empty."""
    expected = _numbers(database, 700, 0, 1500, 1)
    with connection.cursor() as cursor:
        cursor.arraysize, cursor.prefetchrows = arraysize, prefetch
        assert cursor.execute("select a, b from t").fetchall() == expected
        assert cursor.rowcount == len(expected)


@pytest.mark.parametrize("size", [1, 7, 1024, 100_000])
def test_data_frame_batches_of_any_size_hold_all_rows(
    connection: oracledb.Connection, database: FixedDatabase, size: int
) -> None:
    """`fetch_df_batches`, compared row by row."""
    expected = _numbers(database, 1030, 70)
    batches = [pa.table(frame) for frame in connection.fetch_df_batches("select a, b from t", size=size)]
    assert max(batch.num_rows for batch in batches) <= size
    rows = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    assert rows == expected


def test_fetching_few_rows_at_a_time_does_not_encode_again(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Each of the engine's rows is encoded once, whatever the client's fetch size: one locator per CLOB."""
    expected = [(number, str(number)) for number in range(2000)]
    columns = [OraColumn("A", OraType.NUMBER, 9, 0), OraColumn("B", OraType.CLOB)]
    arrays = [pa.array([number for number, _ in expected]), pa.array([text for _, text in expected])]
    database.table("select a, b from t", columns, pa.record_batch(arrays, names=["A", "B"]))
    before = lobs_in_memory()
    with connection.cursor() as cursor:
        cursor.arraysize = cursor.prefetchrows = 10
        rows = cursor.execute("select a, b from t").fetchall()
        assert lobs_in_memory() == before + 2000
        assert [(number, lob.read()) for number, lob in rows] == expected


def test_several_cursors_are_fetched_in_turns(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Each keeps its own place."""
    expected = _numbers(database, 500)
    with connection.cursor() as one, connection.cursor() as other:
        for cursor in (one, other):
            cursor.arraysize = cursor.prefetchrows = 7
            cursor.execute("select a, b from t")
        pairs = [(one.fetchone(), other.fetchone()) for _ in range(500)]
    assert [pair[0] for pair in pairs] == [pair[1] for pair in pairs] == expected


@pytest.mark.parametrize("code", [1555, 8103, 1476])
def test_an_error_after_some_batches_leaves_them_valid_and_the_session_alive(
    connection: oracledb.Connection, database: FixedDatabase, code: int
) -> None:
    """Earlier batches are delivered, then the error, then the next statement works."""
    expected = _numbers(database, 1000, 500, failure=OraError(code, "it went wrong"))
    seen: list[object] = []
    with pytest.raises(oracledb.DatabaseError, match=f"ORA-{code:05d}: it went wrong"):
        for frame in connection.fetch_df_batches("select a, b from t", size=250):
            seen += [tuple(row.values()) for row in pa.table(frame).to_pylist()]
    assert seen in (expected[:1250], expected)
    assert _numbers(database, 3) == connection.cursor().execute("select a, b from t").fetchall()


def test_a_statement_executed_again_is_fetched_from_its_start(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """From the statement cache, by the short requests 4 and 78, with and without prefetch."""
    expected = _numbers(database, 300)
    for prefetch in (2, 0, 1000):
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.prefetchrows = prefetch
                assert cursor.execute("select a, b from t").fetchall() == expected
    with connection.cursor() as cursor:
        for _ in range(3):
            cursor.execute("select a, b from t")
            assert cursor.fetchmany(5) == expected[:5]


def test_a_changed_table_is_described_again(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """After DDL the cached statement has other columns, as tuples and as data frames; VARCHAR2 may become CLOB."""
    expected = _numbers(database, 3)
    sql = "select a, b from t"
    with connection.cursor() as cursor:
        assert cursor.execute(sql).fetchall() == expected
    assert pa.table(connection.fetch_df_all(sql)).column_names == ["A", "B"]
    columns = [
        OraColumn("B", OraType.VARCHAR2, size=9, chars=9),
        OraColumn("C", OraType.DATE),
        OraColumn("D", OraType.NUMBER, 3, 0),
    ]
    moment = MOMENT.replace(microsecond=0)
    database.table(
        sql,
        columns,
        pa.record_batch([pa.array(["x"]), pa.array([moment], pa.timestamp("s")), pa.array([1])], names=["B", "C", "D"]),
    )
    with connection.cursor() as cursor:
        assert cursor.execute(sql).fetchall() == [("x", moment, 1)]
        assert [item[0] for item in cursor.description] == ["B", "C", "D"]
    assert pa.table(connection.fetch_df_all(sql)).column_names == ["B", "C", "D"]
    database.table(sql, [OraColumn("B", OraType.CLOB)], pa.record_batch([pa.array(["y" * 5000])], names=["B"]))
    with connection.cursor() as cursor:
        assert cursor.execute(sql).fetchall() == [("y" * 5000,)]


def test_wide_rows_and_many_columns_cross_packets(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """A thousand columns of which many are NULL."""
    columns = [OraColumn(f"COLUMN_{at:04d}", OraType.VARCHAR2, size=40, chars=40) for at in range(1000)]
    arrays = [
        pa.array([None if (at + row) % 3 else f"{row} {at}" for row in range(30)], pa.string()) for at in range(1000)
    ]
    database.table("select * from wide", columns, pa.record_batch(arrays, names=[column.name for column in columns]))
    rows = connection.cursor().execute("select * from wide").fetchall()
    assert rows == [tuple(None if (at + row) % 3 else f"{row} {at}" for at in range(1000)) for row in range(30)]
