"""A parsed SOQL query. Names are as written; nothing here knows the schema."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Path:
    """A field, possibly through parents: `Sale__r.External_ID__c`."""

    names: tuple[str, ...]

    @property
    def text(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True, slots=True)
class Call:
    """`COUNT()`, `SUM(Amount__c)`, `CALENDAR_YEAR(Sale_Date__c)`; `name` in upper case."""

    name: str
    argument: Path | Call | None

    @property
    def text(self) -> str:
        return f"{self.name}({self.argument.text if self.argument else ''})"


Expression = Path | Call


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of SELECT."""

    expression: Expression
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written; `kind` is string, number, date, datetime, boolean, null or range.

    A range is a date literal such as TODAY or LAST_N_DAYS:7, with its number in `count`.
    """

    kind: str
    text: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """`operator` is =, !=, <, <=, >, >= or LIKE."""

    left: Expression
    operator: str
    right: Literal


@dataclass(frozen=True, slots=True)
class Within:
    """IN and NOT IN, over values or a query of one column."""

    left: Expression
    values: tuple[Literal, ...] | SoqlQuery
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Logic:
    """AND, OR over two or more; NOT over one."""

    operator: str
    parts: tuple[Condition, ...]


Condition = Compare | Within | Logic


@dataclass(frozen=True, slots=True)
class Order:
    expression: Expression
    is_descending: bool = False
    is_null_last: bool = False


@dataclass(frozen=True, slots=True)
class SoqlQuery:
    items: tuple[Item, ...]
    object: str
    where: Condition | None = None
    group_by: tuple[Expression, ...] = ()
    subtotals: str = ""  # ROLLUP or CUBE
    having: Condition | None = None
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    all_rows: bool = False
    every: str | None = None  # FIELDS(ALL | STANDARD | CUSTOM)
    children: tuple[SoqlQuery, ...] = ()  # SELECT in SELECT; `object` is then the name of the child relationship
