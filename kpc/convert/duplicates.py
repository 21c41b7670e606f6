"""Finding external ids that Salesforce would take for one, before anything is sent."""

from __future__ import annotations

import polars as pl

from kpc.convert.canonical import KEY_HASH


class DuplicateKeys:
    """Collects the key hashes of a partition, eight bytes per row.

    Key hashes are made of the id without case, so equal ids meet whatever their case. A row that another rule rejected
    counts as well: of two rows with one id, nobody can say that the unbroken one is the right one. Two different ids
    with the same 64 bits (about one pair in a million partitions of seven million rows) would be rejected too: visible,
    never lost.
    """

    def __init__(self) -> None:
        self._kept: list[pl.Series] = []
        self._rejected: list[pl.Series] = []

    def add(self, hashes: pl.Series) -> None:
        """Of rows that kept all rules so far."""
        self._kept.append(hashes)

    def add_rejected(self, hashes: pl.Series) -> None:
        self._rejected.append(hashes.drop_nulls())

    def found(self) -> tuple[pl.Series, int]:
        """The hashes that occur more than once, and how many kept rows have one. Forgets what was collected."""
        if not self._kept:
            return pl.Series(KEY_HASH, dtype=pl.UInt64), 0
        ordered = pl.concat([*self._kept, *self._rejected]).sort()
        repeated = ordered.filter(ordered == ordered.shift(1)).unique(maintain_order=True)
        rows = sum(int(hashes.is_in(repeated.implode()).sum()) for hashes in self._kept) if len(repeated) else 0
        self._kept, self._rejected = [], []
        return repeated.alias(KEY_HASH), rows
