"""Which conditions of a WHERE clause bound what has to be read: ROWIDs, an index's first column, partitions."""

from __future__ import annotations

from sqlglot import exp

from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.nodes import identifier
from kpc.emulators.oracle.sql.query.scope import FromSource, Scope
from kpc.emulators.oracle.sql.types import positions
from kpc.emulators.oracle.sql.types.values import Expr

_FLIP = {"LT": "GT", "LTE": "GTE", "GT": "LT", "GTE": "LTE", "EQ": "EQ"}


def narrow(scope: Scope, tests: list[exp.Expr], compiler: Expressions) -> None:
    """Note the bounds of each source's scan. Conditions that are not understood bound nothing."""
    for test in tests:
        _note_condition(scope, test, compiler)
        if isinstance(test, exp.Between):
            _bound(_source(test.this, scope), "GTE", test.args["low"], compiler)
            _bound(_source(test.this, scope), "LTE", test.args["high"], compiler)
        elif type(test).__name__ in _FLIP:
            word = type(test).__name__
            _bound(_source(test.this, scope), word, test.expression, compiler)
            _bound(_source(test.expression, scope), _FLIP[word], test.this, compiler)


def _note_condition(scope: Scope, test: exp.Expr, compiler: Expressions) -> None:
    """Note a comparison of a bare column with something constant; a function of the column serves no plain index."""
    if not (isinstance(test, exp.Between) or type(test).__name__ in _FLIP) or test.find(exp.Query) is not None:
        return
    columns = list(test.find_all(exp.Column))
    if len(columns) != 1 or not any(test.args.get(side) is columns[0] for side in ("this", "expression")):
        return
    label = identifier(columns[0].args["table"]) if columns[0].args.get("table") else None
    hits = [s for s in scope.sources if s.scan is not None and label in (None, s.alias)]
    name = identifier(columns[0].this)
    if len(scope.sources) == 1 and hits and hits[0].scan is not None and hits[0].scan.table.column(name) is not None:
        hits[0].scan.conditions.setdefault(name, []).append(compiler.condition(test))


def _source(node: exp.Expr, scope: Scope) -> FromSource | None:
    """The base table whose ROWID `node` is."""
    if not isinstance(node, exp.Column | exp.Pseudocolumn) or str(node.name).upper() != "ROWID":
        return None
    label = identifier(node.args["table"]) if node.args.get("table") else None
    hits = [s for s in scope.sources if s.scan is not None and label in (None, s.alias)]
    return hits[0] if len(hits) == 1 else None


def _bound(source: FromSource | None, word: str, node: exp.Expr, compiler: Expressions) -> None:
    if source is None or source.scan is None or node.find(exp.Query) is not None:
        return  # a subquery is no bound known beforehand, and must not be compiled twice
    position = _position(compiler.value(node))
    if position is None:
        return
    if word in {"GTE", "GT", "EQ"}:
        source.scan.low = max(source.scan.low, position)
    if word in {"LTE", "LT", "EQ"}:
        source.scan.high = min(source.scan.high, position)


def _position(value: Expr) -> int | None:
    """The position that a constant ROWID stands for."""
    if isinstance(value.constant, str):
        return positions.decode(value.constant)
    return value.constant if isinstance(value.constant, int) else None
