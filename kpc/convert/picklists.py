"""Checkboxes and picklists: convert a known set of codes to a known set of values."""

from __future__ import annotations

import polars as pl

from kpc.catalog.types import Column

TRUE_WORDS = ("1", "Y", "YES", "TRUE")
FALSE_WORDS = ("0", "N", "NO", "FALSE")


def checkbox(text: pl.Expr) -> pl.Expr:
    """`true` or `false` for a known word in any case; null for any other."""
    word = text.str.to_uppercase()
    return pl.when(word.is_in(TRUE_WORDS)).then(pl.lit("true")).when(word.is_in(FALSE_WORDS)).then(pl.lit("false"))


def label(text: pl.Expr, column: Column) -> pl.Expr:
    """The picklist value of a code; null for a code that is not declared.

    Declared are the codes of the picklist map or, without a map, the picklist's own values; a picklist with neither
    accepts any text.
    """
    known = dict(column.picklist_map) or {value: value for value in (column.type.values if column.type else ())}
    if not known:
        return text
    return text.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
