"""Expressions: sqlglot's tree becomes typed DuckDB SQL. A node that is not listed is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from sqlglot import exp

from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.functions import dates, environment, registry, texts
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query import aggregates, literals
from kpc.emulators.oracle.sql.query.conditions import CONDITIONS
from kpc.emulators.oracle.sql.query.expression_compiler import Subquery
from kpc.emulators.oracle.sql.query.nodes import identifier, only
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.types import arithmetic, assignment, comparison, datatypes, values, zones
from kpc.emulators.oracle.sql.types.conversion import coerce, common_type
from kpc.emulators.oracle.sql.types.values import Expr

_MORE_CLAUSES: dict[type[exp.Expr], tuple[str, ...]] = {exp.Like: ("negate",)}


@dataclass(slots=True)
class Expressions:
    """Compiles the expressions of one query block."""

    context: Context
    scope: Scope
    subquery: Subquery

    # Values

    def value(self, node: exp.Expr) -> Expr:
        """The typed DuckDB SQL of an expression. Raises OraError for what Oracle refuses or the emulator cannot do."""
        method = self._VALUES.get(type(node).__name__)
        if method is None:
            if type(node).__name__ in CONDITIONS:
                raise ora(923)
            raise unsupported(f"expression {type(node).__name__}")
        return method(self, node)

    def all(self, nodes: list[exp.Expr]) -> list[Expr]:
        return [self.value(node) for node in nodes]

    def _literal(self, node: exp.Expr) -> Expr:
        if node.args.get("is_string"):
            return values.text(str(node.this))
        return values.number(Decimal(str(node.this)))

    def _national(self, node: exp.Expr) -> Expr:
        made = values.text(str(node.this))
        return made if made.is_null else replace(made, type=replace(made.type, national=True))

    def _null(self, node: exp.Expr) -> Expr:
        return values.NULL

    def _paren(self, node: exp.Expr) -> Expr:
        inner = self.value(node.this)
        return replace(inner, sql=f"({inner.sql})")

    def _bind(self, node: exp.Expr) -> Expr:
        name = str(node.this)
        if name not in self.context.binds:
            raise ora(1008)
        return self.context.binds[name]

    def _column(self, node: exp.Expr) -> Expr:
        only(node, "this", "table", "db", "join_mark")
        column = identifier(node.this)
        table = node.args.get("table")
        qualifier = identifier(table) if table else None
        if isinstance(node.this, exp.Star):
            raise ora(936)
        found = self.scope.find(column, qualifier)
        if found is not None:
            return found
        pseudo = self._pseudo(column, qualifier, node)
        if pseudo is not None:
            return pseudo
        shown = ".".join(values.name(part) for part in (qualifier, column) if part)
        raise ora(904, shown)

    def _pseudo(self, column: str, qualifier: str | None, node: exp.Expr) -> Expr | None:
        if node.this.args.get("quoted"):
            return None
        if column == "ROWID":
            return self.scope.rowid(qualifier)
        if column == "ROWNUM" and qualifier is None:
            if self.scope.rownum is None:
                raise unsupported("ROWNUM here")
            return Expr(self.scope.rownum, datatypes.INTEGER)
        if qualifier is not None and column in ("NEXTVAL", "CURRVAL"):
            db = node.args.get("db")
            return self.context.schema.sequence_value(identifier(db) if db else None, qualifier, column, self.context)
        if qualifier == "DBMS_FLASHBACK" and column == "GET_SYSTEM_CHANGE_NUMBER":
            return values.number(self.context.scn)
        if qualifier is None and column in environment.PSEUDO_COLUMNS:
            return environment.PSEUDO_COLUMNS[column](self.context)
        if qualifier is None and column in self.scope.pseudo:
            return self.scope.pseudo[column]
        if column == "LEVEL" and qualifier is None:
            raise ora(1788)
        if column == "ORA_ROWSCN":
            raise unsupported(column)
        return None

    def _binary(self, node: exp.Expr) -> Expr:
        operator = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}[type(node).__name__]
        return arithmetic.binary(operator, self.value(node.this), self.value(node.expression), self.context)

    def _negative(self, node: exp.Expr) -> Expr:
        return arithmetic.negate(self.value(node.this), self.context)

    def _concatenation(self, node: exp.Expr) -> Expr:
        parts: list[exp.Expr] = []
        while isinstance(node, exp.DPipe):
            parts.append(node.expression)
            node = node.this
        parts.append(node)
        return arithmetic.concatenate(self.all(parts[::-1]), self.context)

    def _case(self, node: exp.Expr) -> Expr:
        branches = node.args["ifs"]
        default = node.args.get("default")
        results = self.all([branch.args["true"] for branch in branches])
        results.append(self.value(default) if default is not None else values.NULL)
        kind = common_type([result.type for result in results])
        subject = self.value(node.this) if node.this is not None else None
        whens = []
        for branch, result in zip(branches, results, strict=False):
            test = (
                comparison.compare("=", subject, self.value(branch.this), self.context)
                if subject is not None
                else self.condition(branch.this)
            )
            whens.append(f"WHEN {test} THEN {coerce(result, kind, self.context).sql}")
        last = coerce(results[-1], kind, self.context).sql
        return Expr(f"CASE {' '.join(whens)} ELSE {last} END", kind)

    def _extract(self, node: exp.Expr) -> Expr:
        return dates.extract(str(node.this), self.value(node.expression), self.context)

    def _at_time_zone(self, node: exp.Expr) -> Expr:
        return zones.at_time_zone(self.value(node.this), self.value(node.args["zone"]), self.context)

    def _trim(self, node: exp.Expr) -> Expr:
        only(node, "this", "expression", "position")
        letters = node.args.get("expression")
        position = str(node.args.get("position") or "BOTH").upper()
        return texts.trim(
            self.value(node.this), self.value(letters) if letters is not None else None, position, self.context
        )

    def _scalar_subquery(self, node: exp.Expr) -> Expr:
        inner = node.this if isinstance(node, exp.Subquery) else node
        only(node, "this", "expressions")
        sql, columns = self.subquery(inner, self.scope)
        if len(columns) != 1:
            raise ora(913)
        return Expr(f"({sql})", columns[0].type)

    def _window(self, node: exp.Expr) -> Expr:
        return aggregates.window(self, node)

    def _within_group(self, node: exp.Expr) -> Expr:
        return aggregates.within_group(self, node)

    def _function(self, node: exp.Expr) -> Expr:
        name = str(node.this).upper()
        if name == "CAST":
            return self._cast(node)
        if name in aggregates.AGGREGATES:
            return aggregates.aggregate(self, node)
        if name in aggregates.RANKING:
            raise ora(30484)
        if name == "GET_SYSTEM_CHANGE_NUMBER":
            return values.number(self.context.scn)
        if name == "REGEXP_LIKE":
            raise ora(920)
        if name in ("CURRENT_TIMESTAMP", "LOCALTIMESTAMP"):
            made = environment.PSEUDO_COLUMNS[name](self.context)
            digits = self.all(node.expressions)[0].constant if node.expressions else 6
            return assignment.cast_to(made, replace(made.type, scale=int(str(digits))), self.context)
        return registry.call(name, self.all(node.expressions), self.context)

    def _cast(self, node: exp.Expr) -> Expr:
        value, kind = node.expressions
        return assignment.cast_to(self.value(value), datatypes.parse_type(str(kind.this)), self.context)

    def _dot(self, node: exp.Expr) -> Expr:
        parts = [part.name.upper() if hasattr(part, "name") else "" for part in node.flatten()]
        if parts[-1] == "GET_SYSTEM_CHANGE_NUMBER":
            return values.number(self.context.scn)
        if isinstance(node.expression, exp.Anonymous) and isinstance(node.this, exp.Identifier | exp.Column):
            name = f"{node.this.name}.{node.expression.this}".upper()
            if name in registry.FUNCTIONS:
                return registry.call(name, self.all(node.expression.expressions), self.context)
        raise unsupported(f"{'.'.join(parts)}")

    def _boolean(self, node: exp.Expr) -> Expr:
        raise ora(904, values.name("TRUE" if node.this else "FALSE"))

    # Conditions

    def condition(self, node: exp.Expr) -> str:
        """A condition as a DuckDB boolean."""
        method = CONDITIONS.get(type(node).__name__)
        if method is None:
            if type(node).__name__ in self._VALUES:
                raise ora(920)
            raise unsupported(f"condition {type(node).__name__}")
        only(node, "this", "expression", "expressions", "low", "high", "query", *_MORE_CLAUSES.get(type(node), ()))
        return method(self, node)

    # Which method compiles which node

    _VALUES: ClassVar[dict[str, Callable[[Any, Any], Expr]]] = {
        "Literal": _literal,
        "RawString": lambda self, node: values.text(str(node.this)),
        "National": _national,
        "Null": _null,
        "Paren": _paren,
        "Placeholder": _bind,
        "Column": _column,
        "Pseudocolumn": _column,
        "Add": _binary,
        "Sub": _binary,
        "Mul": _binary,
        "Div": _binary,
        "Neg": _negative,
        "DPipe": _concatenation,
        "Case": _case,
        "Extract": _extract,
        "AtTimeZone": _at_time_zone,
        "Trim": _trim,
        "DateStrToDate": lambda self, node: literals.date_literal(node),
        "StrToTime": lambda self, node: literals.timestamp_literal(node),
        "Interval": lambda self, node: literals.interval_literal(node),
        "Subquery": _scalar_subquery,
        "Window": _window,
        "WithinGroup": _within_group,
        "Anonymous": _function,
        "Dot": _dot,
        "Boolean": _boolean,
    }
