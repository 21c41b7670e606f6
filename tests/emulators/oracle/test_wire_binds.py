"""Bind values with the unmodified driver: every type, arrays and data frames, row counts and batch errors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest
from oracle_wire_double import FixedDatabase, FixedSession, dml_outcome, received_values
from parameter_ids import short

from kpc.emulators.oracle.interface import (
    Bind,
    BindValue,
    ExecutionOutcome,
    OraError,
    StatementKind,
)

INSERT = "insert into t values (:1, :2)"
ONE_BIND = "insert into t values (:1)"
MOMENT = dt.datetime.fromisoformat("2024-02-29T23:59:58.123456")
BIND_VALUES = [
    0, 1, -1, 99, 100, -100, 10**18, -(10**18), 2**63 - 1, 10**37, 10**125, -(10**125), 255, 256, 65535, 65536,
    2**31, -(2**31), Decimal("0.01"), Decimal("-123456789012345678901234567890.12345678"), Decimal("1E-120"),
    Decimal(1234567890123456789012345678901234567890),
    "text", "ภาษาไทย", "x" * 252, "x" * 253, "x" * 32767, "ก" * 10_000, "x" * 100_000, "ก" * 50_000,
    b"raw", b"\x00" * 300, b"z" * 100_000,
    MOMENT.replace(microsecond=0), None,
    dt.timedelta(days=5, seconds=1), -dt.timedelta(hours=1, microseconds=3),
]  # fmt: skip


@pytest.mark.parametrize("value", BIND_VALUES, ids=lambda value: f"{type(value).__name__}-{short(str(value), 16)}")
def test_every_bind_arrives_exactly(connection: oracledb.Connection, database: FixedDatabase, value: BindValue) -> None:
    """The first execution, and again by the short request; a second bind shows that nothing shifts."""
    database.answers[INSERT] = dml_outcome
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [value, 7])
        cursor.execute(INSERT, [value, 8])
        assert cursor.rowcount == 1
    assert received_values(database) == [[value, 7], [value, 8]]


@pytest.mark.parametrize(
    ("db_type", "value"),
    [
        (oracledb.DB_TYPE_TIMESTAMP, MOMENT),
        (oracledb.DB_TYPE_TIMESTAMP_TZ, MOMENT),
        (oracledb.DB_TYPE_TIMESTAMP_LTZ, MOMENT.replace(microsecond=0)),
        (oracledb.DB_TYPE_BINARY_DOUBLE, -1.5e300),
        (oracledb.DB_TYPE_BINARY_FLOAT, 0.25),
        (oracledb.DB_TYPE_NVARCHAR, "ก" * 300),
        (oracledb.DB_TYPE_CHAR, "ab "),
        (oracledb.DB_TYPE_BINARY_INTEGER, -12345),
        (oracledb.DB_TYPE_CLOB, "ก" * 40_000),
        (oracledb.DB_TYPE_NCLOB, "ไทย"),
        (oracledb.DB_TYPE_BLOB, b"\x00\x01" * 40_000),
        (oracledb.DB_TYPE_LONG, "x" * 70_000),
        (oracledb.DB_TYPE_ROWID, "AAAR3sAAEAAAACXAAB"),
        (oracledb.DB_TYPE_BOOLEAN, True),
        (oracledb.DB_TYPE_BOOLEAN, False),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_declared_bind_types_arrive_exactly(
    connection: oracledb.Connection, database: FixedDatabase, db_type: oracledb.DbType, value: BindValue
) -> None:
    """With `setinputsizes`, among NULLs."""
    database.answers[INSERT] = dml_outcome
    with connection.cursor() as cursor:
        cursor.setinputsizes(db_type, oracledb.DB_TYPE_NUMBER)
        cursor.execute(INSERT, [value, 7])
        cursor.setinputsizes(db_type, oracledb.DB_TYPE_NUMBER)
        cursor.execute(INSERT, [None, 8])
    assert received_values(database) == [[value, 7], [None, 8]]


def test_an_array_of_binds_arrives_row_by_row(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """Ten thousand rows, long values behind short ones, NULLs."""
    database.answers[INSERT] = dml_outcome
    rows = [(f"text {at}" if at % 3 else None, at - 5000) for at in range(10_000)]
    wide = [("ก" * 40_000, 1), (None, 2), ("short", 3)]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)
        assert cursor.rowcount == 10_000
        cursor.executemany(INSERT, wide)
    assert received_values(database) == [list(row) for row in [*rows, *wide]]


def test_a_data_frame_can_be_inserted(connection: oracledb.Connection, database: FixedDatabase) -> None:
    """`executemany` with Arrow data."""
    database.answers[INSERT] = dml_outcome
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, pa.table({"A": ["a", None, "ก"], "B": [1, 2, None]}))
    assert received_values(database) == [["a", 1], [None, 2], ["ก", None]]


def test_row_counts_and_batch_errors_of_an_array_reach_the_client(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """Counts per row, and the offset, code and text of each failed row; nothing is committed automatically."""

    def partly(session: FixedSession, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        session.in_transaction = True
        errors = [
            (1, OraError(1, "unique constraint (T.PK) violated")),
            (70_000 % len(rows), OraError(1438, "value larger")),
        ]
        return ExecutionOutcome(StatementKind.DML, row_count=len(rows) - 2, row_counts=[1, 0, 2], batch_errors=errors)

    database.answers[ONE_BIND] = partly
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.executemany(ONE_BIND, [(at,) for at in range(300)], batcherrors=True, arraydmlrowcounts=True)
        assert cursor.rowcount == 298
        assert cursor.getarraydmlrowcounts() == [1, 0, 2]
        errors = [(error.offset, error.full_code, error.message.splitlines()[0]) for error in cursor.getbatcherrors()]
    assert errors == [
        (1, "ORA-00001", "ORA-00001: unique constraint (T.PK) violated"),
        (100, "ORA-01438", "ORA-01438: value larger"),
    ]
    assert database.sessions[-1].flags == (True, True)
    assert database.sessions[-1].commits == 0


def test_a_failing_row_of_an_array_tells_what_was_done_before_it(
    connection: oracledb.Connection, database: FixedDatabase
) -> None:
    """The row count, and the counts row by row; the rows before stay done."""

    def fail_at_third(_session: FixedSession, _rows: object) -> ExecutionOutcome:
        error = OraError(1, "unique constraint (T.PK) violated")
        error.row_offset, error.row_count, error.row_counts = 2, 4, [1, 3]
        raise error

    database.answers[ONE_BIND] = fail_at_third
    with connection.cursor() as cursor:
        with pytest.raises(oracledb.IntegrityError):
            cursor.executemany(ONE_BIND, [(1,), (2,), (3,)], arraydmlrowcounts=True)
        assert cursor.rowcount == 4
        assert cursor.getarraydmlrowcounts() == [1, 3]
