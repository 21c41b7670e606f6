"""ALTER TABLE: columns and constraints. A change of the table makes older flashback ORA-01466."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from kpc.emulators.oracle.interface import OraError, OraType
from kpc.emulators.oracle.sql.ddl import dispatch, table_definition
from kpc.emulators.oracle.sql.ddl.table_definition import Definition
from kpc.emulators.oracle.sql.dml import constraints
from kpc.emulators.oracle.sql.dml.effects import Change
from kpc.emulators.oracle.sql.messages import from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.query.scope import column_expr
from kpc.emulators.oracle.sql.storage.store import Constraint, StoredTable, TableColumn
from kpc.emulators.oracle.sql.types.assignment import Target, assign
from kpc.emulators.oracle.sql.types.values import name as quoted

if TYPE_CHECKING:
    from kpc.emulators.oracle.sql.session import OracleSession


def execute(session: OracleSession, reader: TokenReader) -> None:
    table = session.schema.table(*reader.object_name())
    while not reader.is_done:
        if reader.take("ADD"):
            _add(session, table, reader)
        elif reader.take("MODIFY"):
            _modify(session, table, reader)
        elif reader.take("DROP"):
            _drop(session, table, reader)
        elif reader.take("RENAME", "COLUMN"):
            _rename_column(table, reader)
        elif reader.take("RENAME", "CONSTRAINT"):
            raise unsupported("RENAME CONSTRAINT")
        elif reader.take("RENAME", "TO"):
            dispatch.rename_object(session, table.owner, table.name, reader.identifier())
        elif reader.tokens[reader.at].is_word("NOLOGGING", "LOGGING", "PARALLEL", "NOPARALLEL", "CACHE", "NOCACHE"):
            table_definition.skip_storage(reader)
        elif reader.peek("MOVE") or reader.peek("SHRINK") or reader.peek("ENABLE") or reader.peek("DISABLE"):
            raise unsupported(f"ALTER TABLE {reader.next().value}")
        else:
            raise ora(1735)
    session.database.store.advance()
    table.ddl_scn = table.changed_scn = session.database.store.scn


def _run(session: OracleSession, sql: str) -> None:
    try:
        session.database.store.connection.execute(sql)
    except duckdb.Error as error:
        raise from_duckdb(error) from None


def _is_empty(session: OracleSession, table: StoredTable) -> bool:
    return not session.database.store.connection.execute(f"SELECT 1 FROM {table.data} LIMIT 1").fetchall()


def _add(session: OracleSession, table: StoredTable, reader: TokenReader) -> None:
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
        _add_column(session, table, column)
    for constraint in made.constraints:
        dispatch.prepare_constraint(session, table, constraint)
    for constraint, owner, parent, columns in made.references:
        dispatch.resolve_reference(session, table, constraint, owner, parent, columns)
    for constraint in made.constraints:
        check_existing(session, table, constraint, {"P": 2437, "U": 2299, "C": 2293, "R": 2298}[constraint.kind])
        dispatch.enter_constraint(session, table, constraint)


def _add_column(session: OracleSession, table: StoredTable, column: TableColumn) -> None:
    if table.column(column.name) is not None:
        raise ora(1430)
    if column.identity:
        raise unsupported("adding an identity column")
    if not column.nullable and column.default is None and not _is_empty(session, table):
        raise ora(1758)
    table.columns_ever += 1
    column.stored = f"c{table.columns_ever}"
    for name in (table.data, table.history):
        _run(session, f"ALTER TABLE {name} ADD COLUMN {column.stored} {column.type.duckdb}")
    table.columns.append(column)
    if column.default is not None:
        executor = session.executor(session.context({}))
        value = executor.assigned(table, column, executor.default(column), is_insert=True)
        _run(session, f"UPDATE {table.data} SET {column.stored} = {value}")


def check_existing(session: OracleSession, table: StoredTable, constraint: Constraint, code: int) -> None:
    """A constraint is added only if the rows that are there keep it."""
    executor = session.executor(session.context({}))
    view = executor.schema.table_view(table)
    rows = executor.run(f"SELECT * FROM {view.sql}")
    if constraint.kind == "P":
        for column_name in constraint.columns:
            column = table.column(column_name)
            if column is not None and rows[column.stored].null_count:
                raise ora(2296, constraints.label(table, constraint)) if code == 2296 else ora(1449)
    change = Change(table, rows, None, rows.num_rows, updated=frozenset(constraint.columns))
    kept = table.constraints
    table.constraints = [constraint]
    try:
        constraints.check(executor, change)
    except OraError:
        words = () if code == 1452 else (constraints.label(table, constraint),)
        raise ora(code, *words) from None
    finally:
        table.constraints = kept
        session.transaction.rollback()


def _modify(session: OracleSession, table: StoredTable, reader: TokenReader) -> None:
    listed = reader.take("(")
    if not listed and any(token.is_sign(",") and not reader.inside(at) for at, token in enumerate(reader.tokens)):
        raise ora(1735)  # before anything is changed
    while True:
        column = table.column(name := reader.identifier(904))
        if column is None:
            raise ora(904, quoted(name))
        _modify_column(session, table, column, reader)
        if not listed or not reader.take(","):
            break
    if listed:
        reader.expect(")", 907)


def _modify_column(session: OracleSession, table: StoredTable, column: TableColumn, reader: TokenReader) -> None:
    starts = ("NOT", "NULL", "DEFAULT", "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES")
    if not reader.is_done and not any(reader.peek(word) for word in starts):
        _change_type(session, table, column, reader)
    made = Definition()
    was_nullable = column.nullable
    table_definition.read_column_rules(reader, column, made)
    if made.constraints and not column.nullable and not was_nullable:
        raise ora(1442)
    if was_nullable and not column.nullable:
        found = session.database.store.connection.execute(
            f"SELECT 1 FROM {table.data} WHERE {column.stored} IS NULL LIMIT 1"
        )
        if found.fetchall():
            column.nullable = True
            raise ora(2296, f"{table.owner}.")
    for constraint in made.constraints:
        dispatch.prepare_constraint(session, table, constraint)
        dispatch.enter_constraint(session, table, constraint)


def _change_type(session: OracleSession, table: StoredTable, column: TableColumn, reader: TokenReader) -> None:
    """To a wider type at any time; narrower or other kinds only where the values allow it, as Oracle does."""
    wanted = table_definition.read_type(reader)
    empty = (
        session.database.store.connection.execute(
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
    executor = session.executor(session.context({}))
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
        _run(session, f"ALTER TABLE {name} ALTER COLUMN {column.stored} TYPE {wanted.duckdb} USING {sql}")
    column.type = wanted


def _drop(session: OracleSession, table: StoredTable, reader: TokenReader) -> None:
    if reader.take("CONSTRAINT") or reader.peek("PRIMARY") or reader.peek("UNIQUE"):
        _drop_constraint(session, table, reader)
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
            _forget(session, table, constraint)
        table.indexes = [i for i in table.indexes if name not in i.columns]
        table.columns.remove(column)
        for stored in (table.data, table.history):
            _run(session, f"ALTER TABLE {stored} DROP COLUMN {column.stored}")


def _drop_constraint(session: OracleSession, table: StoredTable, reader: TokenReader) -> None:
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
        (t, c)
        for t in session.database.store.tables()
        for c in t.constraints
        if c.parent == found.name and t.owner == table.owner
    ]
    if children and not cascade:
        raise ora(2273)
    for child, reference in children:
        _forget(session, child, reference)
    _forget(session, table, found)


def _forget(session: OracleSession, table: StoredTable, constraint: Constraint) -> None:
    store = session.database.store
    table.constraints.remove(constraint)
    store.constraint_names.pop((table.owner, constraint.name), None)
    if constraint.kind in "PU":
        table.indexes = [i for i in table.indexes if i.name != constraint.name]
        store.index_names.pop((table.owner, constraint.name), None)
    for name in constraint.columns:
        column = table.column(name)
        only_null_check = constraint.kind == "C" and (constraint.condition or "").endswith("IS NOT NULL")
        if column is not None and (constraint.kind == "P" or only_null_check):
            others = [
                c
                for c in table.constraints
                if name in c.columns and (c.kind == "P" or (c.condition or "").endswith("IS NOT NULL"))
            ]
            column.nullable = not others


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
