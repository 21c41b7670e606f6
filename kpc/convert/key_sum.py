"""A checksum of a set of external ids, so that two sets can be compared without holding either in memory."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass
class KeySum:
    """Sum and XOR of the key hashes (`canonical.key_hash`) of `rows` external ids, independent of their order.

    Two sets with the same sums are the same set, except for collisions of the 64-bit hashes.
    """

    rows: int = 0
    total: int = 0
    mixed: int = 0

    def add(self, hashes: pl.Series) -> None:
        self.rows += len(hashes)
        self.total = (self.total + int(hashes.sum() or 0)) % (1 << 64)
        self.mixed ^= int(hashes.to_frame("hash").select(pl.col("hash").bitwise_xor()).item() or 0)

    def __str__(self) -> str:
        """Sum and XOR, 16 hexadecimal digits each, as a manifest stores them."""
        return f"{self.total:016x}{self.mixed:016x}"
