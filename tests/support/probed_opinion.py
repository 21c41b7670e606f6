"""Rows of a small table in Oracle, their records as our conversion makes them, and the real comparison of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import oracledb
import polars as pl
from extracted_rows import HASH_KEY, converted, parquet_type
from oracle_source import start_oracle

from kpc.catalog.table import Table
from kpc.catalog.types import PARTITION_FIELD, Column, Lookup, NullRule, Phase, number, text, varchar2
from kpc.reconcile.second_opinion.comparison import Exceptions, OpinionCheck, RecordsSeen
from kpc.reconcile.second_opinion.coverage import EVERY_BUCKET
from kpc.reconcile.second_opinion.opinions import Opinions, columns_with_opinions
from kpc.reconcile.second_opinion.result import SecondOpinion
from kpc.reconcile.second_opinion.row_sql import OPINION, key_texts, with_opinions

A = Column("A", varchar2(30), "A__c", text(30), NullRule.REJECT, nullable=False)
SEQ = Column("SEQ", number(), None, None, NullRule.REJECT, nullable=False)
PARENT = Lookup("PARENT", "Parent__c", ("A",))


def probe(column: Column) -> Table:
    """One column beside a key of text and number, and a reference to a parent."""
    return Table("PROBE", "Probe__c", Phase.REFERENCE, (A, SEQ, column), ("A", "SEQ"), 1, (), lookups=(PARENT,))


@dataclass(frozen=True)
class Rule:
    """A rule, a value that shows it, and how it goes wrong: in what was sent, and in the SQL (old text, new text).

    `table` and `key` replace the table of the column and the text of its key.
    """

    column: Column
    value: object
    sent: Callable[[pl.Expr], pl.Expr]
    sql: tuple[str, str]
    field: str = "V__c"
    table: Table | None = None
    key: str | None = "AB1"

    def partition(self, connection: oracledb.Connection, folder: Path) -> ProbedPartition:
        return ProbedPartition(connection, self.table or probe(self.column), [self.value], folder, self.key)


def constant(value: str | None) -> Callable[[pl.Expr], pl.Expr]:
    return lambda _: pl.lit(value, dtype=pl.String)


@contextmanager
def session_of_an_emulator(folder: Path) -> Iterator[oracledb.Connection]:
    """As the extract's sessions compare text."""
    server = start_oracle(folder, "--rows", "0")
    try:
        with server.connect() as connection:
            connection.cursor().execute("ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY")
            yield connection
    finally:
        server.stop()


class ProbedPartition:
    """Rows in Oracle and as the extract holds them: a key of `key` and the row's number, and a value."""

    def __init__(
        self,
        connection: oracledb.Connection,
        table: Table,
        values: Sequence[object],
        folder: Path,
        key: str | None = "AB1",
    ) -> None:
        self.table = table
        self._connection = connection
        self._folder = folder
        rows = [(key, Decimal(number), value) for number, value in enumerate(values, 1)]
        self.rows = pl.DataFrame(
            rows, schema={each.name: parquet_type(table, each) for each in table.columns}, orient="row"
        )
        self._ddl = ", ".join(f"{each.name} {each.source.ddl}" for each in table.columns)
        self._values = rows

    def opined(self, *changes: tuple[str, str]) -> pl.DataFrame:
        """The extract's rows with Oracle's opinions, of SQL in which a rule was changed."""
        columns = ", ".join(f'"{column.name}"' for column in self.table.columns)
        rows = f"SELECT {columns}{key_texts(self.table)} FROM probe"
        sql = f"SELECT {OPINION} FROM ({with_opinions(self.table, rows, None)}) ORDER BY SEQ"
        for old, new in changes:
            assert old in sql, sql
            sql = sql.replace(old, new)
        cursor = self._connection.cursor()
        cursor.execute(f"CREATE TABLE probe ({self._ddl})")
        try:
            if self.table.columns[-1].source.is_moment:
                cursor.setinputsizes(None, None, oracledb.DB_TYPE_TIMESTAMP)
            cursor.executemany("INSERT INTO probe VALUES (:1, :2, :3)", self._values)
            cursor.execute(sql)
            found = [each for (each,) in cursor]
        finally:
            cursor.execute("DROP TABLE probe")
        return self.rows.with_columns(pl.Series(OPINION, found, pl.Binary))

    @property
    def rule(self) -> str | None:
        """The rule by which staging rejects the first row."""
        found: str | None = converted(self.table, self.rows)["__rule"][0]
        return found

    def records(self) -> pl.DataFrame:
        """What our conversion makes of the rows, as Salesforce gives it back."""
        made = converted(self.table, self.rows).select(self.table.data_header)
        return made.with_columns(pl.lit("ALL/000").alias(PARTITION_FIELD))

    def compared(
        self,
        opined: pl.DataFrame,
        records: pl.DataFrame,
        *,
        rejected: dict[bytes, str] | None = None,
        corrected: pl.DataFrame | None = None,
    ) -> SecondOpinion:
        opinions = Opinions(self.table, self._folder, HASH_KEY.encode())
        opinions.add(opined.select(columns_with_opinions(self.table)))
        seen = RecordsSeen(self.table, "ALL", EVERY_BUCKET, self._folder, corrected)
        seen.add(records)
        exceptions = Exceptions(rejected or {}, frozenset())
        check = OpinionCheck(self.table, EVERY_BUCKET, opinions, seen, exceptions, is_complete=True)
        return check.result([opined])
