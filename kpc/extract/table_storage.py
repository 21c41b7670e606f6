"""How a table is stored, as the dictionary tells it: size, range partitions, indexes. No table is read for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import BindValues, Statement

_SIZE = (
    "SELECT NUM_ROWS, BLOCKS, LAST_ANALYZED, PARTITIONED FROM ALL_TABLES WHERE OWNER = :owner AND TABLE_NAME = :name"
)
# Only RANGE: a hash or list partition holds rows of every month.
_RANGE_KEY = (
    "SELECT k.COLUMN_NAME, t.PARTITION_COUNT FROM ALL_PART_TABLES t JOIN ALL_PART_KEY_COLUMNS k ON k.OWNER = t.OWNER "
    "AND k.NAME = t.TABLE_NAME WHERE t.OWNER = :owner AND t.TABLE_NAME = :name AND t.PARTITIONING_TYPE = 'RANGE' "
    "AND k.COLUMN_POSITION = 1 AND k.OBJECT_TYPE = 'TABLE'"
)
_INDEXES = (
    "SELECT c.COLUMN_NAME, i.CLUSTERING_FACTOR FROM ALL_IND_COLUMNS c JOIN ALL_INDEXES i ON i.OWNER = c.INDEX_OWNER "
    "AND i.INDEX_NAME = c.INDEX_NAME WHERE c.TABLE_OWNER = :owner AND c.TABLE_NAME = :name AND c.COLUMN_POSITION = 1 "
    "AND i.VISIBILITY = 'VISIBLE' AND i.STATUS IN ('VALID', 'N/A')"
)


@dataclass(frozen=True, slots=True)
class TableStorage:
    """Statistics are None until somebody gathers them, and as old as `analyzed`.

    `indexed` maps the first column of each usable index to its clustering factor: the blocks that reading the whole
    table through it visits (None: unknown).
    """

    rows: int | None
    blocks: int | None
    analyzed: datetime | None = None
    partition_column: str | None = None
    partitions: int = 0
    indexed: dict[str, int | None] | None = None

    def index_on(self, column: str) -> bool:
        return column in (self.indexed or {})


def storage_of(session: ReadSession, oracle: Oracle, name: str) -> TableStorage:
    """The dictionary's facts; a view, or what the user may not see in the dictionary, has none."""
    binds: BindValues = {"owner": oracle.owner, "name": name}
    found = list(session.dictionary(Statement(_SIZE, binds)))
    if not found:
        return TableStorage(None, None)
    rows, blocks, analyzed, partitioned = found[0]
    parts = list(session.dictionary(Statement(_RANGE_KEY, binds))) if partitioned == "YES" else []
    column, count = parts[0] if parts else (None, 0)
    indexed = {
        str(name): None if factor is None else int(factor)
        for name, factor in session.dictionary(Statement(_INDEXES, binds))
    }
    return TableStorage(_int(rows), _int(blocks), analyzed, column, int(count), indexed)


def _int(value: object) -> int | None:
    return None if value is None else int(str(value))
