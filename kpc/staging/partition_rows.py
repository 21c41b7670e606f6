"""Convert a sealed extract and put it in sending order; every row ends up kept or rejected, never lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, Column
from kpc.convert.buckets import marker_cell
from kpc.convert.canonical import KEY_HASH, key_hash, row_checksum
from kpc.convert.frame import FIELD, KEY, RULE, VALUE, FramePlan, convert_frame, plain_columns
from kpc.convert.gzip_csv import csv_line
from kpc.errors import DamagedFile
from kpc.partition import Partition
from kpc.staging.chunk_cutter import LINE
from kpc.staging.duplicate_keys import DuplicateKeys
from kpc.staging.rejects import RejectFile
from kpc.staging.sorted_runs import ORDER, SortedRuns
from kpc.staging.unchanged_rows import LoadedIndex
from kpc.storage.manifests import ExtractManifest
from kpc.storage.parquet_file import read_slices
from kpc.storage.prefetch import map_in_parallel, prefetched
from kpc.storage.store import Store

# Memory per row and column during conversion, all copies included; measured for the widest table, KPS_T_SALES_MD.
_BYTES_PER_CELL = 64
_BROKEN, _CUT, _ROUNDED = "__broken", "__cut", "__rounded"
_PARALLEL_SLICES = 2  # slices converted at the same time
_SLICES_IN_MEMORY = _PARALLEL_SLICES + 1  # plus one that is being read or is waiting for the consumer


def slice_rows(table: Table, memory_bytes: int) -> int:
    """Rows per slice, so that all slices in memory fit into `memory_bytes`."""
    return max(memory_bytes // (_SLICES_IN_MEMORY * _BYTES_PER_CELL * len(table.columns)), 1_000)


@dataclass(frozen=True, slots=True)
class _Converted:
    """A slice after conversion: the kept rows with the columns still needed, and the rejected rows as extracted."""

    kept: pl.DataFrame
    rejected: pl.DataFrame
    cut: int
    rounded: int


class PartitionRows:
    """Reads, converts and sorts a partition (`read`), then returns it in order (`ordered`).

    Order: by the first lookup's external id, then the row's own, both by their UTF-8 bytes, so that one parent's
    children follow each other. Memory does not grow with the partition: the surplus is spilled to `scratch`.
    """

    def __init__(
        self,
        partition: Partition,
        extract: ExtractManifest,
        *,
        store: Store,
        hash_key: str,
        runs: SortedRuns,
        rejects: RejectFile,
        loaded: LoadedIndex | None,
        scratch: Path,
    ) -> None:
        self.extracted = 0
        self.cut = 0
        self.rounded = 0
        self._partition = partition
        self._table = partition.table
        self._key = partition.key
        self._extract = extract
        self._store = store
        self._hash_key = hash_key
        self._runs = runs
        self._rejects = rejects
        self._loaded = loaded
        self._plans: dict[object, tuple[FramePlan, pl.Expr]] = {}
        self._keys = DuplicateKeys(scratch)
        self._duplicates = pl.Series(KEY_HASH, dtype=pl.UInt64)
        self._duplicate_rows = 0

    def read(self, folder: Path, rows: int) -> None:
        """Convert every extracted row, `rows` at a time. Raises `DamagedFile` if the extract differs from its seal."""
        for converted in map_in_parallel(self._convert, self._slices(folder, rows), _PARALLEL_SLICES):
            self._take(converted)
        self._duplicates, self._duplicate_rows = self._keys.found()
        if self._loaded is not None:
            self._loaded.compare()

    def _slices(self, folder: Path, rows: int) -> Iterator[pl.DataFrame]:
        remedy = f"Extract the partition again: `kpc run {self._table.name} {self._key} --mode full`."
        columns = [column.name for column in self._table.extracted_columns]
        for chunk in self._extract.chunks:
            path = self._store.file(folder, chunk, remedy=remedy)
            found = 0
            for frame in read_slices(path, columns, rows, remedy=remedy):
                yield frame
                found += frame.height
            if found != chunk.rows:
                raise DamagedFile(f"{path} holds {found:,} rows, its manifest says {chunk.rows:,}.", remedy, path=path)

    @property
    def duplicate_rows(self) -> int:
        """Rows rejected because other rows have the same external id; known once everything was read."""
        return self._duplicate_rows

    def ordered(self, rows: int) -> Iterator[pl.DataFrame]:
        """The kept rows in order, about `rows` at a time: External_ID__c, key_hash, checksum, line.

        Duplicates go to the reject file. May be called only once.
        """
        for frame in prefetched(self._runs.merged(rows)):
            if self._duplicates.is_empty():
                yield frame
                continue
            is_duplicate = frame[KEY_HASH].is_in(self._duplicates.implode())
            duplicates = frame.filter(is_duplicate)
            self._rejects.add_duplicates(duplicates[EXTERNAL_ID])
            yield frame.filter(~is_duplicate)

    def _convert(self, frame: pl.DataFrame) -> _Converted:
        """Runs in several threads at once: it only reads shared state."""
        plan, line = self._plan_for(frame)
        flags = (plan.is_broken().alias(_BROKEN), plan.cut_values().alias(_CUT), plan.rounded_values().alias(_ROUNDED))
        rows = (
            plan.typed(frame.lazy())
            .with_columns(*plan.spelled(), *flags, plan.order().alias(ORDER))
            .select(EXTERNAL_ID, key_hash(), row_checksum(self._table), line, ORDER, _BROKEN, _CUT, _ROUNDED)
            .collect()
        )
        rejected = frame.filter(rows[_BROKEN])
        if rejected.height:
            rows = rows.filter(~pl.col(_BROKEN))
        return _Converted(
            rows.drop(_BROKEN, _CUT, _ROUNDED),
            rejected,
            cut=int(rows[_CUT].sum()),
            rounded=int(rows[_ROUNDED].sum()),
        )

    def _take(self, converted: _Converted) -> None:
        self.extracted += converted.kept.height + converted.rejected.height
        self.cut += converted.cut
        self.rounded += converted.rounded
        if converted.rejected.height:
            self._reject(converted.rejected)
        self._keys.add(converted.kept)
        if self._loaded is not None:
            self._loaded.add(converted.kept)
        self._runs.add(converted.kept)

    def _plan_for(self, frame: pl.DataFrame) -> tuple[FramePlan, pl.Expr]:
        """The plan and the CSV line for a frame, cached by its schema and its plain columns."""
        plain = plain_columns(frame, self._table)
        kind = (tuple(frame.schema.items()), plain)
        if kind not in self._plans:
            schema = dict(frame.schema)
            plan = FramePlan.of(self._table, schema, key=self._key, hash_key=self._hash_key, plain=plain)
            self._plans[kind] = plan, csv_line_of(self._table, self._key, self._extract.generation, plain)
        return self._plans[kind]

    def _reject(self, source: pl.DataFrame) -> None:
        converted = convert_frame(source, self._table, key=self._key, hash_key=self._hash_key)
        rejected = converted.select(KEY, FIELD, RULE, VALUE, EXTERNAL_ID).with_columns(key_hash()).collect()
        self._rejects.add(rejected)
        self._keys.add_rejected(rejected)
        if self._loaded is not None:
            self._loaded.add_rejected(rejected)


def csv_line_of(table: Table, key: str, generation: str, plain: frozenset[str] = frozenset()) -> pl.Expr:
    """The row as the finished line of its chunk: the columns of the data header and the two markers.

    Columns named in `plain` need no quotes, nor do ids composed only of such columns.
    A null reference to a parent is an empty cell, which leaves the reference unchanged: the effect of `#N/A` on a
    relationship column is not known.
    """
    unusual = {column.name for column in table.columns if column.source.is_text} - plain
    id_columns = {EXTERNAL_ID: table.key, **{lookup.header: lookup.columns for lookup in table.lookups}}
    quoted = {name for name, columns in id_columns.items() if not unusual.isdisjoint(columns)}
    quoted |= {column.field or "" for column in table.sent_columns if _may_need_quotes(column, unusual)}
    line = csv_line(
        table.data_header,
        quoted=quoted,
        empty_nulls={lookup.header for lookup in table.lookups},
        suffix=(marker_cell(key), pl.lit(generation)),
    )
    return line.alias(LINE)


def _may_need_quotes(column: Column, unusual: Collection[str]) -> bool:
    """True for text with unusual characters, also if a picklist label or a default may bring them in."""
    is_declared = bool(column.picklist_map) or column.default is not None
    return column.type is not None and column.type.is_text and (is_declared or column.name in unusual)
