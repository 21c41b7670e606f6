"""Many bind rows in one query: always for INSERT ... VALUES, and for UPDATE and DELETE if no row is changed twice."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc
from sqlglot import exp

from kpc.emulators.oracle.interface import Bind
from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor
from kpc.emulators.oracle.sql.dml.inserting import insert
from kpc.emulators.oracle.sql.dml.updating import delete, update
from kpc.emulators.oracle.sql.messages import unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement
from kpc.emulators.oracle.sql.query import bind_rows
from kpc.emulators.oracle.sql.query.nodes import identifier
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def is_joint(statement: ParsedStatement) -> bool:
    """True if one query over all bind rows has the effect of running them one after the other."""
    tree = statement.tree
    assert tree is not None
    if statement.returning or tree.find(exp.Subquery, exp.Select) is not None:
        return False
    if any(c.name.upper() in ("NEXTVAL", "CURRVAL") for c in tree.find_all(exp.Column)):
        return False
    if isinstance(tree, exp.Insert):
        return isinstance(tree.expression, exp.Values)
    where = tree.args.get("where")
    if where is None or not isinstance(tree, exp.Update | exp.Delete):
        return False
    read = {identifier(c.this) for c in where.find_all(exp.Column)}
    changed = {
        identifier(e.this.this) for e in tree.expressions if isinstance(e, exp.EQ) and isinstance(e.this, exp.Column)
    }
    return not read & changed and bool(read)


def compute(
    workspace: StatementWorkspace, statement: ParsedStatement, rows: Sequence[Sequence[Bind]], first: int
) -> tuple[Executor, list[Change]]:
    """The joint effect. Raises ORA-03001 if two bind rows change the same table row; the caller then splits them."""
    table, named = bind_rows.table(rows, first)
    context = workspace.context(named)
    executor = workspace.executor(context)
    executor.source = bind_rows.RELATION
    executor.cursor.register(bind_rows.RELATION, table)
    tree = statement.tree
    if isinstance(tree, exp.Insert):
        context.many_rows = True  # a default may be a sequence's
        change = insert(executor, tree)
        change.counts = [1] * len(rows)
        return executor, [change]
    change = update(executor, tree) if isinstance(tree, exp.Update) else delete(executor, tree)  # type: ignore[arg-type]  # is_joint
    assert change.rows is not None
    if len(change.rows["rid"].unique()) < change.rows.num_rows:
        raise unsupported("array DML whose rows meet")
    counts = [0] * len(rows)
    for offset in pc.value_counts(change.rows["row_offset"]).to_pylist() if change.rows.num_rows else []:
        counts[offset["values"] - first] = offset["counts"]
    change.counts = counts
    change.rows = change.rows.drop_columns(["row_offset"])
    return executor, [change]
