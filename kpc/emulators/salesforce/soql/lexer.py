"""SOQL text as tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kpc.emulators.salesforce.errors import ApiError

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<symbol><=|>=|!=|<>|=|<|>|\(|\)|,|:)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
PLAIN_NEXT = "\x01"  # marks an escaped wildcard inside a string
_MOST_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class SoqlToken:
    """`kind` is string, datetime, date, number, name, symbol or end; `text` without quotes and escapes."""

    kind: str
    text: str
    position: int

    @property
    def word(self) -> str:
        """The text as a key word; for anything but a name or symbol, nothing."""
        return self.text.upper() if self.kind in ("name", "symbol") else ""


def malformed(message: str) -> ApiError:
    return ApiError(400, "MALFORMED_QUERY", message)


def tokens_of(soql: str) -> list[SoqlToken]:
    """All tokens and an `end`. Raises MALFORMED_QUERY for text that cannot be one."""
    if len(soql) > _MOST_CHARS:
        raise ApiError(400, "QUERY_TOO_COMPLICATED", f"SOQL statements cannot be longer than {_MOST_CHARS} characters.")
    tokens: list[SoqlToken] = []
    position = 0
    text = soql.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            rest = text[position:].lstrip()
            if rest.startswith("'"):
                raise malformed("Bind variables only allowed in Apex code, or: string literal is not closed")
            raise malformed(f"line 1:{position} unexpected character {rest[0]!r}")
        value = match[match.lastgroup]
        if match.lastgroup == "string":
            value = re.sub(r"\\(.)", _unescape, value[1:-1], flags=re.DOTALL)
        tokens.append(SoqlToken(match.lastgroup, value, match.start(match.lastgroup)))
        position = match.end()
    return [*tokens, SoqlToken("end", "<EOF>", len(text))]


def _unescape(match: re.Match[str]) -> str:
    char = match[1]
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char in "_%":  # only LIKE tells them from the wildcards
        return PLAIN_NEXT + char
    return char
