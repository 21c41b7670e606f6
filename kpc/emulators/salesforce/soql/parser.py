"""SOQL tokens as a tree: recursive descent, one method per rule of the grammar."""

from __future__ import annotations

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.soql.alias import without_alias
from kpc.emulators.salesforce.soql.lexer import SoqlToken, malformed, tokens_of
from kpc.emulators.salesforce.soql.tree import (
    Call,
    Compare,
    Condition,
    Expression,
    Item,
    Literal,
    Logic,
    Order,
    Path,
    SoqlQuery,
    Within,
)

_CLAUSES = frozenset(
    [
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FOR",
        "ALL",
        "WITH",
        "USING",
        "AND",
        "OR",
        "ASC",
        "DESC",
        "NULLS",
        "IN",
        "NOT",
        "LIKE",
        "UPDATE",
    ]
)
_OPERATORS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "LIKE": "LIKE"}
_DEEPEST = 50


def parse(soql: str) -> SoqlQuery:
    """The query. Raises MALFORMED_QUERY with what was expected where."""
    parser = _SoqlParser(tokens_of(soql))
    query = parser.query()
    parser.expect_end()
    return query


class _SoqlParser:
    def __init__(self, tokens: list[SoqlToken]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> SoqlToken:
        return self._tokens[self._at]

    def _take(self) -> SoqlToken:
        token = self._next
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _accept(self, *words: str) -> bool:
        """Consume all of `words` if they come next."""
        ahead = self._tokens[self._at : self._at + len(words)]
        if [token.word for token in ahead] != list(words):
            return False
        self._at += len(words)
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._unexpected(f"expecting {word}")

    def _unexpected(self, wish: str) -> ApiError:
        token = self._next
        return malformed(f"unexpected token: '{token.text[:80]}' at position {token.position} ({wish})")

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise self._unexpected("expecting the end of the query")

    def query(self) -> SoqlQuery:
        self._expect("SELECT")
        if self._depth > _DEEPEST:
            raise malformed("The query is nested too deeply")
        every, items, children = self._items()
        self._expect("FROM")
        name = self._name()
        alias = None
        if self._next.kind == "name" and self._next.word not in _CLAUSES:
            alias = self._name()
        if self._accept(","):
            raise malformed("Only one object may be named in FROM")
        if self._accept("USING"):
            self._expect("SCOPE")
            self._name()
        where = self._condition() if self._accept("WHERE") else None
        if self._accept("WITH"):
            self._name()
        subtotals, group = self._group()
        having = self._condition() if self._accept("HAVING") else None
        query = SoqlQuery(
            items=tuple(items),
            object=name,
            where=where,
            group_by=group,
            subtotals=subtotals,
            having=having,
            order_by=self._orders(),
            limit=self._count() if self._accept("LIMIT") else None,
            offset=self._count() if self._accept("OFFSET") else 0,
            every=every,
            children=tuple(children),
            all_rows=self._endings(),
        )
        return without_alias(query, alias or name)

    def _endings(self) -> bool:
        """FOR VIEW and the like change nothing here; ALL ROWS includes deleted records."""
        all_rows = False
        while True:
            if self._accept("ALL", "ROWS"):
                all_rows = True
            elif self._accept("FOR") or self._accept("UPDATE"):
                self._name()
            else:
                return all_rows

    def _items(self) -> tuple[str | None, list[Item], list[SoqlQuery]]:
        """What FIELDS(...) names, the fields, and the queries of children."""
        every: str | None = None
        items: list[Item] = []
        children: list[SoqlQuery] = []
        while True:
            if self._accept("FIELDS", "("):
                every = self._name().upper()
                self._expect(")")
                if every not in ("ALL", "STANDARD", "CUSTOM"):
                    raise malformed(f"FIELDS({every}) is not one of ALL, STANDARD, CUSTOM")
            elif self._accept("("):
                children.append(self._child())
            elif self._next.word == "TYPEOF":
                raise malformed("TYPEOF is not supported by the emulator")
            else:
                items.append(self._item())
            if not self._accept(","):
                return every, items, children

    def _child(self) -> SoqlQuery:
        self._depth += 1
        query = self.query()
        self._depth -= 1
        self._expect(")")
        return query

    def _item(self) -> Item:
        expression = self._expression()
        alias = None
        if self._next.kind == "name" and self._next.word not in _CLAUSES:
            alias = self._name()
        return Item(expression, alias)

    def _expression(self) -> Expression:
        if self._depth > _DEEPEST:
            raise malformed("The query is nested too deeply")
        names = self._dotted()
        if self._next.word != "(" or len(names) > 1:
            return Path(names)
        self._take()
        self._depth += 1
        argument = None if self._next.word == ")" else self._expression()
        self._depth -= 1
        self._expect(")")
        return Call(names[0].upper(), argument)

    def _dotted(self) -> tuple[str, ...]:
        if self._next.kind != "name" or self._next.word in ("FROM", "WHERE", "SELECT"):
            raise self._unexpected("expecting a field name")
        return tuple(self._take().text.split("."))

    def _name(self) -> str:
        if self._next.kind != "name" or "." in self._next.text:
            raise self._unexpected("expecting a name")
        return self._take().text

    def _count(self) -> int:
        token = self._take()
        if token.kind != "number" or not token.text.isdigit():
            raise malformed(f"unexpected token: '{token.text[:80]}' (expecting a whole number)")
        return int(token.text)

    def _group(self) -> tuple[str, tuple[Expression, ...]]:
        """ROLLUP, CUBE or nothing, and what is grouped by."""
        if not self._accept("GROUP"):
            return "", ()
        self._expect("BY")
        subtotals = next((word for word in ("ROLLUP", "CUBE") if self._accept(word, "(")), "")
        expressions = [self._expression()]
        while self._accept(","):
            expressions.append(self._expression())
        if subtotals:
            self._expect(")")
        return subtotals, tuple(expressions)

    def _orders(self) -> tuple[Order, ...]:
        if not self._accept("ORDER"):
            return ()
        self._expect("BY")
        orders = [self._order()]
        while self._accept(","):
            orders.append(self._order())
        return tuple(orders)

    def _order(self) -> Order:
        expression = self._expression()
        is_descending = self._accept("DESC")
        if not is_descending:
            self._accept("ASC")
        is_null_last = self._accept("NULLS", "LAST")
        if not is_null_last:
            self._accept("NULLS", "FIRST")
        return Order(expression, is_descending, is_null_last)

    def _condition(self) -> Condition:
        """AND and OR do not mix without parentheses."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise malformed("The query is nested too deeply")
        parts = [self._simple()]
        operator = self._next.word
        if operator in ("AND", "OR"):
            while self._accept(operator):
                parts.append(self._simple())
            if self._next.word in ("AND", "OR"):
                raise malformed(f"unexpected token: {self._next.text} (AND and OR need parentheses between them)")
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Logic(operator, tuple(parts))

    def _simple(self) -> Condition:
        if self._accept("NOT"):
            self._depth += 1
            inner = self._simple() if self._depth <= _DEEPEST else None
            self._depth -= 1
            if inner is None:
                raise malformed("The query is nested too deeply")
            return Logic("NOT", (inner,))
        if self._accept("("):
            inner = self._condition()
            self._expect(")")
            return inner
        left = self._expression()
        if self._accept("NOT", "IN"):
            return Within(left, self._set(), is_negated=True)
        if self._accept("IN"):
            return Within(left, self._set(), is_negated=False)
        if self._next.word in ("INCLUDES", "EXCLUDES"):
            raise malformed(f"{self._next.word} is for multi-select picklists; the org has none")
        operator = _OPERATORS.get(self._next.word)
        if operator is None:
            raise self._unexpected("expecting an operator")
        self._take()
        return Compare(left, operator, self._literal())

    def _set(self) -> tuple[Literal, ...] | SoqlQuery:
        self._expect("(")
        values: tuple[Literal, ...] | SoqlQuery
        if self._next.word == "SELECT":
            values = self.query()
        else:
            literals = [self._literal()]
            while self._accept(","):
                literals.append(self._literal())
            values = tuple(literals)
        self._expect(")")
        return values

    def _literal(self) -> Literal:
        token = self._take()
        if token.kind in ("string", "number", "date", "datetime"):
            return Literal(token.kind, token.text)
        if token.kind != "name":
            raise malformed(f"unexpected token: '{token.text[:80]}' at position {token.position} (expecting a value)")
        if token.word in ("TRUE", "FALSE"):
            return Literal("boolean", token.word)
        if token.word == "NULL":
            return Literal("null", "null")
        count = self._count() if self._accept(":") else None
        return Literal("range", token.word, count)
