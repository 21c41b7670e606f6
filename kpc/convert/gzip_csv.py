"""The CSV that Salesforce gets: one gzip member, the same bytes for the same rows, cut where the limits are.

A single member on purpose: several HTTP readers silently stop after the first one. The modification time in the header
is zero, so that a file's sha256 depends on its rows alone.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

import polars as pl
from isal import isal_zlib

from kpc.convert.growing import GrowingFile
from kpc.convert.text import NULL_TOKEN
from kpc.store import FileEntry

_GZIP = 31  # zlib's window bits for a gzip header and trailer


class GzipSink:
    """A file of one gzip member; counts what goes in and hashes what comes out."""

    def __init__(self, path: Path, level: int) -> None:
        self._file: BinaryIO = path.open("wb")
        self._compressor = isal_zlib.compressobj(level=level, wbits=_GZIP)
        self._digest = hashlib.sha256()
        self.raw_bytes = 0
        self.bytes = 0

    def write(self, block: bytes) -> int:
        self.raw_bytes += len(block)
        self._put(self._compressor.compress(block))
        return len(block)

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._put(self._compressor.flush())
            finally:
                self._file.close()

    def abandon(self) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def _put(self, packed: bytes) -> None:
        self.bytes += len(packed)
        self._digest.update(packed)
        self._file.write(packed)


def header_line(columns: tuple[str, ...]) -> bytes:
    return (",".join(columns) + "\n").encode()


def csv_bytes(rows: pl.DataFrame, *, null: str = NULL_TOKEN) -> bytes:
    """The rows as CSV lines without a header: LF, quotes where needed, `null` for a null."""
    buffer = io.BytesIO()
    rows.write_csv(buffer, include_header=False, null_value=null, line_terminator="\n", quote_style="necessary")
    return buffer.getvalue()


class GzipTable(GrowingFile):
    """One gzip CSV file with a header line, growing batch by batch."""

    def __init__(self, path: Path, header: tuple[str, ...], level: int) -> None:
        super().__init__(path)
        self._rows = 0
        self._sink = GzipSink(self._temporary, level)
        self._scope.callback(self._sink.abandon)
        self._sink.write(header_line(header))

    @property
    def raw_bytes(self) -> int:
        return self._sink.raw_bytes

    @property
    def rows(self) -> int:
        return self._rows

    def write(self, lines: bytes, rows: int) -> None:
        self._sink.write(lines)
        self._rows += rows

    def close(self) -> FileEntry:
        """Publish the file under its name and describe it."""
        self._sink.close()
        self._publish()
        return FileEntry(
            name=self._path.name,
            rows=self._rows,
            bytes=self._sink.bytes,
            sha256=self._sink.sha256,
            raw_bytes=self._sink.raw_bytes,
        )
