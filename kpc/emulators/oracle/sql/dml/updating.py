"""UPDATE and DELETE: the new versions of the rows, and the positions that go."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor, check_count
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query import outer_joins, rownum
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableColumn
from kpc.emulators.oracle.sql.types.values import Expr, name


def update(executor: Executor, node: exp.Expr) -> Change:
    """The effect of UPDATE."""
    only(node, "this", "expressions", "where", "hint")
    table, alias = executor.table(node.this, "UPDATE")
    target = executor.target_source(table)
    scope = Scope([replace(target, alias=alias)])
    compiler = executor.compiler(scope)
    view = executor.schema.table_view(table)
    given, joins = set_items(executor, table, node.expressions, compiler)
    source = f"{view.sql} AS {target.alias}{joins}"
    where = _where(executor, node, compiler, source)
    items = [updated_item(executor, table, c, given, target) for c in table.columns]
    sql = f"SELECT {', '.join(items)}, {target.rowid} AS rid{_offset(executor)} FROM {_from(executor, source)}{where}"
    rows = executor.run(sql)
    return Change(table, rows, rows["rid"].combine_chunks(), rows.num_rows, updated=frozenset(given))


def delete(executor: Executor, node: exp.Expr) -> Change:
    """The effect of DELETE, with the deleted rows, which constraints and RETURNING read."""
    only(node, "this", "where", "hint")
    table, alias = executor.table(node.this, "DELETE")
    target = executor.target_source(table)
    compiler = executor.compiler(Scope([replace(target, alias=alias)]))
    view = executor.schema.table_view(table)
    where = _where(executor, node, compiler, f"{view.sql} AS {target.alias}")
    columns = "".join(f"{target.alias}.{c.stored}, " for c in table.columns)
    source = _from(executor, f"{view.sql} AS {target.alias}")
    rows = executor.run(f"SELECT {columns}{target.rowid} AS rid{_offset(executor)} FROM {source}{where}")
    return Change(table, rows, rows["rid"].combine_chunks(), rows.num_rows, old_rows=True)


def _offset(executor: Executor) -> str:
    """The bind row that a result row belongs to."""
    return f", {executor.source}.row_offset" if executor.source else ""


def _from(executor: Executor, source: str) -> str:
    return f"{source}, {executor.source}" if executor.source else source


def updated_item(
    executor: Executor, table: StoredTable, column: TableColumn, given: dict[str, Expr], target: FromSource
) -> str:
    if column.name not in given:
        return f"{target.columns[column.name].sql} AS {column.stored}"
    return f"{executor.assigned(table, column, given[column.name], is_insert=False)} AS {column.stored}"


def set_items(
    executor: Executor, table: StoredTable, items: list[exp.Expr], compiler: Expressions
) -> tuple[dict[str, Expr], str]:
    """SET: column -> value. `(a, b) = (SELECT ...)` becomes one lateral join per subquery."""
    given: dict[str, Expr] = {}
    joins = ""
    for item in items:
        if not isinstance(item, exp.EQ):
            raise ora(927)
        if isinstance(item.this, exp.Tuple):
            names, made, join = _set_tuple(executor, item, compiler)
            joins += join
        else:
            names = [identifier(item.this.this)]
            column = table.column(names[0])
            if column is None:
                raise ora(904, name(names[0]))
            made = [executor.given(item.expression, column, compiler)]
        for wanted, value in zip(names, made, strict=True):
            if table.column(wanted) is None:
                raise ora(904, name(wanted))
            if wanted in given:
                raise ora(957)
            given[wanted] = value
    return given, joins


def _set_tuple(executor: Executor, item: exp.Expr, compiler: Expressions) -> tuple[list[str], list[Expr], str]:
    if not isinstance(item.expression, exp.Subquery):
        raise ora(1767)
    sql, columns = compiler.subquery(item.expression.this, compiler.scope)
    names = [identifier(c.this) for c in item.this.expressions]
    check_count(len(columns), len(names))
    alias, row = executor.context.alias(), executor.context.alias()
    struct = ", ".join(f"c{i} := {row}.c{i}" for i in range(len(columns)))
    single = f"(SELECT struct_pack({struct}) FROM ({sql}) AS {row})"
    made = [Expr(f"{alias}.v.c{i}", column.type) for i, column in enumerate(columns)]
    return names, made, f" LEFT JOIN LATERAL (SELECT {single} AS v) AS {alias} ON TRUE"


def _where(executor: Executor, node: exp.Expr, compiler: Expressions, source: str) -> str:
    """The WHERE clause over `source`; with ROWNUM, over the first so many of the rows that pass the rest."""
    where = node.args.get("where")
    if where is None:
        return ""
    plain, limit = rownum.split(outer_joins.conjuncts(where.this), compiler)
    tests = " AND ".join(compiler.condition(test) for test in plain)
    if not limit:
        return f" WHERE {tests}"
    if executor.source:
        raise unsupported("ROWNUM in a change with many bind rows")
    rowid = compiler.scope.sources[0].rowid
    return f" WHERE {rowid} IN (SELECT {rowid} FROM {source}{f' WHERE {tests}' if tests else ''}{limit})"
