"""Read the planned chunks of a partition from Oracle into Parquet, in parallel sessions, all as of one SCN."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from kpc.errors import CallTimedOut
from kpc.extract.live_schema import extract_schema, key_schema, opinion_schema
from kpc.extract.plan import ChunkRange, ExtractPlan
from kpc.extract.statements import Selection, keys_of, opinions_of_chunk, rows_of_chunk
from kpc.extract.text_reading import TextReading
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.storage.arrow_memory import release_memory
from kpc.storage.parquet_file import ExtractParquet
from kpc.storage.store import FileEntry, describe_file, read_manifest, write_manifest

log = logging.getLogger(__name__)

T = TypeVar("T")
Between = Callable[[], None]  # called between two files; may raise to stop there

_KEYS = "keys"
# About 3 MB of decimals; a session holds about seven times that in total. Doubling it costs 80 MB more in four sessions
# and saves 4 % of the CPU.
_BATCH_CELLS = 200_000
_MIN_ROWS = 1_000


def continue_reading() -> None:
    """Default hook: continue."""


def rows_per_batch(schema: pa.Schema, fetch_rows: int) -> int:
    """Rows to fetch at a time: `fetch_rows`, fewer for wide tables."""
    return min(fetch_rows, max(_MIN_ROWS, _BATCH_CELLS // max(len(schema), 1)))


def read_chunks(
    oracle: Oracle, partition: Partition, plan: ExtractPlan, folder: Path, between: Between = continue_reading
) -> tuple[FileEntry, ...]:
    """Read every chunk that `folder` does not hold yet, in parallel sessions. Each finished file is a restart point.

    The first failure stops the other sessions after their current chunk and is raised.
    """
    table, rows = partition.table, plan.selection(partition)
    schema = extract_schema(table, has_opinions=bool(rows.opinion_buckets))

    def file_of(chunk: ChunkRange) -> _File:
        statement = rows_of_chunk(oracle.owner, rows, chunk.within(table), plan.control_totals)
        return _File(chunk.name, statement, schema, chunk.rows)

    return _read_files(oracle, partition, plan, folder, between, file_of)


def read_opinions(
    oracle: Oracle,
    partition: Partition,
    plan: ExtractPlan,
    buckets: tuple[int, ...],
    folder: Path,
    between: Between = continue_reading,
) -> tuple[FileEntry, ...]:
    """As `read_chunks`, of the rows in some buckets: Oracle's opinion, and the columns that it is compared with."""
    rows = Selection(partition, plan.scn, opinion_buckets=buckets)
    schema = opinion_schema(partition.table)

    def file_of(chunk: ChunkRange) -> _File:
        statement = opinions_of_chunk(oracle.owner, rows, chunk.within(partition.table), plan.control_totals)
        return _File(chunk.name, statement, schema, None)

    return _read_files(oracle, partition, plan, folder, between, file_of)


def _read_files(
    oracle: Oracle,
    partition: Partition,
    plan: ExtractPlan,
    folder: Path,
    between: Between,
    file_of: Callable[[ChunkRange], _File],
) -> tuple[FileEntry, ...]:
    has_failed = threading.Event()

    def read(chunk: ChunkRange) -> FileEntry | None:
        if has_failed.is_set():
            return None
        file = file_of(chunk)
        try:
            between()
            return oracle.repeated(lambda: _read_file(oracle, partition, file, folder))
        except BaseException:
            has_failed.set()
            raise

    workers = min(oracle.settings.sessions, partition.table.sessions, max(1, len(plan.chunks)))
    with ThreadPoolExecutor(workers, thread_name_prefix="oracle-chunk") as pool:
        entries = list(pool.map(read, plan.chunks))
    return tuple(entry for entry in entries if entry is not None)


def read_keys(oracle: Oracle, partition: Partition, plan: ExtractPlan, folder: Path) -> FileEntry:
    """Read the keys of all rows of the partition, changed or not, unless `folder` already holds them."""
    statement = keys_of(oracle.owner, plan.selection(partition), plan.control_totals)
    file = _File(_KEYS, statement, key_schema(partition.table), plan.control_totals.rows)
    return oracle.repeated(lambda: _read_file(oracle, partition, file, folder))


@dataclass(frozen=True, slots=True)
class _File:
    """The contents of one Parquet file, and the number of rows that Oracle counted for it; None: it did not."""

    name: str
    statement: Statement
    schema: pa.Schema
    rows: int | None


def _read_file(oracle: Oracle, partition: Partition, file: _File, folder: Path) -> FileEntry:
    """Write the statement's rows as Parquet; the file's entry beside it marks it as complete.

    Raises `Terminal`, and leaves no file, if their number is not what Oracle counted before.
    """
    if (finished := _finished(folder, file)) is not None:
        return finished
    return patiently(
        lambda patience: _fetch_file(oracle, partition, file, folder, patience), f"{partition} {file.name}"
    )


def patiently(read: Callable[[int], T], what: str) -> T:
    """Call `read` with 1; after a time-out with 2, then with 4: how many times the limit of a call applies."""
    for patience in (1, 2):
        try:
            return read(patience)
        except CallTimedOut as error:
            log.warning("%s: %s It is read again with twice that limit.", what, error.what)
    return read(4)


def _fetch_file(oracle: Oracle, partition: Partition, file: _File, folder: Path, patience: int) -> FileEntry:
    """`patience`: how many times the time limit of a call applies."""
    path = folder / f"{file.name}.parquet"
    began = time.monotonic()
    text = TextReading(partition.table, f"{partition} {file.name}", file.schema)
    size = rows_per_batch(file.schema, oracle.settings.fetch_rows)
    with (
        oracle.session(f"{partition} {file.name}", partition.table.name, patience=patience) as session,
        ExtractParquet(path, file.schema) as parquet,
    ):
        # Stream from the driver to the file: memory holds one batch, whatever the size of the chunk.
        for batch in session.arrow_batches(file.statement, text.fetched, size):
            parquet.write(text.decoded(batch))
            del batch
        if file.rows is not None and parquet.rows != file.rows:
            raise inconsistent(
                f"{partition} {file.name} holds {parquet.rows:,} rows, but Oracle counted {file.rows:,} at the "
                "same SCN."
            )
        entry = parquet.close()
    release_memory()
    write_manifest(folder, entry, f"{file.name}.json")
    _log_speed(partition, entry, time.monotonic() - began)
    return entry


def _finished(folder: Path, file: _File) -> FileEntry | None:
    entry = read_manifest(folder, FileEntry, f"{file.name}.json")
    if entry is None or not (folder / entry.name).is_file():
        return None
    is_whole = describe_file(folder / entry.name, rows=entry.rows) == entry and file.rows in (None, entry.rows)
    return entry if is_whole else None


def _log_speed(partition: Partition, entry: FileEntry, seconds: float) -> None:
    speed = f"{entry.rows / max(seconds, 1e-9):,.0f} rows/s"
    log.info(
        "%s %s: %s rows, %.1f MB, %.1f s, %s",
        partition,
        Path(entry.name).stem,
        f"{entry.rows:,}",
        entry.bytes / 1e6,
        seconds,
        speed,
    )
