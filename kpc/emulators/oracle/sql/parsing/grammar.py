"""From SQL text to a classified statement: binds renamed, comments and hints dropped, queries and DML parsed by
sqlglot.

The parser is sqlglot's for Oracle with every function left as it is written: what a function means is decided by our
own table (`functions`), so that nothing is silently turned into something similar.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.oracle import Oracle
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.oracle import OracleParser
from sqlglot.tokenizer_core import TokenType

from kpc.emulators.oracle.interface import OraError, StatementKind
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing import lexer
from kpc.emulators.oracle.sql.parsing.lexer import Kind, SqlToken

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # what it would warn about is refused, by it or by us

_KINDS = {
    **dict.fromkeys(("SELECT", "WITH", "("), StatementKind.QUERY),
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE", "MERGE"), StatementKind.DML),
    **dict.fromkeys(
        ("CREATE", "ALTER", "DROP", "TRUNCATE", "COMMENT", "RENAME", "GRANT", "REVOKE", "PURGE"), StatementKind.DDL
    ),
    **dict.fromkeys(("BEGIN", "DECLARE", "CALL"), StatementKind.PLSQL),
    **dict.fromkeys(("COMMIT", "ROLLBACK", "SAVEPOINT", "SET", "LOCK"), StatementKind.TRANSACTION),
}
_OWN_KEYWORDS = frozenset(
    {
        "SYSTIMESTAMP",
        "CURRENT_TIMESTAMP",
        "LOCALTIMESTAMP",
        "CURRENT_DATE",
        "CURRENT_USER",
        "CURRENT_TIME",
        "CURRENT_DATETIME",
        "CURRENT_ROLE",
    }
)


class _OracleParser(OracleParser):
    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        "CAST": lambda self: self.parse_oracle_cast(),
        "EXTRACT": OracleParser.FUNCTION_PARSERS["EXTRACT"],
        "TRIM": OracleParser.FUNCTION_PARSERS["TRIM"],
    }
    NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        word: OracleParser.NO_PAREN_FUNCTION_PARSERS[word] for word in ("CASE", "PRIOR", "CONNECT_BY_ROOT")
    }

    def parse_oracle_cast(self) -> exp.Expr:
        """CAST(expression AS type), with the type kept as text for `datatypes.parse_type`."""
        value = self._parse_disjunction()
        if not self._match(TokenType.ALIAS):
            self.raise_error("Expected AS")
        start, depth = self._curr, 0
        while self._curr and (depth or self._curr.token_type != TokenType.R_PAREN):
            depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(self._curr.token_type, 0)
            self._advance()
        kind = self._find_sql(start, self._prev)
        return exp.Anonymous(this="CAST", expressions=[value, exp.Literal.string(kind)])


class OracleGrammar(Oracle):
    """sqlglot's Oracle dialect, functions untouched."""

    class Tokenizer(Oracle.Tokenizer):
        KEYWORDS: ClassVar[dict[str, Any]] = {
            word: kind for word, kind in Oracle.Tokenizer.KEYWORDS.items() if word not in _OWN_KEYWORDS
        }

    Parser = _OracleParser


@dataclass(slots=True)
class ParsedStatement:
    """See `interface.PreparedStatement`.

    `text` is the SQL with binds as `:b0`, `:b1` ...; `tree` is set for queries and DML.
    """

    kind: StatementKind
    bind_names: tuple[str, ...]
    sql: str
    tokens: list[SqlToken]
    text: str
    tree: exp.Expr | None = None
    into: tuple[int, ...] = ()  # bind positions after RETURNING ... INTO
    returning: list[exp.Expr] = field(default_factory=list)


def parse_statement(sql: str) -> ParsedStatement:
    """Classify and parse. Raises an error of the ORA-00900 family for text that is not a statement."""
    found = lexer.tokens(sql)
    if not found:
        raise ora(900)
    first = found[0].value
    if found[0].is_sign("<"):  # a PL/SQL label
        raise unsupported("PL/SQL labels")
    kind = _KINDS.get(first)
    if kind is None:
        raise unsupported(f"statement {first}") if first in ("EXPLAIN", "ANALYZE", "AUDIT", "FLASHBACK") else ora(900)
    if first == "ALTER" and len(found) > 1 and found[1].is_word("SESSION"):
        kind = StatementKind.TRANSACTION
    names = [token.value for token in found if token.kind is Kind.BIND]
    for token in found:
        if token.kind is Kind.BIND and token.value in lexer.RESERVED and sql[token.start + 1] != '"':
            raise ora(1745, position=token.start)
    if kind is StatementKind.PLSQL:
        return ParsedStatement(kind, tuple(dict.fromkeys(names)), sql, found, sql)
    if kind in (StatementKind.QUERY, StatementKind.DML) and found[-1].is_sign(";"):
        raise ora(933, position=found[-1].start)
    _refuse_stray_commas(found)
    statement = ParsedStatement(kind, tuple(names), sql, found, rewritten(sql, found))
    if kind is StatementKind.QUERY:
        statement.tree = parse_tree(statement.text)
    elif kind is StatementKind.DML:
        _parse_dml(statement)
    return statement


def rewritten(sql: str, found: list[SqlToken], first_bind: int = 0) -> str:
    """The SQL with single blanks, no comments, plain strings, and binds by number."""
    out: list[str] = []
    binds = first_bind
    for token in found:
        if token.kind is Kind.BIND:
            out.append(f":b{binds}")
            binds += 1
        elif token.kind is Kind.STRING:
            raw = sql[token.start : token.end]
            prefix = "N" if raw[0] in "nN" else ""
            out.append(prefix + "'" + token.value.replace("'", "''") + "'")
        elif token.kind is Kind.NUMBER and token.value[-1] in "dDfF":
            name = "TO_BINARY_DOUBLE" if token.value[-1] in "dD" else "TO_BINARY_FLOAT"
            out.append(f"{name}('{token.value[:-1]}')")
        else:
            out.append(sql[token.start : token.end])
    return " ".join(out)


@lru_cache(maxsize=512)
def _parse_cached(text: str) -> exp.Expr:
    try:
        trees = OracleGrammar().parse(text)
    except (ParseError, TokenError) as error:
        raise _syntax_error(text, error) from None
    tree = trees[0] if trees else None
    if len(trees) != 1 or tree is None:
        raise ora(933)
    return tree


def parse_tree(text: str) -> exp.Expr:
    """One query, DML statement or expression. The tree is shared: do not change it."""
    return _parse_cached(text)


def parse_condition(text: str) -> exp.Expr:
    """A condition, e.g. of a CHECK constraint."""
    tree = parse_tree(f"SELECT 1 FROM DUAL WHERE {text}")
    where = tree.args["where"]
    assert isinstance(where, exp.Where)
    return where.this  # type: ignore[no-any-return]  # sqlglot's args are untyped


def parse_expression(text: str) -> exp.Expr:
    """An expression, e.g. of DEFAULT."""
    tree = parse_tree(f"SELECT {text} FROM DUAL")
    if len(tree.expressions) != 1:
        raise ora(936)
    return tree.expressions[0]  # type: ignore[no-any-return]


def _refuse_stray_commas(found: list[SqlToken]) -> None:
    """A comma before FROM, a closing parenthesis or the end, which sqlglot lets pass. Raises ORA-00936."""
    for token, following in zip(found, [*found[1:], None], strict=True):
        if token.is_sign(",") and (following is None or following.is_word("FROM") or following.is_sign(")")):
            raise ora(936, position=token.end)


def _syntax_error(text: str, error: Exception) -> OraError:
    shown = str(error)
    upper = text.upper()
    if re.search(r"VERSIONS BETWEEN|\bMODEL\b|MATCH_RECOGNIZE|\bPIVOT\b|XMLTABLE|JSON_TABLE", upper):
        return unsupported("this clause")
    if "Expecting )" in shown:
        return ora(907)
    if re.search(r"\bFROM\s*$", upper):
        return ora(903)
    if re.search(r"\bORDER\s+(?!BY\b|SIBLINGS\b)", upper):
        return ora(924)
    if upper.startswith("UPDATE") and not re.search(r"\bSET\b", upper):
        return ora(971)
    if re.search(r"==|SELECT\s+FROM\b|,\s*FROM\b|SELECT\s*$|(=|<|>|\+|\*|/|,|\bAND|\bOR|\bWHERE)\s*$", upper):
        return ora(936)
    if upper.startswith("SELECT") and not re.search(r"\bFROM\b", upper):
        return ora(923)
    if upper.startswith("INSERT") and not re.search(r"\b(VALUES|SELECT)\b", upper):
        return ora(926)
    return ora(933)


_RETURNING = frozenset({"RETURNING", "RETURN"})


def _parse_dml(statement: ParsedStatement) -> None:
    """Cut RETURNING ... INTO off and parse the rest; MERGE's DELETE WHERE, which sqlglot does not know, is refused."""
    found = statement.tokens
    depth, cut = 0, None
    for index, token in enumerate(found):
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.kind is Kind.WORD and token.value in _RETURNING and index:
            cut = index
    body = found if cut is None else found[:cut]
    text = rewritten(statement.sql, body)
    if len(body) > 1 and body[0].is_word("DELETE") and not body[1].is_word("FROM"):
        text = f"DELETE FROM {text[len('DELETE') :]}"  # FROM may be left out, but sqlglot wants it
    statement.tree = parse_tree(text)
    if cut is None:
        return
    into = next((i for i in range(cut, len(found)) if found[i].is_word("INTO")), None)
    if into is None:
        raise ora(925)
    before = sum(token.kind is Kind.BIND for token in body)
    items = rewritten(statement.sql, found[cut + 1 : into], before)
    used = sum(token.kind is Kind.BIND for token in found[cut:into])
    targets = [token for token in found[into + 1 :] if not token.is_sign(",")]
    if not targets or any(token.kind is not Kind.BIND for token in targets):
        raise ora(1008)
    tree = parse_tree(f"SELECT {items} FROM DUAL")
    statement.returning = list(tree.expressions)
    statement.into = tuple(before + used + i for i in range(len(targets)))
    if len(statement.returning) != len(targets):
        raise ora(913 if len(statement.returning) > len(targets) else 947)
