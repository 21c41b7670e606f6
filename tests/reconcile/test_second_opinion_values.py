"""Each rule of docs/values.md, as Oracle applies it: what it says of a value, without any conversion of ours.

Expected texts are written here from docs/values.md ("Hostile values"); nothing of `kpc.convert` is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle

from kpc.catalog.table import Table
from kpc.catalog.types import (
    CHECKBOX,
    DATE,
    DAY,
    MOMENT,
    Calendar,
    Column,
    DateFormat,
    NullRule,
    Phase,
    Pii,
    TooLong,
    char,
    currency,
    decimal,
    number,
    picklist,
    text,
    timestamp,
    timestamp_tz,
    varchar2,
)
from kpc.reconcile.second_opinion.row_sql import OPINION, key_texts, with_opinions
from kpc.reconcile.second_opinion.rules import Broken

KEY = Column("ID", varchar2(60), "Id_Text__c", text(60), NullRule.REJECT, nullable=False)
NULL, SEPARATOR = "\x1e", "\x1f"


def probe(column: Column) -> Table:
    """A table with one column beside its key."""
    return Table("PROBE", "Probe__c", Phase.REFERENCE, (KEY, column), ("ID",), 1, ())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    started = start_oracle(tmp_path_factory.mktemp("opinion"), "--rows", "0")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def connection(server: OracleServer) -> Iterator[oracledb.Connection]:
    with server.connect() as connection:
        connection.cursor().execute("ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY")
        yield connection


def opinions(connection: oracledb.Connection, column: Column, values: list[object]) -> list[bytes]:
    """What Oracle says of rows K0, K1 ... with these values."""
    table, cursor = probe(column), connection.cursor()
    cursor.execute(f"CREATE TABLE probe ({KEY.name} {KEY.source.ddl}, {column.name} {column.source.ddl})")
    try:
        if column.source.is_moment:
            cursor.setinputsizes(None, oracledb.DB_TYPE_TIMESTAMP)
        cursor.executemany("INSERT INTO probe VALUES (:1, :2)", [(f"K{at}", each) for at, each in enumerate(values)])
        rows = f'SELECT "ID","{column.name}"{key_texts(table)} FROM probe'
        cursor.execute(f"SELECT {OPINION} FROM ({with_opinions(table, rows, None)}) ORDER BY ID")
        return [each for (each,) in cursor]
    finally:
        cursor.execute("DROP TABLE probe")


def spelled(at: int, value: str | None) -> bytes:
    """The opinion of a row that breaks no rule, with this canonical text."""
    key = hashlib.sha256(f"K{at}".encode()).digest()
    row = SEPARATOR.join((f"K{at}", f"K{at}", NULL if value is None else value))
    return key + b"\0" + hashlib.sha256(row.encode()).digest()


def broken(at: int, rule: Broken) -> bytes:
    return hashlib.sha256(f"K{at}".encode()).digest() + bytes((rule.number,))


def check(connection: oracledb.Connection, column: Column, expected: list[tuple[object, str | Broken | None]]) -> None:
    """At most ten rows, so that K0 ... sort by number."""
    for first in range(0, len(expected), 10):
        part = expected[first : first + 10]
        found = opinions(connection, column, [value for value, _ in part])
        wanted = [
            broken(at, outcome) if isinstance(outcome, Broken) else spelled(at, outcome)
            for at, (_, outcome) in enumerate(part)
        ]
        wrong = [part[at] for at, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other]
        assert not wrong


WORDS = Column("V", varchar2(400), "V__c", text(255))
TEXTS: list[tuple[object, str | Broken | None]] = [
    ('a "quoted" text', 'a "quoted" text'),
    ("a,b", "a,b"),
    ("it's a \\ backslash", "it's a \\ backslash"),
    ("a\nb", "a\nb"),
    ("a\r\nb", "a\nb"),
    ("a\rb", "a\nb"),
    ("a\r\n", "a"),
    ("a\tb", "a\tb"),
    ("a\x00b", Broken.CONTROL_CHARACTER),
    ("a\x1fb", Broken.CONTROL_CHARACTER),
    ("a\x1bb", Broken.CONTROL_CHARACTER),
    ("a\x7fb", "a\x7fb"),
    ("a\ufffeb", Broken.CONTROL_CHARACTER),
    ("\ufeffa", "\ufeffa"),
    ("🎉", "🎉"),
    ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ("ที่น้ำ", "ที่น้ำ"),
    ("\u0e48\u0e38", "\u0e48\u0e38"),
    ("\u202eabc\u05d0", "\u202eabc\u05d0"),
    ("\u200ba\u200b", "\u200ba\u200b"),
    ("\u00a0a\u00a0", "a"),
    ("\u3000a\u3000", "a"),
    ("e\u0301", "e\u0301"),
    ("   ", None),
    (None, None),
    ("x" * 255, "x" * 255),
    ("x" * 256, Broken.TOO_LONG),
    ("ก" * 255, "ก" * 255),
    ("🎉" * 255, "🎉" * 255),
    ("=1+1", "=1+1"),
    ("#N/A", Broken.LITERAL_NULL_TOKEN),
    (" #N/A ", Broken.LITERAL_NULL_TOKEN),
    ("x #N/A", "x #N/A"),
    ("#n/a", "#n/a"),
    ("null", "null"),
    ("<b>'; DROP TABLE x; --", "<b>'; DROP TABLE x; --"),
]


def test_text(connection: oracledb.Connection) -> None:
    """White space, line ends, refused characters, lengths in code points; nothing is normalised."""
    check(connection, WORDS, TEXTS)


def test_text_that_is_cut(connection: oracledb.Connection) -> None:
    """Cut by code points; white space at the end of the cut text is removed."""
    column = replace(WORDS, too_long=TooLong.TRUNCATE)
    check(connection, column, [("x" * 256, "x" * 255), ("x" * 254 + " y", "x" * 254), ("🎉" * 256, "🎉" * 255)])


def test_padded_text(connection: oracledb.Connection) -> None:
    check(connection, Column("V", char(5), "V__c", text(5)), [("AB", "AB"), ("  B", "B"), (None, None)])


def test_numbers(connection: oracledb.Connection) -> None:
    """Half away from zero, never a negative zero, at the field's scale."""
    values: list[tuple[object, str | Broken | None]] = [
        (Decimal("0.005"), "0.01"),
        (Decimal("-0.005"), "-0.01"),
        (Decimal("-0.004"), "0.00"),
        (Decimal("1.005"), "1.01"),
        (Decimal("0." + "1234567890" * 3 + "12345678"), "0.12"),
        (Decimal("9999999999999999.99"), "9999999999999999.99"),
        (Decimal("9999999999999999.995"), Broken.NUMBER_OUT_OF_RANGE),
        (Decimal("9" * 38), Broken.NUMBER_OUT_OF_RANGE),
        (Decimal("-1234.5"), "-1234.50"),
        (None, None),
    ]
    column = Column("V", number(), "V__c", currency(18, 2))
    check(connection, column, values)
    check(connection, replace(column, null=NullRule.ZERO), [(None, "0.00"), (Decimal(7), "7.00")])
    check(connection, replace(column, null=NullRule.REJECT), [(None, Broken.REQUIRED_NULL)])
    whole = Column("V", number(), "V__c", decimal(9, 0))
    check(connection, whole, [(Decimal("2.5"), "3"), (Decimal(0), "0"), (Decimal("1E9"), Broken.NUMBER_OUT_OF_RANGE)])


def test_a_number_that_becomes_text(connection: oracledb.Connection) -> None:
    """Never rounded: more digits than 28 and 10 reject the row."""
    column = Column("V", number(), "V__c", text(60))
    values: list[tuple[object, str | Broken | None]] = [
        (Decimal("1234.50"), "1234.5"),
        (Decimal("0.5"), "0.5"),
        (Decimal(-7), "-7"),
        (Decimal("1E28"), Broken.NUMBER_OUT_OF_RANGE),
        (Decimal("0.12345678901"), Broken.NUMBER_OUT_OF_RANGE),
    ]
    check(connection, column, values)


def test_checkboxes(connection: oracledb.Connection) -> None:
    column = Column("V", varchar2(20), "V__c", CHECKBOX, NullRule.FALSE)
    true: list[tuple[object, str | Broken | None]] = [(each, "true") for each in ("1", "y", "YES", "True ")]
    false: list[tuple[object, str | Broken | None]] = [(each, "false") for each in ("0", "N", "no", "FALSE", None)]
    check(connection, column, true + false)
    check(connection, column, [("2", Broken.UNKNOWN_BOOLEAN), ("on", Broken.UNKNOWN_BOOLEAN)])
    numeric = replace(column, source=number())
    check(connection, numeric, [(Decimal(1), "true"), (Decimal(0), "false"), (Decimal(2), Broken.UNKNOWN_BOOLEAN)])


def test_picklists(connection: oracledb.Connection) -> None:
    """Codes are case-sensitive; NULL is the default."""
    column = Column(
        "V",
        varchar2(20),
        "V__c",
        picklist("Male", "ไม่ทราบ"),
        NullRule.DEFAULT,
        default="ไม่ทราบ",
        picklist_map=(("M", "Male"), ("U", "ไม่ทราบ")),
    )
    check(connection, column, [("M", "Male"), ("U ", "ไม่ทราบ"), (None, "ไม่ทราบ"), ("m", Broken.UNKNOWN_CODE)])


DAYS: list[tuple[object, str | Broken | None]] = [
    ("2024-02-29", "2024-02-29"),
    ("2023-02-29", Broken.DATE_UNREADABLE),
    ("2024-02-31", Broken.DATE_UNREADABLE),
    ("2024-04-31", Broken.DATE_UNREADABLE),
    ("1900-02-29", Broken.DATE_UNREADABLE),
    ("2000-02-29", "2000-02-29"),
    ("2024-13-01", Broken.DATE_UNREADABLE),
    ("2024-1-01", Broken.DATE_UNREADABLE),
    ("31/05/2024", Broken.DATE_UNREADABLE),
    ("0000-00-00", Broken.DATE_UNREADABLE),
    ("๒๕๖๗-๐๑-๐๑", Broken.DATE_UNREADABLE),
    ("２０２４-01-01", Broken.DATE_UNREADABLE),
    ("1699-12-31", Broken.DATE_OUT_OF_RANGE),
    ("1700-01-01", "1700-01-01"),
    ("4000-12-31", "4000-12-31"),
    ("4001-01-01", Broken.DATE_OUT_OF_RANGE),
    ("no date", Broken.DATE_UNREADABLE),
    (None, None),
]


def test_days_in_text(connection: oracledb.Connection) -> None:
    check(connection, Column("V", varchar2(30), "V__c", DAY, date_format=DateFormat.ISO), DAYS)


def test_buddhist_days_in_text(connection: oracledb.Connection) -> None:
    column = Column(
        "V", varchar2(30), "V__c", DAY, date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST
    )  # 2567 is 2024
    values: list[tuple[object, str | Broken | None]] = [
        ("29/02/2567", "2024-02-29"),
        ("29/02/2566", Broken.DATE_UNREADABLE),
        ("31/12/2242", Broken.DATE_OUT_OF_RANGE),
        ("01/01/2243", "1700-01-01"),
        ("01/01/67", Broken.DATE_UNREADABLE),
        ("01/01/2567 00:00:00", Broken.DATE_UNREADABLE),
    ]
    check(connection, column, values)


def test_moments_in_text(connection: oracledb.Connection) -> None:
    """Local time is UTC+7; the range is that of the UTC moment."""
    column = Column("V", varchar2(30), "V__c", MOMENT, date_format=DateFormat.ISO_TIME)
    values: list[tuple[object, str | Broken | None]] = [
        ("2024-05-01 00:00:00", "2024-04-30T17:00:00.000Z"),
        ("2024-05-01 24:00:00", Broken.DATE_UNREADABLE),
        ("2024-05-01 23:59:60", Broken.DATE_UNREADABLE),
        ("2024-05-01 23:60:00", Broken.DATE_UNREADABLE),
        ("1700-01-01 06:59:59", Broken.DATE_OUT_OF_RANGE),
        ("1700-01-01 07:00:00", "1700-01-01T00:00:00.000Z"),
        ("4001-01-01 06:59:59", "4000-12-31T23:59:59.000Z"),
        ("4001-01-01 07:00:00", Broken.DATE_OUT_OF_RANGE),
        ("2024-05-01", Broken.DATE_UNREADABLE),
    ]
    check(connection, column, values)


def test_stored_moments(connection: oracledb.Connection) -> None:
    """DATE and TIMESTAMP are local; a fraction of a second is dropped; years that Salesforce refuses raise nothing."""
    at = datetime(2024, 5, 1, 0, 0, 0, 999_999)  # noqa: DTZ001  an Oracle TIMESTAMP has no zone
    column = Column("V", timestamp(6), "V__c", MOMENT)
    values: list[tuple[object, str | Broken | None]] = [
        (at, "2024-04-30T17:00:00.000Z"),
        (datetime(1, 1, 1), Broken.DATE_OUT_OF_RANGE),  # noqa: DTZ001
        (datetime(9999, 12, 31), Broken.DATE_OUT_OF_RANGE),  # noqa: DTZ001
        (datetime(1700, 1, 1, 7), "1700-01-01T00:00:00.000Z"),  # noqa: DTZ001
        (None, None),
    ]
    check(connection, column, values)
    check(connection, replace(column, source=DATE), values[1:])
    check(connection, Column("V", DATE, "V__c", DAY), [(datetime(2024, 5, 1), "2024-05-01"), (None, None)])  # noqa: DTZ001
    zoned = Column("V", timestamp_tz(6), "V__c", MOMENT)
    check(connection, zoned, [(at, "2024-05-01T00:00:00.000Z"), (None, None)])


def test_masked_text(connection: oracledb.Connection) -> None:
    """A star for each character but the last four."""
    column = replace(WORDS, pii=Pii.MASK)
    check(connection, column, [("4000123456781234", "*" * 12 + "1234"), ("1234", "****"), ("ก", "*"), (None, None)])


def test_hashed_text(connection: oracledb.Connection) -> None:
    """The text before it is hashed has a digest of its own, and no part in the row's."""
    column = Column("V", varchar2(100), "V__c", text(64), pii=Pii.HASH)
    found = opinions(connection, column, [" AB123 ", None])
    for at, value in enumerate(("AB123", None)):
        key, row = (hashlib.sha256(each.encode()).digest() for each in (f"K{at}", f"K{at}{SEPARATOR}K{at}"))
        digest = bytes(32) if value is None else hashlib.sha256(value.encode()).digest()
        assert found[at] == key + b"\0" + row + digest
