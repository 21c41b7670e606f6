"""Every SQL statement that is sent to Oracle, made from the catalog.

Identifiers come from the catalog and are quoted; keys and dates travel as binds. The SCN is a number of our own and is
written into the text, because AS OF takes no bind in every version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from kpc.catalog.table import Column, Table
from kpc.convert.source_sql import target_value_sql
from kpc.errors import ConfigError
from kpc.partition import Partition

BindValues = dict[str, str | int | datetime]


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    binds: BindValues = field(default_factory=dict)


def quoted(name: str) -> str:
    if '"' in name:
        raise ConfigError(f"{name!r} cannot be the name of an Oracle schema.", "Correct KPC__ORACLE__OWNER or __USER.")
    return f'"{name}"'


def _rows_of(owner: str, table: Table, scn: int) -> str:
    return f"{quoted(owner)}.{quoted(table.name)} AS OF SCN {scn:d} t"


def _hint(degree: int) -> str:
    return f"/*+ PARALLEL(t, {degree:d}) */ " if degree > 1 else ""


def iso_text(column: Column) -> str:
    """A CHAR date as text that sorts by time: `YYYY-MM-DD`, in the column's own calendar."""
    name = quoted(column.name)
    if column.date_format is not None and column.date_format.is_day_first:
        return f"SUBSTR({name}, 7, 4) || '-' || SUBSTR({name}, 4, 2) || '-' || SUBSTR({name}, 1, 2)"
    return f"SUBSTR({name}, 1, 10)" if column.date_format and column.date_format.has_time else name


def _day_text(day: date, column: Column) -> str:
    return f"{day.year + column.calendar.year_offset:04d}-{day.month:02d}-{day.day:02d}"


def in_partition(partition: Partition) -> Statement:
    """The WHERE clause of a partition; `1 = 1` for `ALL`.

    A text date counts by its first and last day, both inclusive, so that a text such as 2024-01-99 belongs to no month
    and shows up when the months are added up.
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


def source_truth(owner: str, partition: Partition, scn: int) -> Statement:
    """Rows, and per measure the sum, minimum, maximum and non-null count of the values as the target will hold them."""
    table = partition.table
    where = in_partition(partition)
    aggregates = ["COUNT(*)"]
    for column in table.measured_columns:
        value = target_value_sql(column)
        aggregates += [f"SUM({value})", f"MIN({value})", f"MAX({value})", f"COUNT({value})"]
    text = (
        f"SELECT {_hint(table.parallel_degree)}{', '.join(aggregates)} "
        f"FROM {_rows_of(owner, table, scn)} WHERE {where.text}"
    )
    return Statement(text, where.binds)


def chunk_plan(owner: str, partition: Partition, scn: int, chunk_rows: int) -> Statement:
    """Boundaries of chunks of `chunk_rows` rows in ROWID order, found in one pass over the partition."""
    table = partition.table
    where = in_partition(partition)
    text = (
        "SELECT chunk, ROWIDTOCHAR(MIN(rid)), ROWIDTOCHAR(MAX(rid)), COUNT(*) FROM ("
        f"SELECT {_hint(table.parallel_degree)}ROWID AS rid, "
        "TRUNC((ROW_NUMBER() OVER (ORDER BY ROWID) - 1) / :chunk_rows) AS chunk "
        f"FROM {_rows_of(owner, table, scn)} WHERE {where.text}) GROUP BY chunk ORDER BY chunk"
    )
    return Statement(text, {**where.binds, "chunk_rows": chunk_rows})


def rows_of_chunk(owner: str, partition: Partition, scn: int, rowids: tuple[str, str] | None) -> Statement:
    """The rows of one chunk in catalog column order. Oracle itself compares the ROWIDs."""
    table = partition.table
    where = in_partition(partition)
    columns = ", ".join(quoted(column.name) for column in table.columns)
    text = f"SELECT {columns} FROM {_rows_of(owner, table, scn)} WHERE {where.text}"
    if rowids is None:
        return Statement(text, where.binds)
    return Statement(
        f"{text} AND ROWID BETWEEN CHARTOROWID(:first_rowid) AND CHARTOROWID(:last_rowid)",
        {**where.binds, "first_rowid": rowids[0], "last_rowid": rowids[1]},
    )


def count_all(owner: str, table: Table, scn: int) -> Statement:
    """All rows of a table, whatever partition they belong to."""
    return Statement(f"SELECT {_hint(table.parallel_degree)}COUNT(*) FROM {_rows_of(owner, table, scn)}")


def count_days(owner: str, table: Table, month_column: Column, scn: int) -> Statement:
    """Rows per value of the month column, as `in_partition` compares it: a day, or whatever stands there instead."""
    day = (
        iso_text(month_column) if month_column.source.is_text else f"TO_CHAR({quoted(month_column.name)}, 'YYYY-MM-DD')"
    )
    text = f"SELECT {_hint(table.parallel_degree)}{day}, COUNT(*) FROM {_rows_of(owner, table, scn)} GROUP BY {day}"
    return Statement(text)


CURRENT_SCN = Statement("SELECT CURRENT_SCN FROM V$DATABASE")


def live_columns(owner: str, table: Table) -> Statement:
    """The table's columns as the dictionary knows them."""
    return Statement(
        "SELECT COLUMN_NAME, DATA_TYPE, DATA_LENGTH, CHAR_LENGTH, DATA_PRECISION, DATA_SCALE FROM ALL_TAB_COLUMNS "
        "WHERE OWNER = :owner AND TABLE_NAME = :table_name ORDER BY COLUMN_ID",
        {"owner": owner, "table_name": table.name},
    )
