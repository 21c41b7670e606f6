"""SOQL's functions over one field: aggregates and parts of dates."""

from __future__ import annotations

from dataclasses import replace

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.org.currencies import CURRENCY_FIELD, corporate_sql
from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.soql.filter import Value
from kpc.emulators.salesforce.soql.lexer import malformed
from kpc.emulators.salesforce.soql.tree import Call, Condition, Expression, Logic

AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX", "GROUPING"})
_OF_ANY_TYPE = {
    "COUNT": "count({})",
    "COUNT_DISTINCT": "count(DISTINCT {})",
    "GROUPING": "grouping({})",  # 1 in the rows of subtotals of this field
}
SHOWING = frozenset({"TOLABEL", "FORMAT"})  # change how a field looks; the result keeps the field's name
_PARTS = {
    "CALENDAR_YEAR": "year",
    "CALENDAR_QUARTER": "quarter",
    "CALENDAR_MONTH": "month",
    "FISCAL_YEAR": "year",
    "FISCAL_QUARTER": "quarter",
    "FISCAL_MONTH": "month",
    "DAY_IN_MONTH": "day",
    "DAY_IN_YEAR": "dayofyear",
    "WEEK_IN_YEAR": "week",
    "HOUR_IN_DAY": "hour",
}


def function_value(call: Call, inner: Value, utc_offset_hours: int, *, has_doubles: bool) -> Value:
    """The call as SQL, over its argument's SQL. With `has_doubles`, aggregates of numbers are reckoned in doubles."""
    if call.argument is None:
        raise malformed(f"{call.text} needs a field name here")
    if call.name in AGGREGATES:
        if is_aggregate_call(call.argument):
            raise malformed(f"{call.text}: an aggregate of an aggregate")
        return _aggregate(call, inner, has_doubles=has_doubles)
    if call.name in SHOWING:
        return inner
    if call.name == "CONVERTTIMEZONE" and inner.type == "datetime":
        return Value(f"({inner.sql} + INTERVAL {utc_offset_hours} HOUR)", "datetime")
    if inner.type not in ("date", "datetime"):
        raise ApiError(400, "INVALID_FIELD", f"field {call.argument.text} does not support function {call.name}")
    if call.name == "DAY_ONLY":
        return Value(f"CAST({inner.sql} AS DATE)", "date")
    if call.name == "DAY_IN_WEEK":
        return Value(f"(dayofweek({inner.sql}) + 1)", "int")
    if call.name in _PARTS:
        return Value(f"{_PARTS[call.name]}({inner.sql})", "int")
    raise malformed(f"unexpected token: {call.name} (no such function)")


def _aggregate(call: Call, inner: Value, *, has_doubles: bool) -> Value:
    name = call.argument.text if call.argument else ""
    if call.name in _OF_ANY_TYPE:
        return Value(_OF_ANY_TYPE[call.name].format(inner.sql), "int")
    is_number = inner.type in ("double", "currency", "percent", "int")
    if (call.name in ("SUM", "AVG") and not is_number) or inner.type in ("boolean", "textarea"):
        raise malformed(f"field {name} does not support aggregate operator {call.name}")
    if has_doubles and inner.type in ("double", "currency", "percent"):
        return Value(f"{call.name.lower()}(CAST({inner.sql} AS DOUBLE))", "double", inner.scale)
    if call.name == "SUM":
        if inner.type == "int":
            return Value(f"CAST(sum({inner.sql}) AS BIGINT)", "int")
        return Value(f"sum({inner.sql})", "double", inner.scale)
    if call.name == "AVG":  # exact: the sum and the count travel, the quotient is made with decimals
        pair = f"{{'sum': sum({inner.sql}), 'count': count({inner.sql})}}"
        return Value(f"avg({inner.sql})", "double", inner.scale, select_sql=pair)
    return Value(f"{call.name.lower()}({inner.sql})", inner.type, inner.scale)


def in_corporate_currency(inner: Value, alias: str, owner: SObject) -> Value:
    """An amount as aggregates take it: where records have currencies, in the org's own."""
    if inner.type != "currency" or owner.find(CURRENCY_FIELD) is None:
        return inner
    return replace(inner, sql=corporate_sql(inner.sql, f"{alias}.{CURRENCY_FIELD}"))


def is_aggregate_call(expression: Expression) -> bool:
    return isinstance(expression, Call) and expression.name in AGGREGATES


def has_aggregate(condition: Condition) -> bool:
    return any(map(is_aggregate_call, compared(condition)))


def compared(condition: Condition) -> list[Expression]:
    """Every field or call that a condition compares."""
    if isinstance(condition, Logic):
        return [each for part in condition.parts for each in compared(part)]
    return [condition.left]
