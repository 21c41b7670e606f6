"""Result files: streamed to disk within a limit, and checked to be complete CSV answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from kpc.bounded_body import BodyRefused, limited, unpacked
from kpc.gzip_files import open_gzip_to_write
from kpc.private_files import make_private_file

_BLOCK_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
_CSV_TYPES = ("text/csv", "application/csv", "application/octet-stream", "text/plain")


def save_csv(
    response: httpx.Response,
    file: Path,
    most_bytes: int,
    *,
    feed: Callable[[bytes], None] | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Write a CSV response with these columns to the gzip `file` and pass its decompressed pieces to `feed`.

    A gzip response is stored as it is: results repeat every column, and compression is the main cost. It is
    decompressed on the way, so that a damaged, incomplete or too large one is refused. Raises `BodyRefused`.
    """
    kind = response.headers.get("content-type", _CSV_TYPES[0]).partition(";")[0].strip().lower()
    if kind not in _CSV_TYPES:
        raise BodyRefused(f"is {kind or 'of no type'} instead of CSV")
    encoding = response.headers.get("content-encoding", "")
    is_packed = encoding.strip().lower() == "gzip"
    make_private_file(file)
    with file.open("wb") if is_packed else open_gzip_to_write(file) as target:

        def written() -> Iterator[bytes]:
            for block in limited(response.iter_raw(_BLOCK_BYTES), most_bytes):
                target.write(block)
                yield block

        header = bytearray()
        for piece in limited(unpacked(written(), encoding), most_bytes):
            if b"\n" not in header and len(header) < _MOST_HEADER_BYTES:
                header += piece
            if feed is not None:
                feed(piece)
    _check_header(bytes(header), columns)


def _check_header(text: bytes, columns: Sequence[str]) -> None:
    line = text.partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    if not line:
        raise BodyRefused("is empty: not even a header line was sent")
    named = [cell.strip().strip('"') for cell in line.split(",")]  # names of fields hold no comma
    if missing := [column for column in columns if column not in named]:
        raise BodyRefused(f"has no column {missing[0]}")
