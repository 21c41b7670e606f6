"""Anonymous blocks: variables, control flow, SQL, EXECUTE IMMEDIATE, exceptions, and the calls of a few packages.

Stored code, cursors, collections and records are refused. A handler cannot catch a break (ORA-01013)
or what the emulator does not support (ORA-03001).
"""

from __future__ import annotations

from collections.abc import Sequence

from kpc.emulators.oracle.interface import Bind, BindValue, ExecutionOutcome, OraError, StatementKind
from kpc.emulators.oracle.sql import queries
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.parsing.lexer import Kind
from kpc.emulators.oracle.sql.plsql.block_names import BlockNames, Variable, bound
from kpc.emulators.oracle.sql.plsql.exceptions import EXCEPTIONS, find_handler
from kpc.emulators.oracle.sql.plsql.packages import OutputBuffer
from kpc.emulators.oracle.sql.plsql.sql_steps import SqlSteps
from kpc.emulators.oracle.sql.plsql.tree import (
    Block,
    BlockStatement,
    ExceptionHandler,
    If,
    Loop,
    Step,
    Tokens,
    read_block,
)
from kpc.emulators.oracle.sql.transactions import commands
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

_START = "start of the block"  # no name that SQL can give a savepoint
_CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE", "EXECUTE")


class _Leave(Exception):
    """Unwinds the stack for EXIT, CONTINUE or RETURN; `word` says which."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def execute(
    workspace: StatementWorkspace, output: OutputBuffer, statement: ParsedStatement, rows: Sequence[Sequence[Bind]]
) -> ExecutionOutcome:
    """Run the block once per bind row. OUT values are given by the position of the bind's unique name."""
    outcome = ExecutionOutcome(StatementKind.PLSQL)
    block = _block(statement.tokens)

    def run_block(inner: ParsedStatement, given: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
        return execute(workspace, output, inner, given)

    for row in rows or [()]:
        names = BlockNames(workspace, statement.sql, dict(zip(statement.bind_names, row, strict=True)))
        _run_whole(SqlSteps(workspace, output, names, run_block), block, statement.tokens)
        for position, (name, bind) in enumerate(zip(statement.bind_names, row, strict=True)):
            if name in names.assigned or bind.is_out:
                outcome.out.setdefault(position, []).append(_fitting(names.binds[name].value, bind))
    return outcome


def _block(tokens: Tokens) -> Block:
    """CALL is a block with one step."""
    if tokens[0].is_word("CALL"):
        return Block([], [Step([t for t in tokens[1:] if not t.is_sign(";")])])
    return read_block(tokens)


def _fitting(value: BindValue, bind: Bind) -> BindValue:
    if isinstance(value, str) and bind.size and len(value.encode()) > bind.size:
        raise ora(6502)
    return value


def _run_whole(steps: SqlSteps, block: Block, tokens: Tokens) -> None:
    """A block that fails leaves no change behind, except what it committed."""
    transaction = steps.workspace.transaction
    changes = any(token.is_word(*_CHANGES) for token in tokens)
    if changes:
        transaction.savepoint(_START)
    run = _BlockRun(steps)
    try:
        run.block(block)
    except _Leave as leave:
        if leave.word != "RETURN":
            raise ora(6550, 1, 1, f"PLS-00376: illegal {leave.word} statement; it must appear inside a loop") from None
    except OraError:
        if changes and transaction.has_savepoint(_START):
            transaction.rollback_to(_START)
        raise
    finally:
        transaction.forget_savepoint(_START)


class _BlockRun:
    def __init__(self, steps: SqlSteps) -> None:
        self.steps = steps
        self.names = steps.names
        self.handled: list[OraError] = []

    def block(self, block: Block) -> None:
        self.names.scopes.append({})
        try:
            for variable in block.variables:
                self.names.declare(variable.name, variable.type_tokens, variable.default)
            self._protected(block)
        finally:
            self.names.scopes.pop()

    def _protected(self, block: Block) -> None:
        try:
            self.statements(block.body)
        except OraError as error:
            handler = find_handler(block.handlers, error)
            if handler is None:
                raise
            self._handle(handler, error)

    def _handle(self, handler: ExceptionHandler, error: OraError) -> None:
        code = 100 if error.code == 1403 else -error.code
        scope = {"SQLCODE": Variable(bound(code)), "SQLERRM": Variable(bound(str(error)))}
        self.handled.append(error)
        self.names.scopes.append(scope)
        try:
            self.statements(handler.body)
        finally:
            self.names.scopes.pop()
            self.handled.pop()

    def statements(self, body: list[BlockStatement]) -> None:
        for statement in body:
            self.steps.workspace.interruption.check()
            match statement:
                case Block():
                    self.block(statement)
                case If():
                    self._if(statement)
                case Loop():
                    self._loop(statement)
                case Step():
                    self._step(statement.tokens)

    def _if(self, statement: If) -> None:
        for condition, body in statement.branches:
            if not condition or self.names.is_true(condition):
                self.statements(body)
                return

    def _loop(self, loop: Loop) -> None:
        head = loop.head
        if head and head[0].is_word("FOR"):
            self._for(loop)
            return
        while not head or self.names.is_true(head[1:]):
            self.steps.workspace.interruption.check()
            if not self._turn(loop.body):
                return

    def _turn(self, body: list[BlockStatement]) -> bool:
        """One iteration of a loop; False when the loop ends."""
        try:
            self.statements(body)
        except _Leave as leave:
            if leave.word == "RETURN":
                raise
            return leave.word == "CONTINUE"
        return True

    def _for(self, loop: Loop) -> None:
        head = loop.head
        if len(head) < 4 or not head[2].is_word("IN"):
            raise ora(6550, 1, head[0].start + 1, 'PLS-00103: Encountered the symbol "LOOP"')
        counter, span = head[1].value, head[3:]
        turns = self._rows(counter, span) if span[0].is_sign("(") else self._numbers(counter, span)
        for scope in turns:
            self.names.scopes.append(scope)
            try:
                if not self._turn(loop.body):
                    return
            finally:
                self.names.scopes.pop()

    def _numbers(self, counter: str, span: Tokens) -> list[dict[str, Variable]]:
        backwards = span[0].is_word("REVERSE")
        span = span[1:] if backwards else span
        cut = next((i for i, t in enumerate(span) if t.is_sign("..")), None)
        if cut is None:
            raise unsupported("a FOR loop over a cursor")
        low, high = (self.names.value_of(part) for part in (span[:cut], span[cut + 1 :]))
        if low is None or high is None:
            raise ora(6502)
        turns = [{counter: Variable(bound(i))} for i in range(round(float(str(low))), round(float(str(high))) + 1)]
        return turns[::-1] if backwards else turns

    def _rows(self, counter: str, span: Tokens) -> list[dict[str, Variable]]:
        text, row = self.names.with_binds(span[1:-1], self.steps.columns_named(span))
        statement = parse_statement(text)
        labels = [column.name for column in queries.describe(self.steps.workspace, statement)]
        columns = self.names.query(statement, row)
        return [
            {f"{counter}.{label}": Variable(bound(value)) for label, value in zip(labels, values, strict=True)}
            for values in zip(*columns, strict=True)
        ]

    def _step(self, tokens: Tokens) -> None:
        first = tokens[0]
        if len(tokens) > 1 and tokens[1].is_sign(":=") and first.kind in (Kind.BIND, Kind.WORD, Kind.QUOTED):
            self.names.assign(first, tokens[2:])
            return
        word = first.value if first.kind is Kind.WORD else ""
        if word == "NULL" and len(tokens) == 1:
            return
        if word in ("EXIT", "CONTINUE"):
            self._leave(word, tokens[1:])
        elif word == "RETURN":
            raise _Leave("RETURN")
        elif word == "RAISE":
            self._raise(tokens[1:])
        elif word == "EXECUTE" and len(tokens) > 2 and tokens[1].is_word("IMMEDIATE"):
            self.steps.execute_immediate(tokens[2:])
        elif word in ("SELECT", "WITH"):
            self.steps.select_into(tokens)
        elif word in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            self.steps.change(tokens)
        elif word in ("COMMIT", "ROLLBACK", "SAVEPOINT", "SET", "LOCK"):
            commands.execute(self.steps.workspace, parse_statement(" ".join(self.steps.written(tokens))))
        else:
            self.steps.call(tokens)

    def _leave(self, word: str, rest: Tokens) -> None:
        if rest and not rest[0].is_word("WHEN"):
            raise unsupported("PL/SQL labels")
        if not rest or self.names.is_true(rest[1:]):
            raise _Leave(word)

    def _raise(self, rest: Tokens) -> None:
        if not rest:
            if not self.handled:
                raise ora(6550, 1, 1, "PLS-00367: a RAISE statement with no exception name must be inside a handler")
            raise self.handled[-1]
        if rest[0].value not in EXCEPTIONS:
            raise unsupported(f"PL/SQL exception {rest[0].value}")
        raise ora(EXCEPTIONS[rest[0].value])
