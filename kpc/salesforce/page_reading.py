"""Reading a page of a bulk query while it arrives, and counting its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from kpc.gzip_files import open_gzip_to_read
from kpc.salesforce.csv_download import CsvContent

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page that was read while it was saved: its number of records, and what the reader keeps of them."""

    rows: int
    kept: Any


# Reads a page's CSV text to its end; None if it cannot, and the page is then only saved.
PageReader = Callable[[IO[bytes]], ReadPage | None]


def read_page(content: CsvContent, file: Path, reader: PageReader | None) -> ReadPage:
    """Read a page while it is saved to `file`; without a reader, or if it cannot, only its records are counted.

    Raises the error that ended the transfer, whatever the reader made of it.
    """
    if reader is None:
        return ReadPage(_count(content), None)
    try:
        page = reader(cast("IO[bytes]", content))
    finally:
        if content.failure is not None:
            raise content.failure
    content.drain()
    if page is not None:
        return page
    with open_gzip_to_read(file) as saved:
        return ReadPage(_count(saved), None)


def _count(content: CsvContent | IO[bytes]) -> int:
    counter = RecordCounter()
    while block := content.read(_BLOCK_BYTES):
        counter.feed(block)
    return counter.rows


class RecordCounter:
    """Counts the records of a streamed CSV with a header line; a line break inside quotes does not end a record."""

    def __init__(self) -> None:
        self._line_ends = 0
        self._is_quoted = False
        self._ends_open = False

    def feed(self, block: bytes) -> None:
        if not block:
            return
        *lines, rest = block.split(b"\n")
        for line in lines:
            self._is_quoted ^= line.count(b'"') % 2 == 1
            self._line_ends += not self._is_quoted
        self._is_quoted ^= rest.count(b'"') % 2 == 1
        self._ends_open = not block.endswith(b"\n")

    @property
    def rows(self) -> int:
        return max(0, self._line_ends + self._ends_open - 1)
