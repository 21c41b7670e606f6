"""How many rows of which table the statements so far had to read, as a server without indexes reads them.

A table in FROM costs all its rows, once per mention, unless WHERE bounds its ROWID: then the rows between the bounds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb

from kpc.emulators.oracle.sql.storage.store import StoredTable, TableStore

FIRST, LAST = 0, 2**63 - 1
_MOST_RANGES = 50_000


@dataclass(slots=True)
class Scan:
    """One mention of a table in FROM, and the positions between which its rows are read.

    `conditions` are the parts of WHERE, as DuckDB SQL over the relation, that an index or the partitions can serve, by
    the column they bound. `stops_after` is DuckDB SQL for the number of rows after which ROWNUM ends the scan.
    """

    table: StoredTable
    low: int = FIRST
    high: int = LAST
    relation: str = ""
    share: float = 1.0  # of the rows, that SAMPLE takes
    conditions: dict[str, list[str]] = field(default_factory=dict)
    stops_after: str = ""


class Scans:
    """Ranges are only noted when a statement runs; their rows are counted when somebody asks."""

    def __init__(self, store: TableStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._noted: Counter[tuple[str, str, str, int, int]] = Counter()
        self._rows: Counter[str] = Counter()

    def note(self, scans: Iterable[Scan]) -> None:
        with self._lock:
            for scan in scans:
                table = scan.table
                self._noted[table.owner, table.name, table.data, scan.low, scan.high] += 1
            if len(self._noted) > _MOST_RANGES:
                self._resolve()

    def forget(self) -> None:
        with self._lock:
            self._noted.clear()
            self._rows.clear()

    def rows_by_table(self) -> dict[str, int]:
        """Rows read per OWNER.TABLE; a table dropped before anybody asked counts for nothing."""
        with self._lock:
            self._resolve()
            return dict(self._rows)

    def _resolve(self) -> None:
        cursor = self._store.cursor()
        for (owner, name, data, low, high), times in self._noted.items():
            bounds = "" if (low, high) == (FIRST, LAST) else f" WHERE rid BETWEEN {low} AND {high}"
            try:
                found = cursor.execute(f"SELECT count(*) FROM {data}{bounds}").fetchall()
            except duckdb.CatalogException:
                continue
            self._rows[f"{owner}.{name}"] += times * int(found[0][0])
        cursor.close()
        self._noted.clear()
