"""Chunks of a table without ROWIDs (a view or an index-organized table): ranges of its key, in Oracle's binary order.

A bound is one text per key column. Oracle cannot order row values (`(a, b) > (1, 2)` is ORA-01796), so a bound is
written column by column: `a > 1 OR (a = 1 AND b > 2)`. Sessions compare text by its bytes (NLS_SORT and NLS_COMP are
BINARY), so that ORDER BY and `>` use the same order. Rows with a NULL in their key belong to no range and form a chunk
of their own; staging rejects and lists them.
"""

from __future__ import annotations

from decimal import Decimal

from kpc.catalog.table import Table
from kpc.catalog.types import Column, OracleKind
from kpc.extract.statements import DATE_TEXT, TIMESTAMP_TEXT, Selection, hint, quoted
from kpc.oracle.statement import BindValues, Statement

Bound = tuple[str, ...]


def key_plan(owner: str, rows: Selection, chunk_rows: int) -> Statement:
    """The first key of each chunk of about `chunk_rows` rows and its number of rows, in one pass over the partition.

    Rows with the same key have the same rank and therefore the same chunk: a range of keys cannot split them.
    """
    table, where = rows.table, rows.where
    order = ", ".join(quoted(name) for name in table.key)
    names = ", ".join(f"k{position}" for position in range(len(table.key)))
    texts = ", ".join(f"{_as_text(column)} AS k{position}" for position, column in enumerate(table.key_columns))
    text = (
        f"SELECT {names}, in_chunk FROM ("
        f"SELECT {names}, chunk, COUNT(*) OVER (PARTITION BY chunk) AS in_chunk, "
        "ROW_NUMBER() OVER (PARTITION BY chunk ORDER BY place) AS nth FROM ("
        f"SELECT {hint(table.parallel_degree)}{texts}, RANK() OVER (ORDER BY {order}) AS place, "
        f"TRUNC((RANK() OVER (ORDER BY {order}) - 1) / :chunk_rows) AS chunk "
        f"FROM {rows.source(owner)} WHERE {where.text} AND {_has_key(table)})) WHERE nth = 1 ORDER BY chunk"
    )
    return Statement(text, {**where.binds, "chunk_rows": chunk_rows})


def key_range_condition(table: Table, first: Bound, end: Bound | None) -> Statement:
    """The condition for keys from `first` up to but not including `end`; None: to the last key."""
    lower = _at_or_after(table, first, "f")
    if end is None:
        return lower
    upper = _at_or_after(table, end, "e")
    return Statement(f"{lower.text} AND NOT {upper.text}", {**lower.binds, **upper.binds})


def without_key(table: Table) -> Statement:
    """The rows with a NULL in their key."""
    return Statement(f"({' OR '.join(f'{quoted(name)} IS NULL' for name in table.key)})")


def count_without_key(owner: str, rows: Selection) -> Statement:
    """How many rows have a NULL in their key."""
    condition = f"{rows.where.text} AND {without_key(rows.table).text}"
    return Statement(f"SELECT COUNT(*) FROM {rows.source(owner)} WHERE {condition}", rows.where.binds)


def _has_key(table: Table) -> str:
    return " AND ".join(f"{quoted(name)} IS NOT NULL" for name in table.key)


def _at_or_after(table: Table, bound: Bound, prefix: str) -> Statement:
    """The condition for keys at or after `bound`: one alternative per column, each with all columns before it equal."""
    binds: BindValues = {}
    spelled = []
    for position, (column, value) in enumerate(zip(table.key_columns, bound, strict=True)):
        name = f"{prefix}{position}"
        binds[name] = Decimal(value) if column.source.kind is OracleKind.NUMBER else value
        spelled.append((quoted(column.name), _from_text(column, name)))
    alternatives = []
    for position, (name, value) in enumerate(spelled):
        is_last = position == len(spelled) - 1
        steps = [f"{before} = {equal}" for before, equal in spelled[:position]]
        steps.append(f"{name} {'>=' if is_last else '>'} {value}")
        alternatives.append(f"({' AND '.join(steps)})")
    return Statement(f"({' OR '.join(alternatives)})", binds)


def _as_text(column: Column) -> str:
    """A key column as text, without loss."""
    name = quoted(column.name)
    match column.source.kind:
        case OracleKind.DATE:
            return f"TO_CHAR({name}, '{DATE_TEXT}')"
        case OracleKind.TIMESTAMP:
            return f"TO_CHAR({name}, '{TIMESTAMP_TEXT}')"
        case OracleKind.RAW:
            return f"RAWTOHEX({name})"
        case _:
            return name


def _from_text(column: Column, bind: str) -> str:
    """The bind, converted to the key column's own type so that an index on it can be used."""
    match column.source.kind:
        case OracleKind.DATE:
            return f"TO_DATE(:{bind}, '{DATE_TEXT}')"
        case OracleKind.TIMESTAMP:
            return f"TO_TIMESTAMP(:{bind}, '{TIMESTAMP_TEXT}')"
        case OracleKind.RAW:
            return f"HEXTORAW(:{bind})"
        case _:
            return f":{bind}"
