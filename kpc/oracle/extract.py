"""A partition out of Oracle: its truth, its chunk plan, and its rows as Parquet, all as of one SCN."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

import oracledb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from kpc.errors import Terminal
from kpc.manifests import Aggregate, SourceTruth
from kpc.oracle.parquet import give_back_memory, open_writer, rows_per_batch, write_frame
from kpc.oracle.schema import arrow_schema, check_columns
from kpc.oracle.session import Oracle
from kpc.oracle.statements import CURRENT_SCN, Statement, chunk_plan, rows_of_chunk, source_truth
from kpc.partition import Partition
from kpc.store import FileEntry, atomic_path, describe_file, read_manifest, write_manifest

log = logging.getLogger(__name__)

_AGGREGATES_PER_MEASURE = 4


class ChunkRange(BaseModel):
    """A range of ROWIDs and the rows of the partition in it; without ROWIDs the chunk is the whole partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    rowids: tuple[str, str] | None
    rows: int

    @property
    def name(self) -> str:
        return f"chunk-{self.number:05d}"


class ExtractPlan(BaseModel):
    """What will be read and what Oracle says it must amount to. Written before the first row is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    mode: Literal["full", "incremental"]
    spec_hash: str
    truth: SourceTruth
    chunks: tuple[ChunkRange, ...]
    started_utc: datetime


def spec_hash(owner: str, partition: Partition, chunk_rows: int) -> str:
    """Hash of everything that decides which bytes an extract at a given SCN holds."""
    table = partition.table
    spec = [owner, table.name, partition.key, chunk_rows, table.has_rowid, str(arrow_schema(table))]
    return hashlib.sha256(json.dumps(spec).encode()).hexdigest()


def take_scn(oracle: Oracle) -> int:
    with oracle.session("current scn") as connection, oracle.explaining("V$DATABASE"):
        return int(str(_one_row(connection, CURRENT_SCN)[0]))


def make_plan(
    oracle: Oracle,
    partition: Partition,
    *,
    scn: int,
    mode: Literal["full", "incremental"],
    chunk_rows: int,
    started_utc: datetime,
) -> ExtractPlan:
    """Compare the live columns with the catalog, then ask Oracle for the truth and the chunk boundaries at `scn`.

    Raises `SchemaDrift`, `SnapshotLost`, `OracleDown` or `ConfigError`, and `Terminal` if Oracle's two answers differ.
    """
    table = partition.table
    with oracle.session(f"plan {partition}") as connection:
        check_columns(connection, oracle, table)
        with oracle.explaining(table.name):
            truth = _read_truth(connection, source_truth(oracle.owner, partition, scn), partition)
            chunks = _read_boundaries(connection, oracle, partition, scn, truth.rows, chunk_rows)
    planned = sum(chunk.rows for chunk in chunks)
    if planned != truth.rows:
        raise Terminal(
            f"Oracle counts {truth.rows:,} rows of {partition} but {planned:,} in the chunk plan, both at SCN {scn}.",
            "Report it to the DBA: two consistent reads of one SCN may not differ.",
        )
    return ExtractPlan(
        scn=scn,
        mode=mode,
        spec_hash=spec_hash(oracle.owner, partition, chunk_rows),
        truth=truth,
        chunks=chunks,
        started_utc=started_utc,
    )


def _one_row(connection: oracledb.Connection, statement: Statement) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.binds, fetch_decimals=True)
        row: tuple[object, ...] = cursor.fetchone()
        return row


def _read_truth(connection: oracledb.Connection, statement: Statement, partition: Partition) -> SourceTruth:
    rows, *numbers = _one_row(connection, statement)
    measures = []
    for index, column in enumerate(partition.table.measured_columns):
        total, low, high, count = numbers[index * _AGGREGATES_PER_MEASURE : (index + 1) * _AGGREGATES_PER_MEASURE]
        exact = [None if value is None else Decimal(str(value)) for value in (total, low, high)]
        measures.append(Aggregate(column=column.name, sum=exact[0], min=exact[1], max=exact[2], count=int(str(count))))
    return SourceTruth(rows=int(str(rows)), measures=tuple(measures))


def _read_boundaries(
    connection: oracledb.Connection, oracle: Oracle, partition: Partition, scn: int, rows: int, chunk_rows: int
) -> tuple[ChunkRange, ...]:
    if rows == 0:
        return ()
    if not partition.table.has_rowid:
        return (ChunkRange(number=1, rowids=None, rows=rows),)
    statement = chunk_plan(oracle.owner, partition, scn, chunk_rows)
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.binds)
        return tuple(
            ChunkRange(number=number, rowids=(first, last), rows=int(rows_in_chunk))
            for number, (_, first, last, rows_in_chunk) in enumerate(cursor, start=1)
        )


def read_chunks(oracle: Oracle, partition: Partition, plan: ExtractPlan, folder: Path) -> tuple[FileEntry, ...]:
    """Read every chunk that `folder` does not hold yet, in parallel sessions. Each finished file is a restart point.

    The first failure stops the other sessions after their current chunk and is raised.
    """
    has_failed = threading.Event()

    def read(chunk: ChunkRange) -> FileEntry | None:
        if has_failed.is_set():
            return None
        try:
            return _finished(folder, chunk) or _read_chunk(oracle, partition, plan, chunk, folder)
        except BaseException:
            has_failed.set()
            raise

    workers = min(oracle.settings.sessions, max(1, len(plan.chunks)))
    with ThreadPoolExecutor(workers, thread_name_prefix="oracle-chunk") as pool:
        entries = list(pool.map(read, plan.chunks))
    return tuple(entry for entry in entries if entry is not None)


def _finished(folder: Path, chunk: ChunkRange) -> FileEntry | None:
    entry = read_manifest(folder, FileEntry, f"{chunk.name}.json")
    if entry is None or not (folder / entry.name).is_file():
        return None
    is_whole = describe_file(folder / entry.name, rows=entry.rows) == entry and entry.rows == chunk.rows
    return entry if is_whole else None


def _read_chunk(oracle: Oracle, partition: Partition, plan: ExtractPlan, chunk: ChunkRange, folder: Path) -> FileEntry:
    table = partition.table
    statement = rows_of_chunk(oracle.owner, partition, plan.scn, chunk.rowids)
    path = folder / f"{chunk.name}.parquet"
    began = time.monotonic()
    with (
        oracle.session(f"{partition} {chunk.name}") as connection,
        oracle.explaining(table.name),
        atomic_path(path) as temporary,
    ):
        rows = _stream(connection, statement, arrow_schema(table), oracle.settings.fetch_rows, temporary)
        if rows != chunk.rows:
            raise Terminal(
                f"{partition} {chunk.name} holds {rows:,} rows, but the plan of the same SCN {plan.scn} says "
                f"{chunk.rows:,}.",
                "Report it to the DBA: two consistent reads of one SCN may not differ.",
            )
    entry = describe_file(path, rows=rows)
    write_manifest(folder, entry, f"{chunk.name}.json")
    seconds = time.monotonic() - began
    log.info(
        "%s %s of %d: %s rows, %.1f MB, %.1f s, %s rows/s",
        partition,
        chunk.name,
        len(plan.chunks),
        f"{rows:,}",
        entry.bytes / 1e6,
        seconds,
        f"{rows / max(seconds, 1e-9):,.0f}",
    )
    return entry


def _stream(
    connection: oracledb.Connection, statement: Statement, schema: pa.Schema, fetch_rows: int, path: Path
) -> int:
    """Arrow batches straight to Parquet: memory holds one batch, whatever the chunk's size. Returns the rows."""
    rows = 0
    size = rows_per_batch(schema, fetch_rows)
    with open_writer(path, schema) as writer:
        for frame in connection.fetch_df_batches(
            statement.text, statement.binds, size=size, fetch_decimals=True, requested_schema=schema
        ):
            rows += write_frame(writer, frame, schema)
            del frame  # or it would be held while the driver fills the next one
    give_back_memory()
    return rows
