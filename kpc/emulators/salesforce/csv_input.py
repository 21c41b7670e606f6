"""Reading an uploaded CSV file in batches, as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from kpc.emulators.salesforce.api_error import DataError
from kpc.emulators.salesforce.jobs import Job

BATCH_ROWS = 10_000
_BLOCK_BYTES = 4 << 20
_MOST_COLUMNS = 5_000


def read_header(path: Path, job: Job) -> list[str]:
    """The header cells. Raises `DataError` when the file cannot be what the job says."""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    if not start.strip(b"\xef\xbb\xbf\r\n "):
        raise DataError("ClientInputError : The CSV content is empty; a header row is required")
    end = start.find(b"\n")
    if end >= 0 and start[:end].endswith(b"\r") != (job.line_ending == "CRLF"):
        raise DataError(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {job.line_ending}"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            header = next(csv.reader(text, delimiter=job.separator, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"InvalidBatch : The content is not valid UTF-8 (byte {error.start})") from error
    except (csv.Error, StopIteration) as error:
        raise DataError("InvalidBatch : Failed to parse the CSV header row") from error
    if len(header) > _MOST_COLUMNS:
        raise DataError(f"InvalidBatch : A record may have at most {_MOST_COLUMNS} fields")
    if "\x00" in "".join(header):
        raise DataError("InvalidBatch : Field name not found : the header contains a null character")
    return header


def check_content(path: Path, job: Job, columns: int) -> int:
    """Parse the whole file and answer its number of rows. Raises `DataError` for what is not CSV in UTF-8."""
    with path.open("rb") as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2:
        raise DataError("InvalidBatch : Failed to parse CSV: a quoted value is not closed")
    return sum(block.num_rows for block in _blocks(path, job, columns))


def read_batches(path: Path, job: Job, columns: int, first: int = 0) -> Iterator[pl.DataFrame]:
    """The rows in batches of 10,000, all columns as text, named by position; begins with batch number `first`."""
    skip = first * BATCH_ROWS
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for block in _blocks(path, job, columns):
        if skip >= block.num_rows:
            skip -= block.num_rows
            continue
        waiting.append(block.slice(skip))
        rows += block.num_rows - skip
        skip = 0
        while rows >= BATCH_ROWS:
            table = pa.Table.from_batches(waiting)
            yield _frame(table.slice(0, BATCH_ROWS))
            waiting = table.slice(BATCH_ROWS).to_batches()
            rows -= BATCH_ROWS
    if rows:
        yield _frame(pa.Table.from_batches(waiting))


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table never becomes a series
    return frame


def _blocks(path: Path, job: Job, columns: int) -> Iterator[pa.RecordBatch]:
    names = [f"c{position}" for position in range(columns)]
    read = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1)
    parse = pa_csv.ParseOptions(delimiter=job.separator, newlines_in_values=True)
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        with pa_csv.open_csv(path, read, parse, convert) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise DataError(f"InvalidBatch : Failed to parse CSV: {_plain(str(error))}") from error


def _plain(message: str) -> str:
    return " ".join(message.split())[:300]
