"""Finding external ids that Salesforce would take for one, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kpc.convert.canonical import KEY_HASH
from kpc.storage import hash_buckets as hash_shares
from kpc.storage.hash_buckets import HashShares


class DuplicateKeys:
    """Collects the key hashes of a partition.

    Key hashes are made of the id without case, so equal ids meet whatever their case. A row that another rule rejected
    counts as well: of two rows with one id, nobody can say that the unbroken one is the right one. Two different ids
    with the same 64 bits (about one pair in a million partitions of seven million rows) would be rejected too: visible,
    never lost.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = HashShares(folder, KEY_HASH)
        self._rejected = HashShares(folder, KEY_HASH)

    def add(self, rows: pl.DataFrame) -> None:
        """Rows that kept all rules so far; of their columns key_hash counts."""
        self._kept.add(rows)

    def add_rejected(self, rows: pl.DataFrame) -> None:
        self._rejected.add(rows.filter(pl.col(KEY_HASH).is_not_null()))

    def found(self) -> tuple[pl.Series, int]:
        """The hashes that occur more than once, and how many kept rows have one."""
        repeated, repeated_rows = [pl.Series(KEY_HASH, dtype=pl.UInt64)], 0
        for kept, rejected in self._that_may_be_equal():
            ordered = pl.concat([kept, rejected]).sort()
            again = ordered[1:].filter(ordered[1:] == ordered[:-1]).unique(maintain_order=True)
            repeated.append(again)
            repeated_rows += int(kept.is_in(again.implode()).sum()) if len(again) else 0
        return pl.concat(repeated), repeated_rows

    def _that_may_be_equal(self) -> Iterator[tuple[pl.Series, pl.Series]]:
        if self._kept.rows + self._rejected.rows <= hash_shares.HELD_ROWS:
            yield self._kept.whole()[KEY_HASH], self._rejected.whole()[KEY_HASH]
            return
        for kept, rejected in zip(self._kept.shares(), self._rejected.shares(), strict=True):
            yield kept[KEY_HASH], rejected[KEY_HASH]
