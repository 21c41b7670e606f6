"""The steps of a block that run SQL or call a package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kpc.emulators.oracle.interface import Bind, BindValue, ExecutionOutcome, OraError, StatementKind
from kpc.emulators.oracle.sql.ddl import dispatch
from kpc.emulators.oracle.sql.dml import array_dml
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken
from kpc.emulators.oracle.sql.plsql import packages
from kpc.emulators.oracle.sql.plsql.block_names import BlockNames, bound
from kpc.emulators.oracle.sql.plsql.exceptions import raise_application_error
from kpc.emulators.oracle.sql.plsql.packages import OutputBuffer
from kpc.emulators.oracle.sql.plsql.token_lists import at_top, parts, unnamed
from kpc.emulators.oracle.sql.plsql.tree import Tokens
from kpc.emulators.oracle.sql.transactions import commands
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

BlockRunner = Callable[[ParsedStatement, Sequence[Sequence[Bind]]], ExecutionOutcome]


@dataclass(frozen=True, slots=True)
class SqlSteps:
    """`run_block` runs a block that EXECUTE IMMEDIATE holds."""

    workspace: StatementWorkspace
    output: OutputBuffer
    names: BlockNames
    run_block: BlockRunner

    def select_into(self, tokens: Tokens) -> None:
        """SELECT ... INTO: exactly one row. Raises ORA-01403 or ORA-01422."""
        into = at_top(tokens, "INTO")
        if into is None:
            raise ora(6550, 1, tokens[0].start + 1, "PLS-00428: an INTO clause is expected in this SELECT statement")
        end = into + (at_top(tokens[into:], "FROM") or len(tokens) - into)
        if tokens[into - 1].is_word("COLLECT"):
            raise unsupported("BULK COLLECT")
        targets = [t for t in tokens[into + 1 : end] if not t.is_sign(",")]
        body = tokens[:into] + tokens[end:]
        text, row = self.names.with_binds(body, self.columns_named(body))
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

    def change(self, tokens: Tokens) -> None:
        """DML; the targets of RETURNING ... INTO become binds that carry nothing."""
        returning = at_top(tokens, "RETURNING") or at_top(tokens, "RETURN")
        into = returning + (at_top(tokens[returning:], "INTO") or 0) if returning else None
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
        cut = at_top(body, "VALUES") if body[0].is_word("INSERT") else None
        if cut is None:
            return self.names.with_binds(body, self.columns_named(body))
        text, row = self.names.with_binds(body[cut:])
        return " ".join([*self.written(body[:cut]), text]), row

    def columns_named(self, tokens: Tokens) -> frozenset[str]:
        """The columns of every table that the tokens mention."""
        found: set[str] = set()
        context = self.workspace.context({})
        for at, token in enumerate(tokens):
            if token.kind not in (Kind.WORD, Kind.QUOTED):
                continue
            has_owner = at > 1 and tokens[at - 1].is_sign(".")
            owner = tokens[at - 2].value if has_owner else None
            if self.workspace.schema.find(owner, token.value) is not None:
                try:
                    relation = self.workspace.schema.relation(owner, token.value, context, scn=None)
                except OraError:
                    continue
                found.update(column.name for column in relation.columns)
        return frozenset(found)

    def _dml(self, statement: ParsedStatement, row: list[Bind]) -> ExecutionOutcome:
        return array_dml.execute(self.workspace, statement, [row], batch_errors=False, row_counts=False)

    def execute_immediate(self, tokens: Tokens) -> None:
        """EXECUTE IMMEDIATE text [INTO targets] [USING values]"""
        using, into = at_top(tokens, "USING"), at_top(tokens, "INTO")
        ends = [at for at in (using, into) if at is not None]
        text = self.names.value_of(tokens[: min(ends, default=len(tokens))])
        row = [bound(self.names.value_of(part)) for part in parts(tokens[using + 1 :])] if using is not None else []
        statement = parse_statement(str(text or ""))
        if into is not None:
            if statement.kind is not StatementKind.QUERY:
                raise unsupported("EXECUTE IMMEDIATE ... INTO of something else than a query")
            targets = [t for t in tokens[into + 1 : using] if not t.is_sign(",")]
            self._fill(targets, self.names.query(statement, row, limit=2))
            return
        self.names.row_count = self._run_dynamic(statement, row).row_count

    def _run_dynamic(self, statement: ParsedStatement, row: list[Bind]) -> ExecutionOutcome:
        if len(row) != len(statement.bind_names):
            raise ora(1008 if len(row) < len(statement.bind_names) else 1006)
        match statement.kind:
            case StatementKind.DML:
                return self._dml(statement, row)
            case StatementKind.DDL:
                return dispatch.execute(self.workspace, statement)
            case StatementKind.PLSQL:
                return self.run_block(statement, [row])
            case StatementKind.QUERY:
                return ExecutionOutcome(StatementKind.QUERY)  # never fetched, so never run
            case _:
                return commands.execute(self.workspace, statement)

    def call(self, tokens: Tokens) -> None:
        """package.procedure(arguments), positional or named."""
        opens = next((i for i, t in enumerate(tokens) if t.is_sign("(")), len(tokens))
        if any(t.kind not in (Kind.WORD, Kind.SIGN, Kind.QUOTED) for t in tokens[:opens]):
            raise unsupported("this PL/SQL statement")
        name = "".join(t.value for t in tokens[:opens])
        given = [unnamed(part) for part in parts(tokens[opens + 1 : -1])]
        if name == "RAISE_APPLICATION_ERROR":
            raise_application_error([self.names.value_of(part) for part in given])
        arguments = [None if _is_unset_bind(self.names, part) else self.names.value_of(part) for part in given]
        for place, value in packages.call(self.workspace, self.output, name, arguments).items():
            self.names.give(given[place][0], value)

    def written(self, tokens: Tokens) -> list[str]:
        """The tokens as the block has them."""
        return [self.names.sql[t.start : t.end] for t in tokens]


def _is_unset_bind(names: BlockNames, part: Tokens) -> bool:
    return len(part) == 1 and part[0].kind is Kind.BIND and names.binds[part[0].value].value is None
