"""INSERT: the new rows, computed by one query."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor, check_count
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.storage.store import ALWAYS, StoredTable, TableColumn
from kpc.emulators.oracle.sql.types.values import Expr, name


def insert(executor: Executor, node: exp.Expr) -> Change:
    """The effect of INSERT."""
    table, _ = executor.table(node.this, "INSERT")
    return inserted(executor, table, executor.run(query_of_insert(executor, node)))


def query_of_insert(executor: Executor, node: exp.Expr) -> str:
    """The new rows, with all stored columns."""
    only(node, "this", "expression", "hint")
    table, _ = executor.table(node.this, "INSERT")
    names = (
        [identifier(c.this if isinstance(c, exp.Column) else c) for c in node.this.expressions]
        if isinstance(node.this, exp.Schema)
        else []
    )
    targets = insert_columns(table, names)
    source = node.expression
    if isinstance(source, exp.Values):
        return _insert_values(executor, table, targets, source)
    if source is None:
        raise ora(926)
    return _insert_query(executor, table, targets, source)


def insert_columns(table: StoredTable, names: list[str]) -> list[TableColumn]:
    """The columns that an INSERT names, or all of them."""
    if not names:
        return list(table.columns)
    if len(set(names)) < len(names):
        raise ora(957)
    found = [table.column(n) for n in names]
    for wanted, column in zip(names, found, strict=True):
        if column is None:
            raise ora(904, name(wanted))
    return [column for column in found if column is not None]


def _insert_values(executor: Executor, table: StoredTable, targets: list[TableColumn], source: exp.Expr) -> str:
    if len(source.expressions) != 1:
        raise ora(933)
    row = source.expressions[0]
    given = row.expressions if isinstance(row, exp.Tuple) else [row.this if isinstance(row, exp.Paren) else row]
    check_count(len(given), len(targets))
    compiler = executor.compiler(Scope())
    values_by_column = {c.name: executor.given(e, c, compiler) for c, e in zip(targets, given, strict=True)}
    return f"SELECT {row_sql(executor, table, values_by_column)} FROM {executor.source or '(SELECT 1)'}"


def _insert_query(executor: Executor, table: StoredTable, targets: list[TableColumn], source: exp.Expr) -> str:
    inner = source.this if isinstance(source, exp.Subquery) else source
    executor.context.many_rows = True
    query = QueryCompiler(executor.context).compile(inner)
    check_count(len(query.columns), len(targets))
    alias = executor.context.alias()
    if any(column.identity == ALWAYS for column in targets):
        raise ora(32795)
    given = {c.name: replace(e, sql=f"{alias}.{e.sql}") for c, e in zip(targets, query.expressions, strict=True)}
    if executor.source:
        raise unsupported("INSERT ... SELECT with many bind rows")
    return f"SELECT {row_sql(executor, table, given)} FROM ({query.sql}) AS {alias}"


def row_sql(executor: Executor, table: StoredTable, given: dict[str, Expr]) -> str:
    """One new row: what is given, else the default, for every stored column."""
    items = []
    for column in table.columns:
        value = given[column.name] if column.name in given else executor.default(column)
        items.append(f"{executor.assigned(table, column, value, is_insert=True)} AS {column.stored}")
    return ", ".join(items)


def inserted(executor: Executor, table: StoredTable, rows: pa.Table) -> Change:
    return Change(table, executor.with_new_rids(table, rows), None, rows.num_rows)
