"""Statements that scan a table once, for all its months or for one partition, and group its rows by stretch of blocks.

A stretch is named by the first letters of its rows' ROWIDs; see `kpc.extract.stretches`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpc.extract.number_reading import is_number
from kpc.extract.statements import (
    Selection,
    aggregates,
    hint,
    month_of,
    plain_columns,
    quoted,
    read_columns,
    rows_of,
)
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.reconcile.second_opinion.coverage import Extent, asks_for_months, has_opinions
from kpc.reconcile.second_opinion.row_sql import OPINION, with_opinions
from kpc.storage.manifests import ControlTotals

MONTH = "KPC_MONTH"  # the column that says which month a row belongs to


# How many letters of a ROWID's text name a stretch of blocks: 15 for one block, 14 for 64, 13 for 4,096 (32 MB at 8 KB
# each). Larger tables use fewer letters, so that there are only tens of thousands of stretches.
_LETTERS = ((2_000_000, 15), (100_000_000, 14))
_LETTERS_OF_THE_LARGEST = 13


def _letters(rows: int | None) -> int:
    """For a table with about so many rows; the fewest if that is unknown."""
    if rows is None:
        return _LETTERS_OF_THE_LARGEST
    return next((letters for most, letters in _LETTERS if rows <= most), _LETTERS_OF_THE_LARGEST)


def count_stretches(owner: str, partitions: Sequence[Partition], scn: int, table_rows: int) -> Statement:
    """Rows per month and stretch of blocks, in block order."""
    table, month = partitions[0].table, month_of(partitions)
    text = (
        f"SELECT {MONTH}, stretch, COUNT(*) FROM (SELECT {hint(table.parallel_degree)}{month.text} AS {MONTH}, "
        f"{_stretch('ROWID', table_rows)} AS stretch, ROWID AS rid FROM {rows_of(owner, table, scn)}) "
        f"GROUP BY {MONTH}, stretch ORDER BY MIN(rid)"
    )
    return Statement(text, month.binds)


def stretches_of_partition(owner: str, rows: Selection, table_rows: int | None) -> Statement:
    """The totals of each stretch of a partition: its key, first and last ROWID, then `control_totals_query`'s numbers.

    `table_rows`: about how many rows the whole table has.
    """
    stretch = _stretch("ROWID", table_rows)
    text = (
        f"SELECT {hint(rows.table.parallel_degree)}'{rows.partition.key}', ROWIDTOCHAR(MIN(ROWID)), "
        f"ROWIDTOCHAR(MAX(ROWID)), {aggregates(rows.table)} FROM {rows.source(owner)} "
        f"WHERE {rows.where.text} GROUP BY {stretch}"
    )
    return Statement(text, rows.where.binds)


def stretches_of_months(owner: str, partitions: Sequence[Partition], scn: int, table_rows: int | None) -> Statement:
    """The same for every month of a table at once; rows of other months are left out."""
    table, month = partitions[0].table, month_of(partitions)
    columns = "".join(f", {quoted(column.name)}" for column in table.extracted_columns if is_number(column))
    text = (
        f"SELECT {MONTH}, ROWIDTOCHAR(MIN(rid)), ROWIDTOCHAR(MAX(rid)), {aggregates(table)} FROM "
        f"(SELECT {hint(table.parallel_degree)}{month.text} AS {MONTH}, ROWID AS rid{columns} "
        f"FROM {rows_of(owner, table, scn)}) WHERE {MONTH} IS NOT NULL "
        f"GROUP BY {MONTH}, {_stretch('rid', table_rows)}"
    )
    return Statement(text, month.binds)


def _stretch(rowid: str, table_rows: int | None) -> str:
    return f"SUBSTR(ROWIDTOCHAR({rowid}), 1, {_letters(table_rows):d})"


def rows_of_months(
    owner: str,
    partitions: Sequence[Partition],
    scn: int,
    within: Statement,
    totals: tuple[ControlTotals, ...],
    extent: Extent = "off",
) -> Statement:
    """The rows of a range that belong to any of these months, in catalog column order, and the month of each.

    `extent`: of which of them Oracle's opinion is asked for, the last but one column.
    """
    table, month = partitions[0].table, month_of(partitions)
    columns = read_columns(table, table.extracted_columns, totals)
    condition = month_of(partitions, suffix="w")
    binds = {**month.binds, **condition.binds, **within.binds}
    tail = (
        f"{month.text} AS {MONTH} FROM {rows_of(owner, table, scn)} WHERE {condition.text} IS NOT NULL "
        f"AND {within.text}"
    )
    if not has_opinions(table, extent):
        return Statement(f"SELECT {hint(table.chunk_degree)}{columns}, {tail}", binds)
    inner = f"SELECT {hint(table.chunk_degree)}{plain_columns(table)}, {tail}"
    opined = with_opinions(table, inner, asks_for_months(partitions, extent, MONTH))
    return Statement(f"SELECT {columns}, {OPINION}, {MONTH} FROM ({opined})", binds)
