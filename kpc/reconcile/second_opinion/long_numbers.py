"""Numbers of more than 15 digits: the API carries doubles, so a record read back may hold a neighbour of the number.

Oracle's digest says nothing about single digits, so the text of a record that differs and has such a number is built
again, with the extract's number in place of the double that represents it.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal, localcontext

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import Column
from kpc.reconcile.double_numbers import same_as_doubles
from kpc.reconcile.second_opinion.digest_layout import row_columns
from kpc.reconcile.second_opinion.opinions import DIGEST, KEY
from kpc.reconcile.second_opinion.row_sql import DIGEST_BYTES, OPINION
from kpc.reconcile.second_opinion.target_text import row_digests

_MOST_HELD = 20_000
_LONG = r"^-?0*(?:\d\.?){16}"


class LongNumbers:
    """The records with such numbers, in canonical text; the first `_MOST_HELD` of them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._numbers = [column for column in row_columns(table) if column.type is not None and column.type.is_number]
        self._held: list[pl.DataFrame] = []
        self._room = _MOST_HELD

    def note(self, keys: pl.Series, rows: pl.DataFrame) -> None:
        """Keep those of `rows` that have one."""
        if not self._numbers or not self._room:
            return
        is_long = pl.any_horizontal(pl.col(column.field or "").str.contains(_LONG) for column in self._numbers)
        found = rows.with_columns(keys).filter(is_long).head(self._room)
        if found.height:
            self._room -= found.height
            self._held.append(found)

    def equal_after_all(self, differing: pl.DataFrame, extract: Iterable[pl.DataFrame]) -> set[bytes]:
        """The keys of `differing` (key, Oracle's digest) whose records differ only in digits that a double loses."""
        if not self._held:
            return set()
        wanted = pl.concat(self._held).join(differing.select(KEY, DIGEST), on=KEY, how="inner")
        if wanted.is_empty():
            return set()
        names = [column.name for column in self._numbers]
        found: set[bytes] = set()
        key = pl.col(OPINION).bin.slice(0, DIGEST_BYTES).alias(KEY)
        for frame in extract:
            pairs = wanted.join(frame.select(key, *names), on=KEY, how="inner", suffix=":oracle")
            if pairs.height:
                exact = pairs.with_columns(self._exact(pairs, column) for column in self._numbers)
                digests = row_digests(exact, self._table)
                found |= set(pairs.filter(digests == pairs[DIGEST])[KEY])
        return found

    def _exact(self, pairs: pl.DataFrame, column: Column) -> pl.Series:
        field = column.field or ""
        values = zip(pairs[field], pairs[column.name], strict=True)
        return pl.Series(field, [_exact_text(held, value, column) for held, value in values], pl.String)


def _exact_text(held: str | None, value: Decimal | None, column: Column) -> str | None:
    """The extract's number if the held one is the double that represents it, otherwise the held one."""
    if held is None or value is None or column.type is None:
        return held
    with localcontext(prec=100):
        exact = f"{value.quantize(Decimal(1).scaleb(-column.type.scale), ROUND_HALF_UP):f}"
    return exact if same_as_doubles(exact, held) else held
