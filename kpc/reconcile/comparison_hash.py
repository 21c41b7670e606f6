"""The hash by which a record is compared with its row: text as text, numbers as the doubles that the API carries.

It is an order of magnitude cheaper than canonical text, because no number is formatted. Equal hashes mean equal
records; records with different hashes may still be equal (trailing white space, `TRUE` for `true`) and are compared by
their canonical text. Doubles distinguish all numbers of up to 15 digits, as many as Salesforce keeps exactly. Each
reconciliation draws a new seed, so that nobody can prepare a record with the hash of another; the hash is never
stored.
"""

from __future__ import annotations

import polars as pl

from kpc.catalog.table import Table

COMPARED = "compared"  # the hash's column, UInt64
AS_DOUBLE = "double:"  # prefix of a number field's column of doubles, beside its column of text


def number_fields(table: Table) -> tuple[str, ...]:
    """The fields that hold numbers, in the order of the catalog."""
    return tuple(column.field or "" for column in table.sent_columns if column.type and column.type.is_number)


def comparison_hash(rows: pl.DataFrame, table: Table, seed: int) -> pl.Series:
    """One UInt64 per row of `table.data_header`; numbers may be text or doubles, a null equals an empty text.

    A number's column `AS_DOUBLE` is used in place of its text, if there is one.
    """
    numbers = set(number_fields(table))

    def compared(name: str) -> pl.Series:
        if name in numbers:
            typed = rows[AS_DOUBLE + name] if AS_DOUBLE + name in rows.columns else rows[name]
            return typed.alias(name) if typed.dtype == pl.Float64 else typed.cast(pl.Float64, strict=False).alias(name)
        text = rows[name]
        return text.fill_null("") if text.null_count() else text

    # Not as expressions, which have a fixed cost for each of thousands of frames.
    return pl.DataFrame([compared(name) for name in table.data_header]).hash_rows(seed).alias(COMPARED)
