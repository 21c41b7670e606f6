"""How a table is read, chosen by what the dictionary says of its storage and by what each way is estimated to cost.

The estimates are those of one server process on ordinary hardware; they decide between ways that differ by factors,
and tell a DBA what to expect. Parallel servers divide the time, not the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kpc.catalog.table import Table
from kpc.extract.statements import aggregates
from kpc.extract.stretches import LARGE_ROWS
from kpc.extract.table_storage import TableStorage

BLOCK_BYTES = 8192
SCAN_BYTES_PER_S = 200e6
ROW_S = 0.5e-6  # to take a row out of its block and to evaluate WHERE
AGGREGATE_S = 50e-9  # one aggregate function of one row
BLOCK_S = 0.5e-3  # one block that an index points to
SORT_ROW_BYTES = 60  # of a key and its rank, where rows are ranked by key
WORKAREA_BYTES = 1 << 30  # a sort that needs more goes to TEMP
_FILLED = 0.9  # of a block
_ASSUMED_ROW_BYTES = 200  # where nobody gathered statistics
_WORTH_S = 300.0  # month by month may cost this much more than one pass: it is simpler to resume
_TIMES = 1.5


class AccessPath(StrEnum):
    """How a table is read, as the plan shows it and the ledger stores it."""

    WHOLE = "whole table"  # the table is one partition
    KEY_RANGES = "key ranges"  # a view or an index-organised table
    PARTITIONS = "range partitions"
    INDEX = "index"
    MONTH_SCANS = "a scan per month"
    ONE_PASS = "one pass"  # noqa: S105  no secret


@dataclass(frozen=True, slots=True)
class Access:
    """The chosen path, with what it is estimated to cost: scans of the whole table, seconds, bytes of TEMP."""

    path: AccessPath
    scans: float
    seconds: float
    temp_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CountedTable:
    """A table's rows, those of each month to be read, and how many rows its ROWID ranges hold per row of the month."""

    rows: int
    months: Mapping[str, int]
    ratios: Mapping[str, float]

    def share(self, key: str) -> float:
        return self.months[key] / self.rows if self.rows else 0.0

    @property
    def read_scans(self) -> float:
        """Scans that reading every month by its ROWID ranges amounts to."""
        return sum(min(1.0, self.share(key) * self.ratios.get(key, 1.0)) for key in self.months)


def choose_access(table: Table, storage: TableStorage, counted: CountedTable) -> Access:
    """The cheapest way to read all months; month by month where one pass would save little."""
    found = possible_ways(table, storage, counted)
    by_month = min((way for way in found if way.path is not AccessPath.ONE_PASS), key=lambda way: way.seconds)
    whole = next((way for way in found if way.path is AccessPath.ONE_PASS), by_month)
    is_worth_it = by_month.seconds > max(_TIMES * whole.seconds, whole.seconds + _WORTH_S)
    return whole if is_worth_it else by_month


def possible_ways(table: Table, storage: TableStorage, counted: CountedTable) -> Sequence[Access]:
    """Every way to read the table, with its estimate."""
    scan_s = _scan_s(table, storage, counted.rows)
    if not table.has_rowid:
        size = counted.rows * SORT_ROW_BYTES
        reads = 3.0 * max(1, len(counted.months))
        return [Access(AccessPath.KEY_RANGES, reads, reads * scan_s, size if size > WORKAREA_BYTES else 0)]
    rows = storage.rows if storage.rows is not None else counted.rows
    plan_scans = 1.0 if rows > LARGE_ROWS else 2.0
    if table.month_column is None:
        return [Access(AccessPath.WHOLE, plan_scans + 1, (plan_scans + 1) * scan_s)]
    ways = [
        _way(AccessPath.MONTH_SCANS, len(counted.months) * plan_scans + counted.read_scans, scan_s),
        _way(AccessPath.ONE_PASS, 2.0, scan_s),
    ]
    shares = sum(counted.share(key) for key in counted.months)
    if storage.partition_column == table.month_column:
        ways.append(_way(AccessPath.PARTITIONS, shares * (plan_scans + 1), scan_s))
    if storage.index_on(table.month_column):
        factor = (storage.indexed or {})[table.month_column]
        visited = counted.rows if factor is None else factor
        lookup_s = plan_scans * shares * (visited * BLOCK_S + counted.rows * _row_s(table)) / table.parallel_degree
        ways.append(Access(AccessPath.INDEX, counted.read_scans, lookup_s + counted.read_scans * scan_s))
    return ways


def _way(path: AccessPath, scans: float, scan_s: float) -> Access:
    return Access(path, scans, scans * scan_s)


def _scan_s(table: Table, storage: TableStorage, rows: int) -> float:
    blocks = storage.blocks
    size = rows * _ASSUMED_ROW_BYTES / _FILLED if blocks is None else blocks * BLOCK_BYTES
    return (size / SCAN_BYTES_PER_S + rows * _row_s(table)) / max(1, table.parallel_degree)


def _row_s(table: Table) -> float:
    return ROW_S + aggregates(table).count("(") * AGGREGATE_S / 2
