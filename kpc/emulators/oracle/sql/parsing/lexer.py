"""Oracle's tokens: enough to find binds, classify a statement, and read DDL and PL/SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from kpc.emulators.oracle.sql.messages import ora


class Kind(StrEnum):
    WORD = "word"
    QUOTED = "quoted"  # "name"
    STRING = "string"
    NUMBER = "number"
    BIND = "bind"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class SqlToken:
    """`value` is the meaning: upper case for words, the content for strings and quoted names."""

    kind: Kind
    value: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        return self.kind is Kind.WORD and self.value in words

    def is_sign(self, sign: str) -> bool:
        return self.kind is Kind.SIGN and self.value == sign


# SQL Language Reference, "Oracle SQL Reserved Words": names that no bind may have.
_RESERVED_WORDS = """
    ACCESS ADD ALL ALTER AND ANY AS ASC AUDIT BETWEEN BY CHAR CHECK CLUSTER COLUMN COLUMN_VALUE COMMENT COMPRESS
    CONNECT CREATE CURRENT DATE DECIMAL DEFAULT DELETE DESC DISTINCT DROP ELSE EXCLUSIVE EXISTS FILE FLOAT FOR FROM
    GRANT GROUP HAVING IDENTIFIED IMMEDIATE IN INCREMENT INDEX INITIAL INSERT INTEGER INTERSECT INTO IS LEVEL LIKE
    LOCK LONG MAXEXTENTS MINUS MLSLABEL MODE MODIFY NESTED_TABLE_ID NOAUDIT NOCOMPRESS NOT NOWAIT NULL NUMBER OF
    OFFLINE ON ONLINE OPTION OR ORDER PCTFREE PRIOR PUBLIC RAW RENAME RESOURCE REVOKE ROW ROWID ROWNUM ROWS SELECT
    SESSION SET SHARE SIZE SMALLINT START SUCCESSFUL SYNONYM SYSDATE TABLE THEN TO TRIGGER UID UNION UNIQUE UPDATE
    USER VALIDATE VALUES VARCHAR VARCHAR2 VIEW WHENEVER WHERE WITH
"""
RESERVED = frozenset(_RESERVED_WORDS.split())
_SPACE = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)+", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<qstring>[nN]?[qQ]'(?P<open>.))|(?P<string>[nN]?'(?:[^']|'')*')|\"(?P<quoted>[^\"]+)\"|:(?P<bind>\"[^\"]+\"|[A-Za-z0-9_$#]+)"
    r"|(?P<number>(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?[dDfF]?(?![A-Za-z0-9_$#]))|(?P<word>[^\W\d][\w$#]*)"
    r"|(?P<sign>\(\s*\+\s*\)|:=|\|\||<>|!=|\^=|<=|>=|=>|\.\.|\*\*|.)",
    re.DOTALL,
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "<": ">"}


def tokens(sql: str) -> list[SqlToken]:
    """Raises ORA-01756 for a string that does not end."""
    found: list[SqlToken] = []
    at = 0
    while True:
        space = _SPACE.match(sql, at)
        at = space.end() if space else at
        if at >= len(sql):
            return found
        match = _TOKEN.match(sql, at)
        assert match is not None  # the last alternative takes any character
        token = _token(sql, match)
        if token.kind is Kind.SIGN and token.value in ("'", '"'):
            raise ora(1756)
        found.append(token)
        at = token.end


def _token(sql: str, match: re.Match[str]) -> SqlToken:
    start, end = match.span()
    if match["qstring"]:
        closing = _CLOSING.get(match["open"], match["open"]) + "'"
        stop = sql.find(closing, end)
        if stop < 0:
            raise ora(1756)
        return SqlToken(Kind.STRING, sql[end:stop], start, stop + 2)
    if match["string"]:
        return SqlToken(Kind.STRING, match["string"].lstrip("nN")[1:-1].replace("''", "'"), start, end)
    if match["quoted"]:
        return SqlToken(Kind.QUOTED, match["quoted"], start, end)
    if match["bind"]:
        name = match["bind"]
        return SqlToken(Kind.BIND, name[1:-1] if name.startswith('"') else name.upper(), start, end)
    if match["number"]:
        return SqlToken(Kind.NUMBER, match["number"], start, end)
    if match["word"]:
        return SqlToken(Kind.WORD, match["word"].upper(), start, end)
    sign = "(+)" if match["sign"].startswith("(") and "+" in match["sign"] else match["sign"]
    return SqlToken(Kind.SIGN, sign, start, end)


def without_spaces(sql: str, found: list[SqlToken]) -> str:
    """The text of these tokens as Oracle names a column without alias: upper case, no blanks."""
    text = "".join(sql[token.start : token.end] for token in found)
    return "".join(text.split()).upper()


def select_items(sql: str, found: list[SqlToken]) -> list[str] | None:
    """The names of the outermost select list's items as they are written; None when it cannot be told."""
    depth = 0
    start = None
    for index, token in enumerate(found):
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.is_word("SELECT"):
            start = index + 1
            break
    if start is None:
        return None
    if start < len(found) and found[start].is_word("DISTINCT", "UNIQUE", "ALL"):
        start += 1
    items: list[list[SqlToken]] = [[]]
    for token in found[start:]:
        depth += token.is_sign("(") - token.is_sign(")")
        if depth < 0 or (depth == 0 and token.is_word("FROM")):
            break
        if depth == 0 and token.is_sign(","):
            items.append([])
        else:
            items[-1].append(token)
    return [without_spaces(sql, item) for item in items]
