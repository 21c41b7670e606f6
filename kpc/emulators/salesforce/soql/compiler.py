"""A SOQL tree as SQL over the storage: names resolved against the schema, values as parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject
from kpc.emulators.salesforce.org.storage import quoted, table_of
from kpc.emulators.salesforce.soql.compiled import Child, Compiled, SoqlColumn
from kpc.emulators.salesforce.soql.filter import FieldResolver, Value, condition_sql
from kpc.emulators.salesforce.soql.functions import (
    SHOWING,
    compared,
    function_value,
    has_aggregate,
    in_corporate_currency,
    is_aggregate_call,
)
from kpc.emulators.salesforce.soql.lexer import malformed
from kpc.emulators.salesforce.soql.tree import Call, Expression, Item, Path, SoqlQuery

_LONGEST_OFFSET = 2000
_DEEPEST_PATH = 6
_MOST_FIELDS_ROWS = 200


def compile_query(
    query: SoqlQuery, schema: OrgSchema, now: datetime, *, deleted: bool = False, has_doubles: bool = True
) -> Compiled:
    """The SQL of `query`. `deleted` includes records in the recycle bin; without `has_doubles` numbers are exact.

    Raises `ApiError` for what is not allowed.
    """
    compiler = _Compiler(query, schema, now, has_doubles=has_doubles)
    return compiler.compiled(deleted=deleted or query.all_rows)


class _Compiler(FieldResolver):
    def __init__(self, query: SoqlQuery, schema: OrgSchema, now: datetime, *, has_doubles: bool = True) -> None:
        sobject = schema.find(query.object)
        if sobject is None:
            message = (
                f"sObject type '{query.object}' is not supported. If you are attempting to use a custom object, be sure"
                " to append the '__c' after the entity name."
            )
            raise ApiError(400, "INVALID_TYPE", message)
        self.query = query
        self.schema = schema
        self.now = now
        self.has_doubles = has_doubles
        self.sobject = sobject
        self.parameters: list[object] = []
        self._joins: dict[tuple[str, ...], tuple[str, SObject]] = {(): ("t0", sobject)}
        self._join_sql: list[str] = []

    def compiled(self, *, deleted: bool) -> Compiled:
        query = self.query
        if query.every:
            return self._of_fields(deleted=deleted)
        if len(query.items) == 1 and query.items[0].expression == Call("COUNT", None) and not query.children:
            return self._count(deleted=deleted)
        is_aggregate = bool(query.group_by) or any(is_aggregate_call(item.expression) for item in query.items)
        if query.having and not query.group_by:
            raise malformed("HAVING needs GROUP BY")
        if is_aggregate and not query.group_by and (query.limit is not None or query.order_by):
            raise malformed("Non-grouped query that uses overall aggregate functions cannot also use LIMIT")
        if is_aggregate and query.children:
            raise malformed("Grouped and aggregate queries cannot have queries of children")
        outputs = self._outputs(is_aggregate=is_aggregate)
        selected = [self._selected(output) for output in outputs]
        parents = [] if is_aggregate else self._parents(outputs)
        selected += [] if is_aggregate else ["t0.Id"] + [f"{self._joins[path][0]}.Id" for path, _ in parents]
        tail = self._tail(deleted=deleted)
        columns = ", ".join(f"{sql} AS c{position}" for position, sql in enumerate(selected))
        return Compiled(
            f"SELECT {columns} {tail}",
            self.parameters,
            outputs,
            self.sobject,
            query,
            deleted,
            self.has_doubles,
            is_aggregate=is_aggregate,
            is_grouped=bool(query.group_by),
            offset=query.offset,
            parents=parents,
            children=[self._child(each, deleted=deleted) for each in query.children],
        )

    def _of_fields(self, *, deleted: bool) -> Compiled:
        """FIELDS(...): all, the standard or the custom fields."""
        query, every = self.query, self.query.every
        if every != "STANDARD" and (query.limit is None or query.limit > _MOST_FIELDS_ROWS):
            raise malformed("The SOQL FIELDS function must have a LIMIT of at most 200")
        named = {item.expression.text.lower() for item in query.items}
        wanted = [
            Item(Path((spec.name,)))
            for spec in self.sobject.fields
            if (every == "ALL" or spec.is_custom == (every == "CUSTOM")) and spec.name.lower() not in named
        ]
        expanded = replace(query, items=(*wanted, *query.items), every=None)
        return self._of(expanded).compiled(deleted=deleted)

    def _of(self, query: SoqlQuery) -> _Compiler:
        """For another query in this one."""
        return _Compiler(query, self.schema, self.now, has_doubles=self.has_doubles)

    def _child(self, query: SoqlQuery, *, deleted: bool) -> Child:
        """The query of one child relationship, over the children of every parent."""
        named = {f.child_relationship.lower(): (o, f) for o, f in self.schema.children(self.sobject.name)}
        found = named.get(query.object.lower())
        if not query.object or found is None:
            message = (
                f"Didn't understand relationship '{query.object}' in FROM part of query call. If you are attempting to"
                " use a custom relationship, be sure to append the '__r' after the custom relationship name."
            )
            raise ApiError(400, "INVALID_TYPE", f"\nERROR at Row:1\n{message}")
        if query.group_by or query.every or any(is_aggregate_call(item.expression) for item in query.items):
            raise malformed("Only root queries support aggregate expressions and FIELDS")
        sobject, reference = found
        is_asked = any(item.expression.text.lower() == reference.name.lower() for item in query.items)
        items = query.items if is_asked else (*query.items, Item(Path((reference.name,))))
        query = replace(query, object=sobject.name, items=items)
        compiled = self._of(query).compiled(deleted=deleted)
        hidden = None if is_asked else reference.name
        return Child(reference.child_relationship, reference, query, compiled, hidden, deleted)

    def _count(self, *, deleted: bool) -> Compiled:
        if self.query.group_by:
            raise malformed("COUNT() cannot be used with GROUP BY; use COUNT(Id)")
        tail = self._tail(deleted=deleted)
        sql = f"SELECT count(*) FROM (SELECT 1 {tail})"
        return Compiled(sql, self.parameters, [], self.sobject, self.query, deleted, self.has_doubles, is_count=True)

    def _outputs(self, *, is_aggregate: bool) -> list[SoqlColumn]:
        outputs: list[SoqlColumn] = []
        grouped = {self._resolved(each) for each in self.query.group_by}
        unnamed = 0
        for item in self.query.items:
            value = self.value(item.expression)
            if is_aggregate:
                if not is_aggregate_call(item.expression) and value.sql not in grouped:
                    raise malformed(f"Field must be grouped or aggregated: {item.expression.text}")
                name = item.alias
                if name is None and isinstance(item.expression, Path):
                    name = item.expression.names[-1] if value.spec is None else value.spec.name
                elif name is None:
                    name, unnamed = f"expr{unnamed}", unnamed + 1
                path: tuple[str, ...] = (name,)
            else:
                path = self._spelled(item)
            if path in [output.path for output in outputs]:
                what = "duplicate alias" if is_aggregate else "duplicate field selected"
                raise malformed(f"{what}: {'.'.join(path)}")
            outputs.append(SoqlColumn(path, value, value.spec, item.expression.text))
        return outputs

    def _resolved(self, expression: Expression) -> str:
        if is_aggregate_call(expression):
            raise malformed(f"{expression.text} cannot be grouped by")
        return self.value(expression).sql

    def _spelled(self, item: Item) -> tuple[str, ...]:
        """The path with the schema's own spelling."""
        if item.alias is not None and isinstance(item.expression, Path):
            raise malformed("only aggregate expressions use field aliasing")
        expression = item.expression
        if isinstance(expression, Call) and expression.name in SHOWING and item.alias is None:
            expression = expression.argument or expression
        if isinstance(expression, Call):
            return (item.alias or "expr0",)
        names: list[str] = []
        for name in expression.names[:-1]:
            reference = self._joins[tuple(each.lower() for each in names)][1].by_relationship[name.lower()]
            names.append(reference.relationship or name)
        owner = self._joins[tuple(each.lower() for each in names)][1]
        return (*names, owner.by_name[expression.names[-1].lower()].name)

    def _selected(self, output: SoqlColumn) -> str:
        return output.value.select_sql or output.value.sql

    def _parents(self, outputs: Iterable[SoqlColumn]) -> list[tuple[tuple[str, ...], SObject]]:
        """Every parent that an output stands in."""
        paths = {
            tuple(n.lower() for n in output.path[:depth]) for output in outputs for depth in range(1, len(output.path))
        }
        return [(path, self._joins[path][1]) for path in sorted(paths)]

    def _tail(self, *, deleted: bool) -> str:
        """FROM and all that follows it. Joins are known only when every path has been resolved."""
        query = self.query
        where = [] if deleted else ["NOT t0.IsDeleted"]
        if query.where:
            if has_aggregate(query.where):
                raise malformed("Aggregate functions are allowed in HAVING, not in WHERE")
            where.append(condition_sql(self, query.where))
        groups = [self._resolved(each) for each in query.group_by]
        self._demand_grouped(groups)
        having = condition_sql(self, query.having) if query.having else ""
        orders = [self._order(order.expression, order.is_descending, order.is_null_last) for order in query.order_by]
        if query.offset > _LONGEST_OFFSET:
            raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {_LONGEST_OFFSET}")
        parts = [f"FROM {table_of(self.sobject)} t0", *self._join_sql]
        parts += [f"WHERE {' AND '.join(where)}"] if where else []
        parts += [f"GROUP BY {query.subtotals} ({', '.join(groups)})"] if groups else []
        parts += [f"HAVING {having}"] if having else []
        parts += [f"ORDER BY {', '.join(orders)}"] if orders else []
        parts += [f"LIMIT {query.limit}"] if query.limit is not None else []
        parts += [f"OFFSET {query.offset}"] if query.offset else []
        return " ".join(parts)

    def _demand_grouped(self, groups: list[str]) -> None:
        """In a grouped query HAVING and ORDER BY know only groups and aggregates."""
        if not groups:
            return
        named = [order.expression for order in self.query.order_by if self._aliased(order.expression) is None]
        named += compared(self.query.having) if self.query.having else []
        for each in named:
            if not is_aggregate_call(each) and self.value(each).sql not in groups:
                raise malformed(f"Ordered and compared fields must be grouped or aggregated: {each.text}")

    def _order(self, expression: Expression, is_descending: bool, is_null_last: bool) -> str:
        value = self._aliased(expression) or self.value(expression)
        sql = (
            f"lower({value.sql})"
            if value.type in ("string", "picklist", "textarea", "email", "phone", "url")
            else value.sql
        )
        return f"{sql} {'DESC' if is_descending else 'ASC'} NULLS {'LAST' if is_null_last else 'FIRST'}"

    def _aliased(self, expression: Expression) -> Value | None:
        """The value behind an alias of the SELECT list."""
        if isinstance(expression, Path) and len(expression.names) == 1 and self.query.group_by:
            for item in self.query.items:
                if item.alias and item.alias.lower() == expression.names[0].lower():
                    return self.value(item.expression)
        return None

    def value(self, expression: Expression) -> Value:
        return self._call(expression) if isinstance(expression, Call) else self._field(expression)

    def _field(self, path: Path) -> Value:
        if len(path.names) > _DEEPEST_PATH:
            raise malformed("A relationship path has at most 5 levels")
        alias, sobject = self._owner(path)
        spec = sobject.find(path.names[-1])
        if spec is None:
            message = (
                f"\nERROR at Row:1\nNo such column '{path.names[-1]}' on entity '{sobject.name}'. If you are attempting"
                " to use a custom field, be sure to append the '__c' after the custom field name. Please reference"
                " your WSDL or the describe call for the appropriate names."
            )
            raise ApiError(400, "INVALID_FIELD", message)
        key = f"{alias}.{quoted(spec.key_column)}" if spec.is_key and spec.name != "Id" else None
        return Value(f"{alias}.{quoted(spec.name)}", spec.type, spec.scale, spec, key_sql=key)

    def _owner(self, path: Path) -> tuple[str, SObject]:
        """The table at the end of a path's relationships, joined once however often it is named."""
        done: tuple[str, ...] = ()
        for name in path.names[:-1]:
            alias, sobject = self._joins[done]
            reference = sobject.by_relationship.get(name.lower())
            parent = self.schema.find(reference.reference_to or "") if reference else None
            if reference is None or parent is None:
                message = (
                    f"Didn't understand relationship '{name}' in field path. If you are attempting to use a custom"
                    " relationship, be sure to append the '__r' after the custom relationship name."
                )
                raise ApiError(400, "INVALID_FIELD", f"\nERROR at Row:1\n{message}")
            done = (*done, name.lower())
            if done not in self._joins:
                joined = f"t{len(self._joins)}"
                self._joins[done] = (joined, parent)
                on = f"{alias}.{quoted(reference.name)} = {joined}.Id"
                self._join_sql.append(f"LEFT JOIN {table_of(parent)} {joined} ON {on}")
        return self._joins[done]

    def _call(self, call: Call) -> Value:
        if call.argument is None:
            raise malformed(f"{call.text} needs a field name here")
        inner = self.value(call.argument)
        if is_aggregate_call(call) and isinstance(call.argument, Path):
            inner = in_corporate_currency(inner, *self._owner(call.argument))
        return function_value(call, inner, self.utc_offset_hours, has_doubles=self.has_doubles)

    def subquery(self, query: SoqlQuery) -> str:
        """The SQL of a query in IN (...): one column, no limit."""
        if len(query.items) != 1 or query.group_by or is_aggregate_call(query.items[0].expression):
            raise malformed("A query in IN selects exactly one field")
        inner = _Compiler(query, self.schema, self.now, has_doubles=self.has_doubles)
        value = inner.value(query.items[0].expression)
        sql = f"SELECT {value.sql} AS c0 {inner._tail(deleted=False)}"
        self.parameters += inner.parameters
        return f"SELECT CAST(c0 AS VARCHAR) FROM ({sql}) WHERE c0 IS NOT NULL"
