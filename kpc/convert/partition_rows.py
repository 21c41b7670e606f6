"""A sealed extract, converted and in the order in which it is sent; every row ends up kept or rejected, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kpc.catalog.table import EXTERNAL_ID, Table
from kpc.convert.canonical import KEY_HASH, key_hash, row_checksum
from kpc.convert.difference import LoadedIndex
from kpc.convert.duplicates import DuplicateKeys
from kpc.convert.frame import CUT, FIELD, KEY, ROUNDED, RULE, VALUE, convert_frame
from kpc.convert.parquet import read_slices
from kpc.convert.rejects import RejectFile
from kpc.convert.sort import ORDER, SortedRuns
from kpc.errors import DamagedFile
from kpc.manifests import ExtractManifest
from kpc.store import verify

# Bytes that a row of text, its source values and the temporaries of a sort take per column, measured generously.
_BYTES_PER_CELL = 96
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
        table: Table,
        *,
        key: str,
        hash_key: str,
        runs: SortedRuns,
        rejects: RejectFile,
        loaded: LoadedIndex | None,
    ) -> None:
        self.extracted = 0
        self.cut = 0
        self.rounded = 0
        self._table = table
        self._key = key
        self._hash_key = hash_key
        self._runs = runs
        self._rejects = rejects
        self._loaded = loaded
        self._keys = DuplicateKeys()
        self._duplicates = pl.DataFrame()

    def read(self, folder: Path, extract: ExtractManifest, rows: int) -> None:
        """Convert every extracted row, `rows` at a time. Raises `DamagedFile` if the extract is not what was sealed."""
        remedy = f"Extract the partition again: `kpc run {self._table.name} {self._key} --full`."
        columns = [column.name for column in self._table.columns]
        for chunk in extract.chunks:
            path = verify(folder, chunk, remedy=remedy)
            found = 0
            for frame in read_slices(path, columns, rows, remedy=remedy):
                self._convert(frame)
                found += frame.height
            if found != chunk.rows:
                raise DamagedFile(f"{path} holds {found:,} rows, its manifest says {chunk.rows:,}.", remedy, path=path)
        self._duplicates = self._keys.found()

    @property
    def duplicate_rows(self) -> int:
        """Rows whose external id is not theirs alone; known once everything was read."""
        return int(self._duplicates["rows"].sum() or 0)

    def ordered(self, rows: int) -> Iterator[pl.DataFrame]:
        """The kept rows in order, about `rows` at a time: the data header, key_hash and checksum.

        Duplicates go to the reject file on the way.
        """
        hashes = self._duplicates[KEY_HASH]
        for frame in self._runs.merged(rows):
            if hashes.is_empty():
                yield frame
                continue
            is_duplicate = frame[KEY_HASH].is_in(hashes.implode())
            self._reject_duplicates(frame.filter(is_duplicate))
            yield frame.filter(~is_duplicate)

    def _convert(self, frame: pl.DataFrame) -> None:
        self.extracted += frame.height
        converted = self._converted(frame)
        has_own_key = pl.col(KEY) != pl.col(EXTERNAL_ID)
        kept = (
            converted.select(
                *self._table.data_header,
                RULE,
                CUT,
                ROUNDED,
                pl.when(has_own_key).then(pl.col(KEY)).alias(KEY),  # most keys are spelled like their external id
                _order(self._table),
            )
            .with_columns(key_hash(), row_checksum(self._table))
            .collect()
        )
        broken = kept[RULE].is_not_null()
        if broken.any():
            self._reject(frame.filter(broken))
            kept = kept.filter(~broken)
        self.cut += int(kept[CUT].sum() or 0)
        self.rounded += int(kept[ROUNDED].sum() or 0)
        self._keys.add(kept[KEY_HASH])
        self._runs.add(kept.drop(RULE, CUT, ROUNDED))

    def _converted(self, frame: pl.DataFrame) -> pl.LazyFrame:
        return convert_frame(frame, self._table, key=self._key, hash_key=self._hash_key)

    def _reject(self, source: pl.DataFrame) -> None:
        rejected = (
            self._converted(source).select(KEY, FIELD, RULE, VALUE, EXTERNAL_ID).with_columns(key_hash()).collect()
        )
        self._rejects.add(rejected)
        self._see(rejected)

    def _reject_duplicates(self, duplicates: pl.DataFrame) -> None:
        self._rejects.add_duplicates(duplicates)
        self._see(duplicates)

    def _see(self, rejected: pl.DataFrame) -> None:
        if self._loaded is not None:
            self._loaded.see(rejected[KEY_HASH].drop_nulls())


def _order(table: Table) -> pl.Expr:
    identifier = pl.col(EXTERNAL_ID)
    if not table.lookups:
        return identifier.alias(ORDER)
    parent = pl.col(table.lookups[0].header).fill_null("")
    return pl.concat_str(parent, identifier, separator=_BETWEEN).alias(ORDER)
