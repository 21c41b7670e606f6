"""Aggregate and analytic functions. SUM and AVG stay exact decimals."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.messages import error_sql, ora, unsupported
from kpc.emulators.oracle.sql.query.expression_compiler import ExpressionCompiler
from kpc.emulators.oracle.sql.types import datatypes, values
from kpc.emulators.oracle.sql.types.conversion import coerce, number_as, to_number, to_text, whole, wide
from kpc.emulators.oracle.sql.types.datatypes import MAX_DIGITS, MAX_TEXT
from kpc.emulators.oracle.sql.types.values import Expr

AGGREGATES = frozenset({"COUNT", "SUM", "AVG", "MIN", "MAX", "LISTAGG"})
RANKING = frozenset({"ROW_NUMBER", "RANK", "DENSE_RANK", "NTILE", "LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE"})
_LOBS = (OraType.CLOB, OraType.BLOB, OraType.LONG)


def aggregate(compiler: ExpressionCompiler, node: exp.Expr, over: str = "") -> Expr:
    """COUNT, SUM, AVG, MIN, MAX of a group or, with `over`, of a window."""
    name = str(node.this).upper()
    if name == "LISTAGG":
        raise ora(30491) if not over else unsupported("LISTAGG without WITHIN GROUP")
    args = node.expressions
    if len(args) != 1:
        raise ora(909)
    distinct = ""
    argument = args[0]
    if isinstance(argument, exp.Distinct):
        if len(argument.expressions) != 1:
            raise ora(909)
        distinct, argument = "DISTINCT ", argument.expressions[0]
    if isinstance(argument, exp.Star):
        if name != "COUNT":
            raise ora(936)
        return Expr(f"count(*){over}", datatypes.INTEGER, nullable=False)
    value = compiler.value(argument)
    if value.type.ora in _LOBS and not (name == "COUNT" and not distinct):
        raise ora(932, "-", value.type.word)
    match name:
        case "COUNT":
            return Expr(f"count({distinct}{value.sql}){over}", datatypes.INTEGER, nullable=False)
        case "MIN" | "MAX":
            return _extreme(name, value, over)
        case _:
            total = _sum(value, distinct, over, compiler)
            return total if name == "SUM" else _average(total, value, distinct, over)


def _extreme(name: str, value: Expr, over: str) -> Expr:
    kind = value.type
    if kind.is_null:
        return values.NULL
    if kind.is_number:
        kind = datatypes.free_number(kind.digits, kind.places)
    return Expr(f"{name.lower()}({value.sql}){over}", kind)


def _sum(value: Expr, distinct: str, over: str, compiler: ExpressionCompiler) -> Expr:
    if value.type.is_time:
        raise ora(932, "NUMBER", value.type.word)
    if value.type.ora in (OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT):
        return Expr(f"sum({distinct}{value.sql}){over}", datatypes.BINARY_DOUBLE)
    if value.type.ora is OraType.INTERVAL_DS:
        raise ora(932, "NUMBER", value.type.word)
    number = to_number(value, compiler.context)
    if number.type.is_wide:
        return Expr(f"ora_sum(list({distinct}{number.sql}){over})", datatypes.WIDE)
    kind = datatypes.free_number(MAX_DIGITS, number.type.places)
    return Expr(f"sum({distinct}{number_as(number, kind).sql}){over}", kind)


def _average(total: Expr, value: Expr, distinct: str, over: str) -> Expr:
    if total.type.ora is OraType.BINARY_DOUBLE:
        return Expr(f"avg({distinct}{value.sql}){over}", datatypes.BINARY_DOUBLE)
    count = f"nullif(count({distinct}{value.sql}){over}, 0)"
    return Expr(f"ora_div({wide(total).sql}, ora_wide({count}::VARCHAR))", datatypes.WIDE)


def ordering(compiler: ExpressionCompiler, order: exp.Expr | None) -> str:
    """ORDER BY of a window or a group: NULL is the greatest value unless told otherwise."""
    if order is None:
        return ""
    return " ORDER BY " + ", ".join(ordered(compiler.value(item.this).sql, item) for item in order.expressions)


def ordered(sql: str, item: exp.Expr) -> str:
    direction = "DESC" if item.args.get("desc") else "ASC"
    nulls_first = item.args.get("nulls_first")
    first = bool(nulls_first) if nulls_first is not None else bool(item.args.get("desc"))
    return f"{sql} {direction} NULLS {'FIRST' if first else 'LAST'}"


def window(compiler: ExpressionCompiler, node: exp.Expr) -> Expr:
    """function(...) OVER (...)."""
    if str(node.args.get("over")).upper() == "KEEP":
        return _keep(compiler, node)
    if node.args.get("alias"):
        raise unsupported("a named window")
    partition = ", ".join(e.sql for e in compiler.all(node.args.get("partition_by") or []))
    order_node = node.args.get("order")
    order = ordering(compiler, order_node)
    over = f" OVER ({'PARTITION BY ' + partition if partition else ''}{order}{_frame(compiler, node.args.get('spec'))})"
    function = node.this
    nulls = ""
    if isinstance(function, exp.IgnoreNulls | exp.RespectNulls):
        nulls = " IGNORE NULLS" if isinstance(function, exp.IgnoreNulls) else ""
        function = function.this
    if isinstance(function, exp.WithinGroup):
        raise unsupported("LISTAGG as an analytic function")
    if not isinstance(function, exp.Anonymous):
        raise unsupported("this analytic function")
    name = str(function.this).upper()
    if name in AGGREGATES:
        return aggregate(compiler, function, over)
    if name not in RANKING:
        raise unsupported(f"analytic function {name}")
    if not order and name in ("ROW_NUMBER", "RANK", "DENSE_RANK", "NTILE", "LAG", "LEAD"):
        raise ora(30485)
    return _ranking(compiler, name, function, over, nulls)


def _ranking(compiler: ExpressionCompiler, name: str, function: exp.Expr, over: str, nulls: str) -> Expr:
    arguments = list(function.expressions)
    if arguments and isinstance(arguments[0], exp.IgnoreNulls | exp.RespectNulls):
        nulls = " IGNORE NULLS" if isinstance(arguments[0], exp.IgnoreNulls) else ""
        arguments[0] = arguments[0].this
    args = compiler.all(arguments)
    if name in ("ROW_NUMBER", "RANK", "DENSE_RANK"):
        if args:
            raise ora(30484) if name == "ROW_NUMBER" else ora(909)
        return Expr(f"{name.lower()}(){over}", datatypes.INTEGER, nullable=False)
    if name == "NTILE":
        return Expr(f"ntile({whole(args[0], compiler.context)}){over}", datatypes.INTEGER)
    value = args[0]
    parts = [value.sql]
    if name in ("LAG", "LEAD"):
        if len(args) > 1:
            parts.append(whole(args[1], compiler.context))
        if len(args) > 2:
            default = args[2] if args[2].is_null else coerce(args[2], value.type, compiler.context)
            parts.append(f"{default.sql}")
    return Expr(f"{name.lower()}({', '.join(parts)}{nulls}){over}", value.type)


def _frame(compiler: ExpressionCompiler, spec: exp.Expr | None) -> str:
    if spec is None:
        return ""
    if spec.args.get("exclude"):
        raise unsupported("EXCLUDE in a window frame")
    kind = str(spec.args["kind"]).upper()
    sides = []
    for edge in ("start", "end"):
        bound, side = spec.args.get(edge), str(spec.args.get(f"{edge}_side") or "").upper()
        if bound is None:
            continue
        if isinstance(bound, str):
            sides.append(f"{bound.upper()} {side}".strip())
            continue
        if kind != "ROWS":
            raise unsupported("RANGE with a distance")
        sides.append(f"{whole(compiler.value(bound), compiler.context)} {side}")
    return f" {kind} BETWEEN {sides[0]} AND {sides[1]}" if len(sides) == 2 else f" {kind} {sides[0]}"


def within_group(compiler: ExpressionCompiler, node: exp.Expr) -> Expr:
    """LISTAGG(value, separator) WITHIN GROUP (ORDER BY ...)."""
    function = node.this
    if not isinstance(function, exp.Anonymous) or str(function.this).upper() != "LISTAGG":
        raise unsupported("WITHIN GROUP of this function")
    arguments = list(function.expressions)
    distinct = ""
    if isinstance(arguments[0], exp.Distinct):
        distinct, arguments = "DISTINCT ", [*arguments[0].expressions, *arguments[1:]]
    args = compiler.all(arguments)
    text = to_text(args[0], compiler.context)
    separator = to_text(args[1], compiler.context).sql if len(args) > 1 and not args[1].is_null else "''"
    sql = f"string_agg({distinct}{text.sql}, {separator}{ordering(compiler, node.expression)})"
    limited = f"CASE WHEN strlen({sql}) > {MAX_TEXT} THEN {error_sql(1489)} ELSE nullif({sql}, '') END"
    return Expr(limited, datatypes.varchar2(MAX_TEXT))


def _keep(compiler: ExpressionCompiler, node: exp.Expr) -> Expr:
    """MIN or MAX(x) KEEP (DENSE_RANK FIRST | LAST ORDER BY y): among the rows that rank first."""
    function = node.this
    name = str(function.this).upper() if isinstance(function, exp.Anonymous) else ""
    order = node.args.get("order")
    if name not in ("MIN", "MAX") or order is None or len(order.expressions) != 1 or node.args.get("partition_by"):
        raise unsupported("KEEP here")
    value, item = compiler.value(function.expressions[0]), order.expressions[0]
    by = compiler.value(item.this)
    if item.args.get("nulls_first") not in (None, bool(item.args.get("desc"))):
        raise unsupported("KEEP with NULLS FIRST or LAST")
    first = bool(node.args.get("first"))
    lowest = first != bool(item.args.get("desc"))
    edge = f"list({value.sql} ORDER BY {by.sql} {'ASC NULLS LAST' if lowest else 'DESC NULLS FIRST'})"
    ranks = f"list({by.sql} ORDER BY {by.sql} {'ASC NULLS LAST' if lowest else 'DESC NULLS FIRST'})"
    kept = f"list_filter({edge}, lambda v, i: ({ranks})[i] IS NOT DISTINCT FROM ({ranks})[1])"
    kind = replace(value.type, precision=0, scale=datatypes.PLAIN_SCALE) if value.type.is_number else value.type
    return Expr(f"list_{name.lower()}({kept})", kind)
