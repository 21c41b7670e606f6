"""How each month's rows are clustered in a table's blocks: whether ROWID ranges are a cheap way to read a month.

In a table that grew day by day, a month's rows are adjacent, and its ROWID ranges hold little else. Where months
interleave, each range holds rows of all of them, and reading each month would scan most of the table again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kpc.catalog.table import Table
from kpc.extract.month_statements import count_stretches
from kpc.oracle.session import Oracle
from kpc.partition import Partition


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of neighbouring blocks: its total rows, and those of each month."""

    rows: int
    by_key: dict[str, int]


def scan_ratios(
    oracle: Oracle, table: Table, keys: Sequence[str], scn: int, rows: int, chunk_rows: int
) -> dict[str, float]:
    """For each month: rows in its ROWID ranges per row of that month. Takes one pass over the table.

    Empty for a table that is one partition, has no ROWIDs or has no rows.
    """
    if not table.is_monthly or not table.has_rowid or not rows:
        return {}
    partitions = [Partition(table, key) for key in keys]
    statement = count_stretches(oracle.owner, partitions, scn, rows)
    with oracle.session(f"clustering {table.name}", table.name, scans=True) as session:
        stretches = _stretches((key, stretch, int(rows)) for key, stretch, rows in session.rows(statement))
    return {key: scan_ratio(stretches, key, chunk_rows) for key in keys}


def _stretches(groups: Iterable[tuple[str | None, str, int]]) -> list[Stretch]:
    """Row counts by month and stretch, in ROWID order, as stretches in that order."""
    found: dict[str, dict[str, int]] = {}
    for key, name, rows in groups:
        months = found.setdefault(name, {})
        months[key or ""] = months.get(key or "", 0) + rows
    return [Stretch(sum(months.values()), months) for months in found.values()]


def scan_ratio(stretches: Sequence[Stretch], key: str, chunk_rows: int) -> float:
    """Rows in the month's chunk ranges per row of the month; a range extends from its first stretch to its last.

    1.0 for a month that shares no blocks with another month, and for a month without rows.
    """
    wanted = scanned = in_chunk = span = 0
    for stretch in stretches:
        mine = stretch.by_key.get(key, 0)
        if not in_chunk and not mine:
            continue
        span += stretch.rows
        in_chunk += mine
        if mine:
            scanned, span = scanned + span, 0
        wanted += mine
        if in_chunk >= chunk_rows:
            in_chunk = span = 0
    return scanned / wanted if wanted else 1.0
