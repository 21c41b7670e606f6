"""ALTER TABLE: columns and constraints. After one, a flashback query to an older SCN fails with ORA-01466."""

from __future__ import annotations

import duckdb

from kpc.emulators.oracle.interface import OraError, OraType
from kpc.emulators.oracle.sql.ddl import table_definition
from kpc.emulators.oracle.sql.ddl.naming import rename_object
from kpc.emulators.oracle.sql.ddl.table_constraints import (
    check_existing,
    enter_constraint,
    forget_constraint,
    prepare_constraint,
    resolve_reference,
)
from kpc.emulators.oracle.sql.ddl.table_definition import Definition
from kpc.emulators.oracle.sql.messages import from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.query.scope import column_expr
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableColumn, TableStore
from kpc.emulators.oracle.sql.types.assignment import Target, assign
from kpc.emulators.oracle.sql.types.values import name as quoted
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def execute(workspace: StatementWorkspace, reader: TokenReader) -> None:
    """ALTER TABLE, whatever follows."""
    table = workspace.schema.table(*reader.object_name())
    while not reader.is_done:
        if reader.take("ADD"):
            _add(workspace, table, reader)
        elif reader.take("MODIFY"):
            _modify(workspace, table, reader)
        elif reader.take("DROP"):
            _drop(workspace, table, reader)
        elif reader.take("RENAME", "COLUMN"):
            _rename_column(table, reader)
        elif reader.take("RENAME", "CONSTRAINT"):
            raise unsupported("RENAME CONSTRAINT")
        elif reader.take("RENAME", "TO"):
            rename_object(workspace.store, table.owner, table.name, reader.identifier())
        elif reader.tokens[reader.at].is_word("NOLOGGING", "LOGGING", "PARALLEL", "NOPARALLEL", "CACHE", "NOCACHE"):
            table_definition.skip_storage(reader)
        elif reader.peek("MOVE") or reader.peek("SHRINK") or reader.peek("ENABLE") or reader.peek("DISABLE"):
            raise unsupported(f"ALTER TABLE {reader.next().value}")
        else:
            raise ora(1735)
    workspace.store.advance()
    table.ddl_scn = table.changed_scn = workspace.store.scn


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        connection.execute(sql)
    except duckdb.Error as error:
        raise from_duckdb(error) from None


def _is_empty(store: TableStore, table: StoredTable) -> bool:
    return not store.connection.execute(f"SELECT 1 FROM {table.data} LIMIT 1").fetchall()


def _add(workspace: StatementWorkspace, table: StoredTable, reader: TokenReader) -> None:
    """ADD column, ADD (column, ...), ADD CONSTRAINT."""
    made = Definition()
    listed = reader.take("(")
    while True:
        if any(reader.peek(word) for word in ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")):
            table_definition.read_table_constraint(reader, made)
        else:
            reader.take("COLUMN")
            made.columns.append(table_definition.read_column(reader, made))
        if not listed or not reader.take(","):
            break
    if listed:
        reader.expect(")", 907)
    for column in made.columns:
        _add_column(workspace, table, column)
    for constraint in made.constraints:
        prepare_constraint(workspace.store, table, constraint)
    for constraint, owner, parent, columns in made.references:
        resolve_reference(workspace.schema, table, constraint, owner, parent, columns)
    for constraint in made.constraints:
        check_existing(workspace, table, constraint, {"P": 2437, "U": 2299, "C": 2293, "R": 2298}[constraint.kind])
        enter_constraint(workspace.store, table, constraint)


def _add_column(workspace: StatementWorkspace, table: StoredTable, column: TableColumn) -> None:
    if table.column(column.name) is not None:
        raise ora(1430)
    if column.identity:
        raise unsupported("adding an identity column")
    if not column.nullable and column.default is None and not _is_empty(workspace.store, table):
        raise ora(1758)
    table.columns_ever += 1
    column.stored = f"c{table.columns_ever}"
    for name in (table.data, table.history):
        _run(workspace.store.connection, f"ALTER TABLE {name} ADD COLUMN {column.stored} {column.type.duckdb}")
    table.columns.append(column)
    if column.default is not None:
        executor = workspace.executor(workspace.context({}))
        value = executor.assigned(table, column, executor.default(column), is_insert=True)
        _run(workspace.store.connection, f"UPDATE {table.data} SET {column.stored} = {value}")


def _modify(workspace: StatementWorkspace, table: StoredTable, reader: TokenReader) -> None:
    listed = reader.take("(")
    if not listed and any(token.is_sign(",") and not reader.inside(at) for at, token in enumerate(reader.tokens)):
        raise ora(1735)  # before anything is changed
    while True:
        column = table.column(name := reader.identifier(904))
        if column is None:
            raise ora(904, quoted(name))
        _modify_column(workspace, table, column, reader)
        if not listed or not reader.take(","):
            break
    if listed:
        reader.expect(")", 907)


def _modify_column(workspace: StatementWorkspace, table: StoredTable, column: TableColumn, reader: TokenReader) -> None:
    starts = ("NOT", "NULL", "DEFAULT", "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES")
    if not reader.is_done and not any(reader.peek(word) for word in starts):
        _change_type(workspace, table, column, reader)
    made = Definition()
    was_nullable = column.nullable
    table_definition.read_column_rules(reader, column, made)
    if made.constraints and not column.nullable and not was_nullable:
        raise ora(1442)
    if was_nullable and not column.nullable:
        found = workspace.store.connection.execute(f"SELECT 1 FROM {table.data} WHERE {column.stored} IS NULL LIMIT 1")
        if found.fetchall():
            column.nullable = True
            raise ora(2296, f"{table.owner}.")
    for constraint in made.constraints:
        prepare_constraint(workspace.store, table, constraint)
        enter_constraint(workspace.store, table, constraint)


def _change_type(workspace: StatementWorkspace, table: StoredTable, column: TableColumn, reader: TokenReader) -> None:
    """To a wider type at any time; narrower or other kinds only where the values allow it, as Oracle does."""
    wanted = table_definition.read_type(reader)
    empty = (
        workspace.store.connection.execute(
            f"SELECT 1 FROM {table.data} WHERE {column.stored} IS NOT NULL LIMIT 1"
        ).fetchall()
        == []
    )
    have = column.type
    if not empty:
        if have.ora is not wanted.ora and not (
            have.is_text and wanted.is_text and OraType.CLOB not in (have.ora, wanted.ora)
        ):
            raise ora(1439)
        narrower = (
            have.is_number
            and wanted.precision
            and (
                wanted.precision - wanted.scale < have.precision - have.scale
                or wanted.scale < have.scale
                or not have.precision
            )
        )
        if narrower:
            raise ora(1440)
    executor = workspace.executor(workspace.context({}))
    moved = assign(
        column_expr("t", column.stored, have, nullable=True), Target("", wanted, column.name), executor.context
    )
    if empty:
        moved_sql = f"NULL::{wanted.duckdb}"
    else:
        moved_sql = moved.sql
        try:
            executor.run(f"SELECT {moved_sql} AS v FROM {table.data} AS t")
        except OraError as error:
            raise ora(1441) if error.code == 12899 else error from None
    for name in (table.data, table.history):
        sql = moved_sql.replace(f"t.{quoted(column.stored)}", quoted(column.stored))
        _run(
            workspace.store.connection,
            f"ALTER TABLE {name} ALTER COLUMN {column.stored} TYPE {wanted.duckdb} USING {sql}",
        )
    column.type = wanted


def _drop(workspace: StatementWorkspace, table: StoredTable, reader: TokenReader) -> None:
    if reader.take("CONSTRAINT") or reader.peek("PRIMARY") or reader.peek("UNIQUE"):
        _drop_constraint(workspace.store, table, reader)
        return
    names = (reader.identifier(904),) if reader.take("COLUMN") else reader.names()
    cascade = reader.take("CASCADE", "CONSTRAINTS")
    for name in names:
        column = table.column(name)
        if column is None:
            raise ora(904, quoted(name))
        if len(table.columns) == 1:
            raise ora(12983)
        wide = [c for c in table.constraints if name in c.columns and len(c.columns) > 1]
        if wide and not cascade:
            raise ora(12991)
        for constraint in [c for c in table.constraints if name in c.columns]:
            forget_constraint(workspace.store, table, constraint)
        table.indexes = [i for i in table.indexes if name not in i.columns]
        table.columns.remove(column)
        for stored in (table.data, table.history):
            _run(workspace.store.connection, f"ALTER TABLE {stored} DROP COLUMN {column.stored}")


def _drop_constraint(store: TableStore, table: StoredTable, reader: TokenReader) -> None:
    if reader.take("PRIMARY", "KEY"):
        found = next((c for c in table.constraints if c.kind == "P"), None)
        if found is None:
            raise ora(2441)
    elif reader.take("UNIQUE"):
        raise unsupported("DROP UNIQUE")
    else:
        name = reader.identifier(2443)
        found = next((c for c in table.constraints if c.name == name and not c.is_index), None)
        if found is None:
            raise ora(2443)
    cascade = reader.take("CASCADE")
    reader.take("DROP", "INDEX")
    children = [
        (t, c) for t in store.tables() for c in t.constraints if c.parent == found.name and t.owner == table.owner
    ]
    if children and not cascade:
        raise ora(2273)
    for child, reference in children:
        forget_constraint(store, child, reference)
    forget_constraint(store, table, found)


def _rename_column(table: StoredTable, reader: TokenReader) -> None:
    column = table.column(old := reader.identifier(904))
    if column is None:
        raise ora(904, quoted(old))
    reader.expect("TO", 946)
    new = reader.identifier(904)
    if table.column(new) is not None:
        raise ora(957)
    column.name = new
    for constraint in table.constraints:
        constraint.columns = tuple(new if c == old else c for c in constraint.columns)
        if constraint.kind == "C" and constraint.condition and not constraint.condition.endswith("IS NOT NULL"):
            raise unsupported("renaming a column of a table with CHECK constraints")
        if constraint.kind == "C":
            constraint.condition = f'"{constraint.columns[0]}" IS NOT NULL'
    for index in table.indexes:
        index.columns = tuple(new if c == old else c for c in index.columns)
