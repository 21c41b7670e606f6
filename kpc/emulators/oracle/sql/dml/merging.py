"""MERGE: one change per WHEN branch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor, check_count
from kpc.emulators.oracle.sql.dml.inserting import insert_columns, inserted, row_sql
from kpc.emulators.oracle.sql.dml.updating import set_items, updated_item
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.from_clause import FromClause
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope
from kpc.emulators.oracle.sql.storage.store import StoredTable
from kpc.emulators.oracle.sql.types.values import Expr


@dataclass(frozen=True, slots=True)
class _MatchedRows:
    """The rows of the target that ON joins with the source: `joined` is DuckDB SQL for FROM."""

    table: StoredTable
    target: FromSource
    compiler: Expressions
    joined: str
    on: exp.Expr


def merge(executor: Executor, node: exp.Expr) -> list[Change]:
    """The effect of MERGE. Raises ORA-30926 when two source rows match the same target row."""
    only(node, "this", "using", "on", "whens", "hint")
    table, alias = executor.table(node.this, "UPDATE", "INSERT")
    target = executor.target_source(table)
    queries = QueryCompiler(executor.context)
    scope = Scope()
    source_sql = FromClause(queries).source(node.args["using"], scope)
    source = scope.sources[0]
    both = Scope([replace(target, alias=alias), source])
    compiler = queries.expressions(both)
    view = executor.schema.table_view(table)
    on = compiler.condition(node.args["on"])
    joined = f"{view.sql} AS {target.alias} INNER JOIN {source_sql} ON {on}"
    matched = _MatchedRows(table, target, compiler, joined, node.args["on"])
    changes = []
    for when in node.args["whens"].expressions:
        only(when, "matched", "then", "condition", "source")
        if when.args.get("matched"):
            changes.append(_merge_update(executor, when, matched))
        else:
            missing = f"{source_sql} WHERE NOT EXISTS (SELECT 1 FROM {view.sql} AS {target.alias} WHERE {on})"
            changes.append(_merge_insert(executor, table, when, queries.expressions(Scope([source])), missing))
    return changes


def _merge_update(executor: Executor, when: exp.Expr, merge: _MatchedRows) -> Change:
    then = when.args["then"]
    if not isinstance(then, exp.Update):
        raise unsupported("MERGE ... DELETE")
    only(then, "this", "expressions", "where")
    table, target, compiler = merge.table, merge.target, merge.compiler
    given, joins = set_items(executor, table, then.expressions, compiler)
    _check_unjoined(given, merge.on, compiler.scope.sources[0])
    where = then.args.get("where")
    tests = [c for c in (when.args.get("condition"), where.this if where is not None else None) if c is not None]
    where_sql = f" WHERE {' AND '.join(compiler.condition(t) for t in tests)}" if tests else ""
    items = [updated_item(executor, table, c, given, target) for c in table.columns]
    rows = executor.run(f"SELECT {', '.join(items)}, {target.rowid} AS rid FROM {merge.joined}{joins}{where_sql}")
    rid = rows["rid"].combine_chunks()
    if len(rid.unique()) < len(rid):
        raise ora(30926)
    return Change(table, rows, rid, rows.num_rows, updated=frozenset(given))


def _check_unjoined(given: dict[str, Expr], on: exp.Expr, target: FromSource) -> None:
    """Raises ORA-38104 for a column that is changed although ON compares it."""
    for column in on.find_all(exp.Column):
        name = identifier(column.this)
        table = column.args.get("table")
        if name in target.columns and name in given and table is not None and identifier(table) == target.alias:
            raise ora(38104, f'"{target.alias}"."{name}"')


def _merge_insert(
    executor: Executor, table: StoredTable, when: exp.Expr, compiler: Expressions, missing: str
) -> Change:
    then = when.args["then"]
    if not isinstance(then, exp.Insert):
        raise unsupported("this MERGE branch")
    only(then, "this", "expression", "where")
    names = (
        [identifier(c.this if isinstance(c, exp.Column) else c) for c in then.this.expressions]
        if then.this is not None and not isinstance(then.this, exp.Table)
        else []
    )
    targets = insert_columns(table, names)
    given = then.expression.expressions
    check_count(len(given), len(targets))
    made = {c.name: executor.given(e, c, compiler) for c, e in zip(targets, given, strict=True)}
    tests = [when.args.get("condition"), then.args["where"].this if then.args.get("where") else None]
    extra = "".join(f" AND {compiler.condition(t)}" for t in tests if t is not None)
    return inserted(executor, table, executor.run(f"SELECT {row_sql(executor, table, made)} FROM {missing}{extra}"))
