"""What a statement costs: the seconds and the TEMP that a database of the declared size would need for it.

The rates are those of one server process on ordinary hardware, and one table below is all that decides: they are meant
to be right within a factor of two, so that what takes a real database half an hour is not instant here. With a scale of
N each row stands for N rows, and the emulator waits a statement's seconds divided by N. A client that divides its own
limits by N then meets what it would meet at full size.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.interface import FREE, OraType, StatementCost
from kpc.emulators.oracle.sql.storage.physical import TableStatistics
from kpc.emulators.oracle.sql.storage.scans import FIRST, LAST, Scan
from kpc.emulators.oracle.sql.storage.store import Index, StoredTable, TableStore
from kpc.emulators.oracle.sql.types import positions

BLOCK_BYTES = 8192
SCAN_BYTES_PER_S = 400e6  # direct path reads of one process
ROW_S = 0.3e-6  # to take a row out of its block and evaluate WHERE
BLOCK_S = 0.5e-3  # one block that an index points to
COMPARISON_S = 50e-9  # a sort of n rows compares n * log2(n) times
AGGREGATE_S = 50e-9  # one aggregate function, one row
GROUP_S = 200e-9  # to find a row's group
WORKAREA_BYTES = 1 << 30  # a sort that needs more is written to TEMP and read again
TEMP_BYTES_PER_S = 200e6
SORT_ROW_BYTES = 40  # a ROWID with a number, and the sort's own overhead
MAX_DEGREE = 4  # parallel servers that a statement really gets, whatever its hint asks for

_MIN_ROWS = 1000  # a statement over fewer rows costs nothing worth a count
_SAMPLE_ROWS = 1000
_FIXED_BYTES = {OraType.DATE: 7, OraType.NUMBER: 5, OraType.BINARY_DOUBLE: 8, OraType.BINARY_FLOAT: 4}
_ROW_OVERHEAD_BYTES = 3  # a row's header; each column has a length byte beside it
_PARALLEL = re.compile(r"/\*\+[^*]*\bPARALLEL\s*\(\s*(?:[\w.]+[\s,]+)?(\d+)\s*\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Work:
    """What one query block does with the rows that WHERE leaves.

    `counted` is DuckDB SQL for their number; empty: as many as the statement scans. `sorts` is how often they are
    sorted; a sort for the first few rows only (FETCH FIRST) needs no TEMP.
    """

    counted: str
    sorts: int = 0
    is_grouped: bool = False
    aggregates: int = 0
    has_limit: bool = False


class Reads(Protocol):
    """The part of a compilation that decides its cost."""

    scans: list[Scan]
    works: list[Work]
    arrow: dict[str, pa.Table]


class Costs:
    """The cost of statements at a scale: the number of rows that each stored row stands for. 0: nothing costs time."""

    def __init__(self, store: TableStore, scale: int = 1) -> None:
        self._store = store
        self.scale = scale

    def cost(self, sql: str, reads: Reads) -> StatementCost:
        """What a compiled query costs; sorting and grouping must end before the first row is known."""
        if not self.scale or not reads.scans:
            return FREE
        cursor = self._store.cursor()
        try:
            return self._cost(cursor, _degree(sql), reads)
        finally:
            cursor.close()

    def gather(self, table: StoredTable, cursor: duckdb.DuckDBPyConnection, now: dt.datetime) -> None:
        """Give a table statistics as of now, each stored row counted `scale` times."""
        scale = max(self.scale, 1)
        rows, length = table_rows(table, cursor) * scale, row_bytes(table, cursor)
        counts: tuple[int, ...] = ()
        column = table.column(table.partitions.column) if table.partitions else None
        if table.partitions is not None and column is not None:
            number = table.partitions.number(column.stored)
            found = dict(cursor.sql(f"SELECT {number} AS n, count(*) FROM {table.data} GROUP BY n").fetchall())
            counts = tuple(int(found.get(at, 0)) * scale for at in range(len(table.partitions.names)))
        stored_per_block = BLOCK_BYTES * 0.9 / length / scale
        clustering = {index.name: _clustering(table, index, cursor, stored_per_block) for index in table.indexes}
        table.statistics = TableStatistics(rows, blocks(rows, length), round(length), now, counts, clustering)

    def _cost(self, cursor: duckdb.DuckDBPyConnection, degree: int, reads: Reads) -> StatementCost:
        scan_s, scanned = 0.0, 0
        for scan in reads.scans:
            rows, seconds = self._scan(cursor, scan)
            scanned += rows
            scan_s += seconds
        if scanned < _MIN_ROWS:
            return FREE
        done = [self._work(cursor, work, reads.arrow, scanned) for work in reads.works]
        work_s, temp_bytes = sum(seconds for seconds, _ in done), sum(size for _, size in done)
        total_s = (scan_s + work_s) / degree
        return StatementCost(total_s if done else 0.0, total_s, temp_bytes, self.scale)

    def _scan(self, cursor: duckdb.DuckDBPyConnection, scan: Scan) -> tuple[int, float]:
        """Rows read and seconds of the cheapest way to one table: ROWIDs, partitions, an index, or all of it.

        ROWNUM without another condition ends the scan after so many rows (COUNT STOPKEY).
        """
        bytes_per_row = row_bytes(scan.table, cursor)
        per_row_s = bytes_per_row / SCAN_BYTES_PER_S + ROW_S
        rows = int(min(_scanned_rows(scan, cursor), _pruned_rows(scan, cursor)) * self.scale * scan.share)
        if scan.stops_after:
            rows = min(rows, int(cursor.sql(f"SELECT {scan.stops_after}").fetchall()[0][0]))
        best = rows, rows * per_row_s
        for index in scan.table.indexes:
            found = _indexed(scan, index.columns[0], cursor, BLOCK_BYTES * 0.9 / bytes_per_row / self.scale)
            if found is not None:
                rows = found[0] * self.scale
                best = min(best, (rows, found[1] * BLOCK_S + rows * ROW_S), key=lambda way: way[1])
        return best

    def _counted(self, cursor: duckdb.DuckDBPyConnection, sql: str, arrow: Mapping[str, pa.Table]) -> int | None:
        """None for a correlated subquery, or rows that WITH names."""
        try:
            for name, table in arrow.items():
                cursor.register(name, table)
            return int(cursor.sql(sql).fetchall()[0][0]) * self.scale
        except duckdb.Error:
            return None

    def _work(
        self, cursor: duckdb.DuckDBPyConnection, work: Work, arrow: Mapping[str, pa.Table], scanned: int
    ) -> tuple[float, int]:
        """Seconds and TEMP of one query block, beside the scan of its tables."""
        rows = self._counted(cursor, work.counted, arrow) if work.counted else None
        if rows is None:
            rows = scanned
        seconds = rows * (work.aggregates * AGGREGATE_S + (GROUP_S if work.is_grouped else 0.0))
        temp_bytes = 0
        if work.sorts and rows:
            seconds += work.sorts * rows * math.log2(rows + 1) * COMPARISON_S
            size = work.sorts * rows * SORT_ROW_BYTES
            if size > WORKAREA_BYTES and not work.has_limit:
                temp_bytes = size
                seconds += 2 * size / TEMP_BYTES_PER_S
        return seconds, temp_bytes


def row_bytes(table: StoredTable, cursor: duckdb.DuckDBPyConnection) -> float:
    """The average length of a stored row in bytes, from the table's first rows."""
    fixed, texts = _ROW_OVERHEAD_BYTES + len(table.columns), []
    for column in table.columns:
        if column.type.is_text:
            texts.append(f"coalesce(strlen({column.stored}), 0)")
        else:
            fixed += _FIXED_BYTES.get(column.type.ora, 11)
    if not texts:
        return float(fixed)
    sample = f"SELECT * FROM {table.data} LIMIT {_SAMPLE_ROWS}"
    (found,) = cursor.sql(f"SELECT avg({' + '.join(texts)}) FROM ({sample})").fetchall()
    return fixed + float(found[0] or 0)


def table_rows(table: StoredTable, cursor: duckdb.DuckDBPyConnection) -> int:
    return int(cursor.sql(f"SELECT count(*) FROM {table.data}").fetchall()[0][0])


def blocks(rows: int, bytes_per_row: float) -> int:
    """The blocks below the high-water mark, nine tenths full."""
    return math.ceil(rows * bytes_per_row / (BLOCK_BYTES * 0.9))


def _scanned_rows(scan: Scan, cursor: duckdb.DuckDBPyConnection) -> int:
    if (scan.low, scan.high) == (FIRST, LAST):
        return table_rows(scan.table, cursor)
    bounds = f"rid BETWEEN {scan.low} AND {scan.high}"
    return int(cursor.sql(f"SELECT count(*) FROM {scan.table.data} WHERE {bounds}").fetchall()[0][0])


def _condition(scan: Scan, column: str) -> str:
    """The conditions on one column, with the rows they are about, as DuckDB SQL."""
    return f"FROM {scan.table.data} AS {scan.relation} WHERE {' AND '.join(scan.conditions[column])}"


def _pruned_rows(scan: Scan, cursor: duckdb.DuckDBPyConnection) -> int:
    """The rows of the partitions that hold any row in question; the whole table without partitions or a condition."""
    parts = scan.table.partitions
    if parts is None or parts.column not in scan.conditions:
        return LAST
    column = scan.table.column(parts.column)
    assert column is not None
    number = parts.number(column.stored)
    wanted = f"SELECT DISTINCT {parts.number(f'{scan.relation}.{column.stored}')} {_condition(scan, parts.column)}"
    found = cursor.sql(f"SELECT count(*) FROM {scan.table.data} WHERE {number} IN ({wanted})").fetchall()
    return int(found[0][0])


def _indexed(
    scan: Scan, column: str, cursor: duckdb.DuckDBPyConnection, stored_per_block: float
) -> tuple[int, float] | None:
    """Rows that an index on the column finds, and the blocks it visits for them; None if it cannot be used.

    The rows that a stored row stands for lie side by side: of a stored row that fills several blocks all are visited.
    """
    if column not in scan.conditions:
        return None
    together = max(1, math.floor(stored_per_block))
    place = f"{positions.sequence_sql(f'{scan.relation}.rid')} // {together}"
    found = cursor.sql(f"SELECT count(*), count(DISTINCT {place}) {_condition(scan, column)}").fetchall()
    return int(found[0][0]), int(found[0][1]) * max(1.0, 1 / stored_per_block)


def _clustering(table: StoredTable, index: Index, cursor: duckdb.DuckDBPyConnection, stored_per_block: float) -> int:
    """How often the block changes when the table is read in the order of an index: CLUSTERING_FACTOR."""
    columns = [column.stored for name in index.columns if (column := table.column(name)) is not None]
    if not columns:
        return blocks(table_rows(table, cursor), BLOCK_BYTES)  # an index on an expression
    place = f"{positions.sequence_sql('rid')} // {max(1, math.floor(stored_per_block))}"
    changes = f"SELECT {place} IS DISTINCT FROM lag({place}) OVER (ORDER BY {', '.join(columns)}, rid) AS moved"
    found = cursor.sql(f"SELECT count(*) FILTER (WHERE moved) FROM ({changes} FROM {table.data})").fetchall()
    return round(int(found[0][0]) * max(1.0, 1 / stored_per_block))


def _degree(sql: str) -> int:
    """How many parallel servers work on a statement, from the greatest PARALLEL hint."""
    asked: Iterable[str] = _PARALLEL.findall(sql)
    return min(MAX_DEGREE, max((int(degree) for degree in asked), default=1) or 1)
