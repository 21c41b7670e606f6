"""CREATE TABLE AS SELECT: the rows go directly into the new table, which no other session can see yet."""

from __future__ import annotations

import duckdb

from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.sql.dml.inserting import query_of_insert
from kpc.emulators.oracle.sql.messages import from_duckdb
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableStore
from kpc.emulators.oracle.sql.types import positions
from kpc.emulators.oracle.sql.types.assignment import WIDEN_CODE
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def fill(workspace: StatementWorkspace, table: StoredTable, insert: ParsedStatement) -> int | None:
    """Run INSERT ... SELECT into a new, empty table and commit; how many rows it has.

    None if it must be run as INSERT instead: a column has to become wide, or a sequence is used.
    """
    assert insert.tree is not None
    context = workspace.context({})
    executor = workspace.executor(context)
    for name, rows in context.arrow.items():
        executor.cursor.register(name, rows)
    sql = query_of_insert(executor, insert.tree)
    if context.sequences:
        return None
    try:
        return _load(workspace.store, table, executor.cursor, sql)
    except OraError as error:
        if error.code == WIDEN_CODE:
            return None
        raise


def _load(store: TableStore, table: StoredTable, cursor: duckdb.DuckDBPyConnection, sql: str) -> int:
    columns = "".join(f"{column.stored}, " for column in table.columns)
    rid = positions.encode_sql(table.object_id, "row_number() OVER () - 1")
    with store.snapshot(cursor):
        scn = store.scn
    try:
        found = cursor.execute(
            f"INSERT INTO {table.data} ({columns}rid, scn) SELECT {columns}{rid}, {scn} FROM ({sql})"
        ).fetchall()
        with store.lock:
            cursor.execute("COMMIT")
            table.rows_ever = int(found[0][0])
            table.ddl_scn = table.changed_scn = store.advance()
    except duckdb.Error as error:
        cursor.execute("ROLLBACK")
        raise from_duckdb(error) from None
    return table.rows_ever
