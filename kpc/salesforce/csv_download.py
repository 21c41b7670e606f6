"""Result files: streamed to disk within a limit, and checked to be complete CSV answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from kpc.bounded_body import BodyRefused, limited, unpacked
from kpc.gzip_files import open_gzip_to_write
from kpc.private_files import make_private_file

_BLOCK_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
_CSV_TYPES = ("text/csv", "application/csv", "application/octet-stream", "text/plain")


class CsvContent:
    """The decompressed content of a CSV response as a readable binary file, while it is saved (`csv_pieces`).

    `failure` is the error that ended the transfer, which a reader may have taken for damaged content.
    """

    closed = False

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.raw_bytes = 0
        self.failure: Exception | None = None
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; nothing at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK_BYTES), b""))
        while not self._rest:
            try:
                self._rest = next(self._pieces)
            except StopIteration:
                return b""
            except Exception as error:
                self.failure = error
                raise
            self.raw_bytes += len(self._rest)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def drain(self) -> None:
        """Read what is left, so that the whole response is saved and checked."""
        while self.read(_BLOCK_BYTES):
            pass

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """A reader is done; the rest of the response can still be read."""


def save_csv(
    response: httpx.Response,
    file: Path,
    most_bytes: int,
    *,
    columns: Sequence[str] = (),
) -> None:
    """Write a CSV response with these columns to the gzip `file`. Raises `BodyRefused`."""
    for _ in csv_pieces(response, file, most_bytes, columns=columns):
        pass


def csv_pieces(
    response: httpx.Response, file: Path, most_bytes: int, *, columns: Sequence[str] = ()
) -> Iterator[bytes]:
    """The decompressed pieces of a CSV response with these columns, which is written to the gzip `file` meanwhile.

    A gzip response is stored as it is: results repeat every column, and compression is the main cost. It is
    decompressed on the way, so that a damaged, incomplete or too large one is refused. Raises `BodyRefused`.
    """
    kind = response.headers.get("content-type", _CSV_TYPES[0]).partition(";")[0].strip().lower()
    if kind not in _CSV_TYPES:
        raise BodyRefused(f"is {kind or 'of no type'} instead of CSV")
    encoding = response.headers.get("content-encoding", "")
    is_packed = encoding.strip().lower() == "gzip"
    make_private_file(file)
    header = bytearray()
    with file.open("wb") if is_packed else open_gzip_to_write(file) as target:

        def written() -> Iterator[bytes]:
            for block in limited(response.iter_raw(_BLOCK_BYTES), most_bytes):
                target.write(block)
                yield block

        for piece in limited(unpacked(written(), encoding), most_bytes):
            if b"\n" not in header and len(header) < _MOST_HEADER_BYTES:
                header += piece
            yield piece
    _check_header(bytes(header), columns)


def _check_header(text: bytes, columns: Sequence[str]) -> None:
    line = text.partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    if not line:
        raise BodyRefused("is empty: not even a header line was sent")
    named = [cell.strip().strip('"') for cell in line.split(",")]  # names of fields hold no comma
    if missing := [column for column in columns if column not in named]:
        raise BodyRefused(f"has no column {missing[0]}")
