"""Unique keys, checks and foreign keys, tested against the table as it would be after the change."""

from __future__ import annotations

from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.parsing.grammar import parse_condition
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope, column_expr
from kpc.emulators.oracle.sql.storage.store import Constraint, StoredTable

_EFFECT = "effect_rows"


def check(executor: Executor, change: Change) -> None:
    """Raises ORA-00001, ORA-02290, ORA-02291 or ORA-02292 as the first violated constraint says."""
    if change.rows is None or not change.rows.num_rows:
        return
    executor.cursor.register(_EFFECT, change.rows)
    for constraint in change.table.constraints:
        if constraint.kind == "R":
            if not change.old_rows and _touches(change, constraint.columns):
                _check_parent(executor, change, constraint)
        elif change.old_rows:
            _check_children(executor, change, constraint)
        elif constraint.kind in "PU" and _touches(change, constraint.columns):
            _check_unique(executor, change, constraint)
            if change.updated is not None:
                _check_children(executor, change, constraint)
        elif constraint.kind == "C" and constraint.condition and not _is_not_null(constraint):
            _check_condition(executor, change.table, constraint)


def _touches(change: Change, columns: tuple[str, ...]) -> bool:
    return change.updated is None or bool(change.updated & set(columns))


def _is_not_null(constraint: Constraint) -> bool:
    return (
        constraint.condition is not None
        and constraint.condition.upper().endswith(" IS NOT NULL")
        and len(constraint.columns) == 1
    )


def label(table: StoredTable, constraint: Constraint) -> str:
    return f"{table.owner}.{constraint.name}"


def _stored(table: StoredTable, names: tuple[str, ...]) -> list[str]:
    return [column.stored for n in names if (column := table.column(n)) is not None]


def _check_unique(executor: Executor, change: Change, constraint: Constraint) -> None:
    table = change.table
    keys = _stored(table, constraint.columns)
    listed = ", ".join(keys)
    present = " OR ".join(f"{k} IS NOT NULL" for k in keys)
    twice = (
        change.rows is not None
        and change.rows.num_rows > 1
        and executor.run(f"SELECT 1 FROM {_EFFECT} WHERE {present} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1")
    )
    view = executor.schema.table_view(table)
    operator = "=" if constraint.kind == "P" else "IS NOT DISTINCT FROM"
    same = " AND ".join(f"v.{k} {operator} e.{k}" for k in keys)
    theirs = " OR ".join(f"e.{k} IS NOT NULL" for k in keys)
    sql = f"SELECT v.rid FROM {view.sql} AS v, {_EFFECT} AS e WHERE {same} AND ({theirs})"
    if change.updated is not None:
        sql += f" AND v.rid NOT IN (SELECT rid FROM {_EFFECT})"
    if (twice and twice.num_rows) or executor.run(sql + " LIMIT 1").num_rows:
        raise ora(1, label(table, constraint))
    _lock_keys(executor, change, constraint, keys, sql)


def _lock_keys(executor: Executor, change: Change, constraint: Constraint, keys: list[str], sql: str) -> None:
    """Another open transaction may be about to commit the same key: wait for it, then look again."""
    assert change.rows is not None
    columns = [change.rows[key].to_pylist() for key in keys]
    wanted: list[object] = [
        ("key", change.table.object_id, constraint.name, key)
        for key in zip(*columns, strict=True)
        if any(part is not None for part in key)
    ]
    if executor.transaction.lock(wanted) and executor.run(sql + " LIMIT 1").num_rows:
        raise ora(1, label(change.table, constraint))


def _check_condition(executor: Executor, table: StoredTable, constraint: Constraint) -> None:
    source = FromSource(table.name, {}, None, table.name)
    for column in table.columns:
        source.columns[column.name] = column_expr(_EFFECT, column.stored, column.type, nullable=True)
    assert constraint.condition is not None
    test = executor.compiler(Scope([source])).condition(parse_condition(constraint.condition))
    if executor.run(f"SELECT 1 FROM {_EFFECT} WHERE NOT ({test}) LIMIT 1").num_rows:
        raise ora(2290, label(table, constraint))


def _check_parent(executor: Executor, change: Change, constraint: Constraint) -> None:
    store = executor.transaction.store
    parent = store.constraint_names[change.table.owner, constraint.parent or ""]
    key = next(c for c in parent.constraints if c.name == constraint.parent)
    mine, theirs = _stored(change.table, constraint.columns), _stored(parent, key.columns)
    same = " AND ".join(f"p.{b} = e.{a}" for a, b in zip(mine, theirs, strict=True))
    complete = " AND ".join(f"e.{a} IS NOT NULL" for a in mine)
    view = executor.schema.table_view(parent)
    exists = f"EXISTS (SELECT 1 FROM {view.sql} AS p WHERE {same})"
    if parent is change.table:
        own = " AND ".join(f"o.{b} = e.{a}" for a, b in zip(mine, theirs, strict=True))
        exists = f"({exists} OR EXISTS (SELECT 1 FROM {_EFFECT} AS o WHERE {own}))"
    if executor.run(f"SELECT 1 FROM {_EFFECT} AS e WHERE {complete} AND NOT {exists} LIMIT 1").num_rows:
        raise ora(2291, label(change.table, constraint))


def _check_children(executor: Executor, change: Change, constraint: Constraint) -> None:
    """A key that is removed (deleted, or changed by an update) must have no child."""
    if constraint.kind not in "PU":
        return
    store, table = executor.transaction.store, change.table
    children = [
        (t, c)
        for t in store.tables()
        for c in t.constraints
        if c.kind == "R" and c.parent == constraint.name and t.owner == table.owner
    ]
    for child, reference in children:
        theirs, mine = _stored(child, reference.columns), _stored(table, constraint.columns)
        view, own = executor.schema.table_view(child), executor.schema.table_view(table)
        same = " AND ".join(f"x.{a} = v.{b}" for a, b in zip(theirs, mine, strict=True))
        kept = ""
        if change.updated is not None:
            still = " AND ".join(f"e.{b} = v.{b}" for b in mine)
            kept = f" AND NOT EXISTS (SELECT 1 FROM {_EFFECT} AS e WHERE {still})"
        elif child is table:
            kept = f" AND x.rid NOT IN (SELECT rid FROM {_EFFECT})"
        touched = f"v.rid IN (SELECT rid FROM {_EFFECT})"
        sql = f"SELECT 1 FROM {own.sql} AS v, {view.sql} AS x WHERE {touched} AND {same}{kept} LIMIT 1"
        if executor.run(sql).num_rows:
            raise ora(2292, f"{child.owner}.{reference.name}")
