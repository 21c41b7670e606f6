"""Parquet piece by piece: neither reading nor writing holds more than one frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from kpc.convert.growing import GrowingFile
from kpc.errors import DamagedFile
from kpc.store import FileEntry, describe_file


class ParquetTable(GrowingFile):
    """Each written frame becomes a row group, with polars' types."""

    def __init__(self, path: Path, schema: dict[str, pl.DataType]) -> None:
        super().__init__(path)
        self._rows = 0
        arrow_schema = pl.DataFrame(schema=schema).to_arrow().schema
        self._writer = pq.ParquetWriter(self._temporary, arrow_schema, compression="zstd")
        self._scope.callback(self._writer.close)

    def write(self, rows: pl.DataFrame) -> None:
        self._writer.write_table(rows.to_arrow(), row_group_size=max(rows.height, 1))
        self._rows += rows.height

    def close(self) -> FileEntry:
        """Publish the file under its name and describe it."""
        self._writer.close()
        self._publish()
        return describe_file(self._path, rows=self._rows)


def read_slices(path: Path, columns: list[str], rows: int, *, remedy: str) -> Iterator[pl.DataFrame]:
    """The named columns of a Parquet file, at most `rows` rows at a time, whatever its row groups are.

    Raises `DamagedFile` if it cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=columns):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)  # noqa: S101  tells the type checker; a batch is never a Series
                yield frame
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(f"{path} cannot be read as Parquet: {error}.", remedy, path=path) from error
