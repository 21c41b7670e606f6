"""Oracle's old outer join: conditions marked (+) in WHERE become LEFT JOINs."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.query.scope import Scope


@dataclass(slots=True)
class Plan:
    """`inner` sources have no condition, each `outer` one is joined on its marked ones; `rest` stays in WHERE."""

    inner: list[str]
    outer: list[tuple[str, list[exp.Expr]]] = field(default_factory=list)
    rest: list[exp.Expr] = field(default_factory=list)


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """The conditions that AND joins."""
    if isinstance(node, exp.And):
        return [*conjuncts(node.this), *conjuncts(node.expression)]
    if isinstance(node, exp.Paren) and isinstance(node.this, exp.And):
        return conjuncts(node.this)
    return [node]


def _columns(node: exp.Expr) -> list[exp.Expr]:
    return list(node.find_all(exp.Column))


def is_marked(node: exp.Expr) -> bool:
    return any(column.args.get("join_mark") for column in _columns(node))


def _owner(column: exp.Expr, scope: Scope) -> str | None:
    table = column.args.get("table")
    if table is not None:
        text = str(table.this)
        return text if table.args.get("quoted") else text.upper()
    name = str(column.this.this)
    name = name if column.this.args.get("quoted") else name.upper()
    return next((s.alias for s in scope.sources if name in s.columns), None)


def plan(scope: Scope, tests: list[exp.Expr]) -> Plan:
    """Raises ORA-01416 when two tables are outer-joined to each other, ORA-01719 for a mark under OR."""
    conditions: dict[str, list[exp.Expr]] = {}
    needs: dict[str, set[str]] = {}
    rest = []
    for test in tests:
        if not is_marked(test):
            rest.append(test)
            continue
        if isinstance(test, exp.Or | exp.In) or test.find(exp.Or):
            raise ora(1719)
        marked = {_owner(c, scope) for c in _columns(test) if c.args.get("join_mark")}
        plain = {_owner(c, scope) for c in _columns(test) if not c.args.get("join_mark")}
        if len(marked) != 1 or None in marked or marked & plain:
            raise ora(1468)
        alias = next(iter(marked)) or ""
        conditions.setdefault(alias, []).append(test)
        needs.setdefault(alias, set()).update(p for p in plain if p)
    made = Plan([s.alias for s in scope.sources if s.alias not in conditions], rest=rest)
    placed = set(made.inner)
    waiting = list(conditions)
    while waiting:
        ready = next((alias for alias in waiting if needs[alias] <= placed), None)
        if ready is None:
            raise ora(1416)
        made.outer.append((ready, conditions[ready]))
        placed.add(ready)
        waiting.remove(ready)
    return made


def split(from_sql: str) -> list[str]:
    """The sources of a comma join, apart: commas inside parentheses and quotes do not count."""
    parts, depth, start, quote = [], 0, 0, ""
    for at, letter in enumerate(from_sql):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(from_sql[start:at].strip())
            start = at + 1
    return [*parts, from_sql[start:].strip()]
