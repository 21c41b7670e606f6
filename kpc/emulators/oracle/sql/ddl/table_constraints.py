"""Constraints of a table: named and checked when declared, entered, tested against the rows, removed."""

from __future__ import annotations

from kpc.emulators.oracle.interface import OraError, OraType
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.dml import constraints
from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.storage.store import Constraint, Index, StoredTable, TableStore
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def prepare_constraint(store: TableStore, table: StoredTable, constraint: Constraint) -> None:
    """Name it, check its columns, and make a primary key's columns NOT NULL."""
    if not constraint.name:
        constraint.name, constraint.generated = store.system_name(), True
    if (table.owner, constraint.name) in store.constraint_names:
        raise ora(2264)
    if constraint.kind == "P" and any(c.kind == "P" and c is not constraint for c in table.constraints):
        raise ora(2260)
    for column_name in constraint.columns:
        column = table.column(column_name)
        if column is None:
            raise ora(904, f'"{column_name}"')
        if constraint.kind == "P":
            column.nullable = False
        if constraint.kind in "PU" and column.type.ora in (OraType.CLOB, OraType.BLOB, OraType.LONG):
            raise ora(2329, column.type.word)


def enter_constraint(store: TableStore, table: StoredTable, constraint: Constraint) -> None:
    """Make it known, with the index of a key."""
    store.constraint_names[table.owner, constraint.name] = table
    table.constraints.append(constraint)
    if constraint.kind in "PU" and (table.owner, constraint.name) not in store.index_names:
        table.indexes.append(Index(constraint.name, constraint.columns, unique=True))
        store.index_names[table.owner, constraint.name] = table


def resolve_reference(
    schema: SessionSchema,
    table: StoredTable,
    constraint: Constraint,
    owner: str | None,
    parent: str,
    columns: tuple[str, ...],
) -> None:
    """Find the parent's key that a foreign key points to."""
    if (owner or table.owner) != table.owner:
        raise unsupported("a foreign key to another schema")
    target = table if parent == table.name else schema.table(owner, parent)
    pool = list(target.constraints)
    keys = [
        c
        for c in pool
        if c.kind in "PU" and not c.is_index and (set(c.columns) == set(columns) if columns else c.kind == "P")
    ]
    if not keys:
        raise ora(2270)
    if columns and columns != keys[0].columns:
        raise unsupported("a foreign key in another column order")
    constraint.parent = keys[0].name


def check_existing(workspace: StatementWorkspace, table: StoredTable, constraint: Constraint, code: int) -> None:
    """A constraint is added only if the rows that are there keep it."""
    executor = workspace.executor(workspace.context({}))
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
        workspace.transaction.rollback()


def forget_constraint(store: TableStore, table: StoredTable, constraint: Constraint) -> None:
    """Remove it, with the index of a key; columns may become nullable again."""
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
