"""The end of a query: ORDER BY, OFFSET, FETCH, FOR UPDATE."""

from __future__ import annotations

from decimal import Decimal

from sqlglot import exp

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query.aggregates import ordered
from kpc.emulators.oracle.sql.query.compiled import Locks, QueryColumn
from kpc.emulators.oracle.sql.query.expressions import Expressions
from kpc.emulators.oracle.sql.query.nodes import identifier
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.types import values
from kpc.emulators.oracle.sql.types.conversion import whole


def tail_sql(
    node: exp.Expr,
    columns: tuple[QueryColumn, ...],
    constants: Expressions,
    compiler: Expressions | None,
    listed: list[str] | None = None,
) -> str:
    """ORDER BY, OFFSET and FETCH. `constants` compiles what may not name a column; `compiler` is None after a set
    operation; `listed` is the SQL of the columns, where they cannot be ordered by position.
    """
    tail = ""
    order = node.args.get("order")
    if order is not None:
        if order.args.get("siblings"):
            raise unsupported("ORDER SIBLINGS BY")
        tail += " ORDER BY " + ", ".join(_order_item(item, columns, compiler, listed) for item in order.expressions)
    limit, offset = node.args.get("limit"), node.args.get("offset")
    if isinstance(limit, exp.Limit):
        raise ora(933)
    if limit is not None:
        options = limit.args.get("limit_options")
        if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
            raise unsupported("FETCH with PERCENT or WITH TIES")
        count = limit.args.get("count")
        tail += f" LIMIT {_count(constants, count) if count is not None else 1}"
    if offset is not None:
        tail += f" OFFSET {_count(constants, offset.expression)}"
    return tail


def _count(constants: Expressions, node: exp.Expr) -> str:
    value = constants.value(node)
    if value.constant is None:
        return "0"
    return f"greatest({whole(value, constants.context)}, 0)"


def _order_item(
    item: exp.Expr, columns: tuple[QueryColumn, ...], compiler: Expressions | None, listed: list[str] | None
) -> str:
    node = item.this
    position = None
    if isinstance(node, exp.Literal) and not node.args.get("is_string"):
        position = int(Decimal(str(node.this)))
        if not 1 <= position <= len(columns):
            raise ora(1785)
    elif isinstance(node, exp.Column) and not node.args.get("table"):
        hits = [i for i, c in enumerate(columns) if c.name == identifier(node.this)]
        if len(hits) > 1 and compiler is None:
            raise ora(960)
        position = hits[0] + 1 if hits else None
    if position is not None:
        if columns[position - 1].type.ora in (OraType.CLOB, OraType.BLOB):
            raise ora(932, "-", columns[position - 1].type.word)
        return ordered(listed[position - 1] if listed else str(position), item)
    if compiler is None:
        raise ora(904, values.name(identifier(node.this))) if isinstance(node, exp.Column) else ora(1785)
    value = compiler.value(node)
    if value.constant is not None or value.is_null:  # a constant orders nothing
        return "(SELECT NULL)"
    return ordered(value.sql, item)


def locks_of(node: exp.Expr, scope: Scope, from_where: str) -> Locks:
    """FOR UPDATE."""
    if node.args.get("group") or node.args.get("distinct"):
        raise ora(2014)
    lock = node.args["locks"][0]
    wait = lock.args.get("wait")
    tables = []
    for named in lock.expressions or []:
        if isinstance(named, exp.Column) and scope.find(identifier(named.this)) is None:
            raise ora(904, values.name(identifier(named.this)))
    wanted = {identifier(e.this) for e in lock.expressions or [] if isinstance(e, exp.Column | exp.Table)}
    for source in scope.sources:
        if source.table is None or source.rowid is None:
            continue
        named = not wanted or source.alias in wanted or wanted & set(source.columns)
        if named:
            tables.append((f"{source.owner or ''}.{source.table}", f"SELECT {source.rowid} AS p FROM {from_where}"))
    if isinstance(wait, exp.Literal):
        return Locks(tuple(tables), float(str(wait.this)))
    return Locks(tuple(tables), 0.0 if wait is True else None, skip_locked=wait is False)
