"""Expressions and conditions: sqlglot's tree becomes typed DuckDB SQL. A node that is not listed is refused."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from sqlglot import exp

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.functions import dates, environment, registry, texts
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query import aggregates
from kpc.emulators.oracle.sql.query.scope import Scope
from kpc.emulators.oracle.sql.types import arithmetic, assignment, comparison, datatypes, values, zones
from kpc.emulators.oracle.sql.types.conversion import coerce, common_type, to_text
from kpc.emulators.oracle.sql.types.values import Expr, quote

_OPERATORS = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
Subquery = Callable[[exp.Expr, "Scope"], tuple[str, list[Expr]]]


def identifier(node: exp.Expr | str | None) -> str:
    """A name as the dictionary has it: upper case unless quoted."""
    if isinstance(node, exp.Identifier):
        text = str(node.this)
        return text if node.args.get("quoted") else text.upper()
    return str(node).upper()


_MORE_CLAUSES: dict[type[exp.Expr], tuple[str, ...]] = {exp.Like: ("negate",)}


def only(node: exp.Expr, *handled: str) -> None:
    """Refuse a node that carries a clause nobody here reads."""
    for key, value in node.args.items():
        if key not in handled and value:
            raise unsupported(f"{key.strip('_')} in {type(node).__name__}")


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
            if type(node).__name__ in self._CONDITIONS:
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

    def _date_literal(self, node: exp.Expr) -> Expr:
        text = str(node.this.this)
        match = re.fullmatch(r"\s*(\d{1,4})-(\d{1,2})-(\d{1,2})\s*", text)
        if not match:
            raise ora(1861)
        year, month, number = (int(part) for part in match.groups())
        if not 1 <= month <= 12:
            raise ora(1843)
        try:
            day = dt.datetime(year, month, number)  # noqa: DTZ001  DATE has no zone
        except ValueError:
            raise ora(1839) from None
        return values.moment(day, datatypes.DATE)

    def _timestamp_literal(self, node: exp.Expr) -> Expr:
        text = str(node.this.this).strip()
        match = re.fullmatch(
            r"(\d{1,4}-\d{1,2}-\d{1,2}) (\d{1,2}:\d{1,2}:\d{1,2})(?:\.(\d{1,9}))?"
            r"(?: ?([+-]\d{1,2}:\d{2}|[A-Za-z][\w/+-]*))?",
            text,
        )
        if not match:
            raise ora(1861)
        digits = match[3] or ""
        zone = match[4]
        # DuckDB counts nanoseconds from 1678 to 2261 only; beyond that a literal has six digits where Oracle has nine.
        is_near = 1678 <= int(match[1].split("-")[0]) <= 2261 or len(digits) > 6
        scale = 9 if is_near else 6
        kind = replace(datatypes.TIMESTAMP, scale=scale, ora=OraType.TIMESTAMP_TZ if zone else OraType.TIMESTAMP)
        text = f"{match[1]} {match[2]}" + (f".{digits}" if digits else "")
        sql = f"{quote(text)}::{'TIMESTAMP_NS' if is_near else 'TIMESTAMP'}"
        if zone is None:
            micros = digits[:6].ljust(6, "0")
            plain = dt.datetime.fromisoformat(f"{match[1]} {match[2]}.{micros}") if len(match[1]) == 10 else None
            return Expr(sql, kind, plain)
        minutes = zones.zone_minutes(values.text(zone))
        return Expr(zones.shifted(sql, -minutes, kind), kind, zone=minutes)

    def _interval(self, node: exp.Expr) -> Expr:
        unit = node.args.get("unit")
        if not isinstance(node.this, exp.Literal) or unit is None:
            raise unsupported("this interval")
        span = re.sub(r"\(\d\)", "", unit.sql()).upper().split()
        return values.interval(_interval(str(node.this.this), span[0], span[-1]))

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
        method = self._CONDITIONS.get(type(node).__name__)
        if method is None:
            if type(node).__name__ in self._VALUES:
                raise ora(920)
            raise unsupported(f"condition {type(node).__name__}")
        only(node, "this", "expression", "expressions", "low", "high", "query", *_MORE_CLAUSES.get(type(node), ()))
        return method(self, node)

    def _and(self, node: exp.Expr) -> str:
        word = "AND" if isinstance(node, exp.And) else "OR"
        return f"({self.condition(node.this)} {word} {self.condition(node.expression)})"

    def _not(self, node: exp.Expr) -> str:
        return f"(NOT {self.condition(node.this)})"

    def _condition_paren(self, node: exp.Expr) -> str:
        return f"({self.condition(node.this)})"

    def _compare(self, node: exp.Expr) -> str:
        operator = _OPERATORS[type(node).__name__]
        left, right = node.this, node.expression
        if isinstance(left, exp.Tuple) or isinstance(right, exp.Tuple):
            return self._row_compare(operator, left, right)
        quantifier = str(right.this).upper() if isinstance(right, exp.Anonymous) else type(right).__name__.upper()
        if quantifier in ("ANY", "SOME", "ALL"):
            return self._quantified(operator, left, right, quantifier)
        return comparison.compare(operator, self.value(left), self.value(right), self.context)

    def _quantified(self, operator: str, left: exp.Expr, right: exp.Expr, quantifier: str) -> str:
        listed = right.expressions if isinstance(right, exp.Anonymous) else []
        if not listed or any(isinstance(item, exp.Query) for item in listed):
            raise unsupported(f"{quantifier} with a subquery")
        value = self.value(left)
        tests = [comparison.compare(operator, value, item, self.context) for item in self.all(listed)]
        return f"({(' AND ' if quantifier == 'ALL' else ' OR ').join(tests)})"

    def _row_compare(self, operator: str, left: exp.Expr, right: exp.Expr) -> str:
        if operator not in ("=", "<>"):
            raise ora(1796)
        inner = right.expressions[0] if isinstance(right, exp.Tuple) and len(right.expressions) == 1 else right
        if isinstance(inner, exp.Paren):
            inner = inner.this
        if (
            not isinstance(left, exp.Tuple)
            or not isinstance(inner, exp.Tuple)
            or len(left.expressions) != len(inner.expressions)
        ):
            raise unsupported("this row comparison")
        pairs = zip(self.all(left.expressions), self.all(inner.expressions), strict=True)
        test = " AND ".join(comparison.compare("=", a, b, self.context) for a, b in pairs)
        return f"({test})" if operator == "=" else f"(NOT ({test}))"

    def _is(self, node: exp.Expr) -> str:
        if not isinstance(node.expression, exp.Null):
            raise unsupported("IS with something else than NULL")
        return f"({self.value(node.this).sql} IS NULL)"

    def _between(self, node: exp.Expr) -> str:
        only(node, "this", "low", "high")
        value, low, high = (self.value(part) for part in (node.this, node.args["low"], node.args["high"]))
        above = comparison.compare(">=", value, low, self.context)
        return f"({above} AND {comparison.compare('<=', value, high, self.context)})"

    def _in(self, node: exp.Expr) -> str:
        only(node, "this", "expressions", "query")
        query = node.args.get("query")
        subjects = node.this.expressions if isinstance(node.this, exp.Tuple) else [node.this]
        lefts = self.all(subjects)
        if query is not None:
            return self._in_query(lefts, query)
        if isinstance(node.this, exp.Tuple):
            tests = []
            for item in node.expressions:
                rights = self.all(item.expressions if isinstance(item, exp.Tuple) else [item])
                if len(rights) != len(lefts):
                    raise ora(913 if len(rights) > len(lefts) else 947)
                pairs = zip(lefts, rights, strict=True)
                tests.append("(" + " AND ".join(comparison.compare("=", a, b, self.context) for a, b in pairs) + ")")
            return f"({' OR '.join(tests)})"
        return self._in_list(lefts[0], self.all(node.expressions))

    def _in_list(self, left: Expr, items: list[Expr]) -> str:
        """One IN where all items take the same conversion (a long list stays fast), else a chain of OR."""
        pairs = [comparison.aligned(left, item, self.context) for item in items if not item.is_null]
        null_test = ["NULL::BOOLEAN"] if any(item.is_null for item in items) else []
        if left.type.ora in (OraType.CLOB, OraType.BLOB):
            raise ora(932, "-", left.type.word)
        if pairs and len({a.sql for a, _ in pairs}) == 1:
            tests = [f"({pairs[0][0].sql} IN ({', '.join(b.sql for _, b in pairs)}))"]
        else:
            tests = [f"({a.sql} = {b.sql})" for a, b in pairs]
        return f"({' OR '.join([*tests, *null_test])})"

    def _in_query(self, lefts: list[Expr], query: exp.Expr) -> str:
        inner = query.this if isinstance(query, exp.Subquery) else query
        sql, columns = self.subquery(inner, self.scope)
        if len(columns) != len(lefts):
            raise ora(913 if len(columns) > len(lefts) else 947)
        alias = self.context.alias()
        sides = [
            comparison.aligned(left, replace(column, sql=f"{alias}.c{i}"), self.context)
            for i, (left, column) in enumerate(zip(lefts, columns, strict=True))
        ]
        if len(sides) == 1:
            ((left, item),) = sides
            return f"({left.sql} IN (SELECT {item.sql} FROM ({sql}) AS {alias}))"
        # DuckDB takes two rows with NULL in the same place for equal; Oracle does not know whether they are.
        test = " AND ".join(f"{a.sql} = {b.sql}" for a, b in sides)
        verdict = "CASE WHEN bool_or(t) THEN TRUE WHEN bool_or(t IS NULL) THEN NULL ELSE FALSE END"
        return f"(SELECT {verdict} FROM (SELECT ({test}) AS t FROM ({sql}) AS {alias}))"

    def _like(self, node: exp.Expr, escape: str | None = None) -> str:
        text, pattern = (to_text(self.value(part), self.context) for part in (node.this, node.expression))
        if text.is_null or pattern.is_null:
            return "NULL::BOOLEAN"
        if escape is not None and isinstance(pattern.constant, str):
            mark = re.escape(escape)
            escaped = re.sub(mark * 2, "", pattern.constant)
            if re.search(rf"{mark}(?![%_])", escaped):
                raise ora(1424)
        tail = f" ESCAPE {quote(escape)}" if escape else ""
        word = "NOT LIKE" if node.args.get("negate") else "LIKE"
        return f"({text.sql} {word} {pattern.sql}{tail})"

    def _escape(self, node: exp.Expr) -> str:
        letter = self.value(node.expression).constant
        if not isinstance(letter, str) or len(letter) != 1:
            raise ora(1425)
        if not isinstance(node.this, exp.Like):
            raise unsupported("ESCAPE here")
        return self._like(node.this, letter)

    def _exists(self, node: exp.Expr) -> str:
        inner = node.this.this if isinstance(node.this, exp.Subquery) else node.this
        sql, _ = self.subquery(inner, self.scope)
        return f"EXISTS ({sql})"

    def _condition_function(self, node: exp.Expr) -> str:
        if str(node.this).upper() == "REGEXP_LIKE":
            return texts.regexp_like(self.all(node.expressions), self.context)
        raise ora(920)

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
        "DateStrToDate": _date_literal,
        "StrToTime": _timestamp_literal,
        "Interval": _interval,
        "Subquery": _scalar_subquery,
        "Window": _window,
        "WithinGroup": _within_group,
        "Anonymous": _function,
        "Dot": _dot,
        "Boolean": _boolean,
    }
    _CONDITIONS: ClassVar[dict[str, Callable[[Any, Any], str]]] = {
        "And": _and,
        "Or": _and,
        "Not": _not,
        "Paren": _condition_paren,
        **dict.fromkeys(_OPERATORS, _compare),
        "Is": _is,
        "Between": _between,
        "In": _in,
        "Like": _like,
        "Escape": _escape,
        "Exists": _exists,
        "Anonymous": _condition_function,
    }


def _interval(text: str, first: str, last: str) -> dt.timedelta:
    """INTERVAL '1 02:03:04' DAY TO SECOND and its shorter forms."""
    units = ["DAY", "HOUR", "MINUTE", "SECOND"]
    if first not in units or last not in units:
        raise unsupported(f"INTERVAL {first}")
    names = units[units.index(first) : units.index(last) + 1]
    seconds = r"(\d+(?:\.\d+)?)"
    pattern = ""
    for unit in names:
        pattern += " " if pattern and names[names.index(unit) - 1] == "DAY" else ":" if pattern else ""
        pattern += seconds if unit == "SECOND" else r"(\d+)"
    match = re.fullmatch(r"\s*([+-]?)\s*" + pattern + r"\s*", text)
    if not match:
        raise ora(1867)
    micros = {"DAY": 86_400_000_000, "HOUR": 3_600_000_000, "MINUTE": 60_000_000, "SECOND": 1_000_000}
    total = sum(int(Decimal(part) * micros[unit]) for unit, part in zip(names, match.groups()[1:], strict=True))
    return dt.timedelta(microseconds=-total if match[1] == "-" else total)
