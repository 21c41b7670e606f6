"""The CSV that Salesforce receives: one gzip member, the same bytes for the same rows.

A single member, because several HTTP readers silently stop after the first one. The modification time in the header is
zero, so that a file's sha256 depends only on its rows.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl
from isal import isal_zlib

from kpc.salesforce.constants import NULL_TOKEN
from kpc.storage.atomic_file import AtomicFile
from kpc.storage.prefetch import BackgroundWorker
from kpc.storage.store import FileEntry

_GZIP = 31  # zlib's window bits for a gzip header and trailer
_NEEDS_QUOTES = '[,"\r\n]'


def csv_line(
    columns: Sequence[str], *, quoted: Collection[str], empty_nulls: Collection[str], suffix: Sequence[pl.Expr]
) -> pl.Expr:
    """Each row as one CSV line.

    `quoted` names the columns whose text may need quotes. A null is `#N/A`, or empty in the columns `empty_nulls`.
    The cells `suffix` end every line; they need no quotes.
    """
    cells = []
    for name in columns:
        cell = pl.col(name)
        if name in quoted:
            cell = cell.map_batches(_quoted, return_dtype=pl.String, is_elementwise=True)
        cells.append(cell.fill_null("" if name in empty_nulls else NULL_TOKEN))
    return pl.concat_str(pl.concat_str(*cells, *suffix, separator=","), pl.lit("\n"))


def _quoted(values: pl.Series) -> pl.Series:
    """Quote values where RFC 4180 requires it, doubling inner quotes; most columns need none and are unchanged."""
    special = values.str.contains(_NEEDS_QUOTES)
    if not special.any():
        return values
    cell = pl.col("cell")
    in_quotes = pl.concat_str(pl.lit('"'), cell.str.replace_all('"', '""', literal=True), pl.lit('"'))
    quoted = pl.when(special.alias("special")).then(in_quotes).otherwise(cell)
    return values.to_frame("cell").select(quoted.alias(values.name)).to_series()


def lines_as_bytes(lines: pl.Series) -> memoryview:
    """Finished lines, line feeds included, as the UTF-8 bytes that Arrow holds them in, one after the other."""
    text = lines.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    offsets, content = text.buffers()[1:]
    ends = memoryview(offsets).cast("q")
    return memoryview(content)[ends[text.offset] : ends[text.offset + len(text)]]


def header_line(columns: Sequence[str]) -> bytes:
    return (",".join(columns) + "\n").encode()


def csv_bytes(rows: pl.DataFrame, *, null: str) -> bytes:
    """Rows of any columns as CSV lines without a header: LF, quotes only if needed, `null` for a null."""
    buffer = io.BytesIO()
    rows.write_csv(buffer, include_header=False, null_value=null, line_terminator="\n", quote_style="necessary")
    return buffer.getvalue()


class GzipSink:
    """A file of one gzip member; counts what goes in and hashes what comes out.

    A background thread compresses one block while the caller makes the next; its error is raised by the next call.
    """

    def __init__(self, path: Path, level: int) -> None:
        self._file: BinaryIO = path.open("wb")
        self._compressor = isal_zlib.compressobj(level=level, wbits=_GZIP)
        self._digest = hashlib.sha256()
        self._worker = BackgroundWorker("gzip")
        self.raw_bytes = 0
        self.bytes = 0

    def write(self, block: bytes | memoryview) -> int:
        self._worker.start(self._compress, block)
        self.raw_bytes += len(block)
        return len(block)

    def close(self) -> None:
        """Finish the member; after this `bytes` and `sha256` are final."""
        try:
            self._worker.wait()
            self._put(self._compressor.flush())
        finally:
            self.abandon()

    def abandon(self) -> None:
        self._worker.abandon()
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def _compress(self, block: bytes | memoryview) -> None:
        self._put(self._compressor.compress(block))

    def _put(self, packed: bytes) -> None:
        self.bytes += len(packed)
        self._digest.update(packed)
        self._file.write(packed)


class GzipTable(AtomicFile):
    """One gzip CSV file with a header line, written batch by batch."""

    def __init__(self, path: Path, header: Sequence[str], level: int) -> None:
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

    def write(self, lines: bytes | memoryview, rows: int) -> None:
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
