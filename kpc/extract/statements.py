"""The SQL that reads a partition, built from the catalog.

Identifiers come from the catalog and are quoted; keys and dates are binds. The SCN is a number of the program's
own and is written into the text, because not every version accepts a bind after AS OF. Moments are sent as text inside
TO_DATE or TO_TIMESTAMP: the driver sends a `datetime` as a DATE, without its fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from kpc.catalog.table import Table
from kpc.catalog.types import Column, OracleKind
from kpc.errors import ConfigError
from kpc.extract.number_reading import aggregates_of_numbers, guarded, needs_guard
from kpc.extract.target_value_sql import target_value_sql
from kpc.extract.text_reading import stored_bytes
from kpc.oracle.statement import BindValues, Statement
from kpc.partition import Partition
from kpc.reconcile.second_opinion.coverage import asks_for
from kpc.reconcile.second_opinion.digest_layout import compared_columns
from kpc.reconcile.second_opinion.row_sql import OPINION, key_texts, with_opinions
from kpc.storage.manifests import ControlTotals

DATE_TEXT = "YYYY-MM-DD HH24:MI:SS"
TIMESTAMP_TEXT = "YYYY-MM-DD HH24:MI:SS.FF9"


def quoted(name: str) -> str:
    if '"' in name:
        raise ConfigError(
            f"{name!r} cannot be the name of an Oracle schema.", "Correct KPC__ORACLE__OWNER or KPC__ORACLE__USER."
        )
    return f'"{name}"'


def rows_of(owner: str, table: Table, scn: int) -> str:
    """The table as of an SCN, called `t`, for FROM."""
    return f"{quoted(owner)}.{quoted(table.name)} AS OF SCN {scn:d} t"


def hint(degree: int) -> str:
    """The hint that sets how many parallel servers Oracle may use on the table `t`."""
    return f"/*+ PARALLEL(t, {degree:d}) */ " if degree > 1 else ""


def read_columns(table: Table, columns: Sequence[Column], totals: tuple[ControlTotals, ...]) -> str:
    """The select list of these columns; `totals` of the partitions that are read tell which numbers need a guard."""
    return ", ".join(_read_column(table, column, totals) for column in columns)


def _read_column(table: Table, column: Column, totals: tuple[ControlTotals, ...]) -> str:
    """A column as it is selected. The driver drops the offset of a TIMESTAMP WITH TIME ZONE, so Oracle applies it."""
    name = quoted(column.name)
    if needs_guard(column, totals):
        return f"{guarded(table, column)} AS {name}"
    if column.stored_as:
        return f"{stored_bytes(column)} AS {name}"
    return f"SYS_EXTRACT_UTC({name}) AS {name}" if column.source.kind is OracleKind.TIMESTAMP_TZ else name


def iso_text(column: Column) -> str:
    """A CHAR date as text that sorts by time: `YYYY-MM-DD`, in the column's own calendar."""
    name = quoted(column.name)
    if column.date_format is not None and column.date_format.is_day_first:
        return f"SUBSTR({name}, 7, 4) || '-' || SUBSTR({name}, 4, 2) || '-' || SUBSTR({name}, 1, 2)"
    return f"SUBSTR({name}, 1, 10)" if column.date_format and column.date_format.has_time else name


def day_text(column: Column) -> str:
    """A month column's day as `in_partition` compares it, `YYYY-MM-DD` in its own calendar; or what else it holds."""
    return iso_text(column) if column.source.is_text else f"TO_CHAR({quoted(column.name)}, 'YYYY-MM-DD')"


def _day_text(day: date, column: Column) -> str:
    return f"{day.year + column.calendar.year_offset:04d}-{day.month:02d}-{day.day:02d}"


def in_partition(partition: Partition) -> Statement:
    """The WHERE clause of a partition; `1 = 1` for `ALL`.

    A text date counts by its first and last day, both inclusive, so that a text such as 2024-01-99 belongs to no month
    and is found when the months are added up.
    """
    if partition.bounds is None or partition.table.month_column is None:
        return Statement("1 = 1")
    first, following = partition.bounds
    column = partition.table.by_name[partition.table.month_column]
    if column.source.is_text:
        last = following - timedelta(days=1)
        return Statement(
            f"{iso_text(column)} BETWEEN :first_day AND :last_day",
            {"first_day": _day_text(first, column), "last_day": _day_text(last, column)},
        )
    name = quoted(column.name)
    midnight = time()
    return Statement(
        f"{name} >= :first_day AND {name} < :next_day",
        {"first_day": datetime.combine(first, midnight), "next_day": datetime.combine(following, midnight)},
    )


def control_totals_query(owner: str, partition: Partition, scn: int) -> Statement:
    """Row count; per measure sum, min, max and count of the values as the target will hold them; then the numbers'."""
    table = partition.table
    where = in_partition(partition)
    text = (
        f"SELECT {hint(table.parallel_degree)}{aggregates(table)} FROM {rows_of(owner, table, scn)} WHERE {where.text}"
    )
    return Statement(text, where.binds)


def aggregates(table: Table) -> str:
    """The select list of `control_totals_query`."""
    selected = ["COUNT(*)"]
    for column in table.measured_columns:
        value = target_value_sql(column)
        selected += [f"SUM({value})", f"MIN({value})", f"MAX({value})", f"COUNT({value})"]
    selected += aggregates_of_numbers(table)
    return ", ".join(selected)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a partition are read, as of `scn`: all, or those that changed at `since` or later.

    `since` is in the time zone of the change columns: local, or UTC for TIMESTAMP WITH TIME ZONE.
    """

    partition: Partition
    scn: int
    since: datetime | None = None
    opinion_buckets: tuple[int, ...] = ()  # of whose rows Oracle says what Salesforce must hold

    @property
    def table(self) -> Table:
        return self.partition.table

    def source(self, owner: str) -> str:
        return rows_of(owner, self.table, self.scn)

    @property
    def where(self) -> Statement:
        """The condition. A row without a change time may have changed at any time, so it is read."""
        rows = in_partition(self.partition)
        if self.since is None:
            return rows
        columns = self.table.change_columns
        changed = change_time(self.table)
        spelled = f"{self.since:%Y-%m-%d %H:%M:%S}"
        if columns[0].source.kind is OracleKind.DATE:
            bound, since = f"TO_DATE(:since, '{DATE_TEXT}')", spelled
        else:
            bound, since = f"TO_TIMESTAMP(:since, '{TIMESTAMP_TEXT}')", f"{spelled}.{self.since.microsecond:06d}"
        return Statement(f"{rows.text} AND ({changed} >= {bound} OR {changed} IS NULL)", {**rows.binds, "since": since})


def change_time(table: Table) -> str:
    """When a row changed last, for a table with change columns."""
    times = [_change_time(column) for column in table.change_columns]
    return f"COALESCE({', '.join(times)})" if len(times) > 1 else times[0]


def _change_time(column: Column) -> str:
    name = quoted(column.name)
    return f"SYS_EXTRACT_UTC({name})" if column.source.kind is OracleKind.TIMESTAMP_TZ else name


def chunk_plan(owner: str, rows: Selection, chunk_rows: int) -> Statement:
    """Boundaries of chunks of `chunk_rows` rows in ROWID order, found in one pass over the partition."""
    text = (
        "SELECT chunk, ROWIDTOCHAR(MIN(rid)), ROWIDTOCHAR(MAX(rid)), COUNT(*) FROM ("
        f"SELECT {hint(rows.table.parallel_degree)}ROWID AS rid, "
        "TRUNC((ROW_NUMBER() OVER (ORDER BY ROWID) - 1) / :chunk_rows) AS chunk "
        f"FROM {rows.source(owner)} WHERE {rows.where.text}) GROUP BY chunk ORDER BY chunk"
    )
    return Statement(text, {**rows.where.binds, "chunk_rows": chunk_rows})


def rows_of_chunk(owner: str, rows: Selection, within: Statement | None, totals: ControlTotals) -> Statement:
    """The rows of one chunk in catalog column order; `within` is the chunk's range, None means all rows."""
    table = rows.table
    columns = read_columns(table, table.extracted_columns, (totals,))
    if rows.opinion_buckets:
        opined = _opined(owner, rows, within)
        return Statement(f"SELECT {columns}, {OPINION} FROM ({opined.text})", opined.binds)
    where = rows.where if within is None else both(rows.where, within)
    text = f"SELECT {hint(table.chunk_degree)}{columns} FROM {rows.source(owner)} WHERE {where.text}"
    return Statement(text, where.binds)


def opinions_of_chunk(owner: str, rows: Selection, within: Statement | None, totals: ControlTotals) -> Statement:
    """Oracle's opinions of the rows of one chunk that have one, after the columns that they are compared with."""
    opined = _opined(owner, rows, within)
    columns = read_columns(rows.table, compared_columns(rows.table), (totals,))
    selected = f"{columns}, {OPINION}" if columns else OPINION
    return Statement(f"SELECT {selected} FROM ({opined.text}) WHERE {OPINION} IS NOT NULL", opined.binds)


def _opined(owner: str, rows: Selection, within: Statement | None) -> Statement:
    """The rows as they are, with Oracle's opinions."""
    table = rows.table
    where = rows.where if within is None else both(rows.where, within)
    inner = f"SELECT {hint(table.chunk_degree)}{plain_columns(table)} FROM {rows.source(owner)} WHERE {where.text}"
    return Statement(with_opinions(table, inner, asks_for(rows.opinion_buckets)), where.binds)


def both(first: Statement, second: Statement) -> Statement:
    """Two conditions that both must hold."""
    return Statement(f"{first.text} AND {second.text}", {**first.binds, **second.binds})


def plain_columns(table: Table) -> str:
    """The columns that are read, as they are, and the texts of which external ids are made."""
    return ", ".join(quoted(column.name) for column in table.extracted_columns) + key_texts(table)


def within_rowids(first: str, last: str) -> Statement:
    """A range of ROWIDs, both ends inclusive. Oracle itself compares them."""
    return Statement(
        "ROWID BETWEEN CHARTOROWID(:first_rowid) AND CHARTOROWID(:last_rowid)",
        {"first_rowid": first, "last_rowid": last},
    )


def keys_of(owner: str, rows: Selection, totals: ControlTotals) -> Statement:
    """The key columns of every row of a partition, changed or not."""
    where = in_partition(rows.partition)
    columns = read_columns(rows.table, rows.table.key_columns, (totals,))
    text = f"SELECT {hint(rows.table.parallel_degree)}{columns} FROM {rows.source(owner)} WHERE {where.text}"
    return Statement(text, where.binds)


def count_all(owner: str, table: Table, scn: int) -> Statement:
    """The number of rows of a table, whatever partition they belong to."""
    return Statement(f"SELECT {hint(table.parallel_degree)}COUNT(*) FROM {rows_of(owner, table, scn)}")


def first_row(owner: str, table: Table, scn: int) -> Statement:
    """At most one row: whether the table can be read as of the SCN, as far as its first blocks tell."""
    return Statement(f"SELECT 1 FROM {rows_of(owner, table, scn)} WHERE ROWNUM = 1")


def count_days(owner: str, table: Table, month_column: Column, scn: int) -> Statement:
    """Rows per value of the month column, as `in_partition` compares it: a day, or whatever else the column holds."""
    day = day_text(month_column)
    text = f"SELECT {hint(table.parallel_degree)}{day}, COUNT(*) FROM {rows_of(owner, table, scn)} GROUP BY {day}"
    return Statement(text)


def month_of(partitions: Sequence[Partition], suffix: str = "") -> Statement:
    """The key of the month that a row belongs to, NULL if it is none of these; same bounds as `in_partition`."""
    binds: BindValues = {}
    cases = []
    for position, partition in enumerate(partitions):
        where = in_partition(partition)
        text = where.text
        for name, value in where.binds.items():
            renamed = f"{name}_{position}{suffix}"
            text = text.replace(f":{name}", f":{renamed}")
            binds[renamed] = value
        cases.append(f"WHEN {text} THEN '{partition.key}'")
    return Statement(f"CASE {' '.join(cases)} END", binds)
