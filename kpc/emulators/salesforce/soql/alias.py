"""The object's alias, taken off the paths of a query: `SELECT s.Id FROM Sale__c s` means `SELECT Id FROM Sale__c`."""

from __future__ import annotations

from dataclasses import replace

from kpc.emulators.salesforce.soql.tree import (
    Call,
    Compare,
    Condition,
    Expression,
    Item,
    Logic,
    Order,
    Path,
    SoqlQuery,
    Within,
)


def without_alias(query: SoqlQuery, alias: str) -> SoqlQuery:
    """The query with the object's name or alias taken off the front of its paths."""

    def strip(expression: Expression) -> Expression:
        if isinstance(expression, Call):
            argument = strip(expression.argument) if expression.argument else None
            return Call(expression.name, argument)
        if len(expression.names) > 1 and expression.names[0].lower() == alias.lower():
            return Path(expression.names[1:])
        return expression

    def inside(condition: Condition | None) -> Condition | None:
        if isinstance(condition, Logic):
            return Logic(condition.operator, tuple(c for part in condition.parts if (c := inside(part))))
        if isinstance(condition, Within):
            return Within(strip(condition.left), condition.values, condition.is_negated)
        if isinstance(condition, Compare):
            return Compare(strip(condition.left), condition.operator, condition.right)
        return None

    return replace(
        query,
        items=tuple(Item(strip(item.expression), item.alias) for item in query.items),
        where=inside(query.where),
        group_by=tuple(map(strip, query.group_by)),
        having=inside(query.having),
        order_by=tuple(Order(strip(o.expression), o.is_descending, o.is_null_last) for o in query.order_by),
    )
