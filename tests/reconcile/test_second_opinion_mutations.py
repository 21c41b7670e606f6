"""A wrong rule is found, in our conversion or in Oracle's SQL: each rule of docs/values.md is broken in turn.

Rows go into Oracle (the emulator), their records are what `kpc.convert` makes of them, and the comparison is the real
one. A wrong rule in the conversion is a change of what it made, as that rule would have made it: both the sent and the
expected side of `reconciled` share it, so that levels 1 to 3 agree. A wrong rule in the SQL is a change of the SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import oracledb
import polars as pl
import pytest
from extracted_rows import HASH_KEY, converted, parquet_type
from oracle_source import OracleServer, start_oracle

from kpc.catalog.table import Table
from kpc.catalog.types import (
    CHECKBOX,
    DATE,
    DAY,
    MOMENT,
    PARTITION_FIELD,
    Calendar,
    Column,
    DateFormat,
    Lookup,
    NullRule,
    Phase,
    Pii,
    TooLong,
    char,
    currency,
    number,
    picklist,
    text,
    varchar2,
)
from kpc.reconcile.second_opinion.comparison import Exceptions, OpinionCheck, RecordsSeen
from kpc.reconcile.second_opinion.coverage import EVERY_BUCKET
from kpc.reconcile.second_opinion.opinions import Opinions, columns_with_opinions
from kpc.reconcile.second_opinion.result import SecondOpinion
from kpc.reconcile.second_opinion.row_sql import OPINION, key_texts, with_opinions

A = Column("A", varchar2(30), "A__c", text(30), NullRule.REJECT, nullable=False)
SEQ = Column("SEQ", number(), None, None, NullRule.REJECT, nullable=False)
PARENT = Lookup("PARENT", "Parent__c", ("A",))
AT = datetime(2024, 5, 1, 3)  # noqa: DTZ001  local; an Oracle DATE has no zone


def probe(column: Column) -> Table:
    """One column beside a key of text and number, and a reference to a parent."""
    return Table("PROBE", "Probe__c", Phase.REFERENCE, (A, SEQ, column), ("A", "SEQ"), 1, (), lookups=(PARENT,))


@dataclass(frozen=True)
class Rule:
    """A rule, a value that shows it, and how it goes wrong: in what was sent, and in the SQL (old text, new text)."""

    column: Column
    value: object
    sent: Callable[[pl.Expr], pl.Expr]
    sql: tuple[str, str]
    field: str = "V__c"


def constant(value: str | None) -> Callable[[pl.Expr], pl.Expr]:
    return lambda _: pl.lit(value, dtype=pl.String)


WORDS = Column("V", varchar2(400), "V__c", text(255))
MONEY = Column("V", number(), "V__c", currency(18, 2))
FINE = replace(MONEY, source=number(12, 3))
STATUS = Column(
    "V",
    varchar2(9),
    "V__c",
    picklist("On", "Off"),
    NullRule.DEFAULT,
    default="Off",
    picklist_map=(("A", "On"), ("C", "Off")),
)
ISO_DAY = Column("V", char(10), "V__c", DAY, date_format=DateFormat.ISO)
THAI_DAY = Column("V", char(10), "V__c", DAY, date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST)
ISO_TIME = Column("V", char(19), "V__c", MOMENT, date_format=DateFormat.ISO_TIME)
SPACES = "\\2003\\2004\\2005\\2006\\2007\\2008\\2009\\200A\\2028\\2029\\202F\\205F\\3000"

RULES = {
    "white space at the ends": Rule(WORDS, "\u3000a\u3000", constant("\u200ba"), (SPACES, SPACES[:-5])),
    "CRLF becomes LF": Rule(WORDS, "a\r\nb", lambda c: c.str.replace_all("\n", " "), ("UNISTR('\\000A')", "N' '")),
    "empty text is null": Rule(WORDS, "  ", constant("-"), ("NVL(KPC_T2,", "NVL(NVL(KPC_T2,N'-'),")),
    "no normalisation": Rule(
        WORDS,
        "\u0e01\u0e48\u0e38",
        constant("\u0e01\u0e38\u0e48"),
        ('TO_NCHAR("V")', "REPLACE(TO_NCHAR(\"V\"),UNISTR('\\0E48\\0E38'),UNISTR('\\0E38\\0E48'))"),
    ),
    "nothing changes case": Rule(
        WORDS, "aB", lambda c: c.str.to_lowercase(), ('TO_NCHAR("V")', 'LOWER(TO_NCHAR("V"))')
    ),
    "cut": Rule(
        replace(WORDS, too_long=TooLong.TRUNCATE),
        "x" * 300,
        lambda c: c.str.slice(0, 254),
        ("KPC_T2,1,255", "KPC_T2,1,254"),
    ),
    "rounding": Rule(FINE, Decimal("1.005"), constant("1.00"), ('ROUND("V",2)', 'TRUNC("V",2)')),
    "rounding of negatives": Rule(FINE, Decimal("-0.005"), constant("0.00"), ('ROUND("V",2)', 'CEIL("V"*100)/100')),
    "scale": Rule(MONEY, Decimal("1.29"), constant("1.30"), ('ROUND("V",2)', 'ROUND("V",1)')),
    "NULL becomes zero": Rule(replace(MONEY, null=NullRule.ZERO), None, constant(None), ('NVL("V",0)', 'NVL("V",1)')),
    "NULL stays NULL": Rule(MONEY, None, constant("0.00"), ('ROUND("V",2)', 'ROUND(NVL("V",0),2)')),
    "checkbox": Rule(
        Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE),
        "Y",
        constant("false"),
        ("N'Y' THEN N'true'", "N'Y' THEN N'false'"),
    ),
    "checkbox of a number": Rule(
        Column("V", number(), "V__c", CHECKBOX, NullRule.FALSE),
        Decimal(0),
        constant("true"),
        ("WHEN 0 THEN N'false'", "WHEN 0 THEN N'true'"),
    ),
    "NULL is false": Rule(
        Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE), None, constant("true"), (",N'false')", ",N'true')")
    ),
    "picklist codes": Rule(STATUS, "A", constant("Off"), ("N'A' THEN N'On'", "N'A' THEN N'Off'")),
    "picklist default": Rule(STATUS, None, constant("On"), (",N'Off')", ",N'On')")),
    "day and month": Rule(
        THAI_DAY, "04/05/2567", constant("2024-04-05"), ("SUBSTR(KPC_T2,4,2)||", "SUBSTR(KPC_T2,1,2)||")
    ),
    "Buddhist years": Rule(THAI_DAY, "04/05/2567", constant("2567-05-04"), ("-543,'FM0000'", "-542,'FM0000'")),
    "leap years": Rule(
        ISO_DAY, "2000-02-29", constant("2000-03-01"), ("OR MOD(TO_NUMBER(SUBSTR(KPC_T2,1,4)),400)=0", "")
    ),
    "UTC": Rule(
        ISO_TIME,
        "2024-05-01 03:00:00",
        constant("2024-05-01T03:00:00.000Z"),
        ("INTERVAL '7' HOUR", "INTERVAL '6' HOUR"),
    ),
    "UTC of a DATE": Rule(
        Column("V", DATE, "V__c", MOMENT),
        AT,
        constant("2024-05-01T03:00:00.000Z"),
        ("INTERVAL '7' HOUR", "INTERVAL '8' HOUR"),
    ),
    "a day is not shifted": Rule(
        Column("V", DATE, "V__c", DAY),
        AT,
        constant("2024-04-30"),
        ("TO_CHAR(\"V\",'YYYY-MM-DD')", "TO_CHAR(\"V\"-1,'YYYY-MM-DD')"),
    ),
    "masked": Rule(
        replace(WORDS, pii=Pii.MASK),
        "4000123456781234",
        lambda c: c.str.replace("4$", "*"),
        ("KPC_T2,-4)", "KPC_T2,-5)"),
    ),
    "hashed": Rule(
        replace(WORDS, pii=Pii.HASH),
        "AB123",
        lambda c: c.str.to_uppercase(),
        ("UTL_I18N.STRING_TO_RAW(KPC_T2", "UTL_I18N.STRING_TO_RAW(LOWER(KPC_T2)"),
    ),
    "separator of the key": Rule(
        WORDS, "a", lambda c: c.str.replace(r"\|", "/"), ("||N'|'||", "||N'/'||"), "External_ID__c"
    ),
    "number in a key": Rule(
        WORDS, "a", lambda c: c + ".0", ("9999999999'),'.')", "0000000000'),'.')"), "External_ID__c"
    ),
    "reference to the parent": Rule(
        WORDS,
        "a",
        lambda c: c.str.to_lowercase(),
        ("END AS KPC_PARENT0", "||N'x' END AS KPC_PARENT0"),
        "Parent__r.External_ID__c",
    ),
}
REJECTING = {
    "too long": (WORDS, "x" * 256),
    "#N/A": (WORDS, "#N/A"),
    "control character": (WORDS, "a\x1fb"),
    "number out of range": (MONEY, Decimal("1E16")),
    "unknown code": (STATUS, "X"),
    "unknown boolean": (Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE), "on"),
    "no day": (ISO_DAY, "2023-02-29"),
    "day out of range": (ISO_DAY, "1699-12-31"),
    "NULL that is refused": (replace(WORDS, null=NullRule.REJECT), None),
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[oracledb.Connection]:
    server: OracleServer = start_oracle(tmp_path_factory.mktemp("mutations"), "--rows", "0")
    with server.connect() as connection:
        connection.cursor().execute("ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY")
        yield connection
    server.stop()


class Partition:
    """Rows of a probe table in Oracle and as the extract holds them, and the comparison with their records."""

    def __init__(self, connection: oracledb.Connection, column: Column, values: Sequence[object], folder: Path) -> None:
        self.table = probe(column)
        self._connection = connection
        self._folder = folder
        rows = [("AB1", Decimal(number), value) for number, value in enumerate(values, 1)]
        self.rows = pl.DataFrame(
            rows, schema={each.name: parquet_type(self.table, each) for each in self.table.columns}, orient="row"
        )
        self._ddl = ", ".join(f"{each.name} {each.source.ddl}" for each in self.table.columns)
        self._values = rows

    def opined(self, change: tuple[str, str] = ("", "")) -> pl.DataFrame:
        """The extract's rows with Oracle's opinions, of SQL in which one rule was changed."""
        columns = ", ".join(f'"{column.name}"' for column in self.table.columns)
        rows = f"SELECT {columns}{key_texts(self.table)} FROM probe"
        sql = f"SELECT {OPINION} FROM ({with_opinions(self.table, rows, None)}) ORDER BY SEQ"
        assert change[0] in sql
        cursor = self._connection.cursor()
        cursor.execute(f"CREATE TABLE probe ({self._ddl})")
        try:
            cursor.executemany("INSERT INTO probe VALUES (:1, :2, :3)", self._values)
            cursor.execute(sql.replace(*change) if change[0] else sql)
            found = [each for (each,) in cursor]
        finally:
            cursor.execute("DROP TABLE probe")
        return self.rows.with_columns(pl.Series(OPINION, found, pl.Binary))

    def records(self) -> pl.DataFrame:
        """What our conversion makes of the rows, as Salesforce gives it back."""
        made = converted(self.table, self.rows).select(self.table.data_header)
        return made.with_columns(pl.lit("ALL/000").alias(PARTITION_FIELD))

    def compared(self, opined: pl.DataFrame, records: pl.DataFrame) -> SecondOpinion:
        opinions = Opinions(self.table, self._folder, HASH_KEY.encode())
        opinions.add(opined.select(columns_with_opinions(self.table)))
        seen = RecordsSeen(self.table, "ALL", EVERY_BUCKET, self._folder)
        seen.add(records)
        check = OpinionCheck(self.table, EVERY_BUCKET, opinions, seen, Exceptions({}, frozenset()), is_complete=True)
        return check.result([opined])


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_is_found(connection: oracledb.Connection, tmp_path: Path, name: str) -> None:
    """Right rules on both sides agree; a wrong one on either side is a difference, and names the record."""
    rule = RULES[name]
    partition = Partition(connection, rule.column, [rule.value], tmp_path)
    right, records = partition.opined(), partition.records()
    agreed = partition.compared(right, records)
    assert (agreed.compared, agreed.differing) == (1, 0), agreed.differences
    wrongly_sent = records.with_columns(rule.sent(pl.col(rule.field)).alias(rule.field))
    assert not wrongly_sent.equals(records)
    found = partition.compared(right, wrongly_sent)
    assert found.differing >= 1
    if rule.field != "External_ID__c":
        assert [one.key for one in found.differences] == ["AB1|1"]
    assert partition.compared(partition.opined(rule.sql), records).differing >= 1


@pytest.mark.parametrize("name", REJECTING)
def test_a_row_that_had_to_be_rejected_is_found(connection: oracledb.Connection, tmp_path: Path, name: str) -> None:
    """A conversion that does not know the rule sends the row; Oracle says which rule it breaks."""
    column, value = REJECTING[name]
    partition = Partition(connection, column, [value], tmp_path)
    (rule,) = converted(partition.table, partition.rows)["__rule"]
    sent = partition.records().with_columns(pl.lit("AB1|1").alias("External_ID__c"), pl.lit("AB1").alias("A__c"))
    found = partition.compared(partition.opined(), sent)
    assert found.differing == 1
    assert rule in found.differences[0].what


def test_a_row_that_was_rejected_without_cause_is_found(connection: oracledb.Connection, tmp_path: Path) -> None:
    """A rule that is too strict lists an exception; Oracle accepts the row."""
    partition = Partition(connection, WORDS, ["a", "b"], tmp_path)
    opined, records = partition.opined(), partition.records()
    opinions = Opinions(partition.table, tmp_path, b"")
    opinions.add(opined)
    seen = RecordsSeen(partition.table, "ALL", EVERY_BUCKET, tmp_path)
    seen.add(records.head(1))
    (key,) = opined.tail(1)[OPINION]
    exceptions = Exceptions({key[:32]: "too_long"}, frozenset())
    found = OpinionCheck(partition.table, EVERY_BUCKET, opinions, seen, exceptions, is_complete=True).result([opined])
    assert found.differing == 1
    assert "too_long" in found.differences[0].what


def test_a_lost_and_an_invented_record_are_found(connection: oracledb.Connection, tmp_path: Path) -> None:
    partition = Partition(connection, WORDS, ["a", "b"], tmp_path)
    opined, records = partition.opined(), partition.records()
    lost = partition.compared(opined, records.head(1))
    assert (lost.compared, lost.differing) == (1, 1)
    invented = records.with_columns(pl.lit("ZZ|9").alias("External_ID__c")).head(1)
    assert partition.compared(opined, pl.concat([records, invented])).differing == 1
