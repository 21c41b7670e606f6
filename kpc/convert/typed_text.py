"""Rows that people typed as text, by the rules of staging: the same conversions and checks as for rows of Oracle.

An exported row has the columns of `data_header` as text. `convert_typed` reads them as a table whose columns are that
text, so that `FramePlan` converts and checks them. Two rules are stricter than for Oracle's values, because a person
can be asked: a text is never cut, and a number never rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import (
    EXTERNAL_ID,
    EXTERNAL_ID_LENGTH,
    Calendar,
    Column,
    DateFormat,
    FieldKind,
    Lookup,
    NullRule,
    TooLong,
    key_part_length,
    number,
    text,
    timestamp_tz,
    varchar2,
)
from kpc.convert.frame import FramePlan
from kpc.convert.rules import Rule

_NUMBER = r"^-?[0-9]+(?:\.[0-9]+)?$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.000Z$"
_MOMENT_FORMAT = "%Y-%m-%dT%H:%M:%S.000Z"
_WHOLE_ID = "EXTERNAL_ID"  # the key, where none of its columns is sent


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A cell that breaks a rule: position of its row, its column in `data_header`, and the rule."""

    row: int
    field: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class TypedRows:
    """`data_header` as Salesforce will hold it (null: NULL), with the external id made from the key's cells.

    The first of several rules that a cell breaks comes first. A number breaks `too_long` by too many decimal places.
    """

    rows: pl.DataFrame
    broken: tuple[BrokenRule, ...]


def convert_typed(rows: pl.DataFrame, table: Table, *, key: str, hash_key: str) -> TypedRows:
    """Convert rows of `data_header`, all String (null: NULL), in the same order.

    Cells of hashed and masked columns hold the personal value itself. Raises `ConfigError` if a hash key is needed and
    empty.
    """
    typed = _typed_table(table)
    names = {column.field: column.name for column in typed.sent_columns} | {EXTERNAL_ID: _WHOLE_ID}
    given = rows.select(pl.col(name).alias(names[name]) for name in table.data_header if name in names)
    readable = given.with_columns(_readable(column) for column in typed.sent_columns)
    plan = FramePlan.of(typed, dict(readable.schema), key=key, hash_key=hash_key)
    marks = [check.violated.alias(f"check:{position}") for position, check in enumerate(plan.checks)]
    made = plan.typed(readable.lazy()).with_columns(*plan.spelled(), *marks).collect()
    broken = list(_unreadable(given, readable, typed))
    broken += [
        BrokenRule(row, check.field, check.rule)
        for position, check in enumerate(plan.checks)
        for row in _true_rows(made[f"check:{position}"])
    ]
    return TypedRows(made.select(table.data_header), tuple(broken))


def key_fields(table: Table) -> frozenset[str]:
    """The fields that the external id is made from."""
    return frozenset(column.field or "" for column in table.key_columns if column.is_sent)


def _typed_table(table: Table) -> Table:
    """The declaration of the table's rows as typed text."""
    columns = [_typed(column, is_key=column.name in table.key) for column in table.sent_columns]
    columns += [_reference(lookup) for lookup in table.lookups]
    columns.append(Column(_WHOLE_ID, varchar2(EXTERNAL_ID_LENGTH), None, None))
    key = tuple(column.name for column in table.key_columns if column.is_sent) or (_WHOLE_ID,)
    return replace(
        table,
        columns=tuple(columns),
        key=key,
        lookups=(),
        measures=(),
        update_column=None,
        created_column=None,
        has_rowid=True,
    )


def _typed(column: Column, *, is_key: bool) -> Column:
    kind = column.type
    assert kind is not None  # noqa: S101  a sent column has a type
    plain = replace(column, too_long=TooLong.REJECT, date_format=None, calendar=Calendar.GREGORIAN)
    if kind.is_number:
        return replace(plain, source=number())
    if kind.kind is FieldKind.DATE:
        return replace(plain, source=varchar2(10), date_format=DateFormat.ISO)
    if kind.kind is FieldKind.DATETIME:
        return replace(plain, source=timestamp_tz())
    labels = dict.fromkeys((*kind.values, *(label for _, label in column.picklist_map)))
    size = key_part_length(column) if is_key else max(kind.length, 1)
    return replace(plain, source=varchar2(size), picklist_map=tuple((label, label) for label in labels))


def _reference(lookup: Lookup) -> Column:
    """A parent is typed by its external id."""
    null = NullRule.REJECT if lookup.required else NullRule.KEEP
    return Column(lookup.header, varchar2(EXTERNAL_ID_LENGTH), lookup.header, text(EXTERNAL_ID_LENGTH), null)


def _readable(column: Column) -> pl.Expr:
    """The column as an extract would hold it; null for text that is not plainly a number or a UTC time."""
    cell, kind = pl.col(column.name), column.type
    if kind is not None and kind.is_number:
        trimmed = cell.str.strip_chars()
        return pl.when(trimmed.str.contains(_NUMBER)).then(trimmed).alias(column.name)
    if kind is not None and kind.kind is FieldKind.DATETIME:
        trimmed = cell.str.strip_chars()
        moment = pl.when(trimmed.str.contains(_MOMENT)).then(trimmed)
        return moment.str.to_datetime(_MOMENT_FORMAT, time_unit="us", strict=False).alias(column.name)
    return cell


def _unreadable(given: pl.DataFrame, readable: pl.DataFrame, table: Table) -> Iterator[BrokenRule]:
    """Numbers and times that `_readable` left out, and numbers with more decimal places than their field."""
    for column in table.sent_columns:
        name, kind = column.name, column.type
        rule = Rule.NUMBER_UNREADABLE if kind is not None and kind.is_number else Rule.DATE_UNREADABLE
        for row in _true_rows(given[name].is_not_null() & readable[name].is_null()):
            yield BrokenRule(row, column.field or "", rule)
        if kind is not None and kind.is_number:
            decimals = readable[name].str.extract(r"\.([0-9]*?)0*$").str.len_chars()
            for row in _true_rows(decimals > kind.scale):
                yield BrokenRule(row, column.field or "", Rule.TOO_LONG)


def _true_rows(marks: pl.Series) -> list[int]:
    return marks.fill_null(value=False).arg_true().to_list()
