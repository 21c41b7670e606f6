"""How a table is stored, as far as the dictionary tells: its range partitions and its statistics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RangePartitions:
    """PARTITION BY RANGE (column): each partition's name and the bound that its values are less than.

    A bound is DuckDB SQL beside the Oracle SQL it was written as; the last partition has none (MAXVALUE).
    """

    column: str
    names: tuple[str, ...]
    bounds: tuple[str, ...]
    written: tuple[str, ...]

    def number(self, value: str) -> str:
        """DuckDB SQL for the number of the partition that holds a value, from 0. NULL is in the last."""
        cases = " ".join(f"WHEN {value} < {bound} THEN {at}" for at, bound in enumerate(self.bounds))
        return f"CASE {cases} ELSE {len(self.bounds)} END"


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """What the optimizer knows of a table: counts of the day when somebody gathered them."""

    rows: int
    blocks: int
    row_bytes: int
    gathered_utc: dt.datetime
    partition_rows: tuple[int, ...] = ()
    clustering: Mapping[str, int] = field(default_factory=dict)  # by index: blocks that a read in its order visits
