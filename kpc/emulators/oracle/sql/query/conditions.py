"""Conditions: sqlglot's tree becomes a DuckDB boolean, with Oracle's rules for NULL and for comparing types."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.functions import texts
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query.expression_compiler import ExpressionCompiler
from kpc.emulators.oracle.sql.query.nodes import only
from kpc.emulators.oracle.sql.types import comparison
from kpc.emulators.oracle.sql.types.conversion import to_text
from kpc.emulators.oracle.sql.types.values import Expr, quote

_OPERATORS = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}


def _and(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    word = "AND" if isinstance(node, exp.And) else "OR"
    return f"({compiler.condition(node.this)} {word} {compiler.condition(node.expression)})"


def _not(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    return f"(NOT {compiler.condition(node.this)})"


def _paren(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    return f"({compiler.condition(node.this)})"


def _compare(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    operator = _OPERATORS[type(node).__name__]
    left, right = node.this, node.expression
    if isinstance(left, exp.Tuple) or isinstance(right, exp.Tuple):
        return _row_compare(compiler, operator, left, right)
    quantifier = str(right.this).upper() if isinstance(right, exp.Anonymous) else type(right).__name__.upper()
    if quantifier in ("ANY", "SOME", "ALL"):
        return _quantified(compiler, operator, left, right, quantifier)
    return comparison.compare(operator, compiler.value(left), compiler.value(right), compiler.context)


def _quantified(compiler: ExpressionCompiler, operator: str, left: exp.Expr, right: exp.Expr, quantifier: str) -> str:
    listed = right.expressions if isinstance(right, exp.Anonymous) else []
    if not listed or any(isinstance(item, exp.Query) for item in listed):
        raise unsupported(f"{quantifier} with a subquery")
    value = compiler.value(left)
    tests = [comparison.compare(operator, value, item, compiler.context) for item in compiler.all(listed)]
    return f"({(' AND ' if quantifier == 'ALL' else ' OR ').join(tests)})"


def _row_compare(compiler: ExpressionCompiler, operator: str, left: exp.Expr, right: exp.Expr) -> str:
    if operator not in ("=", "<>"):
        raise ora(1796)
    inner = right.expressions[0] if isinstance(right, exp.Tuple) and len(right.expressions) == 1 else right
    if isinstance(inner, exp.Paren):
        inner = inner.this
    if (
        not isinstance(left, exp.Tuple)
        or not isinstance(inner, exp.Tuple)
        or len(left.expressions) != len(inner.expressions)
    ):
        raise unsupported("this row comparison")
    pairs = zip(compiler.all(left.expressions), compiler.all(inner.expressions), strict=True)
    test = " AND ".join(comparison.compare("=", a, b, compiler.context) for a, b in pairs)
    return f"({test})" if operator == "=" else f"(NOT ({test}))"


def _is(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    if not isinstance(node.expression, exp.Null):
        raise unsupported("IS with something else than NULL")
    return f"({compiler.value(node.this).sql} IS NULL)"


def _between(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    only(node, "this", "low", "high")
    value, low, high = (compiler.value(part) for part in (node.this, node.args["low"], node.args["high"]))
    above = comparison.compare(">=", value, low, compiler.context)
    return f"({above} AND {comparison.compare('<=', value, high, compiler.context)})"


def _in(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    only(node, "this", "expressions", "query")
    query = node.args.get("query")
    subjects = node.this.expressions if isinstance(node.this, exp.Tuple) else [node.this]
    lefts = compiler.all(subjects)
    if query is not None:
        return _in_query(compiler, lefts, query)
    if isinstance(node.this, exp.Tuple):
        tests = []
        for item in node.expressions:
            rights = compiler.all(item.expressions if isinstance(item, exp.Tuple) else [item])
            if len(rights) != len(lefts):
                raise ora(913 if len(rights) > len(lefts) else 947)
            pairs = zip(lefts, rights, strict=True)
            tests.append("(" + " AND ".join(comparison.compare("=", a, b, compiler.context) for a, b in pairs) + ")")
        return f"({' OR '.join(tests)})"
    return _in_list(compiler, lefts[0], compiler.all(node.expressions))


def _in_list(compiler: ExpressionCompiler, left: Expr, items: list[Expr]) -> str:
    """One IN where all items take the same conversion (a long list stays fast), else a chain of OR."""
    pairs = [comparison.aligned(left, item, compiler.context) for item in items if not item.is_null]
    null_test = ["NULL::BOOLEAN"] if any(item.is_null for item in items) else []
    if left.type.ora in (OraType.CLOB, OraType.BLOB):
        raise ora(932, "-", left.type.word)
    if pairs and len({a.sql for a, _ in pairs}) == 1:
        tests = [f"({pairs[0][0].sql} IN ({', '.join(b.sql for _, b in pairs)}))"]
    else:
        tests = [f"({a.sql} = {b.sql})" for a, b in pairs]
    return f"({' OR '.join([*tests, *null_test])})"


def _in_query(compiler: ExpressionCompiler, lefts: list[Expr], query: exp.Expr) -> str:
    inner = query.this if isinstance(query, exp.Subquery) else query
    sql, columns = compiler.subquery(inner, compiler.scope)
    if len(columns) != len(lefts):
        raise ora(913 if len(columns) > len(lefts) else 947)
    alias = compiler.context.alias()
    sides = [
        comparison.aligned(left, replace(column, sql=f"{alias}.c{i}"), compiler.context)
        for i, (left, column) in enumerate(zip(lefts, columns, strict=True))
    ]
    if len(sides) == 1:
        ((left, item),) = sides
        return f"({left.sql} IN (SELECT {item.sql} FROM ({sql}) AS {alias}))"
    # DuckDB takes two rows with NULL in the same place for equal; Oracle does not know whether they are.
    test = " AND ".join(f"{a.sql} = {b.sql}" for a, b in sides)
    verdict = "CASE WHEN bool_or(t) THEN TRUE WHEN bool_or(t IS NULL) THEN NULL ELSE FALSE END"
    return f"(SELECT {verdict} FROM (SELECT ({test}) AS t FROM ({sql}) AS {alias}))"


def _like(compiler: ExpressionCompiler, node: exp.Expr, escape: str | None = None) -> str:
    text, pattern = (to_text(compiler.value(part), compiler.context) for part in (node.this, node.expression))
    if text.is_null or pattern.is_null:
        return "NULL::BOOLEAN"
    if escape is not None and isinstance(pattern.constant, str):
        mark = re.escape(escape)
        escaped = re.sub(mark * 2, "", pattern.constant)
        if re.search(rf"{mark}(?![%_])", escaped):
            raise ora(1424)
    tail = f" ESCAPE {quote(escape)}" if escape else ""
    word = "NOT LIKE" if node.args.get("negate") else "LIKE"
    return f"({text.sql} {word} {pattern.sql}{tail})"


def _escape(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    letter = compiler.value(node.expression).constant
    if not isinstance(letter, str) or len(letter) != 1:
        raise ora(1425)
    if not isinstance(node.this, exp.Like):
        raise unsupported("ESCAPE here")
    return _like(compiler, node.this, letter)


def _exists(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    inner = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    sql, _ = compiler.subquery(inner, compiler.scope)
    return f"EXISTS ({sql})"


def _function(compiler: ExpressionCompiler, node: exp.Expr) -> str:
    if str(node.this).upper() == "REGEXP_LIKE":
        return texts.regexp_like(compiler.all(node.expressions), compiler.context)
    raise ora(920)


# Which function compiles which node.
CONDITIONS: dict[str, Callable[[ExpressionCompiler, exp.Expr], str]] = {
    "And": _and,
    "Or": _and,
    "Not": _not,
    "Paren": _paren,
    **dict.fromkeys(_OPERATORS, _compare),
    "Is": _is,
    "Between": _between,
    "In": _in,
    "Like": _like,
    "Escape": _escape,
    "Exists": _exists,
    "Anonymous": _function,
}
