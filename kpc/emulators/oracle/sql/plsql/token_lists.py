"""Token lists cut at the words and commas outside parentheses."""

from __future__ import annotations

from kpc.emulators.oracle.sql.plsql.tree import Tokens


def at_top(tokens: Tokens, word: str) -> int | None:
    """Where a word stands outside parentheses."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.is_word(word):
            return at
    return None


def parts(tokens: Tokens) -> list[Tokens]:
    """The parts between commas."""
    found: list[Tokens] = [[]]
    depth = 0
    for token in tokens:
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.is_sign(","):
            found.append([])
        elif not (depth == 0 and not found[-1] and token.is_word("IN") and len(tokens) > 1):
            found[-1].append(token)
    return [part for part in found if part]


def unnamed(part: Tokens) -> Tokens:
    """An argument without `name =>`: the procedures here take their arguments in order."""
    arrow = next((at for at, token in enumerate(part) if token.is_sign("=>")), None)
    return part if arrow is None else part[arrow + 1 :]
