"""What all DML has in common: the target table, values as a column stores them, and running the query that computes
the effect.

An effect is an Arrow table of new row versions (stored columns and `rid`) and the positions that go. Nothing changes
until every value has been converted and checked, which gives Oracle's rule that a failing statement changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
from sqlglot import exp

from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.messages import error_sql, from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import parse_expression
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope, column_expr
from kpc.emulators.oracle.sql.storage.store import ALWAYS, StoredTable, TableColumn
from kpc.emulators.oracle.sql.types import assignment, positions, values
from kpc.emulators.oracle.sql.types.assignment import Target
from kpc.emulators.oracle.sql.types.values import Expr, name

if TYPE_CHECKING:
    from kpc.emulators.oracle.sql.transactions.transaction import Transaction


@dataclass(slots=True)
class Executor:
    """Compiles and runs the DML of one statement execution on the session's DuckDB connection."""

    context: Context
    schema: SessionSchema
    transaction: Transaction
    cursor: duckdb.DuckDBPyConnection
    source: str = ""  # the bind relation that joins every query, for many rows

    def compiler(self, scope: Scope) -> Expressions:
        return QueryCompiler(self.context).expressions(scope)

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

    def target_source(self, table: StoredTable) -> FromSource:
        """The table to change, under a fresh alias."""
        view = self.schema.table_view(table)
        relation = self.context.alias()
        columns = {c.name: column_expr(relation, c.stored, c.type, nullable=c.nullable) for c in view.columns}
        return FromSource(relation, columns, f"{relation}.rid", table.name)

    def assigned(self, table: StoredTable, column: TableColumn, value: Expr, *, is_insert: bool) -> str:
        """DuckDB SQL of the value as the column stores it."""
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
        """DEFAULT of the column, or NULL."""
        if column.default is None:
            return values.NULL
        return self.compiler(Scope()).value(parse_expression(column.default))

    def given(self, node: exp.Expr, column: TableColumn, compiler: Expressions) -> Expr:
        """What a statement gives a column: an expression, or DEFAULT."""
        if isinstance(node, exp.Var) and str(node.this).upper() == "DEFAULT":
            return self.default(column)
        if isinstance(node, exp.Column) and not node.args.get("table") and str(node.name).upper() == "DEFAULT":
            return self.default(column)
        if column.identity == ALWAYS:
            raise ora(32795 if isinstance(node.find_ancestor(exp.Insert, exp.Update), exp.Insert) else 32796)
        return compiler.value(node)

    def run(self, sql: str) -> pa.Table:
        """The result of a query. Raises OraError."""
        try:
            return self.cursor.sql(sql).to_arrow_table()
        except (duckdb.Error, pa.ArrowException) as error:
            raise from_duckdb(error) from None

    def with_new_rids(self, table: StoredTable, rows: pa.Table) -> pa.Table:
        """New rows, each with a position of its own."""
        with self.transaction.store.lock:
            first = table.rows_ever
            table.rows_ever += rows.num_rows
        sequence = np.arange(first, first + rows.num_rows, dtype=np.int64)
        base = np.int64(positions.encode(table.object_id, 0))
        rid = base + ((sequence // positions.ROWS_PER_BLOCK) << 15) + sequence % positions.ROWS_PER_BLOCK
        return rows.append_column("rid", pa.array(rid))


def check_count(given: int, wanted: int) -> None:
    """As many values as columns. Raises ORA-00913 or ORA-00947."""
    if given != wanted:
        raise ora(913 if given > wanted else 947)
