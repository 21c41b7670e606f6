"""Find external ids that Salesforce treats as equal, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kpc.convert.canonical import KEY_HASH
from kpc.storage.row_buckets import HELD_ROWS, HashRanges, RowBuckets

_RANGES = HashRanges(KEY_HASH, 64)


class DuplicateKeys:
    """Collects the key hashes of a partition.

    A key hash ignores the case of the id, as Salesforce does. A row that another rule rejected counts as well: if two
    rows have the same id, the valid one is not necessarily the right one. Two different ids with the same 64-bit hash
    (about one pair in a million partitions of seven million rows) would be rejected too: reported, not lost.
    """

    def __init__(self, folder: Path, held_rows: int = HELD_ROWS) -> None:
        schema = {KEY_HASH: pl.UInt64()}
        self._held_rows = held_rows
        self._kept, self._rejected = (
            RowBuckets(folder, schema, _RANGES.bucket, _RANGES.count, held_rows=held_rows) for _ in range(2)
        )

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows that broke no rule so far; only their key_hash is used. Raises `OutOfSpace`."""
        self._kept.add(rows)

    def add_rejected(self, rows: pl.DataFrame) -> None:
        """Add rows that another rule rejected; those without a key hash have no external id."""
        self._rejected.add(rows.filter(pl.col(KEY_HASH).is_not_null()))

    def found(self) -> tuple[pl.Series, int]:
        """The hashes that occur more than once, and the number of kept rows that have one of them."""
        repeated, repeated_rows = [pl.Series(KEY_HASH, dtype=pl.UInt64)], 0
        for kept, rejected in self._comparable_groups():
            ordered = pl.concat([kept, rejected]).sort()
            again = ordered[1:].filter(ordered[1:] == ordered[:-1]).unique(maintain_order=True)
            repeated.append(again)
            repeated_rows += int(kept.is_in(again.implode()).sum()) if len(again) else 0
        return pl.concat(repeated), repeated_rows

    def _comparable_groups(self) -> Iterator[tuple[pl.Series, pl.Series]]:
        if self._kept.rows + self._rejected.rows <= self._held_rows:
            yield self._kept.whole()[KEY_HASH], self._rejected.whole()[KEY_HASH]
            return
        for kept, rejected in zip(self._kept.buckets(), self._rejected.buckets(), strict=True):
            yield kept[KEY_HASH], rejected[KEY_HASH]
