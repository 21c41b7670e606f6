"""Executing DML for one or many bind rows: row counts, batch errors, RETURNING, and waiting for other transactions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from kpc.emulators.oracle.interface import Bind, ExecutionOutcome, OraError, StatementKind
from kpc.emulators.oracle.sql.dml import applying, bulk_change, returned
from kpc.emulators.oracle.sql.dml.change import Change
from kpc.emulators.oracle.sql.dml.executor import Executor
from kpc.emulators.oracle.sql.dml.inserting import insert
from kpc.emulators.oracle.sql.dml.merging import merge
from kpc.emulators.oracle.sql.dml.updating import delete, update
from kpc.emulators.oracle.sql.messages import unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement
from kpc.emulators.oracle.sql.query import bind_rows
from kpc.emulators.oracle.sql.storage.store import StoredSequence
from kpc.emulators.oracle.sql.types import positions
from kpc.emulators.oracle.sql.types.assignment import WIDEN_CODE
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def execute(
    workspace: StatementWorkspace,
    statement: ParsedStatement,
    rows: Sequence[Sequence[Bind]],
    *,
    batch_errors: bool,
    row_counts: bool,
) -> ExecutionOutcome:
    """Rows before a failing one are kept; its error carries `row_offset` and `row_count` for the client's rowcount."""
    run = _ArrayRun(workspace, statement, list(rows) or [()], batch_errors, ExecutionOutcome(StatementKind.DML))
    run.counts = [0] * len(run.rows)
    run.go(0, len(run.rows))
    run.outcome.row_count = sum(run.counts)
    if row_counts:
        run.outcome.row_counts = run.counts
    return run.outcome


class _ArrayRun:
    def __init__(
        self,
        workspace: StatementWorkspace,
        statement: ParsedStatement,
        rows: list[Sequence[Bind]],
        batch_errors: bool,
        outcome: ExecutionOutcome,
    ) -> None:
        self.workspace = workspace
        self.statement = statement
        self.rows = rows
        self.batch_errors = batch_errors
        self.outcome = outcome
        self.counts: list[int] = []

    def go(self, start: int, stop: int) -> None:
        """Rows start..stop; a range that fails is halved until the failing row is isolated."""
        if stop - start > 1 and not self._is_joint():
            for index in range(start, stop):
                self.go(index, index + 1)
            return
        try:
            self._attempt(start, stop)
        except OraError as error:
            if stop - start == 1:
                self._failed(start, error)
                return
            if error.code == 1013:
                raise
            middle = (start + stop) // 2
            self.go(start, middle)
            self.go(middle, stop)

    def _failed(self, index: int, error: OraError) -> None:
        if self.batch_errors and error.code not in (1013, 942, 904, 3001, 1008):
            self.outcome.batch_errors.append((index, error))
            return
        if len(self.rows) > 1:
            error.row_offset, error.row_count, error.row_counts = index, sum(self.counts), self.counts[:index]
        raise error

    def _is_joint(self) -> bool:
        """Whether many rows can be computed in one query with the effect of one after the other."""
        return bulk_change.is_joint(self.statement)

    def _attempt(self, start: int, stop: int) -> None:
        while True:
            try:
                done = self._change(start, stop)
            except OraError as error:
                if error.code != WIDEN_CODE:
                    raise
                self._widen(error.message)
                continue
            if done:
                return

    def _widen(self, column_name: str) -> None:
        """A value needs more digits than the column holds so far: hold it in the wide form and start again."""
        assert self.statement.tree is not None
        executor = self.workspace.executor(self.workspace.context({}))
        table, _ = executor.table(self.statement.tree.this, "INSERT")
        column = table.column(column_name)
        assert column is not None
        self.workspace.store.widen(table, column)
        self.workspace.transaction.refit(table)

    def _change(self, start: int, stop: int) -> bool:
        """Compute and apply; False if another transaction had to be waited for, so that it must be computed again."""
        workspace = self.workspace
        if stop - start > 1:
            executor, changes = bulk_change.compute(workspace, self.statement, self.rows[start:stop], start)
        else:
            context = workspace.context(bind_rows.constants(self.rows[start]))
            executor = workspace.executor(context)
            for name, table in context.arrow.items():
                executor.cursor.register(name, table)
            changes = compute(executor, self.statement)
        for change in changes:
            if change.gone is not None and len(change.gone):
                wanted: list[object] = [(change.table.object_id, rid) for rid in change.gone.to_pylist()]
                if workspace.transaction.lock(wanted):
                    return False
        for change in changes:
            applying.apply(executor, change)
        _use_sequences(executor, changes)
        self._report(executor, changes, start, stop)
        return True

    def _report(self, executor: Executor, changes: list[Change], start: int, stop: int) -> None:
        if stop - start == 1:
            self.counts[start] = sum(change.count for change in changes)
        else:
            self.counts[start:stop] = changes[0].counts or [1] * (stop - start)
        self.outcome.last_rowid = _last_rowid(changes) or self.outcome.last_rowid
        if self.statement.returning:
            made = applying.returning(executor, changes[0], self.statement.returning)
            for position, item in zip(self.statement.into, made, strict=True):
                self.outcome.out.setdefault(position, []).extend(returned.values_of(item.value.type, item.column))
                if item.lob_homes:
                    self.outcome.lob_homes.setdefault(position, []).extend(item.lob_homes)


def _last_rowid(changes: list[Change]) -> str | None:
    for change in reversed(changes):
        if change.rows is not None and change.rows.num_rows and "rid" in change.rows.column_names:
            return str(positions.texts(change.rows["rid"].combine_chunks().slice(change.rows.num_rows - 1))[0])
    return None


def compute(executor: Executor, statement: ParsedStatement) -> list[Change]:
    """The effect of a statement with its binds."""
    tree = statement.tree
    if isinstance(tree, exp.Insert):
        return [insert(executor, tree)]
    if isinstance(tree, exp.Update):
        return [update(executor, tree)]
    if isinstance(tree, exp.Delete):
        return [delete(executor, tree)]
    if isinstance(tree, exp.Merge):
        return merge(executor, tree)
    raise unsupported(f"statement {type(tree).__name__}")


def _use_sequences(executor: Executor, changes: list[Change]) -> None:
    """INSERT ... SELECT seq.NEXTVAL counted in SQL: move the sequences past what it used."""
    if not executor.context.many_rows or not executor.context.sequences:
        return
    schema = executor.schema
    for found in list(executor.transaction.store.objects.values()):
        if isinstance(found, StoredSequence) and f"{(found.owner, found.name)}" in executor.context.sequences:
            count = sum(change.count for change in changes)
            if count:
                schema.take(found, count)
