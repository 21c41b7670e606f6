"""The external id: the key parts joined by `|`, built the same way for a row and for a reference to its parent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, EXTERNAL_ID_LENGTH, KEY_SEPARATOR, Lookup
from kpc.convert import numbers, text
from kpc.convert.rules import Rule, RuleCheck
from kpc.convert.source import Source
from kpc.salesforce.constants import NULL_TOKEN


def external_id(sources: Sequence[Source]) -> pl.Expr:
    """The external id composed of these columns; null if any part is NULL.

    White space before the first part is removed too, because Salesforce trims the whole text.
    """
    parts = [source.as_key_part() for source in sources]
    return pl.concat_str(parts, separator=KEY_SEPARATOR, ignore_nulls=False).str.strip_chars_start()


def shown_key(sources: Sequence[Source]) -> pl.Expr:
    """The key for the reject file: the external id or, if there is none, its parts as extracted.

    A NULL part is left empty, a personal one is masked. Expects the external id column to exist.
    """
    parts = [source.shown().str.strip_chars_end().fill_null("") for source in sources]
    as_extracted = pl.concat_str(parts, separator=KEY_SEPARATOR)
    if any(source.column.pii is not None for source in sources):
        return as_extracted
    return pl.coalesce(EXTERNAL_ID, as_extracted)


def folded(identifier: pl.Expr) -> pl.Expr:
    """The external id in lower case: Salesforce compares external ids without case."""
    return identifier.str.to_lowercase()


def key_checks(table: Table, sources: Mapping[str, Source]) -> list[RuleCheck]:
    """The checks of a row's own external id. Expects its column to exist."""
    own_id = pl.col(EXTERNAL_ID)
    unusual = [name for name in table.key if sources[name].is_text and not sources[name].is_plain]
    checks = [
        RuleCheck(Rule.NULL_IN_KEY, EXTERNAL_ID, None, own_id.is_null()),
        *_rounded_keys(table, sources),
        *(
            RuleCheck(Rule.SEPARATOR_IN_KEY, EXTERNAL_ID, name, sources[name].may_contain_separator())
            for name in unusual
        ),
        RuleCheck(Rule.EXTERNAL_ID_TOO_LONG, EXTERNAL_ID, None, text.is_longer_than(own_id, EXTERNAL_ID_LENGTH)),
        RuleCheck(Rule.LITERAL_NULL_TOKEN, EXTERNAL_ID, None, own_id == NULL_TOKEN),
    ]
    if unusual:
        checks.insert(-1, RuleCheck(Rule.CONTROL_CHARACTER, EXTERNAL_ID, None, text.has_refused_character(own_id)))
    return checks


def _rounded_keys(table: Table, sources: Mapping[str, Source]) -> Iterator[RuleCheck]:
    """A key is never rounded: a field that cannot hold all its digits rejects the row."""
    for column in table.key_columns:
        source, target = sources[column.name], column.type
        if column.is_sent and target is not None and target.is_number and source.scale > target.scale:
            loses = numbers.loses_digits(source.clean, source.scale, target.scale)
            yield RuleCheck(Rule.KEY_LOSES_DIGITS, column.field or column.name, column.name, loses)


def lookup_checks(lookup: Lookup, sources: Mapping[str, Source]) -> list[RuleCheck]:
    """The checks of a reference to a parent. An optional one may be incomplete; it is then left empty."""
    checks = [
        RuleCheck(Rule.SEPARATOR_IN_LOOKUP, lookup.field, name, sources[name].may_contain_separator())
        for name in lookup.columns
        if sources[name].is_text and not sources[name].is_plain
    ]
    if lookup.required:
        checks.insert(0, RuleCheck(Rule.LOOKUP_INCOMPLETE, lookup.field, None, pl.col(lookup.header).is_null()))
    return checks
