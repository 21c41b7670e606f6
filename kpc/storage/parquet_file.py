"""Parquet piece by piece: neither reading nor writing holds more than one frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from kpc.errors import DamagedFile
from kpc.storage.atomic_file import GrowingFile
from kpc.storage.prefetch import Behind
from kpc.storage.store import FileEntry, describe_file

_DECODED_SLICES = 4  # how many slices of a row group may be held decoded while the first of them is worked on


class ParquetTable(GrowingFile):
    """Each written frame becomes a row group, with polars' types. For keys and hashes: nothing in them repeats.

    Frames are written by a thread of its own; what fails there is raised by the following call.
    """

    def __init__(self, path: Path, schema: dict[str, pl.DataType]) -> None:
        super().__init__(path)
        self._rows = 0
        arrow_schema = pl.DataFrame(schema=schema).to_arrow().schema
        self._writer = pq.ParquetWriter(self._temporary, arrow_schema, compression="zstd", use_dictionary=False)
        self._scope.callback(self._writer.close)
        self._behind = Behind("parquet")
        self._scope.callback(self._behind.abandon)

    def write(self, rows: pl.DataFrame) -> None:
        self._behind.start(self._append, rows)
        self._rows += rows.height

    def close(self) -> FileEntry:
        """Publish the file under its name and describe it."""
        self._behind.wait()
        self._writer.close()
        self._publish()
        return describe_file(self._path, rows=self._rows)

    def _append(self, rows: pl.DataFrame) -> None:
        self._writer.write_table(rows.to_arrow(), row_group_size=max(rows.height, 1))


def read_slices(path: Path, columns: list[str], rows: int, *, remedy: str) -> Iterator[pl.DataFrame]:
    """The named columns of a Parquet file, at most `rows` rows at a time.

    Row groups are decoded once each: small ones together, and only one that is many times larger than `rows` in parts.
    Raises `DamagedFile` if the file cannot be read.
    """
    try:
        for start, height in _spans(path, rows, _DECODED_SLICES * rows):
            span = pl.scan_parquet(path).slice(start, height).select(columns).collect()
            parts = -(-height // rows)
            yield from span.iter_slices(-(-height // parts))
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read as Parquet: {error}.", remedy, path=path) from error


def _spans(path: Path, rows: int, most_rows: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of what is decoded together: whole row groups up to `rows` rows, one at least.

    A group of more than `most_rows` rows comes in parts.
    """
    metadata = pq.read_metadata(path)
    start = height = 0
    for group in range(metadata.num_row_groups):
        group_rows = metadata.row_group(group).num_rows
        if height and height + group_rows > rows:
            yield from _parts(start, height, most_rows)
            start, height = start + height, 0
        height += group_rows
    yield from _parts(start, height, most_rows)


def _parts(start: int, height: int, most_rows: int) -> Iterator[tuple[int, int]]:
    for first in range(start, start + height, most_rows):
        yield first, min(most_rows, start + height - first)
