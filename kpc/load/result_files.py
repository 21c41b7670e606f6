"""Merging the chunks' result files into one success, one failed and one unprocessed file per partition."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kpc.catalog import Table
from kpc.convert.gzip_csv import GzipTable
from kpc.gzip_files import open_gzip_to_read
from kpc.load.chunk_result import ERROR, SALESFORCE_ID, SUCCESS_HEADER, ChunkResult
from kpc.private_files import make_private
from kpc.storage.store import FileEntry, Store

_GZIP_LEVEL = 1
_BLOCK_BYTES = 1 << 20
_REMEDY = "Remove the chunk's .json file beside it and run the load again; its results are read again."


def merge_results(
    folder: Path, table: Table, results: list[ChunkResult], store: Store
) -> tuple[FileEntry, FileEntry, FileEntry]:
    """Write success.csv.gz, failed.csv.gz and unprocessed.csv.gz; an empty one still has its header line."""
    make_private(folder)
    headers = (SUCCESS_HEADER, (SALESFORCE_ID, ERROR, *table.header), table.header)
    parts = [[result.files[kind] for result in results] for kind in range(3)]
    names = ("success.csv.gz", "failed.csv.gz", "unprocessed.csv.gz")
    success, failed, unprocessed = (
        _join(folder, name, header, entries, store) for name, header, entries in zip(names, headers, parts, strict=True)
    )
    return success, failed, unprocessed


def _join(folder: Path, name: str, header: tuple[str, ...], entries: Iterable[FileEntry], store: Store) -> FileEntry:
    with GzipTable(folder / name, header, _GZIP_LEVEL) as table:
        for entry in entries:
            with open_gzip_to_read(store.file(folder, entry, remedy=_REMEDY)) as part:
                part.readline()  # its header: the same in every file, and without embedded line breaks
                while block := part.read(_BLOCK_BYTES):
                    table.write(block, 0)
            table.write(b"", entry.rows)
        return table.close()
