"""Parquet files that are written and read as a stream of frames, so that memory holds only a few slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from kpc.errors import DamagedFile
from kpc.storage.atomic_file import AtomicFile
from kpc.storage.prefetch import BackgroundWorker
from kpc.storage.store import FileEntry, describe_file

_DECODED_SLICES = 4  # slices of a row group that may be held decoded while the first of them is processed


class _ParquetFile(AtomicFile):
    """A Parquet file of this project: zstd at its fastest level, no dictionaries, one row group per write.

    Keys, hashes and amounts repeat too rarely for a dictionary; zstd does better on plain values.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, has_statistics: bool) -> None:
        super().__init__(path)
        self.rows = 0
        self._schema = schema
        self._writer = pq.ParquetWriter(
            self._temporary,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=has_statistics,
        )
        self._scope.callback(self._writer.close)

    def close(self) -> FileEntry:
        """Publish the file under its name and describe it."""
        self._writer.close()
        self._publish()
        return describe_file(self._path, rows=self.rows)


class ExtractParquet(_ParquetFile):
    """A file of extracted rows: exactly the given schema, and no statistics, because it is always read as a whole.

    Measured per million rows of KPS_T_SALES_MD (38 columns; fetching alone takes 4.3 s of CPU): an extract took 8.1 s
    with dictionaries and statistics, 5.8 s without, and its files are a fifth smaller. (BYTE_STREAM_SPLIT would be
    smaller still, but polars cannot read it for decimals.)
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, schema, has_statistics=False)

    def write(self, rows: pa.RecordBatch | pa.Table | pl.DataFrame) -> None:
        """Append rows with the schema's columns, in its order; types that differ only in representation are cast."""
        table = rows.to_arrow() if isinstance(rows, pl.DataFrame) else rows
        if not table.schema.equals(self._schema):
            table = table.cast(self._schema)
        self._writer.write(table, row_group_size=max(table.num_rows, 1))
        self.rows += table.num_rows


class ParquetTable(_ParquetFile):
    """Keys and hashes with polars' types, and with statistics, so that a reader can find a range of hashes.

    A background thread writes the frames; its error is raised by the next call.
    """

    def __init__(self, path: Path, schema: Mapping[str, pl.DataType]) -> None:
        super().__init__(path, pl.DataFrame(schema=schema).to_arrow().schema, has_statistics=True)
        self._worker = BackgroundWorker("parquet")
        self._scope.callback(self._worker.abandon)

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows with the schema's columns."""
        self._worker.start(self._append, rows)
        self.rows += rows.height

    def close(self) -> FileEntry:
        self._worker.wait()
        return super().close()

    def _append(self, rows: pl.DataFrame) -> None:
        self._writer.write_table(rows.to_arrow(), row_group_size=max(rows.height, 1))


def read_slices(path: Path, columns: list[str], rows: int, *, remedy: str) -> Iterator[pl.DataFrame]:
    """The named columns of a Parquet file, at most `rows` rows at a time.

    Each row group is decoded once: small ones together, and only a group many times larger than `rows` in parts.
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
    """First row and number of rows to decode together: at least one whole row group, up to `rows` rows.

    A group of more than `most_rows` rows is split into parts.
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
