"""Reading an uploaded CSV file in batches, as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from kpc.emulators.salesforce.errors import DataError
from kpc.emulators.salesforce.org.jobs import Job
from kpc.emulators.salesforce.writing.values import SET_NULL

BATCH_ROWS = 10_000
PARSED = "content.arrow"
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


def parse_content(path: Path, job: Job, columns: int) -> Path:
    """Parse the whole file once, into an Arrow file of text beside it. Raises `DataError` for what is not CSV in UTF-8.

    This confirms that the whole file can be read before the first row is written; batches then need no parsing.
    """
    parsed = path.with_name(PARSED)
    if parsed.exists():
        return parsed
    if _count_quotes(path) % 2:
        raise DataError("InvalidBatch : Failed to parse CSV: a quoted value is not closed")
    partial = parsed.with_suffix(".partial")
    schema = pa.schema([(name, pa.string()) for name in _names(columns)])
    with pa.ipc.new_file(str(partial), schema) as writer:
        for block in _blocks(path, job, columns):
            writer.write_batch(block)
    partial.rename(parsed)
    return parsed


def _count_quotes(path: Path) -> int:
    quotes, block = 0, bytearray(1 << 18)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            if block.find(b'"', 0, size) >= 0:  # rarely true, and finding is ten times as fast as counting
                quotes += block.count(b'"', 0, size)
    return quotes


def read_batches(parsed: Path, first: int = 0) -> Iterator[pa.RecordBatch]:
    """The rows in batches of 10,000, all columns as text, named by position; begins with batch number `first`."""
    with closing(pa.memory_map(str(parsed))) as source:
        table = pa.ipc.open_file(source).read_all()
        for start in range(first * BATCH_ROWS, table.num_rows, BATCH_ROWS):
            yield table.slice(start, BATCH_ROWS).combine_chunks().to_batches()[0]


def cells_of(rows: pa.RecordBatch) -> pl.DataFrame:
    """A batch's text as cells (see values.py): trimmed, empty is "not given", `#N/A` is null."""
    trimmed = pa.RecordBatch.from_arrays([pc.utf8_trim_whitespace(each) for each in rows.columns], rows.schema.names)
    cells = pl.from_arrow(trimmed)
    assert isinstance(cells, pl.DataFrame)  # noqa: S101  a batch never becomes a series
    special = cells.select(((pl.all() == "") | (pl.all() == "#N/A")).any()).row(0)
    names = [name for name, is_special in zip(cells.columns, special, strict=True) if is_special]
    return cells.with_columns(pl.col(names).replace(["", "#N/A"], [None, SET_NULL]))


def _blocks(path: Path, job: Job, columns: int) -> Iterator[pa.RecordBatch]:
    names = _names(columns)
    read = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1)
    parse = pa_csv.ParseOptions(delimiter=job.separator, newlines_in_values=True)
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        with pa_csv.open_csv(path, read, parse, convert) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error) or "Could not skip initial" in str(error):  # nothing but a header
            return
        raise DataError(f"InvalidBatch : Failed to parse CSV: {_plain(str(error))}") from error


def _names(columns: int) -> list[str]:
    return [f"c{position}" for position in range(columns)]


def _plain(message: str) -> str:
    return " ".join(message.split())[:300]
