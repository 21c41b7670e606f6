"""A table whose months interleave, read once for all of them: its chunks are ranges of the whole table.

Each chunk's rows are dealt out to their months while they stream, one Parquet file per month and chunk. All is read at
one SCN, and Oracle says in one pass too what each month must amount to.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import oracledb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from kpc.catalog.table import Table
from kpc.extract.chunk_reader import Between, go_on
from kpc.extract.live_schema import arrow_schema, check_columns
from kpc.extract.month_statements import MONTH, chunk_plan_of_months, control_totals_of_months, rows_of_months
from kpc.extract.plan import ChunkRange, control_totals_of
from kpc.extract.statements import Statement, within_rowids
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle
from kpc.partition import Partition
from kpc.storage.manifests import ControlTotals
from kpc.storage.store import FileEntry, atomic_path, describe_file, read_manifest, write_manifest

_HELD_ROWS = 100_000  # dealt out but not yet written, over all months


class OnePassPlan(BaseModel):
    """Written down before the first row is read; `control_totals` are Oracle's own, by month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    spec_hash: str
    control_totals: dict[str, ControlTotals] = Field(validation_alias=AliasChoices("control_totals", "truths"))
    chunks: tuple[ChunkRange, ...]


class DealtChunk(BaseModel):
    """The sign that a chunk was read to its end: its file of each month, by month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, FileEntry]


def make_one_pass_plan(
    oracle: Oracle, partitions: Sequence[Partition], *, scn: int, spec_hash: str, chunk_rows: int
) -> OnePassPlan:
    """Ask Oracle for the control totals of every month and for the ranges of the whole table, at `scn`.

    Raises as `make_plan` does.
    """
    table = partitions[0].table
    with oracle.session(f"one pass {table.name}") as connection:
        check_columns(connection, oracle, table)
        with oracle.explaining(table.name):
            control_totals = _read_control_totals(
                connection, control_totals_of_months(oracle.owner, partitions, scn), partitions
            )
            chunks = _read_ranges(connection, chunk_plan_of_months(oracle.owner, partitions, scn, chunk_rows))
    expected, planned = sum(one.rows for one in control_totals.values()), sum(chunk.rows for chunk in chunks)
    if expected != planned:
        raise inconsistent(
            f"Oracle counts {expected:,} rows of {table.name} but {planned:,} in the chunk plan, both at SCN {scn}."
        )
    return OnePassPlan(scn=scn, spec_hash=spec_hash, control_totals=control_totals, chunks=chunks)


def _read_control_totals(
    connection: oracledb.Connection, statement: Statement, partitions: Sequence[Partition]
) -> dict[str, ControlTotals]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.binds, fetch_decimals=True)
        found = {key: numbers for key, *numbers in cursor if key is not None}
    empty = [0] + [None, None, None, 0] * len(partitions[0].table.measures)
    return {each.key: control_totals_of(each.table, found.get(each.key, empty)) for each in partitions}


def _read_ranges(connection: oracledb.Connection, statement: Statement) -> tuple[ChunkRange, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.binds)
        return tuple(
            ChunkRange(number=number, rowids=(first, last), rows=int(rows))
            for number, (_, first, last, rows) in enumerate(cursor, start=1)
        )


def read_months(
    oracle: Oracle, partitions: Sequence[Partition], plan: OnePassPlan, folder: Path, between: Between = go_on
) -> None:
    """Read every chunk that `folder` does not hold yet, in parallel sessions; a month's files are in `folder`/month."""
    table = partitions[0].table

    def read(chunk: ChunkRange) -> None:
        if read_manifest(folder, DealtChunk, f"{chunk.name}.json") is None:
            between()
            _read_chunk(oracle, partitions, plan, chunk, folder)

    with ThreadPoolExecutor(min(oracle.settings.sessions, table.sessions), "oracle-chunk") as pool:
        for done in [pool.submit(read, chunk) for chunk in plan.chunks]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def month_files(plan: OnePassPlan, folder: Path, key: str) -> tuple[FileEntry, ...]:
    """The files of one month, in the order of the table's chunks."""
    dealt = [read_manifest(folder, DealtChunk, f"{chunk.name}.json") for chunk in plan.chunks]
    return tuple(each.files[key] for each in dealt if each is not None and key in each.files)


def _read_chunk(
    oracle: Oracle, partitions: Sequence[Partition], plan: OnePassPlan, chunk: ChunkRange, folder: Path
) -> None:
    table = partitions[0].table
    statement = rows_of_months(oracle.owner, partitions, plan.scn, within_rowids(*(chunk.rowids or ("", ""))))
    with (
        oracle.session(f"{table.name} one pass {chunk.name}") as connection,
        oracle.explaining(table.name),
        _Months(table, folder, chunk.name) as months,
    ):
        schema = arrow_schema(table).append(pa.field(MONTH, pa.string()))
        for frame in connection.fetch_df_batches(
            statement.text,
            statement.binds,
            size=oracle.settings.fetch_rows,
            fetch_decimals=True,
            requested_schema=schema,
        ):
            months.deal(pa.RecordBatchReader.from_stream(frame).read_all().cast(schema))
        rows = months.flush()
        if sum(rows.values()) != chunk.rows:
            raise inconsistent(
                f"{table.name} {chunk.name} holds {sum(rows.values()):,} rows, but Oracle counted {chunk.rows:,} at "
                "the same SCN."
            )
    files = {key: describe_file(folder / key / f"{chunk.name}.parquet", rows=count) for key, count in rows.items()}
    write_manifest(folder, DealtChunk(files=files), f"{chunk.name}.json")


@dataclass
class _Month:
    """One month's file while it is written: its writer, what waits to be written, and the rows so far."""

    writer: pq.ParquetWriter
    waiting: list[pa.Table]
    rows: int = 0


class _Months:
    """The files of one chunk, a month each; they get their names together when the context ends well."""

    def __init__(self, table: Table, folder: Path, name: str) -> None:
        self._schema = arrow_schema(table)
        self._folder = folder
        self._name = name
        self._months: dict[str, _Month] = {}
        self._held = 0
        self._scope = ExitStack()

    def __enter__(self) -> _Months:
        return self

    def __exit__(self, *error: object) -> None:
        self._scope.__exit__(*error)  # type: ignore[arg-type]  # the three of the protocol

    def deal(self, rows: pa.Table) -> None:
        for key in pc.unique(rows[MONTH]).to_pylist():
            mine = rows.filter(pc.equal(rows[MONTH], key)).drop_columns([MONTH])
            self._month(key).waiting.append(mine)
        self._held += rows.num_rows
        if self._held >= _HELD_ROWS:
            self.flush()

    def flush(self) -> dict[str, int]:
        """Write what waits; returns the rows of each month so far."""
        for month in self._months.values():
            if month.waiting:
                rows = pa.concat_tables(month.waiting)
                month.writer.write_table(rows)
                month.rows += rows.num_rows
                month.waiting.clear()
        self._held = 0
        return {key: month.rows for key, month in self._months.items()}

    def _month(self, key: str) -> _Month:
        if key not in self._months:
            temporary = self._scope.enter_context(atomic_path(self._folder / key / f"{self._name}.parquet"))
            writer = pq.ParquetWriter(temporary, self._schema, compression="zstd", compression_level=1)
            self._months[key] = _Month(self._scope.enter_context(writer), [])
        return self._months[key]
