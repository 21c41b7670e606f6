"""A LOB changed in place, through the locator of a row that the transaction holds."""

from __future__ import annotations

import pyarrow as pa

from kpc.emulators.oracle.interface import LobHome
from kpc.emulators.oracle.sql.dml import applying
from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def write(workspace: StatementWorkspace, home: LobHome, content: str | bytes) -> None:
    """Raises ORA-22920 if the row is not held, as after a COMMIT."""
    table = next((table for table in workspace.store.tables() if table.object_id == home.table), None)
    column = table.column(home.column) if table is not None else None
    if table is None or column is None or not workspace.transaction.holds(table, home.row):
        raise ora(22920)
    executor = workspace.executor(workspace.context({}))
    relation = executor.schema.table_view(table).sql
    columns = ", ".join(c.stored for c in table.columns)
    rows = executor.run(f"SELECT {columns}, rid FROM {relation} AS held WHERE rid = {home.row}")
    if not rows.num_rows:
        raise ora(22920)
    at = rows.column_names.index(column.stored)
    rows = rows.set_column(at, column.stored, pa.array([content]))
    gone = rows["rid"].combine_chunks()
    applying.apply(executor, Change(table, rows, gone, 1, updated=frozenset({column.name})))
