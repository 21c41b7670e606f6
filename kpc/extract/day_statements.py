"""The statements that find what Oracle changed since a partition was read."""

from __future__ import annotations

from collections.abc import Sequence

from kpc.catalog.table import Table
from kpc.catalog.types import Column
from kpc.extract.statements import aggregates, change_time, day_text, hint, in_partition, read_columns, rows_of
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.storage.manifests import ControlTotals


def totals_by_day(owner: str, table: Table, scn: int) -> Statement:
    """Day (NULL: none), newest change (NULL: not known), then the numbers of `control_totals_query`, in one pass.

    A table without months has one row, whose day is NULL.
    """
    newest = f"MAX({change_time(table)})" if table.change_columns else "NULL"
    measured = f"{newest}, {aggregates(table)} FROM {rows_of(owner, table, scn)}"
    if table.month_column is None:
        return Statement(f"SELECT {hint(table.parallel_degree)}NULL, {measured}")
    day = day_text(table.by_name[table.month_column])
    return Statement(f"SELECT {hint(table.parallel_degree)}{day}, {measured} GROUP BY {day}")


def columns_of_rows(
    owner: str, partition: Partition, scn: int, columns: Sequence[Column], totals: tuple[ControlTotals, ...]
) -> Statement:
    """These columns of every row of a partition; `totals` tell which numbers need a guard."""
    table, where = partition.table, in_partition(partition)
    selected = read_columns(table, columns, totals)
    text = f"SELECT {hint(table.parallel_degree)}{selected} FROM {rows_of(owner, table, scn)} WHERE {where.text}"
    return Statement(text, where.binds)
