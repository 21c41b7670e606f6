"""Read all months of a table in one pass, for a table whose months interleave; chunks are ranges of the whole table.

Each chunk's rows are bucketed by month as they arrive, then written to one Parquet file per month and chunk. All rows
are read at one SCN, and Oracle computes the control totals of all months in one pass too.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from kpc.extract.chunk_reader import Between, continue_reading, rows_per_batch
from kpc.extract.live_schema import arrow_schema, check_columns
from kpc.extract.month_statements import MONTH, chunk_plan_of_months, control_totals_of_months, rows_of_months
from kpc.extract.plan import ChunkRange, control_totals_of, numbers_in_totals, rowid_chunks
from kpc.extract.statements import within_rowids
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.storage.arrow_memory import release_memory
from kpc.storage.manifests import ControlTotals
from kpc.storage.parquet_file import ExtractParquet
from kpc.storage.row_buckets import RowBuckets
from kpc.storage.store import FileEntry, read_manifest, write_manifest

_HELD_ROWS = 50_000  # of one chunk, in memory before they are spilled; also the most rows of a row group


class OnePassPlan(BaseModel):
    """Saved before the first row is read; `control_totals` are Oracle's own, by month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    spec_hash: str
    control_totals: dict[str, ControlTotals] = Field(validation_alias=AliasChoices("control_totals", "truths"))
    chunks: tuple[ChunkRange, ...]


class ChunkByMonth(BaseModel):
    """The files of a completely read chunk, by month; marks the chunk as complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, FileEntry]


def make_one_pass_plan(
    oracle: Oracle, partitions: Sequence[Partition], *, scn: int, spec_hash: str, chunk_rows: int
) -> OnePassPlan:
    """Ask Oracle for the control totals of every month and for the ranges of the whole table, at `scn`.

    Raises as `make_plan` does.
    """
    table = partitions[0].table
    with oracle.session(f"one pass {table.name}", table.name) as session:
        check_columns(session, oracle, table)
        totals = control_totals_of_months(oracle.owner, partitions, scn)
        control_totals = _read_control_totals(session, totals, partitions)
        chunks = rowid_chunks(session, chunk_plan_of_months(oracle.owner, partitions, scn, chunk_rows))
    expected, planned = sum(one.rows for one in control_totals.values()), sum(chunk.rows for chunk in chunks)
    if expected != planned:
        raise inconsistent(
            f"Oracle counts {expected:,} rows of {table.name} but {planned:,} in the chunk plan, both at SCN {scn}."
        )
    return OnePassPlan(scn=scn, spec_hash=spec_hash, control_totals=control_totals, chunks=chunks)


def _read_control_totals(
    session: ReadSession, statement: Statement, partitions: Sequence[Partition]
) -> dict[str, ControlTotals]:
    found = {key: numbers for key, *numbers in session.rows(statement) if key is not None}
    none = [0] * numbers_in_totals(partitions[0].table)  # a sum over no values counts as NULL, whatever it is
    return {each.key: control_totals_of(each.table, found.get(each.key, none)) for each in partitions}


def read_months(
    oracle: Oracle,
    partitions: Sequence[Partition],
    plan: OnePassPlan,
    folder: Path,
    between: Between = continue_reading,
) -> None:
    """Read every chunk that `folder` does not hold yet, in parallel sessions; a month's files go to `folder`/month."""
    table = partitions[0].table

    def read(chunk: ChunkRange) -> None:
        if read_manifest(folder, ChunkByMonth, f"{chunk.name}.json") is None:
            between()
            oracle.repeated(lambda: _read_chunk(oracle, partitions, plan, chunk, folder))

    with ThreadPoolExecutor(min(oracle.settings.sessions, table.sessions), "oracle-chunk") as pool:
        for done in [pool.submit(read, chunk) for chunk in plan.chunks]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def month_files(plan: OnePassPlan, folder: Path, key: str) -> tuple[FileEntry, ...]:
    """The files of one month, in the order of the table's chunks."""
    chunks = [read_manifest(folder, ChunkByMonth, f"{chunk.name}.json") for chunk in plan.chunks]
    return tuple(each.files[key] for each in chunks if each is not None and key in each.files)


def _read_chunk(
    oracle: Oracle, partitions: Sequence[Partition], plan: OnePassPlan, chunk: ChunkRange, folder: Path
) -> None:
    """Read a chunk and write its months, its manifest last. Raises `Terminal` if its row count is not Oracle's."""
    table = partitions[0].table
    schema = arrow_schema(table).append(pa.field(MONTH, pa.string()))
    keys = [partition.key for partition in partitions]
    within = within_rowids(*(chunk.rowids or ("", "")))
    totals = tuple(plan.control_totals.values())
    statement = rows_of_months(oracle.owner, partitions, plan.scn, within, totals)
    months = _month_buckets(folder, schema, keys)
    size = rows_per_batch(schema, oracle.settings.fetch_rows)
    with oracle.session(f"{table.name} one pass {chunk.name}", table.name) as session:
        for batch in session.arrow_batches(statement, schema, size):
            months.add(pl.DataFrame(batch))
            del batch
    if months.rows != chunk.rows:
        raise inconsistent(
            f"{table.name} {chunk.name} holds {months.rows:,} rows, but Oracle counted {chunk.rows:,} at the same SCN."
        )
    files = {}
    for number, key in enumerate(keys):
        entry = _write_month(months, number, folder / key / f"{chunk.name}.parquet", arrow_schema(table))
        if entry is not None:
            files[key] = entry
    release_memory()
    write_manifest(folder, ChunkByMonth(files=files), f"{chunk.name}.json")


def _month_buckets(folder: Path, schema: pa.Schema, keys: Sequence[str]) -> RowBuckets:
    """Buckets for rows with the column MONTH; a row's bucket is the position of its month in `keys`."""
    number = pl.col(MONTH).replace_strict(list(keys), list(range(len(keys))), return_dtype=pl.UInt32)
    types = dict(pl.DataFrame(schema.empty_table()).schema)
    return RowBuckets(folder, types, number, len(keys), held_rows=_HELD_ROWS, is_compressed=True)


def _write_month(months: RowBuckets, number: int, path: Path, schema: pa.Schema) -> FileEntry | None:
    """Write one month's rows of a chunk, in the order they were read; None if there are none."""
    if not months.has_rows(number):
        return None
    with ExtractParquet(path, schema) as file:
        for frame in months.frames(number, _HELD_ROWS):
            file.write(frame.drop(MONTH))
        return file.close()
