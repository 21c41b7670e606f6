"""What an extract will read: the chunks of a partition as of one SCN, and the control totals that they must match."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from kpc.catalog.table import Table
from kpc.catalog.types import Column
from kpc.extract.key_ranges import Bound, count_without_key, key_plan, within_keys, without_key
from kpc.extract.live_schema import arrow_schema, check_columns
from kpc.extract.number_reading import aggregates_of_numbers, is_free, is_number
from kpc.extract.statements import Selection, aggregates, chunk_plan, control_totals_query, within_rowids
from kpc.oracle.failures import inconsistent
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement
from kpc.partition import Partition
from kpc.storage.manifests import Aggregate, ControlTotals, NumberTotal

Mode = Literal["full", "incremental"]

_AGGREGATES_PER_MEASURE = 4
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
        return within_keys(table, self.keys.first, self.keys.end)


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

    @property
    def planned_rows(self) -> int:
        return _rows_in(self.chunks)

    def selection(self, partition: Partition) -> Selection:
        return Selection(partition, self.scn, self.base.since if self.base else None)


def spec_hash(owner: str, partition: Partition, chunk_rows: int) -> str:
    """Hash of everything that determines the bytes of an extract at a given SCN."""
    table = partition.table
    # The aggregates contain every rounding scale and null rule that the control totals depend on.
    spec = [owner, table.name, partition.key, chunk_rows, table.has_rowid, str(arrow_schema(table)), aggregates(table)]
    spec += [f"{column.name} stored as {column.stored_as}" for column in table.columns if column.stored_as]
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
) -> ExtractPlan:
    """Compare the live columns with the catalog, then ask Oracle for control totals and chunk boundaries at `scn`.

    With `base` only the rows changed since then are planned, unless reading the whole partition is as cheap.
    Raises `SchemaDrift`, `SnapshotLost`, `OracleDown` or `ConfigError`, and `Terminal` if the control totals and the
    chunk plan differ.
    """
    table = partition.table
    with oracle.session(f"plan {partition}", table.name) as session:
        check_columns(session, oracle, table)
        totals = control_totals_of(table, session.row(control_totals_query(oracle.owner, partition, scn)))
        chunks: tuple[ChunkRange, ...] = ()
        if base is not None:
            chunks = _read_chunks(session, oracle.owner, Selection(partition, scn, base.since), chunk_rows)
            if _rows_in(chunks) > totals.rows * _MAX_CHANGED_FRACTION:
                base = None
        if base is None and totals.rows:
            chunks = _read_chunks(session, oracle.owner, Selection(partition, scn), chunk_rows)
    if base is None and _rows_in(chunks) != totals.rows:
        raise inconsistent(
            f"Oracle counts {totals.rows:,} rows of {partition} but {_rows_in(chunks):,} in the chunk plan, both at "
            f"SCN {scn}."
        )
    return ExtractPlan(
        scn=scn,
        mode=mode,
        spec_hash=spec_hash(oracle.owner, partition, chunk_rows),
        control_totals=totals,
        chunks=chunks,
        started_utc=started_utc,
        base=base,
    )


def _rows_in(chunks: Iterable[ChunkRange]) -> int:
    return sum(chunk.rows for chunk in chunks)


def control_totals_of(table: Table, answer: Sequence[object]) -> ControlTotals:
    """Oracle's answer to `control_totals_query`: rows, four aggregates per measure, the NUMBER columns' own."""
    numbers = iter(answer)
    rows = int(str(next(numbers)))
    measures = tuple(_measure(column.name, numbers) for column in table.measured_columns)
    measured = {column.name for column in table.measured_columns}
    columns = [column for column in table.columns if is_number(column)]
    totals = tuple(_number_total(column, numbers, is_measured=column.name in measured) for column in columns)
    return ControlTotals(rows=rows, measures=measures, numbers=totals)


def numbers_in_totals(table: Table) -> int:
    """How many numbers the answer to `control_totals_query` has."""
    return 1 + _AGGREGATES_PER_MEASURE * len(table.measured_columns) + len(list(aggregates_of_numbers(table)))


def _measure(name: str, numbers: Iterator[object]) -> Aggregate:
    total, low, high, count = (next(numbers) for _ in range(_AGGREGATES_PER_MEASURE))
    exact = [_exact(value) if int(str(count)) else None for value in (total, low, high)]
    return Aggregate(column=name, sum=exact[0], min=exact[1], max=exact[2], count=int(str(count)))


def _number_total(column: Column, numbers: Iterator[object], *, is_measured: bool) -> NumberTotal:
    total, count = (None, None) if is_measured else (_exact(next(numbers)), int(str(next(numbers))))
    rounded, unreadable = (int(str(next(numbers))), int(str(next(numbers)))) if is_free(column) else (0, 0)
    return NumberTotal(
        column=column.name,
        sum=total if count else None,
        count=count,
        rounded=rounded,
        unreadable=unreadable,
    )


def _exact(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _read_chunks(session: ReadSession, owner: str, rows: Selection, chunk_rows: int) -> tuple[ChunkRange, ...]:
    if rows.table.has_rowid:
        return rowid_chunks(session, chunk_plan(owner, rows, chunk_rows))
    return _read_key_ranges(session, owner, rows, chunk_rows)


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
