"""Read all months of a table in one pass, for a table whose months interleave; chunks are ranges of the whole table.

Each chunk's rows are bucketed by month as they arrive, then written to one Parquet file per month and chunk. All rows
are read at one SCN; before, Oracle computes the control totals of all months and the chunks' boundaries in one scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from kpc.extract.chunk_reader import Between, continue_reading, patiently, rows_per_batch
from kpc.extract.control_totals import added_up
from kpc.extract.control_totals_answer import control_totals_of, numbers_in_totals
from kpc.extract.live_schema import check_columns, extract_schema
from kpc.extract.month_statements import MONTH, rows_of_months, stretches_of_months
from kpc.extract.plan import ChunkRange
from kpc.extract.statements import within_rowids
from kpc.extract.stretches import chunks_of, read_stretches
from kpc.extract.table_storage import storage_of
from kpc.extract.text_reading import TextReading
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle
from kpc.partition import Partition
from kpc.reconcile.second_opinion.coverage import Extent, has_opinions
from kpc.storage.arrow_memory import release_memory
from kpc.storage.manifests import ControlTotals
from kpc.storage.parquet_file import ExtractParquet
from kpc.storage.row_buckets import RowBuckets
from kpc.storage.store import FileEntry, Store

_HELD_ROWS = 50_000  # of one chunk, in memory before they are spilled; also the most rows of a row group


class ChunkOfMonths(ChunkRange):
    """A range of the table, and the months whose rows are in it."""

    keys_in: tuple[str, ...] = ()


class OnePassPlan(BaseModel):
    """Saved before the first row is read; `control_totals` are Oracle's own, by month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    spec_hash: str
    control_totals: dict[str, ControlTotals]
    chunks: tuple[ChunkOfMonths, ...]
    started_utc: datetime
    extent: Extent = "off"  # of Oracle's opinions

    def chunks_of(self, key: str) -> tuple[ChunkOfMonths, ...]:
        """The chunks with rows of a month, in ROWID order."""
        return tuple(chunk for chunk in self.chunks if key in chunk.keys_in)


class ChunkByMonth(BaseModel):
    """The files of a completely read chunk, by month; marks the chunk as complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, FileEntry]


def make_one_pass_plan(
    oracle: Oracle,
    partitions: Sequence[Partition],
    *,
    scn: int,
    spec_hash: str,
    chunk_rows: int,
    started_utc: datetime,
    extent: Extent = "off",
) -> OnePassPlan:
    """Ask Oracle, in one scan at `scn`, for the control totals of every month and for the ranges of the whole table.

    Raises as `make_plan` does.
    """
    table = partitions[0].table
    with oracle.session(f"one pass {table.name}", table.name, scans=True) as session:
        check_columns(session, oracle, table)
        table_rows = storage_of(session, oracle, table.name).rows
        answer = session.rows(stretches_of_months(oracle.owner, partitions, scn, table_rows))
        stretches = read_stretches(partitions[0], answer)
    of_month: dict[str, list[ControlTotals]] = {partition.key: [] for partition in partitions}
    for stretch in stretches:
        of_month[stretch.key].append(stretch.totals)
    none = control_totals_of(table, [0] * numbers_in_totals(table))
    chunks = tuple(
        ChunkOfMonths(number=number, rowids=chunk.rowids, rows=chunk.rows, keys_in=chunk.keys)
        for number, chunk in enumerate(chunks_of(stretches, chunk_rows), start=1)
    )
    totals = {key: added_up(found) if found else none for key, found in of_month.items()}
    return OnePassPlan(
        scn=scn, spec_hash=spec_hash, control_totals=totals, chunks=chunks, started_utc=started_utc, extent=extent
    )


def read_months(
    oracle: Oracle,
    partitions: Sequence[Partition],
    plan: OnePassPlan,
    folder: Path,
    store: Store,
    between: Between = continue_reading,
) -> None:
    """Read every chunk that is not finished yet, in parallel sessions; a month's files go to `folder`/month.

    The newest blocks are read first: theirs is the undo that Oracle overwrites first.
    """
    table = partitions[0].table

    def read(chunk: ChunkOfMonths) -> None:
        if files_of(chunk, folder, store) is None:
            between()
            reader = _ChunkReader(oracle, partitions, plan, folder, store)
            what = f"{table.name} {chunk.name}"
            oracle.repeated(lambda: patiently(lambda patience: reader.read(chunk, patience), what))

    with ThreadPoolExecutor(min(oracle.settings.sessions, table.sessions), "oracle-chunk") as pool:
        for done in [pool.submit(read, chunk) for chunk in reversed(plan.chunks)]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def files_of(chunk: ChunkRange, folder: Path, store: Store) -> ChunkByMonth | None:
    """The files of a chunk, if it was read completely."""
    return store.manifest(folder, ChunkByMonth, f"{chunk.name}.json")


def month_files(plan: OnePassPlan, folder: Path, store: Store, key: str) -> tuple[FileEntry, ...] | None:
    """The files of one month, in the order of the table's chunks; None if one of its chunks was not read."""
    found = [files_of(chunk, folder, store) for chunk in plan.chunks_of(key)]
    if None in found:
        return None
    return tuple(each.files[key] for each in found if each is not None and key in each.files)


@dataclass(frozen=True, slots=True)
class _ChunkReader:
    """Reads chunks of a pass into `folder`."""

    oracle: Oracle
    partitions: Sequence[Partition]
    plan: OnePassPlan
    folder: Path
    store: Store

    def read(self, chunk: ChunkOfMonths, patience: int) -> None:
        """Write the chunk's months, its manifest last. Raises `DataUnreadable` if its row count is not Oracle's."""
        table = self.partitions[0].table
        months = self._rows_by_month(chunk, patience)
        if months.rows != chunk.rows:
            raise inconsistent(
                f"{table.name} {chunk.name} holds {months.rows:,} rows, but Oracle counted {chunk.rows:,} at the same "
                "SCN."
            )
        files = {}
        for number, partition in enumerate(self.partitions):
            path = self.folder / partition.key / f"{chunk.name}.parquet"
            entry = _write_month(months, number, path, self._schema)
            if entry is not None:
                files[partition.key] = entry
                self.store.send(path)
        release_memory()
        self.store.publish(self.folder, ChunkByMonth(files=files), name=f"{chunk.name}.json")

    @property
    def _schema(self) -> pa.Schema:
        table = self.partitions[0].table
        return extract_schema(table, has_opinions=has_opinions(table, self.plan.extent))

    def _rows_by_month(self, chunk: ChunkOfMonths, patience: int) -> RowBuckets:
        oracle, table = self.oracle, self.partitions[0].table
        schema = self._schema.append(pa.field(MONTH, pa.string()))
        within = within_rowids(*(chunk.rowids or ("", "")))
        totals = tuple(self.plan.control_totals.values())
        statement = rows_of_months(oracle.owner, self.partitions, self.plan.scn, within, totals, self.plan.extent)
        months = _month_buckets(self.folder, schema, [partition.key for partition in self.partitions])
        text = TextReading(table, f"{table.name} one pass {chunk.name}", schema)
        size = rows_per_batch(schema, oracle.settings.fetch_rows)
        with oracle.session(f"{table.name} one pass {chunk.name}", table.name, patience=patience) as session:
            for batch in session.arrow_batches(statement, text.fetched, size):
                months.add(pl.DataFrame(text.decoded(batch)))
                del batch
        return months


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
