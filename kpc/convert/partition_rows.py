"""A sealed extract, converted and in the order in which it is sent; every row ends up kept or rejected, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import KEY_HASH, key_hash, row_checksum
from kpc.convert.chunks import LINE
from kpc.convert.difference import LoadedIndex
from kpc.convert.duplicates import DuplicateKeys
from kpc.convert.frame import FIELD, KEY, RULE, VALUE, FramePlan, convert_frame
from kpc.convert.gzip_csv import csv_line
from kpc.convert.parquet import read_slices
from kpc.convert.rejects import RejectFile
from kpc.convert.sort import ORDER, SortedRuns
from kpc.errors import DamagedFile
from kpc.manifests import ExtractManifest
from kpc.partition import Partition
from kpc.store import verify

# Measured for the widest table, KPS_T_SALES_MD: what one row takes per column while it is converted, with all copies.
_BYTES_PER_CELL = 192
_BROKEN = "__broken"
_BETWEEN = "\x00"  # sorts before every character a key can hold


def slice_rows(table: Table, memory_bytes: int) -> int:
    """How many rows of a table may be worked on at a time."""
    return max(memory_bytes // (_BYTES_PER_CELL * len(table.columns)), 1_000)


class PartitionRows:
    """Reads, converts and sorts a partition (`read`), then gives it back in order (`ordered`).

    Order: by the first lookup's external id, then the row's own, both by their UTF-8 bytes, so that one parent's
    children stand together. Memory does not grow with the partition, except for eight bytes per row.
    """

    def __init__(
        self,
        partition: Partition,
        extract: ExtractManifest,
        *,
        hash_key: str,
        runs: SortedRuns,
        rejects: RejectFile,
        loaded: LoadedIndex | None,
    ) -> None:
        self.extracted = 0
        self.cut = 0
        self.rounded = 0
        self._partition = partition
        self._table = partition.table
        self._key = partition.key
        self._extract = extract
        self._hash_key = hash_key
        self._runs = runs
        self._rejects = rejects
        self._loaded = loaded
        self._line = csv_line_of(partition.table, partition.key, extract.generation)
        self._plan: FramePlan | None = None
        self._schema: dict[str, pl.DataType] = {}
        self._keys = DuplicateKeys()
        self._duplicates = pl.Series(KEY_HASH, dtype=pl.UInt64)
        self._duplicate_rows = 0

    def read(self, folder: Path, rows: int) -> None:
        """Convert every extracted row, `rows` at a time. Raises `DamagedFile` if the extract is not what was sealed."""
        remedy = f"Extract the partition again: `kpc run {self._table.name} {self._key} --mode full`."
        columns = [column.name for column in self._table.columns]
        for chunk in self._extract.chunks:
            path = verify(folder, chunk, remedy=remedy)
            found = 0
            for frame in read_slices(path, columns, rows, remedy=remedy):
                self._convert(frame)
                found += frame.height
            if found != chunk.rows:
                raise DamagedFile(f"{path} holds {found:,} rows, its manifest says {chunk.rows:,}.", remedy, path=path)
        self._duplicates, self._duplicate_rows = self._keys.found()

    @property
    def duplicate_rows(self) -> int:
        """Rows rejected because their external id is not theirs alone; known once everything was read."""
        return self._duplicate_rows

    def ordered(self, rows: int) -> Iterator[pl.DataFrame]:
        """The kept rows in order, about `rows` at a time: External_ID__c, key_hash, checksum, line.

        Duplicates go to the reject file on the way. May be asked for once.
        """
        for frame in self._runs.merged(rows):
            if self._duplicates.is_empty():
                yield frame
                continue
            is_duplicate = frame[KEY_HASH].is_in(self._duplicates.implode())
            duplicates = frame.filter(is_duplicate)
            self._rejects.add_duplicates(duplicates[EXTERNAL_ID])
            self._see(duplicates[KEY_HASH])
            yield frame.filter(~is_duplicate)

    def _convert(self, frame: pl.DataFrame) -> None:
        self.extracted += frame.height
        plan = self._plan_for(frame)
        typed = plan.typed(frame.lazy()).with_columns(plan.is_broken().alias(_BROKEN)).collect()
        broken = typed[_BROKEN]
        if broken.any():
            self._reject(frame.filter(broken))
            typed = typed.filter(~broken)
        cut, rounded = typed.select(plan.cut_values().alias("cut"), plan.rounded_values().alias("rounded")).row(0)
        self.cut += cut
        self.rounded += rounded
        kept = (
            typed.lazy()
            .with_columns(plan.spelled())
            .select(EXTERNAL_ID, key_hash(), row_checksum(self._table), self._line, _order(self._table))
            .collect()
        )
        self._keys.add(kept[KEY_HASH])
        self._runs.add(kept)

    def _plan_for(self, frame: pl.DataFrame) -> FramePlan:
        """One plan for all frames of one schema."""
        schema = dict(frame.schema)
        if self._plan is None or schema != self._schema:
            self._schema = schema
            self._plan = FramePlan.of(self._table, schema, key=self._key, hash_key=self._hash_key)
        return self._plan

    def _reject(self, source: pl.DataFrame) -> None:
        converted = convert_frame(source, self._table, key=self._key, hash_key=self._hash_key)
        rejected = converted.select(KEY, FIELD, RULE, VALUE, EXTERNAL_ID).with_columns(key_hash()).collect()
        self._rejects.add(rejected)
        self._keys.add_rejected(rejected[KEY_HASH])
        self._see(rejected[KEY_HASH].drop_nulls())

    def _see(self, hashes: pl.Series) -> None:
        if self._loaded is not None:
            self._loaded.see(hashes)


def csv_line_of(table: Table, key: str, generation: str) -> pl.Expr:
    """The row as the finished line of its chunk: the data header and the two markers.

    A reference to a parent that is null is left empty: what `#N/A` does to a relationship column is not known, and an
    empty cell leaves the reference as it is.
    """
    references = [lookup.header for lookup in table.lookups]
    texts = [column.field or "" for column in table.sent_columns if column.type and column.type.is_text]
    line = csv_line(
        table.data_header,
        quoted={EXTERNAL_ID, *references, *texts},
        empty_nulls=references,
        suffix=f"{key},{generation}",
    )
    return line.alias(LINE)


def _order(table: Table) -> pl.Expr:
    identifier = pl.col(EXTERNAL_ID)
    if not table.lookups:
        return identifier.alias(ORDER)
    parent = pl.col(table.lookups[0].header).fill_null("")
    return pl.concat_str(parent, identifier, separator=_BETWEEN).alias(ORDER)
