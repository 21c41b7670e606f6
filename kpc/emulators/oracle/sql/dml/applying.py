"""Apply a computed change to the open transaction, and read it for RETURNING."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from kpc.emulators.oracle.interface import LobHome, OraType
from kpc.emulators.oracle.sql.dml import constraints
from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope, column_expr
from kpc.emulators.oracle.sql.types.values import Expr

NEW = "effect_rows"


def apply(executor: Executor, change: Change) -> None:
    """Check the constraints against the changed table, then apply the change."""
    constraints.check(executor, change)
    new = None if change.old_rows else change.rows
    executor.transaction.apply(change.table, new, change.gone)


@dataclass(frozen=True, slots=True)
class Returned:
    """One item of RETURNING, a value per row. `lob_homes`: the rows of a LOB column that was not deleted."""

    value: Expr
    column: pa.Array
    lob_homes: list[LobHome] | None


def returning(executor: Executor, change: Change, items: list[exp.Expr]) -> list[Returned]:
    """RETURNING: the expressions over the changed rows (deleted ones as they were)."""
    source = FromSource(change.table.name, {}, f"{NEW}.rid", change.table.name)
    for column in change.table.columns:
        source.columns[column.name] = column_expr(NEW, column.stored, column.type, nullable=column.nullable)
    compiler = executor.compiler(Scope([source]))
    made = compiler.all(items)
    assert change.rows is not None
    executor.cursor.register(NEW, change.rows)
    listed = ", ".join(f"{e.sql} AS c{i}" for i, e in enumerate(made))
    result = executor.run(f"SELECT {listed} FROM {NEW}")
    lobs = {c.sql: n for n, c in source.columns.items() if c.type.ora in (OraType.CLOB, OraType.BLOB)}
    rows = [] if change.old_rows else change.rows["rid"].to_pylist()
    return [
        Returned(
            value,
            result.column(at).combine_chunks(),
            [LobHome(change.table.object_id, row, lobs[value.sql]) for row in rows] if value.sql in lobs else None,
        )
        for at, value in enumerate(made)
    ]
