"""What an extract will read: the chunks of a partition as of one SCN, and the control totals that they must match."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from kpc.catalog.table import Table
from kpc.extract.control_totals import added_up
from kpc.extract.control_totals_answer import control_totals_of, numbers_in_totals
from kpc.extract.key_ranges import Bound, count_without_key, key_plan, key_range_condition, without_key
from kpc.extract.live_schema import arrow_schema, check_columns
from kpc.extract.month_statements import stretches_of_partition
from kpc.extract.statements import Selection, aggregates, chunk_plan, control_totals_query, within_rowids
from kpc.extract.stretches import LARGE_ROWS, StretchChunk, chunks_of, read_stretches
from kpc.extract.table_storage import storage_of
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.reconcile.second_opinion.coverage import Extent, asked_buckets, opinion_spec
from kpc.storage.manifests import ControlTotals

Mode = Literal["full", "incremental"]

# Changed rows must be read and merged with the base; above this fraction, reading the whole partition is as cheap.
_MAX_CHANGED_FRACTION = 0.5


class KeyRange(BaseModel):
    """The keys from `first` up to but not including `end` (None: to the last key).

    Both None: the rows with a NULL in their key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Bound | None
    end: Bound | None


class ChunkRange(BaseModel):
    """A range of ROWIDs or of keys, and how many of the rows to be read are in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    rowids: tuple[str, str] | None = None
    keys: KeyRange | None = None
    rows: int

    @property
    def name(self) -> str:
        return f"chunk-{self.number:05d}"

    def within(self, table: Table) -> Statement:
        """The range as a condition."""
        if self.rowids is not None:
            return within_rowids(*self.rowids)
        if self.keys is None or self.keys.first is None:
            return without_key(table)
        return key_range_condition(table, self.keys.first, self.keys.end)


class Base(BaseModel):
    """An older generation that Salesforce holds, and the time since which changed rows are read.

    `since` is in the time zone of the change columns: local, or UTC for TIMESTAMP WITH TIME ZONE.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: str
    since: datetime


class ExtractPlan(BaseModel):
    """Saved before the first row is read. `control_totals` are the whole partition's.

    With a base the chunks hold only the rows that changed since; the others come from the base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scn: int
    mode: Mode
    spec_hash: str
    control_totals: ControlTotals = Field(
        validation_alias=AliasChoices("control_totals", "truth")
    )  # older files: truth
    chunks: tuple[ChunkRange, ...]
    started_utc: datetime
    base: Base | None = None
    extent: Extent = "off"  # of Oracle's opinions

    @property
    def planned_rows(self) -> int:
        return _rows_in(self.chunks)

    def selection(self, partition: Partition) -> Selection:
        since = self.base.since if self.base else None
        return Selection(partition, self.scn, since, asked_buckets(partition, self.extent))


def spec_hash(owner: str, partition: Partition, chunk_rows: int, extent: Extent = "off") -> str:
    """Hash of everything that determines the bytes of an extract at a given SCN."""
    table = partition.table
    # The aggregates contain every rounding scale and null rule that the control totals depend on.
    spec = [owner, table.name, partition.key, chunk_rows, table.has_rowid, str(arrow_schema(table)), aggregates(table)]
    spec += [f"{column.name} stored as {column.stored_as}" for column in table.columns if column.stored_as]
    spec += opinion_spec(table, extent)
    return hashlib.sha256(json.dumps(spec).encode()).hexdigest()


def make_plan(
    oracle: Oracle,
    partition: Partition,
    *,
    scn: int,
    mode: Mode,
    chunk_rows: int,
    started_utc: datetime,
    base: Base | None = None,
    extent: Extent = "off",
) -> ExtractPlan:
    """Compare the live columns with the catalog, then ask Oracle for control totals and chunk boundaries at `scn`.

    With `base` only the rows changed since then are planned, unless reading the whole partition is as cheap. A large
    table is scanned once for totals and boundaries together; a smaller one twice, for chunks of one size.
    Raises `SchemaDrift`, `SnapshotLost`, `OracleDown` or `ConfigError`, and `Terminal` if the control totals and the
    chunk plan differ.
    """
    table = partition.table
    with oracle.session(f"plan {partition}", table.name, scans=True) as session:
        check_columns(session, oracle, table)
        reader = _PlanReader(session, oracle.owner, chunk_rows, storage_of(session, oracle, table.name).rows)
        if base is None and reader.is_large and table.has_rowid:
            totals, chunks = reader.totals_and_chunks(Selection(partition, scn))
        else:
            totals = control_totals_of(table, session.row(control_totals_query(oracle.owner, partition, scn)))
            chunks = ()
            if base is not None:
                chunks = reader.chunks(Selection(partition, scn, base.since), totals.rows)
                if _rows_in(chunks) > totals.rows * _MAX_CHANGED_FRACTION:
                    base = None
            if base is None and totals.rows:
                chunks = reader.chunks(Selection(partition, scn), totals.rows)
    if base is None and _rows_in(chunks) != totals.rows:
        raise inconsistent(
            f"Oracle counts {totals.rows:,} rows of {partition} but {_rows_in(chunks):,} in the chunk plan, both at "
            f"SCN {scn}."
        )
    return ExtractPlan(
        scn=scn,
        mode=mode,
        spec_hash=spec_hash(oracle.owner, partition, chunk_rows, extent),
        control_totals=totals,
        chunks=chunks,
        started_utc=started_utc,
        base=base,
        extent=extent,
    )


def _rows_in(chunks: Iterable[ChunkRange]) -> int:
    return sum(chunk.rows for chunk in chunks)


@dataclass(frozen=True, slots=True)
class _PlanReader:
    """Asks Oracle for a partition's chunks. `table_rows`: about how many the whole table has, if that is known."""

    session: ReadSession
    owner: str
    chunk_rows: int
    table_rows: int | None

    @property
    def is_large(self) -> bool:
        return self.table_rows is not None and self.table_rows > LARGE_ROWS

    def totals_and_chunks(self, rows: Selection) -> tuple[ControlTotals, tuple[ChunkRange, ...]]:
        """Both from one scan."""
        answer = self.session.rows(stretches_of_partition(self.owner, rows, self.table_rows))
        stretches = read_stretches(rows.partition, answer)
        none = control_totals_of(rows.table, [0] * numbers_in_totals(rows.table))
        totals = added_up([stretch.totals for stretch in stretches]) if stretches else none
        return totals, numbered(chunks_of(stretches, self.chunk_rows))

    def chunks(self, rows: Selection, partition_rows: int) -> tuple[ChunkRange, ...]:
        """The chunks alone; the rows are numbered only where they are few enough to be sorted in memory."""
        if not rows.table.has_rowid:
            return _read_key_ranges(self.session, self.owner, rows, self.chunk_rows)
        if self.is_large or partition_rows > LARGE_ROWS:
            return self.totals_and_chunks(rows)[1]
        return rowid_chunks(self.session, chunk_plan(self.owner, rows, self.chunk_rows))


def numbered(chunks: Iterable[StretchChunk]) -> tuple[ChunkRange, ...]:
    """The ranges as chunks, counted from 1."""
    return tuple(
        ChunkRange(number=number, rowids=chunk.rowids, rows=chunk.rows) for number, chunk in enumerate(chunks, start=1)
    )


def rowid_chunks(session: ReadSession, statement: Statement) -> tuple[ChunkRange, ...]:
    """The chunks that a statement returns: number, first and last ROWID, rows."""
    return tuple(
        ChunkRange(number=number, rowids=(first, last), rows=int(rows_in_chunk))
        for number, (_, first, last, rows_in_chunk) in enumerate(session.rows(statement), start=1)
    )


def _read_key_ranges(session: ReadSession, owner: str, rows: Selection, chunk_rows: int) -> tuple[ChunkRange, ...]:
    answer = session.rows(key_plan(owner, rows, chunk_rows))
    found = [(tuple(str(part) for part in key), int(rows_in_chunk)) for *key, rows_in_chunk in answer]
    ends = [key for key, _ in found[1:]] + [None]
    chunks = [
        ChunkRange(number=number, keys=KeyRange(first=key, end=end), rows=rows_in_chunk)
        for number, ((key, rows_in_chunk), end) in enumerate(zip(found, ends, strict=True), start=1)
    ]
    (keyless,) = session.row(count_without_key(owner, rows))
    if keyless:
        chunks.append(ChunkRange(number=len(chunks) + 1, keys=KeyRange(first=None, end=None), rows=int(keyless)))
    return tuple(chunks)
