"""Finding external ids that Salesforce would take for one, before anything is sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa

from kpc.convert.canonical import KEY_HASH
from kpc.store import disk_may_fill, make_private

_HELD_ROWS = 1_000_000
_SHARES = 64  # of spilled hashes, by their first bits
_SHARE_STARTS = pl.Series([share << 58 for share in range(_SHARES)], dtype=pl.UInt64)
_HASH_BYTES = 8


class DuplicateKeys:
    """Collects the key hashes of a partition: a million in memory, more of them in a nameless file in `folder`.

    Key hashes are made of the id without case, so equal ids meet whatever their case. A row that another rule rejected
    counts as well: of two rows with one id, nobody can say that the unbroken one is the right one. Two different ids
    with the same 64 bits (about one pair in a million partitions of seven million rows) would be rejected too: visible,
    never lost.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = _Hashes(folder)
        self._rejected = _Hashes(folder)

    def add(self, hashes: pl.Series) -> None:
        """Of rows that kept all rules so far. Raises `OutOfSpace`."""
        self._kept.add(hashes)

    def add_rejected(self, hashes: pl.Series) -> None:
        self._rejected.add(hashes.drop_nulls())

    def found(self) -> tuple[pl.Series, int]:
        """The hashes that occur more than once, and how many kept rows have one. Forgets what was collected."""
        repeated, repeated_rows = [_hashes_of(b"")], 0
        for kept, rejected in self._shares():
            ordered = pl.concat([kept, rejected]).sort()
            again = ordered[1:].filter(ordered[1:] == ordered[:-1]).unique(maintain_order=True)
            repeated.append(again)
            repeated_rows += int(kept.is_in(again.implode()).sum()) if len(again) else 0
        return pl.concat(repeated), repeated_rows

    def _shares(self) -> Iterator[tuple[pl.Series, pl.Series]]:
        """Kept and rejected hashes that may be equal: all at once when they are few, else share by share."""
        if not (self._kept.is_spilled or self._rejected.is_spilled):
            yield self._kept.held(), self._rejected.held()
            return
        self._kept.spill()
        self._rejected.spill()
        for share in range(_SHARES):
            yield self._kept.spilled(share), self._rejected.spilled(share)


class _Hashes:
    """Hashes in any order: held in memory, and spilled to a file in pieces in which each share stands together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[pl.Series] = []
        self._held_rows = 0
        self._file: BinaryIO | None = None
        self._parts: list[list[int]] = []  # of each spill: where its shares begin and the last one ends, in bytes

    @property
    def is_spilled(self) -> bool:
        return self._file is not None

    def add(self, hashes: pl.Series) -> None:
        self._held.append(hashes)
        self._held_rows += len(hashes)
        if self._held_rows > _HELD_ROWS:
            self.spill()

    def held(self) -> pl.Series:
        return pl.concat([_hashes_of(b""), *self._held])

    def spilled(self, share: int) -> pl.Series:
        """The hashes of one share, of those that were spilled."""
        return pl.concat([_hashes_of(b""), *(self._read(part[share], part[share + 1]) for part in self._parts)])

    def spill(self) -> None:
        """Put what is held into the file, in ascending order."""
        ordered = self.held().sort()
        self._held, self._held_rows = [], 0
        with disk_may_fill(self._folder / "key hashes"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=make_private(self._folder))  # noqa: SIM115  nameless
            start = self._file.seek(0, 2)
            self._file.write(memoryview(ordered.to_arrow().buffers()[1])[: len(ordered) * _HASH_BYTES])
            self._file.flush()
        rows = [*ordered.search_sorted(_SHARE_STARTS, side="left").to_list(), len(ordered)]
        self._parts.append([start + row * _HASH_BYTES for row in rows])

    def _read(self, start: int, end: int) -> pl.Series:
        assert self._file is not None  # noqa: S101  there are parts
        self._file.seek(start)
        return _hashes_of(self._file.read(end - start))


def _hashes_of(content: bytes) -> pl.Series:
    array = pa.Array.from_buffers(pa.uint64(), len(content) // _HASH_BYTES, [None, pa.py_buffer(content)])
    return pl.Series(KEY_HASH, array)
