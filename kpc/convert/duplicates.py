"""Finding external ids that Salesforce would take for one, before anything is sent."""

from __future__ import annotations

import polars as pl

from kpc.convert.canonical import KEY_HASH

_ROWS_AT_ONCE = 1_000_000


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
        """The hashes that occur more than once, and how many kept rows have one. Forgets what was collected.

        Works on a share of all hashes at a time, so that little is needed beside what was collected.
        """
        rows = sum(map(len, self._kept))
        shares = rows // _ROWS_AT_ONCE + 1
        repeated, repeated_rows = [pl.Series(KEY_HASH, dtype=pl.UInt64)], 0
        for share in range(shares):
            kept, rejected = (_share_of(pieces, share, shares) for pieces in (self._kept, self._rejected))
            ordered = pl.concat([kept, rejected]).sort()
            again = ordered[1:].filter(ordered[1:] == ordered[:-1]).unique(maintain_order=True)
            repeated.append(again)
            repeated_rows += int(kept.is_in(again.implode()).sum()) if len(again) else 0
        self._kept, self._rejected = [], []
        return pl.concat(repeated), repeated_rows


def _share_of(pieces: list[pl.Series], share: int, shares: int) -> pl.Series:
    """The hashes that fall into one of several shares; all of them when there is one."""
    empty = pl.Series(KEY_HASH, dtype=pl.UInt64)
    return pl.concat([empty, *(piece if shares == 1 else piece.filter(piece % shares == share) for piece in pieces)])
