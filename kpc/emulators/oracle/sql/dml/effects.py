"""INSERT, UPDATE, DELETE and MERGE: first the whole effect is computed by a query, then it is laid over the table.

An effect is an Arrow table of new row versions (stored columns and `rid`) and the positions that go. Nothing changes
until every value has been converted and checked, which gives Oracle's rule that a failing statement changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
from sqlglot import exp

from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.ddl.sequences import ALWAYS
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.dml import constraints
from kpc.emulators.oracle.sql.messages import error_sql, from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import parse_expression
from kpc.emulators.oracle.sql.query import outer_joins, rownum
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.query.expressions import Expressions, identifier, only
from kpc.emulators.oracle.sql.query.from_clause import FromClause
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope, column_expr
from kpc.emulators.oracle.sql.storage import positions
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableColumn
from kpc.emulators.oracle.sql.types import assignment, values
from kpc.emulators.oracle.sql.types.assignment import Target
from kpc.emulators.oracle.sql.types.values import Expr, name

if TYPE_CHECKING:
    from kpc.emulators.oracle.sql.transactions.transaction import Transaction

NEW = "effect_rows"


@dataclass(slots=True)
class Change:
    """What a statement does to one table.

    `rows`: new versions with rid; `gone`: positions that are replaced or deleted.
    """

    table: StoredTable
    rows: pa.Table | None = None
    gone: pa.Array | None = None
    count: int = 0
    old_rows: bool = False  # `rows` are deleted rows, kept for RETURNING only
    updated: frozenset[str] | None = None  # the changed columns; None for inserted rows
    counts: list[int] = field(default_factory=list)  # per bind row


@dataclass(slots=True)
class Executor:
    """Runs the DML of one statement execution on the session's DuckDB connection."""

    context: Context
    schema: SessionSchema
    transaction: Transaction
    cursor: duckdb.DuckDBPyConnection
    source: str = ""  # the bind relation that joins every query, for many rows

    # Compiling

    def compiler(self, scope: Scope) -> Expressions:
        queries = QueryCompiler(self.context)
        return queries.expressions(scope)

    def table(self, node: exp.Expr, *wanted: str) -> tuple[StoredTable, str]:
        """The target table and its alias."""
        if isinstance(node, exp.Schema):
            node = node.this
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise unsupported("this DML target")
        only(node, "this", "db", "alias")
        owner = identifier(node.args["db"]) if node.args.get("db") else None
        table_name = identifier(node.this)
        alias = node.args.get("alias")
        return self.schema.table(owner, table_name, wanted), identifier(alias.this) if alias else table_name

    def _targets(self, table: StoredTable) -> FromSource:
        view = self.schema.table_view(table)
        relation = self.context.alias()
        columns = {c.name: column_expr(relation, c.stored, c.type, nullable=c.nullable) for c in view.columns}
        return FromSource(relation, columns, f"{relation}.rid", table.name)

    def assigned(self, table: StoredTable, column: TableColumn, value: Expr, *, is_insert: bool) -> str:
        """The value as the column stores it."""
        label = ".".join(name(part) for part in (table.owner, table.name, column.name))
        made = assignment.assign(value, Target(label, column.type, column.name), self.context)
        if is_insert and column.default_on_null:
            return self._or_default(column, label, made)
        if column.nullable:
            return made.sql
        code = 1400 if is_insert else 1407
        if value.is_null:
            return error_sql(code, label)
        return f"CASE WHEN {made.sql} IS NULL THEN {error_sql(code, label)} ELSE {made.sql} END"

    def _or_default(self, column: TableColumn, label: str, made: Expr) -> str:
        """DEFAULT ON NULL: a value that can be NULL gives way to the default."""
        if made.constant is not None:
            return made.sql
        default = assignment.assign(self.default(column), Target(label, column.type, column.name), self.context)
        return f"coalesce({made.sql}, {default.sql})"

    def default(self, column: TableColumn) -> Expr:
        if column.default is None:
            return values.NULL
        return self.compiler(Scope()).value(parse_expression(column.default))

    def _given(self, node: exp.Expr, column: TableColumn, compiler: Expressions) -> Expr:
        if isinstance(node, exp.Var) and str(node.this).upper() == "DEFAULT":
            return self.default(column)
        if isinstance(node, exp.Column) and not node.args.get("table") and str(node.name).upper() == "DEFAULT":
            return self.default(column)
        if column.identity == ALWAYS:
            raise ora(32795 if isinstance(node.find_ancestor(exp.Insert, exp.Update), exp.Insert) else 32796)
        return compiler.value(node)

    # INSERT

    def insert(self, node: exp.Expr) -> Change:
        table, _ = self.table(node.this, "INSERT")
        return self._inserted(table, self.run(self.query_of_insert(node)))

    def query_of_insert(self, node: exp.Expr) -> str:
        """The new rows, with all stored columns."""
        only(node, "this", "expression", "hint")
        table, _ = self.table(node.this, "INSERT")
        names = (
            [identifier(c.this if isinstance(c, exp.Column) else c) for c in node.this.expressions]
            if isinstance(node.this, exp.Schema)
            else []
        )
        targets = self._insert_columns(table, names)
        source = node.expression
        if isinstance(source, exp.Values):
            return self._insert_values(table, targets, source)
        if source is None:
            raise ora(926)
        return self._insert_query(table, targets, source)

    def _insert_columns(self, table: StoredTable, names: list[str]) -> list[TableColumn]:
        if not names:
            return list(table.columns)
        if len(set(names)) < len(names):
            raise ora(957)
        found = [table.column(n) for n in names]
        for wanted, column in zip(names, found, strict=True):
            if column is None:
                raise ora(904, name(wanted))
        return [column for column in found if column is not None]

    def _insert_values(self, table: StoredTable, targets: list[TableColumn], source: exp.Expr) -> str:
        if len(source.expressions) != 1:
            raise ora(933)
        row = source.expressions[0]
        given = row.expressions if isinstance(row, exp.Tuple) else [row.this if isinstance(row, exp.Paren) else row]
        _check_count(len(given), len(targets))
        compiler = self.compiler(Scope())
        values_by_column = {c.name: self._given(e, c, compiler) for c, e in zip(targets, given, strict=True)}
        return f"SELECT {self._row(table, values_by_column)} FROM {self.source or '(SELECT 1)'}"

    def _insert_query(self, table: StoredTable, targets: list[TableColumn], source: exp.Expr) -> str:
        inner = source.this if isinstance(source, exp.Subquery) else source
        self.context.many_rows = True
        query = QueryCompiler(self.context).compile(inner)
        _check_count(len(query.columns), len(targets))
        alias = self.context.alias()
        if any(column.identity == ALWAYS for column in targets):
            raise ora(32795)
        given = {c.name: replace(e, sql=f"{alias}.{e.sql}") for c, e in zip(targets, query.expressions, strict=True)}
        if self.source:
            raise unsupported("INSERT ... SELECT with many bind rows")
        return f"SELECT {self._row(table, given)} FROM ({query.sql}) AS {alias}"

    def _row(self, table: StoredTable, given: dict[str, Expr]) -> str:
        items = []
        for column in table.columns:
            value = given[column.name] if column.name in given else self.default(column)
            items.append(f"{self.assigned(table, column, value, is_insert=True)} AS {column.stored}")
        return ", ".join(items)

    def _inserted(self, table: StoredTable, rows: pa.Table) -> Change:
        return Change(table, self._with_new_rids(table, rows), None, rows.num_rows)

    def _with_new_rids(self, table: StoredTable, rows: pa.Table) -> pa.Table:
        with self.transaction.store.lock:
            first = table.rows_ever
            table.rows_ever += rows.num_rows
        sequence = np.arange(first, first + rows.num_rows, dtype=np.int64)
        base = np.int64(positions.encode(table.object_id, 0))
        rid = base + ((sequence // positions.ROWS_PER_BLOCK) << 15) + sequence % positions.ROWS_PER_BLOCK
        return rows.append_column("rid", pa.array(rid))

    # UPDATE and DELETE

    def update(self, node: exp.Expr) -> Change:
        only(node, "this", "expressions", "where", "hint")
        table, alias = self.table(node.this, "UPDATE")
        target = self._targets(table)
        scope = Scope([replace(target, alias=alias)])
        compiler = self.compiler(scope)
        view = self.schema.table_view(table)
        given, joins = self._set_items(table, node.expressions, compiler)
        where = self._where(node, compiler, f"{view.sql} AS {target.alias}{joins}")
        items = [self._updated_item(table, c, given, target) for c in table.columns]
        source = f"{view.sql} AS {target.alias}{joins}"
        sql = f"SELECT {', '.join(items)}, {target.rowid} AS rid{self._offset} FROM {self._from(source)}{where}"
        rows = self.run(sql)
        return Change(table, rows, rows["rid"].combine_chunks(), rows.num_rows, updated=frozenset(given))

    @property
    def _offset(self) -> str:
        """The bind row that a result row belongs to."""
        return f", {self.source}.row_offset" if self.source else ""

    def _from(self, source: str) -> str:
        return f"{source}, {self.source}" if self.source else source

    def _updated_item(self, table: StoredTable, column: TableColumn, given: dict[str, Expr], target: FromSource) -> str:
        if column.name not in given:
            return f"{target.columns[column.name].sql} AS {column.stored}"
        return f"{self.assigned(table, column, given[column.name], is_insert=False)} AS {column.stored}"

    def _set_items(
        self, table: StoredTable, items: list[exp.Expr], compiler: Expressions
    ) -> tuple[dict[str, Expr], str]:
        """SET: column -> value. `(a, b) = (SELECT ...)` becomes one lateral join per subquery."""
        given: dict[str, Expr] = {}
        joins = ""
        for item in items:
            if not isinstance(item, exp.EQ):
                raise ora(927)
            if isinstance(item.this, exp.Tuple):
                names, made, join = self._set_tuple(item, compiler)
                joins += join
            else:
                names = [identifier(item.this.this)]
                column = table.column(names[0])
                if column is None:
                    raise ora(904, name(names[0]))
                made = [self._given(item.expression, column, compiler)]
            for wanted, value in zip(names, made, strict=True):
                if table.column(wanted) is None:
                    raise ora(904, name(wanted))
                if wanted in given:
                    raise ora(957)
                given[wanted] = value
        return given, joins

    def _set_tuple(self, item: exp.Expr, compiler: Expressions) -> tuple[list[str], list[Expr], str]:
        if not isinstance(item.expression, exp.Subquery):
            raise ora(1767)
        sql, columns = compiler.subquery(item.expression.this, compiler.scope)
        names = [identifier(c.this) for c in item.this.expressions]
        _check_count(len(columns), len(names))
        alias, row = self.context.alias(), self.context.alias()
        struct = ", ".join(f"c{i} := {row}.c{i}" for i in range(len(columns)))
        single = f"(SELECT struct_pack({struct}) FROM ({sql}) AS {row})"
        made = [Expr(f"{alias}.v.c{i}", column.type) for i, column in enumerate(columns)]
        return names, made, f" LEFT JOIN LATERAL (SELECT {single} AS v) AS {alias} ON TRUE"

    def _where(self, node: exp.Expr, compiler: Expressions, source: str) -> str:
        """The WHERE clause over `source`; with ROWNUM, over the first so many of the rows that pass the rest."""
        where = node.args.get("where")
        if where is None:
            return ""
        plain, limit = rownum.split(outer_joins.conjuncts(where.this), compiler)
        tests = " AND ".join(compiler.condition(test) for test in plain)
        if not limit:
            return f" WHERE {tests}"
        if self.source:
            raise unsupported("ROWNUM in a change with many bind rows")
        rowid = compiler.scope.sources[0].rowid
        return f" WHERE {rowid} IN (SELECT {rowid} FROM {source}{f' WHERE {tests}' if tests else ''}{limit})"

    def delete(self, node: exp.Expr, *, keep_rows: bool) -> Change:
        only(node, "this", "where", "hint")
        table, alias = self.table(node.this, "DELETE")
        target = self._targets(table)
        compiler = self.compiler(Scope([replace(target, alias=alias)]))
        view = self.schema.table_view(table)
        where = self._where(node, compiler, f"{view.sql} AS {target.alias}")
        columns = "".join(f"{target.alias}.{c.stored}, " for c in table.columns) if keep_rows else ""
        source = self._from(f"{view.sql} AS {target.alias}")
        rows = self.run(f"SELECT {columns}{target.rowid} AS rid{self._offset} FROM {source}{where}")
        return Change(table, rows, rows["rid"].combine_chunks(), rows.num_rows, old_rows=True)

    # MERGE

    def merge(self, node: exp.Expr) -> list[Change]:
        only(node, "this", "using", "on", "whens", "hint")
        table, alias = self.table(node.this, "UPDATE", "INSERT")
        target = self._targets(table)
        queries = QueryCompiler(self.context)
        scope = Scope()
        source_sql = FromClause(queries).source(node.args["using"], scope)
        source = scope.sources[0]
        both = Scope([replace(target, alias=alias), source])
        compiler = queries.expressions(both)
        view = self.schema.table_view(table)
        on = compiler.condition(node.args["on"])
        joined = f"{view.sql} AS {target.alias} INNER JOIN {source_sql} ON {on}"
        changes = []
        for when in node.args["whens"].expressions:
            only(when, "matched", "then", "condition", "source")
            if when.args.get("matched"):
                changes.append(self._merge_update(table, when, compiler, target, joined, node.args["on"]))
            else:
                missing = f"{source_sql} WHERE NOT EXISTS (SELECT 1 FROM {view.sql} AS {target.alias} WHERE {on})"
                changes.append(self._merge_insert(table, when, queries.expressions(Scope([source])), missing))
        return changes

    def _merge_update(
        self, table: StoredTable, when: exp.Expr, compiler: Expressions, target: FromSource, joined: str, on: exp.Expr
    ) -> Change:
        then = when.args["then"]
        if not isinstance(then, exp.Update):
            raise unsupported("MERGE ... DELETE")
        only(then, "this", "expressions", "where")
        given, joins = self._set_items(table, then.expressions, compiler)
        for column in on.find_all(exp.Column):
            if (
                compiler.scope.sources[0].columns.get(identifier(column.this)) is not None
                and identifier(column.this) in given
            ):
                table_part = column.args.get("table")
                if table_part is not None and identifier(table_part) == compiler.scope.sources[0].alias:
                    raise ora(38104, f'"{compiler.scope.sources[0].alias}"."{identifier(column.this)}"')
        where = then.args.get("where")
        tests = [c for c in (when.args.get("condition"), where.this if where is not None else None) if c is not None]
        where_sql = f" WHERE {' AND '.join(compiler.condition(t) for t in tests)}" if tests else ""
        items = [self._updated_item(table, c, given, target) for c in table.columns]
        rows = self.run(f"SELECT {', '.join(items)}, {target.rowid} AS rid FROM {joined}{joins}{where_sql}")
        rid = rows["rid"].combine_chunks()
        if len(rid.unique()) < len(rid):
            raise ora(30926)
        return Change(table, rows, rid, rows.num_rows, updated=frozenset(given))

    def _merge_insert(self, table: StoredTable, when: exp.Expr, compiler: Expressions, missing: str) -> Change:
        then = when.args["then"]
        if not isinstance(then, exp.Insert):
            raise unsupported("this MERGE branch")
        only(then, "this", "expression", "where")
        names = (
            [identifier(c.this if isinstance(c, exp.Column) else c) for c in then.this.expressions]
            if then.this is not None and not isinstance(then.this, exp.Table)
            else []
        )
        targets = self._insert_columns(table, names)
        given = then.expression.expressions
        _check_count(len(given), len(targets))
        made = {c.name: self._given(e, c, compiler) for c, e in zip(targets, given, strict=True)}
        tests = [when.args.get("condition"), then.args["where"].this if then.args.get("where") else None]
        extra = "".join(f" AND {compiler.condition(t)}" for t in tests if t is not None)
        return self._inserted(table, self.run(f"SELECT {self._row(table, made)} FROM {missing}{extra}"))

    # Running

    def run(self, sql: str) -> pa.Table:
        """The effect, computed in one go."""
        try:
            return self.cursor.sql(sql).to_arrow_table()
        except (duckdb.Error, pa.ArrowException) as error:
            raise from_duckdb(error) from None

    def apply(self, change: Change) -> None:
        """Check constraints against what the table would be, then change it."""
        constraints.check(self, change)
        new = None if change.old_rows else change.rows
        self.transaction.apply(change.table, new, change.gone)

    def returning(self, change: Change, items: list[exp.Expr]) -> list[tuple[Expr, pa.Array]]:
        """RETURNING: the expressions over the changed rows (deleted ones as they were)."""
        source = FromSource(change.table.name, {}, f"{NEW}.rid", change.table.name)
        for column in change.table.columns:
            source.columns[column.name] = column_expr(NEW, column.stored, column.type, nullable=column.nullable)
        compiler = self.compiler(Scope([source]))
        made = compiler.all(items)
        assert change.rows is not None
        self.cursor.register(NEW, change.rows)
        listed = ", ".join(f"{e.sql} AS c{i}" for i, e in enumerate(made))
        result = self.run(f"SELECT {listed} FROM {NEW}")
        return [(e, result.column(i).combine_chunks()) for i, e in enumerate(made)]


def _check_count(given: int, wanted: int) -> None:
    if given != wanted:
        raise ora(913 if given > wanted else 947)
