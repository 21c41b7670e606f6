"""Oracle's opinion on each row, as a query around the rows: which key it has, and what Salesforce must hold for it.

    RAW(32)   SHA-256 of the external id; its first byte is the row's bucket
    RAW(1)    0, or the number of the first rule that the row breaks (`rules`); then nothing follows
    RAW(32)   the row's digest (`digest_layout`)
    RAW(32)   per hashed column SHA-256 of its text before it is hashed; zeros for NULL

It is NULL for a row without an external id, and for rows that were not asked for. It never raises an error, whatever a
row holds: CASE stops at the first true condition, and what could fail comes after the condition that excludes it.

The query is nested, so that each text is written once and used by its name:

    rows      the table's columns, and the texts of those that form external ids
    ids       + the external id
    hashed    + its digest, and the external ids of the parents
    asked     + whether the row was asked for
    values    + rounded numbers and the texts of all other columns, of rows that were asked for
    dates     + what is wrong with text dates; then the good ones' days and times
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, Column, Lookup
from kpc.reconcile.second_opinion.digest_layout import (
    NULL,
    PIECE_CHARS,
    SEPARATOR,
    FieldPart,
    Group,
    hashed_columns,
    layout,
    row_columns,
)
from kpc.reconcile.second_opinion.rules import ACCEPTED, Broken
from kpc.reconcile.second_opinion.text_sql import national
from kpc.reconcile.second_opinion.value_sql import (
    KeyText,
    broken_date,
    broken_date_name,
    day_name,
    day_text,
    is_text_date,
    key_text,
    part_name,
    part_text,
    rounded_name,
    rounded_number,
    spelling,
    trimmed_name,
    trimmed_text,
)

OPINION = "KPC_OPINION"
DIGEST_BYTES = 32
_NO_TEXT = "0" * 2 * DIGEST_BYTES
_ID, _PARENT, _HASH, _ASKED = "KPC_ID", "KPC_PARENT", "KPC_HASH", "KPC_ASKED"

Named = tuple[str, str]  # a column's name in the query, and its SQL
Chosen = Callable[[str], str]  # builds a condition from SQL that gives a row's bucket as two hexadecimal digits


def key_texts(table: Table) -> str:
    """What the innermost query selects in addition to the table's columns; begins with a comma."""
    return "".join(f",{sql} AS {name}" for name, sql in _key_texts(table))


def with_opinions(table: Table, rows: str, is_chosen: Chosen | None) -> str:
    """A query of the same rows with `OPINION` as their last column; `rows` selects the table's columns and `key_texts`.

    `is_chosen` says which rows are asked for, None: all.
    """
    condition = f"{_HASH} IS NOT NULL" if is_chosen is None else is_chosen(f"SUBSTR({_HASH},1,2)")
    digest = f"CASE WHEN {_ID} IS NOT NULL THEN {hex_digest(_ID)} END"
    levels = (
        [(_ID, _id(table))],
        [(_HASH, digest), *_parents(table)],
        [(_ASKED, f"CASE WHEN {condition} THEN 1 END")],
        _if_asked(_values(table)),
        _if_asked(_broken_dates(table)),
        _if_asked(_days(table)),
        _if_asked([(OPINION, f"HEXTORAW({_HASH}||{_verdict(table)})")]),
    )
    for level in levels:
        added = "".join(f",{sql} AS {name}" for name, sql in level)
        rows = f"SELECT q.*{added} FROM ({rows}) q" if added else rows  # noqa: S608  of the catalog's names
    return rows


def _if_asked(values: Iterable[Named]) -> list[Named]:
    return [(name, f"CASE WHEN {_ASKED}=1 THEN {sql} END") for name, sql in values]


def hex_digest(text: str) -> str:
    """SHA-256 over the UTF-8 bytes of an NVARCHAR2, hexadecimal; STANDARD_HASH itself would take its UTF-16."""
    return f"RAWTOHEX(STANDARD_HASH(UTL_I18N.STRING_TO_RAW({text},'AL32UTF8'),'SHA256'))"


def _identifying(table: Table) -> list[Column]:
    names = {*table.key, *(name for lookup in table.lookups for name in lookup.columns)}
    return [column for column in table.columns if column.name in names and column.source.is_text]


def _key_texts(table: Table) -> Iterator[Named]:
    for column in _identifying(table):
        if column.date_format is None:
            yield part_name(table, column), part_text(column)
        else:
            yield trimmed_name(table, column), trimmed_text(column)


def _values(table: Table) -> Iterator[Named]:
    done = {name for name, _ in _key_texts(table)}
    for column in _spelled(table):
        name = trimmed_name(table, column)
        if column.source.is_text and name not in done:
            yield name, trimmed_text(column)
        elif column.type is not None and column.type.is_number:
            yield rounded_name(table, column), rounded_number(column)


def _broken_dates(table: Table) -> Iterator[Named]:
    for column in filter(is_text_date, _spelled(table)):
        yield broken_date_name(table, column), broken_date(table, column)


def _days(table: Table) -> Iterator[Named]:
    for column in filter(is_text_date, _spelled(table)):
        yield day_name(table, column), day_text(table, column)


def _spelled(table: Table) -> tuple[Column, ...]:
    """The columns that Oracle's opinion covers, in the catalog's order."""
    covered = {column.name for column in (*row_columns(table), *hashed_columns(table))}
    return tuple(column for column in table.sent_columns if column.name in covered)


def _id(table: Table) -> str:
    key = key_text(table, table.key_columns)
    return f"CASE WHEN {key.is_whole} THEN {key.text} END"


def _parents(table: Table) -> Iterator[Named]:
    """A complete key has complete columns, and no digest is computed for an incomplete one."""
    for number, lookup in enumerate(table.lookups):
        parent = _parent(table, lookup)
        is_whole = f"{_ID} IS NOT NULL" if _is_in_key(table, lookup) else parent.is_whole
        yield f"{_PARENT}{number}", f"CASE WHEN {is_whole} THEN {parent.text} END"


def _is_in_key(table: Table, lookup: Lookup) -> bool:
    return set(lookup.columns) <= set(table.key)


def _parent(table: Table, lookup: Lookup) -> KeyText:
    return key_text(table, tuple(table.by_name[name] for name in lookup.columns))


def _verdict(table: Table) -> str:
    whens = "".join(f" WHEN {condition} THEN '{rule.number:02X}'" for rule, condition in _broken(table))
    accepted = f"'{ACCEPTED:02X}'||{_row_digest(table)}{''.join(_hashed(table))}"
    return f"CASE{whens} ELSE {accepted} END" if whens else accepted


def _broken(table: Table) -> Iterator[tuple[Broken, str]]:
    for column in _spelled(table):
        yield from spelling(table, column).broken
    for number, lookup in enumerate(table.lookups):
        if _is_in_key(table, lookup):
            continue
        parent = _parent(table, lookup)
        if lookup.required:
            yield Broken.LOOKUP_INCOMPLETE, f"({parent.is_incomplete})"
        yield Broken.SEPARATOR_IN_LOOKUP, f"({parent.has_separator})"
        if lookup.required:
            yield Broken.LOOKUP_INCOMPLETE, f"{_PARENT}{number} IS NULL"


def _row_digest(table: Table) -> str:
    texts = {EXTERNAL_ID: _ID}
    texts |= {lookup.header: f"{_PARENT}{number}" for number, lookup in enumerate(table.lookups)}
    texts |= {column.field or "": spelling(table, column).text for column in row_columns(table)}
    if table.currency:
        texts[CURRENCY_FIELD] = national(table.currency)
    digests = [hex_digest(_group_text(group, texts)) for group in layout(table)]
    if len(digests) == 1:
        return digests[0]
    return f"RAWTOHEX(STANDARD_HASH(HEXTORAW({'||'.join(digests)}),'SHA256'))"


def _group_text(group: Group, texts: dict[str, str]) -> str:
    null = national(NULL)
    return f"||{national(SEPARATOR)}||".join(f"NVL({_piece(element, texts)},{null})" for element in group)


def _piece(element: FieldPart, texts: dict[str, str]) -> str:
    text = texts[element.header]
    return text if element.start is None else f"SUBSTR4({text},{element.start + 1},{PIECE_CHARS})"


def _hashed(table: Table) -> Iterator[str]:
    for column in hashed_columns(table):
        yield f"||NVL({hex_digest(spelling(table, column).text)},'{_NO_TEXT}')"
