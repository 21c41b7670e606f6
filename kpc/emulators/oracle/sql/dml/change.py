"""A statement's change to one table, computed but not yet applied."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from kpc.emulators.oracle.sql.storage.store import StoredTable


@dataclass(slots=True)
class Change:
    """What a statement does to one table.

    `rows`: new versions with rid; `gone`: positions that are replaced or deleted.
    """

    table: StoredTable
    rows: pa.Table | None = None
    gone: pa.Array | None = None
    count: int = 0
    old_rows: bool = False  # `rows` are deleted rows, kept for RETURNING only
    updated: frozenset[str] | None = None  # the changed columns; None for inserted rows
    counts: list[int] = field(default_factory=list)  # per bind row
