"""Anonymous blocks: variables, control flow, SQL, EXECUTE IMMEDIATE, exceptions, and the calls of a few packages.

Stored code, cursors, collections and records are refused. What a handler may not swallow: a break (ORA-01013) and what
the emulator does not do (ORA-03001).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kpc.emulators.oracle.interface import Bind, BindValue, ExecutionOutcome, OraError, StatementKind
from kpc.emulators.oracle.sql.dml import array_dml
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken
from kpc.emulators.oracle.sql.plsql import packages
from kpc.emulators.oracle.sql.plsql.block_names import BlockNames, Variable, bound
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

if TYPE_CHECKING:
    from kpc.emulators.oracle.sql.session import OracleSession

_EXCEPTIONS = {
    "NO_DATA_FOUND": 1403,
    "TOO_MANY_ROWS": 1422,
    "DUP_VAL_ON_INDEX": 1,
    "ZERO_DIVIDE": 1476,
    "VALUE_ERROR": 6502,
    "INVALID_NUMBER": 1722,
    "LOGIN_DENIED": 1017,
    "TIMEOUT_ON_RESOURCE": 51,
}
_NEVER_CAUGHT = (1013, 3001)
_START = "start of the block"  # no name that SQL can give a savepoint
_CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE", "EXECUTE")


class _Leave(Exception):
    """EXIT, CONTINUE or RETURN under way; `word` says which."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def execute(session: OracleSession, statement: ParsedStatement, rows: Sequence[Sequence[Bind]]) -> ExecutionOutcome:
    """Run the block once per bind row. OUT values are given by the position of the bind's unique name."""
    outcome = ExecutionOutcome(StatementKind.PLSQL)
    block = _block(statement.tokens)
    for row in rows or [()]:
        names = BlockNames(session, statement.sql, dict(zip(statement.bind_names, row, strict=True)))
        _run_whole(session, names, block, statement.tokens)
        for position, (name, bind) in enumerate(zip(statement.bind_names, row, strict=True)):
            if name in names.assigned or bind.is_out:
                outcome.out.setdefault(position, []).append(_fitting(names.binds[name].value, bind))
    return outcome


def _block(tokens: Tokens) -> Block:
    """CALL is a block of one."""
    if tokens[0].is_word("CALL"):
        return Block([], [Step([t for t in tokens[1:] if not t.is_sign(";")])])
    return read_block(tokens)


def _fitting(value: BindValue, bind: Bind) -> BindValue:
    if isinstance(value, str) and bind.size and len(value.encode()) > bind.size:
        raise ora(6502)
    return value


def _run_whole(session: OracleSession, names: BlockNames, block: Block, tokens: Tokens) -> None:
    """A block that fails leaves no change behind, except what it committed."""
    changes = any(token.is_word(*_CHANGES) for token in tokens)
    if changes:
        session.transaction.savepoint(_START)
    run = _BlockRun(session, names)
    try:
        run.block(block)
    except _Leave as leave:
        if leave.word != "RETURN":
            raise ora(6550, 1, 1, f"PLS-00376: illegal {leave.word} statement; it must appear inside a loop") from None
    except OraError:
        if changes and session.transaction.has_savepoint(_START):
            session.transaction.rollback_to(_START)
        raise
    finally:
        session.transaction.forget_savepoint(_START)


class _BlockRun:
    def __init__(self, session: OracleSession, names: BlockNames) -> None:
        self.session = session
        self.names = names
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
            handler = _handler(block.handlers, error)
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
            self.session.check_interrupt()
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

    # Loops

    def _loop(self, loop: Loop) -> None:
        head = loop.head
        if head and head[0].is_word("FOR"):
            self._for(loop)
            return
        while not head or self.names.is_true(head[1:]):
            self.session.check_interrupt()
            if not self._turn(loop.body):
                return

    def _turn(self, body: list[BlockStatement]) -> bool:
        """One turn of a loop; False when it is to end."""
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
        text, row = self.names.with_binds(span[1:-1], self._columns_named(span))
        statement = parse_statement(text)
        labels = [column.name for column in self.session.describe(statement)]
        columns = self.names.query(statement, row)
        return [
            {f"{counter}.{label}": Variable(bound(value)) for label, value in zip(labels, values, strict=True)}
            for values in zip(*columns, strict=True)
        ]

    # Steps

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
            self._execute_immediate(tokens[2:])
        elif word in ("SELECT", "WITH"):
            self._select_into(tokens)
        elif word in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            self._change(tokens)
        elif word in ("COMMIT", "ROLLBACK", "SAVEPOINT", "SET", "LOCK"):
            commands.execute(self.session, parse_statement(" ".join(self._written(tokens))))
        else:
            self._call(tokens)

    def _written(self, tokens: Tokens) -> list[str]:
        return [self.names.sql[t.start : t.end] for t in tokens]

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
        if rest[0].value not in _EXCEPTIONS:
            raise unsupported(f"PL/SQL exception {rest[0].value}")
        raise ora(_EXCEPTIONS[rest[0].value])

    def _select_into(self, tokens: Tokens) -> None:
        into = _at_top(tokens, "INTO")
        if into is None:
            raise ora(6550, 1, tokens[0].start + 1, "PLS-00428: an INTO clause is expected in this SELECT statement")
        end = into + (_at_top(tokens[into:], "FROM") or len(tokens) - into)
        if tokens[into - 1].is_word("COLLECT"):
            raise unsupported("BULK COLLECT")
        targets = [t for t in tokens[into + 1 : end] if not t.is_sign(",")]
        body = tokens[:into] + tokens[end:]
        text, row = self.names.with_binds(body, self._columns_named(body))
        self._fill(targets, self.names.query(parse_statement(text), row, limit=2))

    def _fill(self, targets: list[SqlToken], columns: list[list[BindValue]]) -> None:
        if len(targets) != len(columns):
            raise ora(913 if len(columns) > len(targets) else 947)
        if not columns[0]:
            self.names.row_count = 0
            raise ora(1403)
        if len(columns[0]) > 1:
            raise ora(1422)
        self.names.row_count = 1
        for target, column in zip(targets, columns, strict=True):
            self.names.give(target, column[0])

    def _change(self, tokens: Tokens) -> None:
        """DML; the targets of RETURNING ... INTO become binds that carry nothing."""
        returning = _at_top(tokens, "RETURNING") or _at_top(tokens, "RETURN")
        into = returning + (_at_top(tokens[returning:], "INTO") or 0) if returning else None
        targets = [] if into is None else [t for t in tokens[into + 1 :] if not t.is_sign(",")]
        body = tokens if into is None else tokens[: into + 1]
        text, row = self._change_text(body)
        text += ", ".join(f" :t{i}" for i in range(len(targets)))
        statement = parse_statement(text)
        outcome = self._dml(statement, row + [bound(None)] * len(targets))
        if targets:
            self._fill(targets, [outcome.out.get(position) or [None] for position in statement.into])
        self.names.row_count = outcome.row_count

    def _change_text(self, body: Tokens) -> tuple[str, list[Bind]]:
        """In VALUES there are no columns, before it there are only columns; elsewhere a column hides a variable."""
        cut = _at_top(body, "VALUES") if body[0].is_word("INSERT") else None
        if cut is None:
            return self.names.with_binds(body, self._columns_named(body))
        text, row = self.names.with_binds(body[cut:])
        return " ".join([*self._written(body[:cut]), text]), row

    def _columns_named(self, tokens: Tokens) -> frozenset[str]:
        """The columns of every table that the tokens mention."""
        found: set[str] = set()
        context = self.session.context({})
        for at, token in enumerate(tokens):
            if token.kind not in (Kind.WORD, Kind.QUOTED):
                continue
            has_owner = at > 1 and tokens[at - 1].is_sign(".")
            owner = tokens[at - 2].value if has_owner else None
            if self.session.schema.find(owner, token.value) is not None:
                try:
                    relation = self.session.schema.relation(owner, token.value, context, scn=None)
                except OraError:
                    continue
                found.update(column.name for column in relation.columns)
        return frozenset(found)

    def _dml(self, statement: ParsedStatement, row: list[Bind]) -> ExecutionOutcome:
        return array_dml.execute(self.session, statement, [row], batch_errors=False, row_counts=False)

    def _execute_immediate(self, tokens: Tokens) -> None:
        """EXECUTE IMMEDIATE text [INTO targets] [USING values]"""
        using, into = _at_top(tokens, "USING"), _at_top(tokens, "INTO")
        ends = [at for at in (using, into) if at is not None]
        text = self.names.value_of(tokens[: min(ends, default=len(tokens))])
        row = [bound(self.names.value_of(part)) for part in _parts(tokens[using + 1 :])] if using is not None else []
        statement = parse_statement(str(text or ""))
        if into is not None:
            if statement.kind is not StatementKind.QUERY:
                raise unsupported("EXECUTE IMMEDIATE ... INTO of something else than a query")
            targets = [t for t in tokens[into + 1 : using] if not t.is_sign(",")]
            self._fill(targets, self.names.query(statement, row, limit=2))
            return
        self.names.row_count = self._run_dynamic(statement, row).row_count

    def _run_dynamic(self, statement: ParsedStatement, row: list[Bind]) -> ExecutionOutcome:
        from kpc.emulators.oracle.sql.ddl import dispatch  # noqa: PLC0415  it knows sessions, which know blocks

        if len(row) != len(statement.bind_names):
            raise ora(1008 if len(row) < len(statement.bind_names) else 1006)
        match statement.kind:
            case StatementKind.DML:
                return self._dml(statement, row)
            case StatementKind.DDL:
                return dispatch.execute(self.session, statement)
            case StatementKind.PLSQL:
                return execute(self.session, statement, [row])
            case StatementKind.QUERY:
                return ExecutionOutcome(StatementKind.QUERY)  # never fetched, so never run
            case _:
                return commands.execute(self.session, statement)

    def _call(self, tokens: Tokens) -> None:
        """package.procedure(arguments), positional or named."""
        opens = next((i for i, t in enumerate(tokens) if t.is_sign("(")), len(tokens))
        if any(t.kind not in (Kind.WORD, Kind.SIGN, Kind.QUOTED) for t in tokens[:opens]):
            raise unsupported("this PL/SQL statement")
        name = "".join(t.value for t in tokens[:opens])
        parts = [_unnamed(part) for part in _parts(tokens[opens + 1 : -1])]
        if name == "RAISE_APPLICATION_ERROR":
            _raise_application_error([self.names.value_of(part) for part in parts])
        arguments = [None if _is_unset_bind(self.names, part) else self.names.value_of(part) for part in parts]
        for place, value in packages.call(self.session, name, arguments).items():
            self.names.give(parts[place][0], value)


def _is_unset_bind(names: BlockNames, part: Tokens) -> bool:
    return len(part) == 1 and part[0].kind is Kind.BIND and names.binds[part[0].value].value is None


def _raise_application_error(arguments: list[BindValue]) -> None:
    code = -int(str(arguments[0])) if arguments else 0
    if not 20_000 <= code <= 20_999:
        raise ora(21000, arguments[0] if arguments else "")
    raise OraError(code, str(arguments[1] if len(arguments) > 1 else ""))


def _handler(handlers: list[ExceptionHandler], error: OraError) -> ExceptionHandler | None:
    if error.code in _NEVER_CAUGHT:
        return None
    for handler in handlers:
        for name in handler.names:
            if name not in _EXCEPTIONS and name != "OTHERS":
                raise unsupported(f"PL/SQL exception {name}")
            if name == "OTHERS" or _EXCEPTIONS[name] == error.code:
                return handler
    return None


def _at_top(tokens: Tokens, word: str) -> int | None:
    """Where a word stands outside parentheses."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.is_word(word):
            return at
    return None


def _parts(tokens: Tokens) -> list[Tokens]:
    """What commas part."""
    found: list[Tokens] = [[]]
    depth = 0
    for token in tokens:
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.is_sign(","):
            found.append([])
        elif not (depth == 0 and not found[-1] and token.is_word("IN") and len(tokens) > 1):
            found[-1].append(token)
    return [part for part in found if part]


def _unnamed(part: Tokens) -> Tokens:
    """An argument without `name =>`: the procedures here take their arguments in order."""
    arrow = next((at for at, token in enumerate(part) if token.is_sign("=>")), None)
    return part if arrow is None else part[arrow + 1 :]
