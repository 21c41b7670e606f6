"""Which texts of a row are hashed together: both sides must divide a row's canonical text in the same way.

A RAW in Oracle's SQL is limited to 2,000 bytes, so a longer row is hashed in groups of fields, and a longer field in
pieces of 500 characters. The row's digest is SHA-256 of its only group's text, or of its groups' digests in order.
Columns that are hashed with the campaign's key are in no group: the key never goes to Oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, Column, Pii
from kpc.reconcile.second_opinion.text_sql import MOST_CHARS
from kpc.reconcile.second_opinion.value_sql import key_text, spelling

GROUP_BYTES = 2_000
PIECE_CHARS = 500
SEPARATOR, NULL = "\x1f", "\x1e"  # docs/checksums.md, section 1


@dataclass(frozen=True, slots=True)
class FieldPart:
    """A field of the data header, whole or one piece of it: `PIECE_CHARS` characters from `start` (0: the first)."""

    header: str
    start: int | None = None


Group = tuple[FieldPart, ...]


def is_covered(column: Column) -> bool:
    """Whether Oracle can compute the column's text: its SQL cannot hash LOBs and very long texts."""
    return not column.source.is_text or 0 < (column.source.size or 0) <= MOST_CHARS


def hashed_columns(table: Table) -> tuple[Column, ...]:
    """The columns with their own digest, over the text before it is hashed with the key."""
    return tuple(
        column for column in table.sent_columns if column.pii is Pii.HASH and (column.source.size or 0) <= PIECE_CHARS
    )


def row_columns(table: Table) -> tuple[Column, ...]:
    """The sent columns whose text is part of the row's digest."""
    return tuple(column for column in table.sent_columns if column.pii is not Pii.HASH and is_covered(column))


def compared_columns(table: Table) -> tuple[Column, ...]:
    """What is read of a row besides its opinion: the text of hashed columns, and numbers, which may be long."""
    hashed = hashed_columns(table)
    return tuple(
        column
        for column in table.sent_columns
        if column in hashed or (column.type is not None and column.type.is_number)
    )


def uncovered_columns(table: Table) -> tuple[str, ...]:
    """The names of sent columns that Oracle's opinion does not cover."""
    covered = {column.name for column in (*row_columns(table), *hashed_columns(table))}
    return tuple(column.name for column in table.sent_columns if column.name not in covered)


def has_opinion(table: Table) -> bool:
    """Whether Oracle can build the external ids, without which there is no opinion on a row."""
    names = {*table.key, *(name for lookup in table.lookups for name in lookup.columns)}
    return all(is_covered(table.by_name[name]) for name in names)


@lru_cache(maxsize=64)
def layout(table: Table) -> tuple[Group, ...]:
    """The groups of a table's rows, in the order of the data header."""
    groups: list[list[FieldPart]] = []
    room = 0
    for header, size in _sizes(table):
        if size > GROUP_BYTES:
            pieces = range(0, -(-size // 4), PIECE_CHARS)
            groups += [[FieldPart(header, start)] for start in pieces]
            room = 0
            continue
        if not groups or size + 1 > room:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(FieldPart(header))
        room -= size + 1
    return tuple(tuple(group) for group in groups)


def _sizes(table: Table) -> list[tuple[str, int]]:
    """Each field with the maximum number of bytes of its text in UTF-8."""
    ids = [(EXTERNAL_ID, table.key_columns)]
    ids += [(one.header, tuple(table.by_name[name] for name in one.columns)) for one in table.lookups]
    sizes = [(header, 4 * key_text(table, columns).chars) for header, columns in ids]
    for column in row_columns(table):
        made = spelling(table, column)
        sizes.append((column.field or "", made.chars * made.char_bytes))
    return sizes + ([(CURRENCY_FIELD, len(table.currency))] if table.currency else [])
