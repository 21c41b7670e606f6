"""CONNECT BY as a row generator only: `FROM dual CONNECT BY LEVEL <= n`. Hierarchies are refused."""

from __future__ import annotations

from sqlglot import exp

from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.types import datatypes
from kpc.emulators.oracle.sql.types.conversion import whole
from kpc.emulators.oracle.sql.types.values import Expr

_COUNTERS = ("LEVEL", "ROWNUM")


def levels(connect: exp.Expr, scope: Scope, compiler: Expressions) -> str:
    """FROM for so many rows of DUAL; LEVEL is known in `scope` from here on."""
    if connect.args.get("start") is not None or [source.table for source in scope.sources] != ["DUAL"]:
        raise unsupported("CONNECT BY over a table")
    last = _last_level(connect.args["connect"], compiler)
    source = scope.sources[0]
    scope.pseudo["LEVEL"] = Expr(f"{source.relation}.level", datatypes.free_number(12, 0), nullable=False)
    return f"(SELECT 'X' AS dummy, range + 1 AS level FROM range(greatest({last}, 1)::BIGINT)) AS {source.relation}"


def _last_level(condition: exp.Expr, compiler: Expressions) -> str:
    """DuckDB SQL of the greatest LEVEL that the condition lets pass."""
    if isinstance(condition, exp.Paren):
        return _last_level(condition.this, compiler)
    if not isinstance(condition, exp.LTE | exp.LT) or not _is_counter(condition.this):
        raise unsupported("a CONNECT BY other than LEVEL <= n")
    value = compiler.value(condition.expression)
    if value.constant is None and not compiler.context.is_describe:
        if value.is_null or value.sql.startswith("NULL"):
            return "1"
        raise ora(1788) if value.type.is_text else unsupported("LEVEL compared with something else than a constant")
    if isinstance(condition, exp.LT):
        return f"ceil(({whole(value, compiler.context)})::DOUBLE)::BIGINT - 1"
    return whole(value, compiler.context)


def _is_counter(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column | exp.Pseudocolumn) and str(node.name).upper() in _COUNTERS
