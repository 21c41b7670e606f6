"""What the modules that compile parts of an expression need of the one that compiles it all.

`expressions.Expressions` is the only implementation; the parts call back into it for what stands inside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlglot import exp

from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.types.values import Expr

Subquery = Callable[[exp.Expr, Scope], tuple[str, list[Expr]]]


class ExpressionCompiler(Protocol):
    """Compiles the expressions of one query block. `subquery` gives DuckDB SQL and its columns."""

    context: Context
    scope: Scope

    @property
    def subquery(self) -> Subquery: ...

    def value(self, node: exp.Expr) -> Expr: ...

    def all(self, nodes: list[exp.Expr]) -> list[Expr]: ...

    def condition(self, node: exp.Expr) -> str: ...
