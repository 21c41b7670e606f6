"""Records with corrected values, changed back to Oracle's own values, over which Oracle computed its digest.

A correction says which value replaced which. Neither is taken on trust: the given value must be in the record, and the
replaced one, put back in its place, must give the digest that Oracle computed for the row.
"""

from __future__ import annotations

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.load.corrected_rows import given

IS_CORRECTED = "is_corrected"
_ORACLE = "oracle:"


def uncorrected(records: pl.DataFrame, corrected: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Canonical records with Oracle's value in place of a given one, and `IS_CORRECTED`.

    `corrected` has `table.data_header` as Oracle has it and, under `given` names, as people gave it. A field that
    holds anything else than the given value is not changed, and so differs from Oracle's digest.
    """
    fields = [name for name in table.data_header if name != EXTERNAL_ID]
    sides = corrected.select(
        EXTERNAL_ID,
        *(pl.col(name).alias(_ORACLE + name) for name in fields),
        *(given(name) for name in fields),
        pl.lit(value=True).alias(IS_CORRECTED),
    )
    numbers = {column.field for column in table.sent_columns if column.type is not None and column.type.is_number}
    joined = records.join(sides, on=EXTERNAL_ID, how="left").with_columns(pl.col(IS_CORRECTED).fill_null(value=False))
    return joined.select(
        *(_replaced(name, name in numbers) if name in fields else name for name in table.data_header), IS_CORRECTED
    )


def _replaced(name: str, is_number: bool) -> pl.Expr:
    held, wanted = pl.col(name), pl.col(given(name))
    is_given = held.eq_missing(wanted)
    if is_number:  # the API carries doubles: of a number with more than 15 digits it returns a neighbour
        is_given |= held.cast(pl.Float64, strict=False) == wanted.cast(pl.Float64, strict=False)
    is_given = pl.col(IS_CORRECTED) & is_given.fill_null(value=False)
    return pl.when(is_given).then(pl.col(_ORACLE + name)).otherwise(held).alias(name)
