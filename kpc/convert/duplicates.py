"""Finding external ids that Salesforce would take for one, before anything is sent."""

from __future__ import annotations

import polars as pl

from kpc.convert.canonical import KEY_HASH


class DuplicateKeys:
    """Collects the key hashes of a partition, eight bytes per row.

    Key hashes are made of the id without case, so equal ids meet whatever their case. Two different ids with the same
    64 bits (about once in 700,000 partitions of seven million rows) would be rejected too: visible, never lost.
    """

    def __init__(self) -> None:
        self._hashes: list[pl.Series] = []

    def add(self, hashes: pl.Series) -> None:
        self._hashes.append(hashes)

    def found(self) -> pl.DataFrame:
        """The hashes that occur more than once: key_hash, rows. Forgets what was collected."""
        if not self._hashes:
            return pl.DataFrame(schema={KEY_HASH: pl.UInt64, "rows": pl.UInt32})
        ordered = pl.concat(self._hashes).sort()
        self._hashes = []
        repeated = ordered.filter(ordered == ordered.shift(1))
        return repeated.to_frame(KEY_HASH).group_by(KEY_HASH, maintain_order=True).agg((pl.len() + 1).alias("rows"))
