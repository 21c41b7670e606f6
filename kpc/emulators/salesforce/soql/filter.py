"""WHERE and HAVING as SQL: comparisons by the kind of field, with SOQL's rules for case, null and dates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.org.ids import to_18
from kpc.emulators.salesforce.org.schema import TEXT_TYPES, SObjectField
from kpc.emulators.salesforce.soql.dates import days_of
from kpc.emulators.salesforce.soql.lexer import PLAIN_NEXT, malformed
from kpc.emulators.salesforce.soql.tree import Compare, Condition, Expression, Literal, Logic, SoqlQuery, Within

_NUMBERS = frozenset({"double", "currency", "percent", "int"})


@dataclass(frozen=True, slots=True)
class Value:
    """An SQL expression and its Salesforce type. `key_sql` is the same in lower case, where that is stored."""

    sql: str
    type: str
    scale: int = 0
    spec: SObjectField | None = None
    select_sql: str | None = None
    key_sql: str | None = None


class FieldResolver(ABC):
    """What a condition needs to know of the query around it."""

    parameters: list[object]
    now: datetime
    utc_offset_hours = 7  # the org's user is in Bangkok

    @abstractmethod
    def value(self, expression: Expression) -> Value: ...

    @abstractmethod
    def subquery(self, query: SoqlQuery) -> str: ...

    def parameter(self, value: object) -> str:
        self.parameters.append(value)
        return "?"

    @property
    def today(self) -> date:
        return (self.now + timedelta(hours=self.utc_offset_hours)).date()

    def midnight(self, day: date) -> datetime:
        """The start of a local day, in UTC."""
        return datetime.combine(day, time.min) - timedelta(hours=self.utc_offset_hours)


def condition_sql(names: FieldResolver, condition: Condition) -> str:
    if isinstance(condition, Logic):
        if condition.operator == "NOT":  # SOQL has two truth values: what is not true is false
            return f"NOT coalesce({condition_sql(names, condition.parts[0])}, false)"
        parts = [condition_sql(names, part) for part in condition.parts]
        return "(" + f" {condition.operator} ".join(parts) + ")"
    if isinstance(condition, Within):
        return _within(names, condition)
    return _compare(names, condition)


def _compare(names: FieldResolver, compare: Compare) -> str:
    value = names.value(compare.left)
    name, operator, literal = compare.left.text, compare.operator, compare.right
    if value.type == "textarea":
        raise ApiError(400, "INVALID_FIELD", f"field '{name}' can not be filtered in a query call")
    if literal.kind == "null":
        if operator not in ("=", "!="):
            raise _wrong_operator(name, operator)
        return f"{value.sql} IS {'' if operator == '=' else 'NOT '}NULL"
    if operator == "LIKE":
        return _like(names, value, name, literal)
    if value.type in ("date", "datetime"):
        return _compare_days(names, value, name, operator, literal)
    if value.type == "boolean" and operator not in ("=", "!="):
        raise _wrong_operator(name, operator)
    left, parameter = _operand(names, value, name, literal)
    return _sql(left, operator, parameter)


def _sql(left: str, operator: str, right: str) -> str:
    return f"{left} IS DISTINCT FROM {right}" if operator == "!=" else f"{left} {operator} {right}"


def _like(names: FieldResolver, value: Value, name: str, literal: Literal) -> str:
    if value.type not in ("string", "picklist", "email", "phone", "url") or literal.kind != "string":
        raise _wrong_operator(name, "LIKE")
    pattern = literal.text.replace("\\", "\\\\").replace(PLAIN_NEXT, "\\").lower()
    left = value.key_sql or f"lower({value.sql})"
    return f"{left} LIKE {names.parameter(pattern)} ESCAPE '\\'"


def _operand(names: FieldResolver, value: Value, name: str, literal: Literal) -> tuple[str, str]:
    """Both sides of a comparison with a value that is no date."""
    if value.type in ("id", "reference"):
        is_id = literal.kind == "string" and len(literal.text) in (15, 18)
        record_id = to_18(literal.text[:15]) if is_id else None  # what follows does not count: ids compare by these
        if record_id is None:
            raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.text}")
        return value.sql, names.parameter(record_id)
    if value.type in _NUMBERS:
        if literal.kind != "number":
            raise _wrong_type(name, "of type double and should not be enclosed in quotes")
        return value.sql, names.parameter(Decimal(literal.text))
    if value.type == "boolean":
        if literal.kind != "boolean":
            raise _wrong_type(name, "of type boolean and should not be enclosed in quotes")
        return value.sql, names.parameter(literal.text == "TRUE")
    if literal.kind != "string":
        raise _wrong_type(name, "of type string and should be enclosed in quotes")
    text = literal.text.replace(PLAIN_NEXT, "")
    if value.spec is not None and value.spec.case_sensitive:
        return value.sql, names.parameter(text)
    return value.key_sql or f"lower({value.sql})", names.parameter(text.lower())


def _compare_days(names: FieldResolver, value: Value, name: str, operator: str, literal: Literal) -> str:
    """Compare with a day, a time or a range of days: `=` is inside, `<` before its start, `>` after its end."""
    if literal.kind == "range":
        first, after = days_of(literal.text, literal.count, names.today)
        low, high = (first, after) if value.type == "date" else (names.midnight(first), names.midnight(after))
        bounds = {
            "=": (low, high),
            "!=": (low, high),
            "<": (None, low),
            "<=": (None, high),
            ">": (high, None),
            ">=": (low, None),
        }
        start, end = bounds[operator]
        parts = [f"{value.sql} >= {names.parameter(start)}"] if start is not None else []
        parts += [f"{value.sql} < {names.parameter(end)}"] if end is not None else []
        inside = " AND ".join(parts)
        return f"NOT coalesce({inside}, false)" if operator == "!=" else f"({inside})"
    return _sql(value.sql, operator, names.parameter(_moment(value, name, literal)))


def _moment(value: Value, name: str, literal: Literal) -> date | datetime:
    wanted = "dateTime" if value.type == "datetime" else "date"
    if literal.kind != value.type:
        raise _wrong_type(name, f"of type {wanted} and should not be enclosed in quotes")
    try:
        if value.type == "date":
            return date.fromisoformat(literal.text)
        return datetime.fromisoformat(literal.text).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise ApiError(400, "INVALID_FIELD", f"{literal.text} is not a valid {wanted}") from error


def _within(names: FieldResolver, within: Within) -> str:
    value = names.value(within.left)
    name = within.left.text
    if value.type == "textarea":
        raise ApiError(400, "INVALID_FIELD", f"field '{name}' can not be filtered in a query call")
    no = "NOT " if within.is_negated else ""
    if isinstance(within.values, SoqlQuery):
        if value.type not in TEXT_TYPES:
            raise malformed(f"The left operand of a semi-join must be an id, a reference or text, not {name}")
        return f"{value.sql} {no}IN ({names.subquery(within.values)})"
    values = [literal for literal in within.values if literal.kind != "null"]
    has_null = len(values) < len(within.values)
    parts = []
    if values:
        if value.type in ("date", "datetime"):
            left, marks = value.sql, [names.parameter(_moment(value, name, literal)) for literal in values]
        else:
            operands = [_operand(names, value, name, literal) for literal in values]
            left, marks = operands[0][0], [mark for _, mark in operands]
        parts.append(f"{left} {no}IN ({', '.join(marks)})")
    if within.is_negated:
        parts.append(f"{value.sql} IS NOT NULL" if has_null else "")
        inside = " AND ".join(part for part in parts if part)
        return f"({inside})" if has_null else f"({value.sql} IS NULL OR {inside})"
    if has_null:
        parts.append(f"{value.sql} IS NULL")
    return f"({' OR '.join(parts)})"


def _wrong_type(name: str, what: str) -> ApiError:
    message = f"value of filter criterion for field '{name}' must be {what}"
    return ApiError(400, "INVALID_FIELD", f"\nERROR at Row:1\n{message}")


def _wrong_operator(name: str, operator: str) -> ApiError:
    return ApiError(400, "INVALID_FIELD", f"\nERROR at Row:1\ninvalid operator {operator} on field '{name}'")


__all__ = ["FieldResolver", "Value", "condition_sql", "malformed"]
