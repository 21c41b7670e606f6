"""What a query block does with its rows: sorting, grouping, aggregating."""

from __future__ import annotations

from sqlglot import exp

from kpc.emulators.oracle.sql.query.aggregates import AGGREGATES
from kpc.emulators.oracle.sql.storage.costs import Work


def of_block(node: exp.Expr, from_where: str) -> list[Work]:
    """The work of a SELECT over the rows of `from_where`; none if they only pass through."""
    windows = [w for item in node.expressions for w in item.find_all(exp.Window)]
    sorts = sum(1 for window in windows if window.args.get("order") or window.args.get("partition_by"))
    sorts += bool(node.args.get("order")) + bool(node.args.get("distinct"))
    work = Work(
        f"SELECT count(*) FROM {from_where}" if _is_quickly_counted(node) else "",
        sorts=sorts,
        is_grouped=node.args.get("group") is not None,
        aggregates=sum(1 for item in node.expressions for part in item.walk() if _is_aggregate(part)),
        has_limit=node.args.get("limit") is not None,
    )
    return [work] if work.sorts or work.is_grouped or work.aggregates else []


def of_duplicates() -> Work:
    """UNION, MINUS and INTERSECT find duplicates by sorting."""
    return Work("", sorts=1)


def _is_quickly_counted(node: exp.Expr) -> bool:
    """Whether the rows come from one table: a join or CONNECT BY may make any number of them."""
    return len(list(node.find_all(exp.Table))) <= 1 and node.find(exp.Join, exp.Connect) is None


def is_row_wise(node: exp.Expr) -> bool:
    """Whether the select list has neither aggregates nor analytic functions."""
    return not any(
        isinstance(part, exp.Window | exp.WithinGroup) or _is_aggregate(part)
        for item in node.expressions
        for part in item.walk()
    )


def _is_aggregate(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and str(node.this).upper() in AGGREGATES
