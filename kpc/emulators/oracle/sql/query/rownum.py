"""ROWNUM: rows are numbered as they pass WHERE, before grouping and ordering."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from kpc.emulators.oracle.sql.messages import unsupported
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.types.values import Expr

_FLIP = {"LT": "GT", "LTE": "GTE", "GT": "LT", "GTE": "LTE", "EQ": "EQ", "NEQ": "NEQ"}


def _is_rownum(node: exp.Expr) -> bool:
    return (
        isinstance(node, exp.Column | exp.Pseudocolumn)
        and not node.args.get("table")
        and str(node.name).upper() == "ROWNUM"
        and not node.this.args.get("quoted")
    )


_LIMIT = " LIMIT "


def _mentions(node: exp.Expr) -> bool:
    """Whether this block's own expressions, not its subqueries', use ROWNUM."""
    if _is_rownum(node):
        return True
    return any(_mentions(child) for child in node.iter_expressions() if not isinstance(child, exp.Query))


def split(tests: list[exp.Expr], compiler: Expressions) -> tuple[list[exp.Expr], str]:
    """The conditions that do not mention ROWNUM, and the LIMIT that stands for those that do."""
    limits = [test for test in tests if _mentions(test)]
    return [test for test in tests if not _mentions(test)], _limit(limits, compiler)


def apply(node: exp.Expr, tests: list[exp.Expr], from_sql: str, compiler: Expressions) -> tuple[str, str]:
    """(FROM, WHERE) of a block. With ROWNUM, WHERE and the limit move into a derived table that numbers its rows."""
    plain, limit = split(tests, compiler)
    sources = compiler.scope.sources
    if limit and not plain and len(sources) == 1 and sources[0].scan is not None:
        sources[0].scan.stops_after = limit.removeprefix(_LIMIT)
    where = " AND ".join(compiler.condition(test) for test in plain)
    where = f" WHERE {where}" if where else ""
    parts = [*node.expressions, *(node.args[k] for k in ("order", "group", "having") if node.args.get(k))]
    shown = any(_mentions(part) for part in parts)
    if not limit and not shown:
        return from_sql, where
    compiler.scope.numbered = numbered = compiler.context.alias()
    listed: list[str] = []
    for source in compiler.scope.sources:
        for column, e in source.columns.items():
            label = f"k{len(listed)}"
            listed.append(f"{e.sql} AS {label}")
            moved = replace(e, sql=f"{numbered}.{label}")
            source.columns[column] = moved
            if compiler.scope.merged.get(column) is e:
                compiler.scope.merged[column] = moved
        if source.rowid is not None:
            label = f"k{len(listed)}"
            listed.append(f"{source.rowid} AS {label}")
            source.rowid = f"{numbered}.{label}"
    for column, e in compiler.scope.merged.items():
        if not e.sql.startswith(f"{numbered}."):
            label = f"k{len(listed)}"
            listed.append(f"{e.sql} AS {label}")
            compiler.scope.merged[column] = replace(e, sql=f"{numbered}.{label}")
    for column, e in compiler.scope.pseudo.items():
        label = f"k{len(listed)}"
        listed.append(f"{e.sql} AS {label}")
        compiler.scope.pseudo[column] = replace(e, sql=f"{numbered}.{label}")
    if shown:
        listed.append("row_number() OVER () AS rownum")
        compiler.scope.rownum = f"{numbered}.rownum"
    return f"(SELECT {', '.join(listed)} FROM {from_sql}{where}{limit}) AS {numbered}", ""


def _limit(tests: list[exp.Expr], compiler: Expressions) -> str:
    bounds = [_bound(test, compiler) for test in tests]
    return f"{_LIMIT}greatest(least({', '.join(bounds)}), 0)" if bounds else ""


def _bound(test: exp.Expr, compiler: Expressions) -> str:
    """How many rows may pass a condition on ROWNUM."""
    if isinstance(test, exp.Paren):
        return _bound(test.this, compiler)
    if isinstance(test, exp.Between) and _is_rownum(test.this):
        low = _floor(compiler.value(test.args["low"]))
        return f"CASE WHEN {low} <= 1 THEN {_floor(compiler.value(test.args['high']))} ELSE 0 END"
    name = type(test).__name__
    if name not in _FLIP:
        raise unsupported("this condition on ROWNUM")
    left, right = test.this, test.expression
    if _is_rownum(right):
        left, right, name = right, left, _FLIP[name]
    if not _is_rownum(left) or _mentions(right):
        raise unsupported("this condition on ROWNUM")
    value = compiler.value(right)
    if value.constant is None and not compiler.context.is_describe:
        raise unsupported("ROWNUM compared with something else than a constant")
    number = _floor(value)
    exact = f"CAST({value.sql} AS DECIMAL(38,10))" if not value.type.is_wide and value.type.is_number else number
    match name:
        case "LTE":
            return number
        case "LT":
            return f"ceil({exact})::BIGINT - 1"
        case "EQ":
            return f"CASE WHEN {exact} = 1 THEN 1 ELSE 0 END"
        case "GTE":
            return f"CASE WHEN {exact} <= 1 THEN {_ALL} ELSE 0 END"
        case "GT":
            return f"CASE WHEN {exact} < 1 THEN {_ALL} ELSE 0 END"
        case _:
            raise unsupported("ROWNUM <>")


_ALL = "9223372036854775807"


def _floor(value: Expr) -> str:
    if value.is_null:
        return "0"
    if not value.type.is_number or value.type.is_wide:
        raise unsupported("ROWNUM compared with something else than a number")
    return f"floor({value.sql})::BIGINT"
