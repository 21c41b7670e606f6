"""Reading a token list from left to right, for DDL."""

from __future__ import annotations

from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken


class TokenReader:
    """A cursor over tokens; `text` keeps positions for slices."""

    def __init__(self, text: str, tokens: list[SqlToken]) -> None:
        self.text = text
        self.tokens = tokens
        self.at = 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.tokens)

    def peek(self, *words: str) -> bool:
        """Whether the next tokens are these words or signs."""
        for index, word in enumerate(words):
            position = self.at + index
            if position >= len(self.tokens):
                return False
            token = self.tokens[position]
            if token.kind not in (Kind.WORD, Kind.SIGN) or token.value != word:
                return False
        return True

    def take(self, *words: str) -> bool:
        """Step over these words if they come next."""
        if not self.peek(*words):
            return False
        self.at += len(words)
        return True

    def expect(self, word: str, code: int = 922) -> None:
        if not self.take(word):
            raise ora(code)

    def next(self, code: int = 922) -> SqlToken:
        if self.is_done:
            raise ora(code)
        self.at += 1
        return self.tokens[self.at - 1]

    def identifier(self, code: int = 903) -> str:
        token = self.next(code)
        if token.kind not in (Kind.WORD, Kind.QUOTED):
            raise ora(code)
        if len(token.value.encode()) > 128:
            raise ora(972)
        return token.value

    def object_name(self, code: int = 903) -> tuple[str | None, str]:
        """[owner.]name"""
        first = self.identifier(code)
        if self.take("."):
            return first, self.identifier(code)
        return None, first

    def names(self) -> tuple[str, ...]:
        """(a, b, c)"""
        self.expect("(", 906)
        found = [self.identifier(904)]
        while self.take(","):
            found.append(self.identifier(904))
        self.expect(")", 907)
        return tuple(found)

    def slice_until(self, *words: str) -> str:
        """The SQL up to one of these words, a comma or a closing parenthesis on this level."""
        start = self.at
        depth = 0
        while not self.is_done:
            token = self.tokens[self.at]
            if depth == 0 and (token.is_word(*words) or token.is_sign(",") or token.is_sign(")")):
                break
            depth += token.is_sign("(") - token.is_sign(")")
            self.at += 1
        if self.at == start:
            raise ora(936)
        return self.text[self.tokens[start].start : self.tokens[self.at - 1].end]

    def parenthesised(self) -> str:
        """What stands between this parenthesis and its partner."""
        self.expect("(", 906)
        start, depth = self.at, 1
        while depth:
            token = self.next(907)
            depth += token.is_sign("(") - token.is_sign(")")
        if self.at - 1 == start:
            raise ora(936)
        return self.text[self.tokens[start].start : self.tokens[self.at - 2].end]

    def inside(self, position: int) -> bool:
        """Whether the token at `position` stands inside parentheses that open after the current one."""
        between = self.tokens[self.at : position]
        return position < self.at or sum(t.is_sign("(") - t.is_sign(")") for t in between) > 0

    def rest(self) -> str:
        return self.text[self.tokens[self.at].start : self.tokens[-1].end] if not self.is_done else ""
