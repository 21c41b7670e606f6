"""FROM: tables, views, WITH names and subqueries, and how they are joined."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Protocol

from sqlglot import exp

from kpc.emulators.oracle.sql.context import ColumnView, Context, RelationView
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query import outer_joins
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope, column_expr
from kpc.emulators.oracle.sql.storage.scans import Scan
from kpc.emulators.oracle.sql.types import comparison, values
from kpc.emulators.oracle.sql.types.values import Expr


class SubqueryCompiler(Protocol):
    """What FROM needs of `compiler.QueryCompiler`: subqueries, the names of WITH, and expressions."""

    context: Context
    ctes: dict[str, RelationView]

    def compile_view(self, node: exp.Expr, parent: Scope | None = None) -> CompiledQuery: ...

    def expressions(self, scope: Scope) -> Expressions: ...


@dataclass(frozen=True, slots=True)
class FromClause:
    """Compiles what stands after FROM; each source is added to the scope."""

    queries: SubqueryCompiler

    def read(self, node: exp.Expr, scope: Scope) -> str:
        """All of them, with their joins."""
        sql = self.source(node.args["from_"].this, scope)
        for join in node.args.get("joins") or []:
            sql += self._join(join, scope)
        return sql

    def source(self, node: exp.Expr, scope: Scope) -> str:
        """One table, view, CTE or subquery; adds it to the scope."""
        if isinstance(node, exp.Subquery):
            only(node, "this", "alias")
            inner = self.queries.compile_view(node.this, scope.parent)
            view, label = view_of(f"({inner.sql})", inner, None), _alias(node)
            table = owner = None
        elif isinstance(node, exp.Table):
            only(node, "this", "db", "alias", "version", "joins", "sample")
            if node.args.get("joins"):
                raise unsupported("parenthesised joins")
            if not isinstance(node.this, exp.Identifier):
                raise unsupported("a table function")
            table = identifier(node.this)
            owner = identifier(node.args["db"]) if node.args.get("db") else None
            label = _alias(node) or table
            view = self._relation(owner, table, node.args.get("version"), scope)
        else:
            raise unsupported(f"{type(node).__name__} in FROM")
        share = _sampled_share(node)
        relation = self.queries.context.alias()
        seen: dict[str, Expr] = {}
        doubled = set()
        for column in view.columns:
            if column.name in seen:
                doubled.add(column.name)
            seen[column.name] = column_expr(relation, column.stored, column.type, nullable=column.nullable)
        rowid = f"{relation}.{values.name(view.rowid)}" if view.rowid else None
        scan = Scan(view.table, relation=relation, share=share or 1.0) if view.table is not None else None
        if scan is not None:
            self.queries.context.scans.append(scan)
        scope.sources.append(
            FromSource(
                label or relation,
                seen,
                rowid,
                table,
                owner,
                scan,
                frozenset(doubled),
                relation=relation,
                late=view.late,
                rowid_error=view.rowid_error,
            )
        )
        sampled = view.sql if share is None else f"(SELECT * FROM {view.sql} WHERE random() < {share})"
        return f"{sampled} AS {relation}"

    def _relation(self, owner: str | None, table: str, version: exp.Expr | None, scope: Scope) -> RelationView:
        if owner is None and table in self.queries.ctes:
            if version is not None:
                raise unsupported("a flashback query on WITH")
            return self.queries.ctes[table]
        return self.queries.context.schema.relation(owner, table, self.queries.context, scn=self._scn(version, scope))

    def _scn(self, version: exp.Expr | None, scope: Scope) -> int | None:
        if version is None:
            return None
        if str(version.args.get("kind")).upper() != "AS OF":
            raise unsupported("VERSIONS BETWEEN")
        value = self.queries.expressions(Scope(parent=scope.parent)).value(version.expression)
        if self.queries.context.is_describe and value.constant is None:
            return None
        word = str(version.this).upper()
        if word == "SCN":
            if value.constant is None or not str(value.constant).strip().isdigit():
                raise (
                    ora(8181)
                    if value.is_null or value.constant is not None
                    else unsupported("AS OF an SCN that is not a constant")
                )
            return int(str(value.constant))
        if word == "TIMESTAMP" and isinstance(value.constant, dt.datetime):
            return self.queries.context.schema.scn_at(value.constant)
        raise unsupported(f"AS OF {word}")

    def _join(self, join: exp.Expr, scope: Scope) -> str:
        only(join, "this", "side", "kind", "on", "using", "method")
        side, kind = str(join.args.get("side") or "").upper(), str(join.args.get("kind") or "").upper()
        method = str(join.args.get("method") or "").upper()
        condition, using = join.args.get("on"), join.args.get("using")
        before = list(scope.sources)
        source = self.source(join.this, scope)
        if method not in ("", "NATURAL") or kind not in ("", "CROSS", "INNER", "OUTER"):
            raise unsupported(f"{method or kind} JOIN")
        if kind == "CROSS":
            return f" CROSS JOIN {source}"
        if method == "NATURAL" or using:
            return self._join_using(scope, before, source, side, [identifier(u) for u in using or []])
        if condition is None:
            if side or kind:
                raise ora(905)
            return f", {source}"
        test = self.queries.expressions(scope).condition(condition)
        return f" {side or 'INNER'} JOIN {source} ON {test}"

    def _join_using(self, scope: Scope, before: list[FromSource], source: str, side: str, columns: list[str]) -> str:
        right = scope.sources[-1]
        lefts = Scope(before, merged=dict(scope.merged))
        if not columns:  # NATURAL
            columns = [c for c in right.columns if lefts.find(c) is not None]
        tests = []
        for column in columns:
            a, b = lefts.find(column), right.columns.get(column)
            if a is None or b is None:
                raise ora(904, values.name(column))
            tests.append(comparison.compare("=", a, b, self.queries.context))
            merged = {"RIGHT": b, "FULL": replace(a, sql=f"coalesce({a.sql}, {b.sql})")}.get(side, a)
            scope.merged[column] = merged
            for s in scope.sources:
                s.hidden.add(column)
        return f" {side or 'INNER'} JOIN {source} ON {' AND '.join(tests) or 'TRUE'}"

    def with_oracle_joins(
        self, node: exp.Expr, scope: Scope, from_sql: str, tests: list[exp.Expr]
    ) -> tuple[str, list[exp.Expr]]:
        """Rebuild FROM when WHERE has conditions with (+)."""
        if not any(outer_joins.is_marked(test) for test in tests):
            return from_sql, tests
        if any(j.args.get("on") or j.args.get("using") or j.args.get("side") for j in node.args.get("joins") or []):
            raise ora(25156)
        plan = outer_joins.plan(scope, tests)
        compiler = self.queries.expressions(scope)
        parts = dict(zip((s.alias for s in scope.sources), outer_joins.split(from_sql), strict=True))
        sql = ", ".join(parts[alias] for alias in plan.inner)
        if len(plan.inner) > 1:
            sql = " CROSS JOIN ".join(parts[alias] for alias in plan.inner)
        for alias, conditions in plan.outer:
            sql += f" LEFT JOIN {parts[alias]} ON {' AND '.join(compiler.condition(c) for c in conditions)}"
        return sql, plan.rest


def _sampled_share(node: exp.Expr) -> float | None:
    """The share of rows that SAMPLE [BLOCK] (percent) takes, one by one; None without it. Raises ORA-30562."""
    sample = node.args.get("sample")
    if sample is None:
        return None
    only(sample, "this", "method", "percent", "seed")
    percent = float(str(sample.args["percent"].this))
    if not 0.000001 <= percent < 100:
        raise ora(30562)
    return percent / 100


def _alias(node: exp.Expr) -> str | None:
    alias = node.args.get("alias")
    if alias is None:
        return None
    if alias.args.get("columns"):
        raise unsupported("column aliases in FROM")
    return identifier(alias.this) if alias.this is not None else None


def view_of(sql: str, query: CompiledQuery, names: list[exp.Expr] | None) -> RelationView:
    """A query as something to read from; `names` are the columns that WITH gives it."""
    labels = [identifier(n) for n in names] if names else [c.name for c in query.columns]
    if len(labels) != len(query.columns):
        raise ora(32038)
    columns = tuple(
        ColumnView(label, f"c{i}", c.type, c.nullable)
        for i, (label, c) in enumerate(zip(labels, query.columns, strict=True))
    )
    return RelationView(sql, columns, query.rowid, late=query.late, rowid_error=query.rowid_error)
