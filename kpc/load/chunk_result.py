"""The result of one chunk: its loaded, failed and unprocessed rows, as counts and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from pydantic import BaseModel, ConfigDict

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.errors import DamagedFile
from kpc.gzip_files import open_gzip_to_read
from kpc.ledger import ChunkCounts, RowFailure
from kpc.ledger.states import FailureClass
from kpc.salesforce import SavedRecord, parse_row_error
from kpc.storage.layout import chunk_stem
from kpc.storage.store import FileEntry
from kpc.untrusted_text import shown

SALESFORCE_ID, CREATED, ERROR = "sf__Id", "sf__Created", "sf__Error"
SUCCESS_HEADER = (EXTERNAL_ID, SALESFORCE_ID, CREATED)
SUCCESS, FAILED, UNPROCESSED = "success", "failed", "unprocessed"

GZIP_LEVEL = 1
_SLICE_ROWS = 20_000
_BLOCK_BYTES = 1 << 19  # Arrow reads up to 32 of them ahead
_PART = ".part.csv.gz"
_READ_AGAIN = "Run the load again; it is downloaded again."


class ChunkResult(BaseModel):
    """The result of one chunk; its files are in the same folder. `rows` = `loaded` + `failed` + `unprocessed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: str
    rows: int
    loaded: int
    created: int
    failed: int
    unprocessed: int
    jobs: tuple[str, ...]
    success_file: FileEntry
    failed_file: FileEntry
    unprocessed_file: FileEntry

    @property
    def files(self) -> tuple[FileEntry, FileEntry, FileEntry]:
        return self.success_file, self.failed_file, self.unprocessed_file


@dataclass(frozen=True)
class LoadedRows:
    """Rows that Salesforce accepted, in gzip CSV files of `folder` with SUCCESS_HEADER: they need not fit in memory."""

    folder: Path
    files: tuple[FileEntry, ...]
    created: int

    def __add__(self, other: LoadedRows) -> LoadedRows:
        return LoadedRows(self.folder, self.files + other.files, self.created + other.created)

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self.folder / file.name for file in self.files)

    def frames(self) -> Iterator[pl.DataFrame]:
        for path in self.paths:
            yield from read_columns(path, SUCCESS_HEADER)


@dataclass(frozen=True)
class ChunkOutcome:
    """The outcome of a chunk's rows. `failed` has sf__Id, sf__Error and the row, `unprocessed` the row; all text."""

    loaded: LoadedRows
    failed: pl.DataFrame
    unprocessed: pl.DataFrame
    jobs: tuple[str, ...]
    attempts: Mapping[str, int] = field(default_factory=dict)  # by external id; default: the number of jobs

    @property
    def counts(self) -> ChunkCounts:
        return ChunkCounts(self.loaded.rows, self.loaded.created, self.failed.height, self.unprocessed.height)

    def after(self, again: pl.DataFrame, outcome: ChunkOutcome) -> ChunkOutcome:
        """This outcome combined with the `outcome` of sending the rows `again` once more."""
        return ChunkOutcome(
            loaded=self.loaded + outcome.loaded,
            failed=pl.concat([self.failed.join(again, on=EXTERNAL_ID, how="anti"), outcome.failed]),
            unprocessed=pl.concat([self.unprocessed.join(again, on=EXTERNAL_ID, how="anti"), outcome.unprocessed]),
            jobs=(*self.jobs, *outcome.jobs),
            attempts=self.attempts,
        )


def part_file(folder: Path, chunk: str, name: str) -> Path:
    """A temporary file for rows of a chunk; removed once its result is recorded."""
    return folder / f"{chunk_stem(chunk)}.{name}{_PART}"


def remove_parts(folder: Path, chunk: str) -> None:
    for part in folder.glob(f"{chunk_stem(chunk)}.*{_PART}"):
        part.unlink()


def read_columns(
    file: Path, columns: Sequence[str], *, numbers: Sequence[str] = (), least_rows: int = 1
) -> Iterator[pl.DataFrame]:
    """The named columns of a CSV file as text, piece by piece; those of `numbers` as doubles, null where empty.

    A piece is some 500 KB of text, or as many of these as have `least_rows` rows. Raises `DamagedFile`, also for a
    number that is none.
    """
    try:
        with open_gzip_to_read(file) as content:
            yield from read_open(content, file, columns, numbers=numbers, least_rows=least_rows)
    except (OSError, EOFError) as error:
        raise _damaged(file, error) from None


def read_open(
    content: IO[bytes],
    file: Path | str,
    columns: Sequence[str],
    *,
    numbers: Sequence[str] = (),
    least_rows: int = 1,
) -> Iterator[pl.DataFrame]:
    """As `read_columns`, of an open file of plain CSV text; `file` names it in an error."""
    read = pa_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
    convert = pa_csv.ConvertOptions(
        column_types={name: pa.float64() if name in numbers else pa.string() for name in columns},
        include_columns=list(columns),
        strings_can_be_null=False,
        null_values=[""],
    )
    try:
        parse = pa_csv.ParseOptions(newlines_in_values=True)
        # Arrow's default pool keeps freed memory; the system pool returns it.
        batches = pa_csv.open_csv(content, read, parse, convert, memory_pool=pa.system_memory_pool())
        yield from _frames(batches, least_rows)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _damaged(file, error) from None


def _frames(batches: pa.RecordBatchReader, least_rows: int) -> Iterator[pl.DataFrame]:
    """The batches as frames of at least so many rows, but for the last one.

    Handed over as a stream, which costs half of converting each column of each batch by itself.
    """
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= least_rows:
            yield pl.DataFrame(pa.RecordBatchReader.from_batches(batches.schema, waiting))
            waiting, rows = [], 0
    if waiting:
        yield pl.DataFrame(pa.RecordBatchReader.from_batches(batches.schema, waiting))


def _damaged(file: Path | str, error: Exception) -> DamagedFile:
    # Arrow's message ends with the content of the line that it could not read.
    why = shown(re.sub(r"(got \d+):.*", r"\1", str(error), flags=re.DOTALL))
    return DamagedFile(f"{file} cannot be read: {why}.", _READ_AGAIN, path=Path(file))


def read_all(file: Path, columns: Sequence[str]) -> pl.DataFrame:
    """The named columns of a CSV file as text, in memory; an empty cell is an empty text. Raises `DamagedFile`."""
    try:
        return pl.read_csv(file, infer_schema=False).fill_null("").select(columns)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise DamagedFile(f"{file} cannot be read ({type(error).__name__}).", _READ_AGAIN, path=file) from None


def write_loaded(frames: Iterator[pl.DataFrame], file: Path) -> LoadedRows:
    """Write SUCCESS_HEADER of accepted rows to `file`, replacing an older one."""
    created = 0
    with GzipTable(file, SUCCESS_HEADER, GZIP_LEVEL) as table:
        for frame in frames:
            created += int(frame[CREATED].str.to_lowercase().eq("true").sum() or 0)
            for part in frame.select(SUCCESS_HEADER).iter_slices(_SLICE_ROWS):
                table.write(csv_bytes(part, null=""), part.height)
        return LoadedRows(file.parent, (table.close(),), created)


def write_rows(file: Path, rows: pl.DataFrame) -> FileEntry:
    """Rows as a gzip CSV file, ordered by external id."""
    with GzipTable(file, tuple(rows.columns), GZIP_LEVEL) as table:
        for part in rows.sort(EXTERNAL_ID).iter_slices(_SLICE_ROWS):
            table.write(csv_bytes(part, null=""), part.height)
        return table.close()


def write_outcome(folder: Path, chunk: str, rows: int, outcome: ChunkOutcome) -> ChunkResult:
    """Write the three result files of a chunk; the caller writes the manifest."""
    stem, counts = chunk_stem(chunk), outcome.counts
    return ChunkResult(
        chunk=chunk,
        rows=rows,
        loaded=counts.loaded,
        created=counts.created,
        failed=counts.failed,
        unprocessed=counts.unprocessed,
        jobs=outcome.jobs,
        success_file=_as_one_file(outcome.loaded, folder / f"{stem}.{SUCCESS}.csv.gz"),
        failed_file=write_rows(folder / f"{stem}.{FAILED}.csv.gz", outcome.failed),
        unprocessed_file=write_rows(folder / f"{stem}.{UNPROCESSED}.csv.gz", outcome.unprocessed),
    )


def _as_one_file(loaded: LoadedRows, path: Path) -> FileEntry:
    """All accepted rows in one file. A single file, the usual case, is renamed instead of written again."""
    if len(loaded.files) == 1:
        loaded.paths[0].replace(path)
        return loaded.files[0].model_copy(update={"name": path.name})
    with GzipTable(path, SUCCESS_HEADER, GZIP_LEVEL) as table:
        for frame in loaded.frames():
            table.write(csv_bytes(frame, null=""), frame.height)
        return table.close()


def collected(rows: pl.DataFrame, saved: Sequence[SavedRecord], file: Path) -> ChunkOutcome:
    """Composite collection results in the form of a job's results; accepted rows are written to `file`."""
    answered = rows.with_columns(
        pl.Series(SALESFORCE_ID, [one.salesforce_id for one in saved], dtype=pl.String),
        pl.Series(CREATED, [str(one.created).lower() for one in saved], dtype=pl.String),
        pl.Series(ERROR, [one.error for one in saved], dtype=pl.String),
    )
    return ChunkOutcome(
        loaded=write_loaded(iter([answered.filter(pl.col(ERROR) == "")]), file),
        failed=answered.filter(pl.col(ERROR) != "").select(SALESFORCE_ID, ERROR, *rows.columns),
        unprocessed=rows.clear(),
        jobs=(),
    )


def failures_of(table: Table, outcome: ChunkOutcome) -> Iterator[RowFailure]:
    """Rows for migration_failed_records; personal values are removed from the messages."""
    personal = [column.field for column in table.sent_columns if column.pii is not None]
    tries, job = max(1, len(outcome.jobs)), outcome.jobs[-1] if outcome.jobs else None
    for row in outcome.failed.select(EXTERNAL_ID, ERROR, *personal).iter_rows():
        error = parse_row_error(row[1], [value for value in row[2:] if value])
        attempts = outcome.attempts.get(row[0], tries)
        yield RowFailure(
            row[0], error.code, FailureClass(error.error_class), error.message, error.fields, attempts, job
        )
    for key in outcome.unprocessed[EXTERNAL_ID]:
        message = "Salesforce ended the job before it processed this row"
        attempts = outcome.attempts.get(key, tries)
        yield RowFailure(key, "UNPROCESSED", FailureClass.UNPROCESSED, message, (), attempts, job)
