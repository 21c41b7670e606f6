"""Hashes of a whole partition, which need not fit in memory: more than a million of them go to a nameless file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa

from kpc.storage.store import disk_may_fill, make_private

HELD_ROWS = 1_000_000
_SHARES = 64
_BOUNDS = [share << 58 for share in range(_SHARES)]  # a share is the hashes with the same first six bits
_CELL_BYTES = 8


class HashShares:
    """Rows of UInt64 columns, the first one a hash: collected in any order, given back share by share.

    Equal hashes are in the same share. What is held is spilled in ascending order, so that each share's rows stand
    together in the file; a share is then one piece of each spill.
    """

    def __init__(self, folder: Path, *columns: str) -> None:
        self._folder = folder
        self._columns = columns
        self._held: list[pl.DataFrame] = []
        self._file: BinaryIO | None = None
        self._spills: list[tuple[int, list[int]]] = []  # where one begins in the file, and its shares' first rows
        self._held_rows = 0
        self.rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Raises `OutOfSpace`."""
        self._held.append(rows.select(self._columns))
        self._held_rows += rows.height
        self.rows += rows.height
        if self._held_rows > HELD_ROWS:
            self._spill()

    def whole(self) -> pl.DataFrame:
        """All rows, while they are few: at most HELD_ROWS."""
        return pl.concat([self._empty(), *self._held])

    def shares(self) -> Iterator[pl.DataFrame]:
        """The rows of each share in turn, once; see `share_bounds`."""
        if self._held_rows:
            self._spill()
        for share in range(_SHARES):
            yield self._read(share)
        if self._file is not None:
            self._file.close()

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=dict.fromkeys(self._columns, pl.UInt64))

    def _spill(self) -> None:
        ordered = pl.concat(self._held).sort(self._columns[0])
        self._held, self._held_rows = [], 0
        with disk_may_fill(self._folder / "key hashes"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=make_private(self._folder))  # noqa: SIM115  nameless
            start = self._file.seek(0, 2)
            for column in ordered:
                self._file.write(memoryview(column.to_arrow().buffers()[1])[: len(column) * _CELL_BYTES])
            self._file.flush()
        bounds = pl.Series(_BOUNDS, dtype=pl.UInt64)
        first_rows = ordered[self._columns[0]].search_sorted(bounds, side="left").to_list()
        self._spills.append((start, [*first_rows, ordered.height]))

    def _read(self, share: int) -> pl.DataFrame:
        pieces = [self._empty()]
        for start, first_rows in self._spills:
            first, end, height = first_rows[share], first_rows[share + 1], first_rows[-1]
            places = range(start, start + len(self._columns) * height * _CELL_BYTES, height * _CELL_BYTES)
            cells = [self._cells(place + first * _CELL_BYTES, end - first) for place in places]
            pieces.append(pl.DataFrame(dict(zip(self._columns, cells, strict=True))))
        return pl.concat(pieces)

    def _cells(self, place: int, count: int) -> pl.Series:
        assert self._file is not None  # noqa: S101  something was spilled
        self._file.seek(place)
        content = pa.py_buffer(self._file.read(count * _CELL_BYTES))
        return pl.Series(pa.Array.from_buffers(pa.uint64(), count, [None, content]))


def share_bounds() -> Iterator[tuple[int, int]]:
    """The least and the greatest hash of each share, in the order of `HashShares.shares`."""
    for start, end in pairwise([*_BOUNDS, 1 << 64]):
        yield start, end - 1
