"""Statements that read all months of a table at once."""

from __future__ import annotations

from collections.abc import Sequence

from kpc.extract.number_reading import is_number
from kpc.extract.statements import aggregates, hint, in_partition, quoted, read_columns, rows_of
from kpc.oracle.statement import BindValues, Statement
from kpc.partition import Partition
from kpc.storage.manifests import ControlTotals

MONTH = "KPC_MONTH"  # the column that says which month a row belongs to


def count_stretches(owner: str, partitions: Sequence[Partition], scn: int, letters: int) -> Statement:
    """Rows per month and stretch of blocks, in block order; the first `letters` of a ROWID's text name its stretch."""
    table, month = partitions[0].table, _month_of(partitions)
    text = (
        f"SELECT {MONTH}, stretch, COUNT(*) FROM (SELECT {hint(table.parallel_degree)}{month.text} AS {MONTH}, "
        f"SUBSTR(ROWIDTOCHAR(ROWID), 1, {letters:d}) AS stretch, ROWID AS rid FROM {rows_of(owner, table, scn)}) "
        f"GROUP BY {MONTH}, stretch ORDER BY MIN(rid)"
    )
    return Statement(text, month.binds)


def control_totals_of_months(owner: str, partitions: Sequence[Partition], scn: int) -> Statement:
    """The control totals of every month in one pass: the month, then the numbers of `control_totals_query`."""
    table, month = partitions[0].table, _month_of(partitions)
    columns = "".join(f", {quoted(column.name)}" for column in table.columns if is_number(column))
    text = (
        f"SELECT {MONTH}, {aggregates(table)} FROM (SELECT {hint(table.parallel_degree)}{month.text} AS {MONTH}"
        f"{columns} FROM {rows_of(owner, table, scn)}) WHERE {MONTH} IS NOT NULL GROUP BY {MONTH}"
    )
    return Statement(text, month.binds)


def chunk_plan_of_months(owner: str, partitions: Sequence[Partition], scn: int, chunk_rows: int) -> Statement:
    """Boundaries of chunks of `chunk_rows` rows of any of these months, in ROWID order."""
    table, month = partitions[0].table, _month_of(partitions)
    text = (
        "SELECT chunk, ROWIDTOCHAR(MIN(rid)), ROWIDTOCHAR(MAX(rid)), COUNT(*) FROM ("
        f"SELECT {hint(table.parallel_degree)}ROWID AS rid, "
        "TRUNC((ROW_NUMBER() OVER (ORDER BY ROWID) - 1) / :chunk_rows) AS chunk "
        f"FROM {rows_of(owner, table, scn)} WHERE {month.text} IS NOT NULL) GROUP BY chunk ORDER BY chunk"
    )
    return Statement(text, {**month.binds, "chunk_rows": chunk_rows})


def rows_of_months(
    owner: str, partitions: Sequence[Partition], scn: int, within: Statement, totals: tuple[ControlTotals, ...]
) -> Statement:
    """The rows of a range that belong to any of these months, in catalog column order, and the month of each."""
    table, month = partitions[0].table, _month_of(partitions)
    columns = read_columns(table, table.columns, totals)
    condition = _month_of(partitions, suffix="w")
    text = (
        f"SELECT {hint(table.chunk_degree)}{columns}, {month.text} AS {MONTH} FROM {rows_of(owner, table, scn)} "
        f"WHERE {condition.text} IS NOT NULL AND {within.text}"
    )
    return Statement(text, {**month.binds, **condition.binds, **within.binds})


def _month_of(partitions: Sequence[Partition], suffix: str = "") -> Statement:
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
