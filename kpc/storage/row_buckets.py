"""Rows of a whole partition, assigned to buckets and read back bucket by bucket: they need not fit in memory.

A bucket is chosen by a hash of the key (`key_bucket`), by a range of a hash column (`HashRanges`), or by any other
number, such as the position of a row's month.
"""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa

from kpc.private_files import make_private
from kpc.storage.store import disk_may_fill

HELD_ROWS = 1_000_000  # of a few fixed-width columns; rows with many columns need a smaller limit
_BUCKET = "__bucket"
_HASHES = 1 << 64


def key_bucket(columns: Sequence[str], count: int) -> pl.Expr:
    """The bucket, 0 to `count` - 1, from a hash of these columns: equal keys are in the same one."""
    return pl.struct(columns).hash() % count


@dataclass(frozen=True, slots=True)
class HashRanges:
    """The values of a UInt64 hash column in `count` ranges of equal width, in ascending order."""

    column: str
    count: int

    @property
    def bucket(self) -> pl.Expr:
        """The number of the range that a row's hash is in."""
        if self.count == 1:
            return pl.lit(0)
        return pl.col(self.column) // pl.lit(self._width, pl.UInt64)

    def bounds(self) -> Iterator[tuple[int, int]]:
        """The least and the greatest hash of each range."""
        for number in range(self.count):
            yield number * self._width, min(_HASHES, (number + 1) * self._width) - 1

    def holds(self, least: int, greatest: int) -> pl.Expr:
        """True for the rows whose hash is between two bounds, both inclusive."""
        return pl.col(self.column).is_between(pl.lit(least, pl.UInt64), pl.lit(greatest, pl.UInt64))

    @property
    def _width(self) -> int:
        return -(-_HASHES // self.count)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one bucket from one spill: an Arrow stream within the file."""

    start: int
    bytes: int


class RowBuckets:
    """Rows with the columns of `schema`, added in any order and read bucket by bucket; a bucket keeps their order.

    When more than `held_rows` rows are in memory, they are written to an unnamed temporary file in `folder`, which
    disappears with this object or its process. `bucket` is the number of a row's bucket, 0 to `count` - 1.
    """

    def __init__(
        self,
        folder: Path,
        schema: Mapping[str, pl.DataType],
        bucket: pl.Expr,
        count: int,
        *,
        held_rows: int = HELD_ROWS,
        is_compressed: bool = False,
    ) -> None:
        self._folder = folder
        self._schema = dict(schema)
        self._bucket = bucket
        self._most_held_rows = held_rows
        self._options = pa.ipc.IpcWriteOptions(compression="lz4" if is_compressed else None)
        self._held: list[pl.DataFrame] = []
        self._held_rows = 0
        self._file: BinaryIO | None = None
        self._pieces: list[list[_Piece]] = [[] for _ in range(count)]
        self.rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Only the columns of the schema are kept. Raises `OutOfSpace`."""
        if rows.is_empty():
            return
        self._held.append(rows.select(list(self._schema)))
        self._held_rows += rows.height
        self.rows += rows.height
        if self._held_rows > self._most_held_rows:
            self._spill()

    def whole(self) -> pl.DataFrame:
        """All rows; only valid while there are at most `held_rows`."""
        return pl.concat([self._empty(), *self._held])

    def buckets(self) -> Iterator[pl.DataFrame]:
        """The rows of each bucket in turn."""
        for number in range(len(self._pieces)):
            yield self.bucket(number)

    def has_rows(self, number: int) -> bool:
        """Whether a bucket has any rows."""
        self._spill_rest()
        return bool(self._pieces[number])

    def bucket(self, number: int) -> pl.DataFrame:
        """The rows of one bucket."""
        return pl.concat([self._empty(), *self._read(number)])

    def frames(self, number: int, rows: int) -> Iterator[pl.DataFrame]:
        """The rows of one bucket in frames of about `rows` rows, for buckets that may be too large for memory."""
        waiting: list[pl.DataFrame] = []
        for piece in self._read(number):
            waiting.append(piece)
            if sum(frame.height for frame in waiting) >= rows:
                yield pl.concat(waiting)
                waiting = []
        if waiting:
            yield pl.concat(waiting)

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self._schema)

    def _spill_rest(self) -> None:
        """Spill the rows in memory before the first read, so that all rows are in the file."""
        if self._held:
            self._spill()

    def _spill(self) -> None:
        """Write the held rows, ordered by bucket, so that each bucket's rows are one piece of the file."""
        numbered = pl.concat(self._held).with_columns(self._bucket.cast(self._number_type).alias(_BUCKET))
        self._held, self._held_rows = [], 0
        ordered = numbered.sort(_BUCKET, maintain_order=True)
        numbers = ordered[_BUCKET]
        del numbered
        every = pl.Series(list(range(len(self._pieces))), dtype=numbers.dtype)
        starts = numbers.search_sorted(every, side="left").to_list()
        rows = ordered.drop(_BUCKET)
        with disk_may_fill(self._folder / "a temporary file"):
            for number, (start, end) in enumerate(pairwise([*starts, rows.height])):
                if end > start:
                    self._pieces[number].append(self._write(rows.slice(start, end - start)))
            self._open_file().flush()

    @property
    def _number_type(self) -> pl.DataType:
        """The narrowest type for bucket numbers: next to two hashes, one byte is a seventeenth of the data to sort."""
        return pl.UInt8() if len(self._pieces) <= 1 << 8 else pl.UInt32()

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=make_private(self._folder))  # noqa: SIM115  open as long as `self`
            weakref.finalize(self, _discard, self._file)
        return self._file

    def _write(self, rows: pl.DataFrame) -> _Piece:
        file = self._open_file()
        start = file.seek(0, 2)
        table = rows.to_arrow()
        with pa.ipc.new_stream(file, table.schema, options=self._options) as stream:
            stream.write_table(table)
        return _Piece(start, file.tell() - start)

    def _read(self, number: int) -> Iterator[pl.DataFrame]:
        self._spill_rest()
        for piece in self._pieces[number]:
            file = self._open_file()
            file.seek(piece.start)
            yield pl.read_ipc_stream(io.BytesIO(file.read(piece.bytes)))


def _discard(file: BinaryIO) -> None:
    """Close a file whose rows nobody wants any more; on a full disk its last, unwritten bytes are lost."""
    with suppress(OSError):
        file.close()
