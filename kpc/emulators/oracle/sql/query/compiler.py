"""Queries: SELECT, set operations and WITH become one DuckDB query whose columns are named c0, c1, ...

Oracle's names and types of the columns are kept alongside. Sources get fresh aliases, so any name is safe.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlglot import exp

from kpc.emulators.oracle.interface import LobColumn, OraType
from kpc.emulators.oracle.sql.context import Context, RelationView
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query import hierarchy, outer_joins, rownum, scan_ranges, work
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery, QueryColumn
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.from_clause import FromClause, view_of
from kpc.emulators.oracle.sql.query.late_rows import LateQuery
from kpc.emulators.oracle.sql.query.lob_columns import with_row_numbers
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.query.tail import locks_of, tail_sql
from kpc.emulators.oracle.sql.types import values
from kpc.emulators.oracle.sql.types.conversion import coerce, common_type
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.values import Expr


@dataclass(slots=True)
class QueryCompiler:
    """Compiles queries in one context. `ctes` are the names that WITH gave."""

    context: Context
    ctes: dict[str, RelationView] = field(default_factory=dict)
    view: exp.Expr | None = None  # the query that is to show the ROWIDs of its table

    def compile(self, node: exp.Expr, parent: Scope | None = None, names: list[str] | None = None) -> CompiledQuery:
        """`names`: how the outermost select list is written, for columns without alias."""
        with_ = node.args.get("with_")
        if with_ is not None:
            return QueryCompiler(self.context, dict(self.ctes)).compile_with(node, with_, parent, names)
        return self._plain(node, parent, names)

    def compile_view(self, node: exp.Expr, parent: Scope | None = None) -> CompiledQuery:
        """A view or a subquery in FROM: over a single table it also has that one's ROWIDs."""
        return replace(self, view=node).compile(node, parent)

    def compile_with(
        self, node: exp.Expr, with_: exp.Expr, parent: Scope | None, names: list[str] | None
    ) -> CompiledQuery:
        """A query whose WITH names are known from here on."""
        if with_.args.get("recursive"):
            raise unsupported("recursive WITH")
        parts = []
        for cte in with_.expressions:
            only(cte, "this", "alias")
            label = identifier(cte.args["alias"].this)
            inner = self.compile(cte.this, parent)
            relation = self.context.alias()
            parts.append(f"{relation} AS ({inner.sql})")
            self.ctes[label] = view_of(f"{relation}", inner, cte.args["alias"].args.get("columns"))
        query = self._plain(node, parent, names)
        word = f"WITH {', '.join(parts)}"
        return replace(query, sql=f"{word} {query.sql}", late=query.late.with_(word) if query.late else None)

    def _plain(self, node: exp.Expr, parent: Scope | None, names: list[str] | None) -> CompiledQuery:
        if isinstance(node, exp.Select):
            return self._select(node, parent, names)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, parent, names)
        if isinstance(node, exp.Subquery):
            return self._nested(node, parent, names)
        raise unsupported(f"query {type(node).__name__}")

    def _nested(self, node: exp.Expr, parent: Scope | None, names: list[str] | None) -> CompiledQuery:
        only(node, "this", "order", "limit", "offset")
        inner = self.compile(node.this, parent, names)
        tail = tail_sql(node, inner.columns, self.expressions(Scope()), None)
        alias = self.context.alias()
        return replace(inner, sql=f"SELECT * FROM ({inner.sql}) AS {alias}{tail}", late=None) if tail else inner

    # Set operations

    def _set_operation(self, node: exp.Expr, parent: Scope | None, names: list[str] | None) -> CompiledQuery:
        only(node, "this", "expression", "distinct", "order", "limit", "offset", "with_")
        word = {"Union": "UNION", "Except": "EXCEPT", "Intersect": "INTERSECT"}.get(type(node).__name__)
        if word is None or (word != "UNION" and not node.args.get("distinct", True)):
            raise unsupported("this set operation")
        left = self.compile(node.this, parent, names)
        right = self.compile(node.expression, parent)
        if len(left.columns) != len(right.columns):
            raise ora(1789)
        columns = []
        for a, b in zip(left.columns, right.columns, strict=True):
            if OraType.CLOB in (a.type.ora, b.type.ora) and node.args.get("distinct", True):
                raise ora(932, "-", "CLOB")
            columns.append(QueryColumn(a.name, _united(a.type, b.type), a.nullable or b.nullable))
        sides = [self._cast_columns(side, columns) for side in (left, right)]
        every = " ALL" if not node.args.get("distinct", True) else ""
        if not every:  # Oracle finds duplicates by sorting
            self.context.works.append(work.of_duplicates())
        alias = self.context.alias()
        sql = f"SELECT * FROM ({sides[0]} {word}{every} {sides[1]}) AS {alias}"
        if not every and node.args.get("order") is None:
            sql += " ORDER BY ALL ASC NULLS LAST"
        return CompiledQuery(sql + tail_sql(node, tuple(columns), self.expressions(Scope()), None), tuple(columns))

    def _cast_columns(self, query: CompiledQuery, columns: list[QueryColumn]) -> str:
        alias = self.context.alias()
        items = []
        for i, (have, want) in enumerate(zip(query.columns, columns, strict=True)):
            made = coerce(Expr(f"{alias}.c{i}", have.type), want.type, self.context)
            items.append(f"{made.sql} AS c{i}")
        return f"(SELECT {', '.join(items)} FROM ({query.sql}) AS {alias})"

    # SELECT

    def _select(self, node: exp.Expr, parent: Scope | None, names: list[str] | None) -> CompiledQuery:
        only(
            node, "expressions", "from_", "joins", "where", "group", "having", "distinct", "order", "limit", "offset",
            "locks", "hint", "kind", "with_", "connect",
        )  # fmt: skip
        if not node.expressions:
            raise ora(936)
        if node.args.get("from_") is None:
            raise ora(923)
        scope = Scope(parent=parent)
        from_clause = FromClause(self)
        from_sql = from_clause.read(node, scope)
        where_node = node.args.get("where")
        tests = outer_joins.conjuncts(where_node.this) if where_node is not None else []
        from_sql, tests = from_clause.with_oracle_joins(node, scope, from_sql, tests)
        compiler = self.expressions(scope)
        if node.args.get("connect") is not None:
            from_sql = hierarchy.levels(node.args["connect"], scope, compiler)
        scan_ranges.narrow(scope, tests, compiler)
        from_sql, where = rownum.apply(node, tests, from_sql, compiler)
        group, having = self._group(node, compiler)
        self.context.works += work.of_block(node, f"{from_sql}{where}")
        items = self._items(node, compiler, names)
        distinct = self._distinct(node)
        listed = [item.sql for _, item in items]
        columns = tuple(QueryColumn(label, item.type, item.nullable) for label, item in items)
        scope.aliases = dict(items)
        tail = tail_sql(node, columns, self.expressions(Scope()), compiler)
        shown = ", ".join(f"{item} AS c{i}" for i, item in enumerate(listed))
        rowid, rowid_error = None, 1446
        if node is self.view and not (group or having or distinct or scope.numbered) and work.is_row_wise(node):
            rowid, rowid_error = self._rowid(scope)
            shown += f", {rowid} AS rid" if rowid else ""
        lob_columns: dict[int, LobColumn] = {}
        if names is not None and not (group or having or distinct) and work.is_row_wise(node):
            lob_columns, shown = with_row_numbers(scope, listed, shown)
        sql = f"SELECT {distinct}{shown} FROM {from_sql}{where}{group}{having}{tail}"
        locks = locks_of(node, scope, f"{from_sql}{where}") if node.args.get("locks") else None
        late = None
        if not (group or having or distinct) and work.is_row_wise(node):
            late = self._late(node, scope, (from_sql, where), (columns, listed, shown), compiler)
        return CompiledQuery(sql, columns, locks, late, "rid" if rowid else None, rowid_error, lob_columns)

    def _rowid(self, scope: Scope) -> tuple[str | None, int]:
        """The ROWID that a view lets through, or the error that Oracle gives for it."""
        if len(scope.sources) > 1:
            return None, 1445
        return scope.sources[0].rowid, scope.sources[0].rowid_error

    def _late(
        self,
        node: exp.Expr,
        scope: Scope,
        reads: tuple[str, str],
        shows: tuple[tuple[QueryColumn, ...], list[str], str],
        compiler: Expressions,
    ) -> LateQuery | None:
        """The block cut in two; a row of its result depends on one row of its sources alone."""
        (from_sql, where), (columns, listed, shown) = reads, shows
        head = f"SELECT {shown} FROM "
        relations = [scope.numbered] if scope.numbered else [source.relation for source in scope.sources]
        has_tail = any(node.args.get(word) for word in ("order", "limit", "offset"))
        if len(relations) > 1 or has_tail:
            tail = tail_sql(node, columns, self.expressions(Scope()), compiler, listed)
            return LateQuery(f"SELECT {', '.join(relations)} FROM {from_sql}{where}{tail}", head, "")
        inner = scope.sources[0].late
        if inner is not None and not scope.numbered:
            return LateQuery(inner.sources, f"{head}({inner.head}", f"{inner.tail}) AS {relations[0]}{where}")
        return LateQuery(f"SELECT {relations[0]} FROM {from_sql}", head, where)

    def _distinct(self, node: exp.Expr) -> str:
        distinct = node.args.get("distinct")
        if distinct is None:
            return ""
        if distinct.args.get("on"):
            raise unsupported("DISTINCT ON")
        return "DISTINCT "

    def expressions(self, scope: Scope) -> Expressions:
        return Expressions(self.context, scope, self._subquery)

    def _subquery(self, node: exp.Expr, scope: Scope) -> tuple[str, list[Expr]]:
        query = self.compile(node, scope)
        return query.sql, query.expressions

    def _group(self, node: exp.Expr, compiler: Expressions) -> tuple[str, str]:
        group, having = node.args.get("group"), node.args.get("having")
        having_sql = f" HAVING {compiler.condition(having.this)}" if having is not None else ""
        if group is None:
            return "", having_sql
        only(group, "expressions")
        parts = []
        for item in group.expressions:
            if isinstance(item, exp.Rollup | exp.Cube):
                word = type(item).__name__.upper()
                parts.append(f"{word} ({', '.join(e.sql for e in compiler.all(item.expressions))})")
            elif isinstance(item, exp.Tuple):
                parts.extend(e.sql for e in compiler.all(item.expressions))
            else:
                parts.append(compiler.value(item).sql)
        return f" GROUP BY {', '.join(parts)}", having_sql

    def _items(self, node: exp.Expr, compiler: Expressions, names: list[str] | None) -> list[tuple[str, Expr]]:
        items: list[tuple[str, Expr]] = []
        given = names if names is not None and len(names) == len(node.expressions) else None
        for index, item in enumerate(node.expressions):
            if isinstance(item, exp.Star):
                if len(node.expressions) > 1:
                    raise ora(923)
                items.extend(_star(compiler.scope))
            elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                items.extend(_qualified_star(compiler.scope, item))
            elif isinstance(item, exp.Alias):
                items.append((identifier(item.args["alias"]), compiler.value(item.this)))
            elif isinstance(item, exp.Column):
                items.append((identifier(item.this), compiler.value(item)))
            else:
                label = given[index] if given else "".join(item.sql(dialect="oracle").split()).upper()
                items.append((label, compiler.value(item)))
        return [(label, _shown(item)) for label, item in items]


def _united(a: SqlType, b: SqlType) -> SqlType:
    try:
        return common_type((a, b), strict=True)
    except Exception as error:
        if getattr(error, "code", 0) == 932:
            raise ora(1790) from None
        raise


def _shown(item: Expr) -> Expr:
    """What leaves a query block: a value that is no longer a literal of its text's own length."""
    if item.is_null:
        return replace(item, sql="NULL::VARCHAR")
    return item


def _star(scope: Scope) -> list[tuple[str, Expr]]:
    items = list(scope.merged.items())
    for source in scope.sources:
        items.extend((n, e) for n, e in source.columns.items() if n not in source.hidden or n not in scope.merged)
    return items


def _qualified_star(scope: Scope, item: exp.Expr) -> list[tuple[str, Expr]]:
    label = identifier(item.args["table"])
    source = scope.source(label)
    if source is None:
        raise ora(904, values.name(label))
    return list(source.columns.items())
