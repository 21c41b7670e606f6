"""An anonymous block as a tree. Statements without structure of their own stay tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken

Tokens = list[SqlToken]


@dataclass(frozen=True, slots=True)
class Step:
    """An assignment, a call, SQL, EXIT, RAISE ...: what stands before the semicolon."""

    tokens: Tokens


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with their statements, in order; ELSE has no condition."""

    branches: list[tuple[Tokens, list[BlockStatement]]]


@dataclass(frozen=True, slots=True)
class Loop:
    """`head`: nothing, `WHILE condition`, `FOR i IN [REVERSE] low .. high` or `FOR row IN (query)`."""

    head: Tokens
    body: list[BlockStatement]


@dataclass(frozen=True, slots=True)
class VariableDeclaration:
    name: str
    type_tokens: Tokens
    default: Tokens


@dataclass(frozen=True, slots=True)
class ExceptionHandler:
    names: tuple[str, ...]
    body: list[BlockStatement]


@dataclass(frozen=True, slots=True)
class Block:
    variables: list[VariableDeclaration]
    body: list[BlockStatement]
    handlers: list[ExceptionHandler] = field(default_factory=list)


BlockStatement = Step | If | Loop | Block
_BODY_ENDS = ("END", "EXCEPTION", "ELSIF", "ELSE", "WHEN")
_DECLARED_OTHERWISE = ("CURSOR", "PRAGMA", "PROCEDURE", "FUNCTION", "TYPE", "SUBTYPE")


def read_block(tokens: Tokens) -> Block:
    """The whole of an anonymous block. Raises ORA-06550 where it is none, ORA-03001 for what is not emulated."""
    body = list(tokens)
    if body and body[-1].is_sign("/"):
        body.pop()
    reader = _Reader(body)
    block = reader.block()
    if not reader.is_done:
        raise reader.syntax_error()
    return block


class _Reader:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.at = 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.tokens)

    def syntax_error(self) -> OraError:
        token = self.tokens[min(self.at, len(self.tokens) - 1)]
        return ora(6550, 1, token.start + 1, f'PLS-00103: Encountered the symbol "{token.value}"')

    def peek(self, *words: str) -> bool:
        return not self.is_done and self.tokens[self.at].is_word(*words)

    def take(self, word: str) -> bool:
        found = self.peek(word) or (not self.is_done and self.tokens[self.at].is_sign(word))
        self.at += found
        return found

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.take(word):
                raise self.syntax_error()

    def until(self, *ends: str) -> Tokens:
        """Up to a word or sign outside parentheses and CASE expressions, which is stepped over."""
        start, depth, cases = self.at, 0, 0
        while not self.is_done:
            token = self.tokens[self.at]
            if depth == cases == 0 and token.kind in (Kind.WORD, Kind.SIGN) and token.value in ends:
                self.at += 1
                return self.tokens[start : self.at - 1]
            depth += token.is_sign("(") - token.is_sign(")")
            cases += token.is_word("CASE") - (cases > 0 and token.is_word("END"))
            self.at += 1
        raise self.syntax_error()

    def block(self) -> Block:
        """[DECLARE ...] BEGIN ... [EXCEPTION ...] END [name];"""
        variables = self._variables() if self.take("DECLARE") else []
        self.expect("BEGIN")
        body = self._body()
        handlers = self._handlers() if self.take("EXCEPTION") else []
        self.expect("END")
        self.until(";")
        return Block(variables, body, handlers)

    def _variables(self) -> list[VariableDeclaration]:
        found = []
        while not self.peek("BEGIN"):
            if self.is_done:
                raise self.syntax_error()
            if self.peek(*_DECLARED_OTHERWISE):
                raise unsupported(f"PL/SQL {self.tokens[self.at].value}")
            words = self.until(";")
            if len(words) < 2:
                raise self.syntax_error()
            cut = next((i for i, t in enumerate(words) if t.is_sign(":=") or t.is_word("DEFAULT")), len(words))
            kind = [t for t in words[1:cut] if not t.is_word("CONSTANT", "NOT", "NULL")]
            found.append(VariableDeclaration(words[0].value, kind, words[cut + 1 :]))
        return found

    def _body(self) -> list[BlockStatement]:
        found: list[BlockStatement] = []
        while not self.peek(*_BODY_ENDS):
            if self.is_done:
                raise self.syntax_error()
            found.append(self._statement())
        if not found:
            raise self.syntax_error()
        return found

    def _statement(self) -> BlockStatement:
        if self.peek("DECLARE", "BEGIN"):
            return self.block()
        if self.take("IF"):
            return self._if()
        if self.peek("FOR", "WHILE", "LOOP"):
            head = self.until("LOOP")
            body = self._body()
            self.expect("END", "LOOP", ";")
            return Loop(head, body)
        if self.peek("CASE", "GOTO", "OPEN", "FETCH", "CLOSE", "FORALL", "PIPE") or self.tokens[self.at].is_sign("<"):
            raise unsupported(f"PL/SQL {self.tokens[self.at].value}")
        step = self.until(";")
        if not step:
            raise self.syntax_error()
        return Step(step)

    def _if(self) -> If:
        branches = [(self.until("THEN"), self._body())]
        while self.take("ELSIF"):
            branches.append((self.until("THEN"), self._body()))
        if self.take("ELSE"):
            branches.append(([], self._body()))
        self.expect("END", "IF", ";")
        return If(branches)

    def _handlers(self) -> list[ExceptionHandler]:
        found = []
        while self.take("WHEN"):
            names = self.until("THEN")
            found.append(ExceptionHandler(tuple(t.value for t in names if not t.is_word("OR")), self._body()))
        if not found:
            raise self.syntax_error()
        return found
