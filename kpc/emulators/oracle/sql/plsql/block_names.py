"""Names and values of a running block: binds and variables, and expressions and SQL that read them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

import pyarrow as pa

from kpc.emulators.oracle.interface import Bind, BindValue, OraError, OraType
from kpc.emulators.oracle.sql.dml import returned
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken
from kpc.emulators.oracle.sql.plsql.tree import Tokens
from kpc.emulators.oracle.sql.query import bind_rows
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.types import datatypes
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

_NUMBER_ERRORS = {1722: "character to number conversion error", 1438: "number precision too large"}
_INTEGERS = ("PLS_INTEGER", "BINARY_INTEGER", "NATURAL", "POSITIVE", "SIMPLE_INTEGER")
_LONGEST_TEXT = 32_767


@dataclass(slots=True)
class Variable:
    """`declared` is its type as written, for CAST; text is checked against `size` instead."""

    value: Bind
    declared: str = ""
    size: int = 0


@dataclass(slots=True)
class BlockNames:
    """What a block can name; inner blocks hide outer ones. `assigned` are the binds that were given a value."""

    workspace: StatementWorkspace
    sql: str
    binds: dict[str, Bind]
    scopes: list[dict[str, Variable]] = field(default_factory=list)
    assigned: set[str] = field(default_factory=set)
    row_count: int | None = None  # SQL%ROWCOUNT

    def find(self, name: str) -> Variable | None:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def declare(self, name: str, type_tokens: Tokens, default: Tokens) -> None:
        """A variable of its declared type. Raises ORA-03001 for a type that SQL does not have."""
        written = self._slice(type_tokens).upper()
        declared = "NUMBER(10)" if written in _INTEGERS else written
        if "%" in declared or declared in ("BOOLEAN", "EXCEPTION"):
            raise unsupported(f"PL/SQL type {declared}")
        made = Variable(Bind(OraType.VARCHAR2, None), declared)
        if declared.startswith(("VARCHAR", "NVARCHAR")):
            digits = "".join(letter for letter in declared if letter.isdigit() and letter)
            made.size = min(int(declared.partition("(")[2].split()[0].strip(")") or 0) if digits else 0, _LONGEST_TEXT)
            if not made.size:
                raise ora(6550, 1, 1, "PLS-00215: String length constraints must be in range (1 .. 32767)")
        else:
            made.value = Bind(datatypes.parse_type(declared).ora, None)
        self.scopes[-1][name] = made
        if default:
            self._store(made, default)

    def assign(self, target: SqlToken, value: Tokens) -> None:
        """target := expression"""
        if target.kind is Kind.BIND:
            self.give_bind(target.value, self.value_of(value))
            return
        variable = self.find(target.value)
        if variable is None:
            raise ora(6550, 1, target.start + 1, f"PLS-00201: identifier '{target.value}' must be declared")
        self._store(variable, value)

    def _store(self, variable: Variable, tokens: Tokens) -> None:
        text, row = self.with_binds(tokens)
        if variable.size:
            made = self._evaluate(f"TO_CHAR({text})" if not _is_text(tokens) else text, row)
            variable.value = _text_bind(made, variable.size)
            return
        variable.value = replace(variable.value, value=self._evaluate(f"CAST({text} AS {variable.declared})", row))

    def give(self, target: SqlToken, value: BindValue) -> None:
        """A value that SQL or a procedure made, into a bind or a variable."""
        if target.kind is Kind.BIND:
            self.give_bind(target.value, value)
            return
        variable = self.find(target.value)
        if variable is None:
            raise ora(6550, 1, target.start + 1, f"PLS-00201: identifier '{target.value}' must be declared")
        if variable.size:
            variable.value = _text_bind(value, variable.size)
            return
        statement = f"CAST(:v0 AS {variable.declared})"
        variable.value = replace(variable.value, value=self._evaluate(statement, [bound(value)]))

    def give_bind(self, name: str, value: BindValue) -> None:
        self.binds[name] = bound(value)
        self.assigned.add(name)

    def value_of(self, tokens: Tokens) -> BindValue:
        return self._evaluate(*self.with_binds(tokens))

    def is_true(self, tokens: Tokens) -> bool:
        """A condition; unknown is not true."""
        text, row = self.with_binds(tokens)
        return self._evaluate(f"CASE WHEN {text} THEN 1 ELSE 0 END", row) == 1

    def _evaluate(self, text: str, row: list[Bind]) -> BindValue:
        """An expression, as SQL evaluates it."""
        try:
            columns = self.query(parse_statement(f"SELECT {text} FROM DUAL"), row)
        except OraError as error:
            if error.code in _NUMBER_ERRORS:
                raise OraError(6502, f"PL/SQL: numeric or value error: {_NUMBER_ERRORS[error.code]}") from None
            raise
        return columns[0][0]

    def query(self, statement: ParsedStatement, row: list[Bind], limit: int | None = None) -> list[list[BindValue]]:
        """The columns of a query's result."""
        assert statement.tree is not None
        if statement.tree.args.get("locks"):
            raise unsupported("SELECT INTO ... FOR UPDATE")
        if len(row) < len(statement.bind_names):
            raise ora(1008)
        context = self.workspace.context(bind_rows.constants(row))
        query = QueryCompiler(context).compile(statement.tree)
        executor = self.workspace.executor(context)
        for name, table in context.arrow.items():
            executor.cursor.register(name, table)
        sql = query.sql if limit is None else f"SELECT * FROM ({query.sql}) LIMIT {limit}"
        result: pa.Table = executor.run(sql)
        return [returned.values_of(c.type, result.column(i).combine_chunks()) for i, c in enumerate(query.columns)]

    def with_binds(self, tokens: Tokens, hidden: frozenset[str] = frozenset()) -> tuple[str, list[Bind]]:
        """The SQL of these tokens with `:v0`, `:v1` ... for what the block names; `hidden` are columns, which win."""
        out: list[str] = []
        row: list[Bind] = []
        at = 0
        while at < len(tokens):
            token, width = tokens[at], 1
            value = self._special(tokens, at)
            if value is not None:
                out.append(value)
                at += 3
                continue
            found = self._named(tokens, at, hidden)
            if found is not None:
                (bind, width) = found
                out.append(f":v{len(row)}")
                row.append(bind)
            else:
                out.append(self.sql[token.start : token.end])
            at += width
        return " ".join(out), row

    def _special(self, tokens: Tokens, at: int) -> str | None:
        """SQL%ROWCOUNT, SQL%FOUND and SQL%NOTFOUND as SQL text."""
        if not (tokens[at].is_word("SQL") and at + 2 < len(tokens) and tokens[at + 1].is_sign("%")):
            return None
        word, count = tokens[at + 2].value, self.row_count
        if word == "ROWCOUNT":
            return "NULL" if count is None else str(count)
        if word not in ("FOUND", "NOTFOUND"):
            raise unsupported(f"SQL%{word}")
        is_so = count is not None and (count > 0) == (word == "FOUND")
        return "1 = 1" if is_so else "1 = 0"

    def _named(self, tokens: Tokens, at: int, hidden: frozenset[str]) -> tuple[Bind, int] | None:
        token = tokens[at]
        if token.kind is Kind.BIND:
            return self.binds[token.value], 1
        if token.kind not in (Kind.WORD, Kind.QUOTED) or token.value in hidden or (at and tokens[at - 1].is_sign(".")):
            return None
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        if following is not None and following.is_sign("."):
            member = self.find(f"{token.value}.{tokens[at + 2].value}") if at + 2 < len(tokens) else None
            return (member.value, 3) if member is not None else None
        variable = self.find(token.value)
        if variable is None or (following is not None and following.is_sign("(")):
            return None
        return variable.value, 1

    def _slice(self, tokens: Tokens) -> str:
        return self.sql[tokens[0].start : tokens[-1].end] if tokens else ""


def _is_text(tokens: Tokens) -> bool:
    return len(tokens) == 1 and tokens[0].kind is Kind.STRING


def _text_bind(value: BindValue, size: int) -> Bind:
    text = None if value is None else str(value)
    if text is not None and len(text.encode()) > size:
        raise ora(6502)
    return Bind(OraType.VARCHAR2, text, size)


def bound(value: BindValue) -> Bind:
    """A value as a bind of the type that Python shows."""
    kinds: list[tuple[type, OraType]] = [
        (str, OraType.VARCHAR2),
        (bytes, OraType.RAW),
        (float, OraType.BINARY_DOUBLE),
        (dt.datetime, OraType.TIMESTAMP),
        (dt.timedelta, OraType.INTERVAL_DS),
    ]
    kind = next((ora_type for python, ora_type in kinds if isinstance(value, python)), OraType.NUMBER)
    return Bind(OraType.VARCHAR2 if value is None else kind, value)
