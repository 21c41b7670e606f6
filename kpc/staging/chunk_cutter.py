"""Cut ordered rows into the files that become ingest jobs, and write the index of which row is in which file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.convert.gzip_csv import GzipTable, header_line, lines_as_bytes
from kpc.convert.key_sum import KeySum
from kpc.storage.parquet_file import ParquetTable
from kpc.storage.store import FileEntry, Store

INDEX = "index.parquet"
CHUNK = "chunk"
LINE = "line"
INDEX_SCHEMA: dict[str, pl.DataType] = {
    "external_id": pl.String(),
    KEY_HASH: pl.UInt64(),
    CHECKSUM: pl.UInt64(),
    CHUNK: pl.UInt32(),
}


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How large a chunk may get; whichever limit is reached first closes it.

    Chunks are multiples of `batch_rows` (a Salesforce batch: a half-filled one costs the same quota), except a
    partition's last one, and except where `batch_rows` rows alone would exceed `raw_bytes`.
    """

    rows: int
    raw_bytes: int
    batch_rows: int

    @property
    def step_rows(self) -> int:
        return min(self.batch_rows, self.rows)


class ChunkCutter:
    """Takes rows in their final order and writes chunk-00001.csv.gz, chunk-00002.csv.gz ... and index.parquet.

    Rows have External_ID__c, key_hash, checksum and `line`, the finished CSV line with its line feed. A context
    manager: an error leaves neither the open chunk nor the index behind; finished chunks stay until their folder is
    cleared.
    """

    def __init__(self, folder: Path, store: Store, header: tuple[str, ...], limits: ChunkLimits, level: int) -> None:
        self._folder = folder
        self._store = store
        self._header = header
        self._limits = limits
        self._level = level
        self._scope = ExitStack()
        self._index = self._scope.enter_context(ParquetTable(folder / INDEX, INDEX_SCHEMA))
        self._open: GzipTable | None = None
        self._keys: list[str] = []
        self._key_sum = KeySum()
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0
        self._done: list[FileEntry] = []

    def __enter__(self) -> ChunkCutter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    def add(self, rows: pl.DataFrame) -> None:
        self._pending.append(rows)
        self._pending_rows += rows.height
        step = self._limits.step_rows
        if self._pending_rows < step:
            return
        together = pl.concat(self._pending)
        whole = together.height // step * step
        for batch in together.head(whole).iter_slices(step):
            self._write(batch)
        self._pending = [together.tail(together.height - whole)]
        self._pending_rows = together.height - whole

    def finish(self) -> tuple[tuple[FileEntry, ...], FileEntry]:
        """Write the remaining rows; returns the entries of the chunks and of the index."""
        if self._pending_rows:
            self._write(pl.concat(self._pending))
        self._close_chunk()
        return tuple(self._done), self._index.close()

    def _write(self, batch: pl.DataFrame) -> None:
        for part, raw_bytes in self._fitting(batch):
            chunk = self._chunk_for(part.height, raw_bytes)
            self._store.check_space(raw_bytes)
            chunk.write(lines_as_bytes(part[LINE]), part.height)
            identifiers = part[EXTERNAL_ID]
            self._keys = [*self._keys[:1], identifiers[0], identifiers[-1]]
            self._key_sum.add(part[KEY_HASH])
            number = pl.lit(len(self._done) + 1, dtype=pl.UInt32).alias(CHUNK)
            self._index.write(part.select(pl.col(EXTERNAL_ID).alias("external_id"), KEY_HASH, CHECKSUM, number))

    def _fitting(self, batch: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, int]]:
        """The batch with its raw size, halved until each part fits into a chunk of its own."""
        raw_bytes = int(batch[LINE].str.len_bytes().sum())
        if raw_bytes + len(header_line(self._header)) > self._limits.raw_bytes and batch.height > 1:
            half = batch.height // 2
            yield from self._fitting(batch.head(half))
            yield from self._fitting(batch.tail(batch.height - half))
        else:
            yield batch, raw_bytes

    def _chunk_for(self, rows: int, raw_bytes: int) -> GzipTable:
        chunk = self._open
        if chunk and (chunk.rows + rows > self._limits.rows or chunk.raw_bytes + raw_bytes > self._limits.raw_bytes):
            self._close_chunk()
        if self._open is None:
            path = self._folder / f"chunk-{len(self._done) + 1:05d}.csv.gz"
            self._open = self._scope.enter_context(GzipTable(path, self._header, self._level))
        return self._open

    def _close_chunk(self) -> None:
        if self._open is not None:
            entry = self._open.close()
            keys = {"first_key": self._keys[0], "last_key": self._keys[-1], "key_sum": str(self._key_sum)}
            self._done.append(entry.model_copy(update=keys))
            self._open, self._keys, self._key_sum = None, [], KeySum()
