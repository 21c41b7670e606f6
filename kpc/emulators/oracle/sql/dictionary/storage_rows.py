"""Dictionary views about storage: statistics, range partitions, segments."""

from __future__ import annotations

from kpc.emulators.oracle.sql.dictionary.cells import Cell, Rows
from kpc.emulators.oracle.sql.storage.costs import BLOCK_BYTES
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableStore


def statistics_of(table: StoredTable) -> dict[str, Cell]:
    """NULL until somebody gathers them, as after CREATE TABLE."""
    known = table.statistics
    if known is None:
        return {"NUM_ROWS": None, "BLOCKS": None, "AVG_ROW_LEN": None, "LAST_ANALYZED": None}
    return {
        "NUM_ROWS": known.rows, "BLOCKS": known.blocks, "AVG_ROW_LEN": known.row_bytes,
        "LAST_ANALYZED": known.gathered_utc.replace(microsecond=0),
    }  # fmt: skip


def index_statistics(table: StoredTable, name: str) -> dict[str, Cell]:
    """NULL until somebody gathers them."""
    known = table.statistics
    if known is None or name not in known.clustering:
        return {"CLUSTERING_FACTOR": None, "NUM_ROWS": None}
    return {"CLUSTERING_FACTOR": known.clustering[name], "NUM_ROWS": known.rows}


def statistics_rows(store: TableStore) -> Rows:
    """ALL_TAB_STATISTICS. Statistics are stale once the table has changed since: Oracle waits for a tenth of it."""
    return [
        {
            "OWNER": t.owner, "TABLE_NAME": t.name, "OBJECT_TYPE": "TABLE", **statistics_of(t),
            "SAMPLE_SIZE": t.statistics.rows if t.statistics else None, "STALE_STATS": "NO" if t.statistics else None,
        }
        for t in store.tables()
    ]  # fmt: skip


def partition_rows(store: TableStore) -> Rows:
    """ALL_TAB_PARTITIONS: HIGH_VALUE is the bound as SQL text."""
    rows: Rows = []
    for t in store.tables():
        if t.partitions is None:
            continue
        counts = t.statistics.partition_rows if t.statistics else ()
        for at, name in enumerate(t.partitions.names):
            bound = t.partitions.written[at] if at < len(t.partitions.written) else "MAXVALUE"
            rows.append(
                {
                    "TABLE_OWNER": t.owner, "TABLE_NAME": t.name, "PARTITION_NAME": name, "HIGH_VALUE": bound,
                    "HIGH_VALUE_LENGTH": len(bound), "PARTITION_POSITION": at + 1,
                    "NUM_ROWS": counts[at] if counts else None,
                }
            )  # fmt: skip
    return rows


def partitioned_table_rows(store: TableStore) -> Rows:
    return [
        {
            "OWNER": t.owner, "TABLE_NAME": t.name, "PARTITIONING_TYPE": "RANGE", "SUBPARTITIONING_TYPE": "NONE",
            "PARTITION_COUNT": len(t.partitions.names), "PARTITIONING_KEY_COUNT": 1, "STATUS": "VALID",
        }
        for t in store.tables()
        if t.partitions is not None
    ]  # fmt: skip


def partition_key_rows(store: TableStore) -> Rows:
    return [
        {
            "OWNER": t.owner, "NAME": t.name, "OBJECT_TYPE": "TABLE", "COLUMN_NAME": t.partitions.column,
            "COLUMN_POSITION": 1,
        }
        for t in store.tables()
        if t.partitions is not None
    ]  # fmt: skip


def segment_rows(store: TableStore, owner: str) -> Rows:
    """USER_SEGMENTS: what a table takes on disk, by its statistics."""
    return [
        {
            "SEGMENT_NAME": t.name, "SEGMENT_TYPE": "TABLE", "TABLESPACE_NAME": "USERS", "BLOCKS": t.statistics.blocks,
            "BYTES": t.statistics.blocks * BLOCK_BYTES, "EXTENTS": max(1, t.statistics.blocks // 1024),
        }
        for t in store.tables()
        if t.owner == owner and t.statistics is not None
    ]  # fmt: skip
