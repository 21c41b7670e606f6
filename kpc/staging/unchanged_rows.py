"""What Salesforce already holds of a partition, as confirmed by the last load, and so what is left to send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.errors import DamagedFile
from kpc.load.loaded_index import HAS_BUCKET, with_all_columns
from kpc.partition import Partition
from kpc.storage.parquet_file import read_slices
from kpc.storage.row_buckets import HELD_ROWS, HashRanges, RowBuckets

_RANGES = HashRanges(KEY_HASH, 64)


class LoadedIndex:
    """The partition's loaded_index.parquet: key_hash, checksum, salesforce_id, external_id, ascending by key_hash.

    It receives every row of the source (`add`, `add_rejected`), then compares them with the index, a range of key
    hashes at a time. What stays in memory is eight bytes for each row that changed or vanished.
    """

    def __init__(self, path: Path, partition: Partition, scratch: Path, held_rows: int = HELD_ROWS) -> None:
        self._path = path
        self._held_rows = held_rows
        self._remedy = (
            f"Move the file away and load the partition again in full: `kpc run {partition.table.name} "
            f"{partition.key} --mode full`."
        )
        self.rows = self._count()
        bucket, count, key = _RANGES.bucket, _RANGES.count, {KEY_HASH: pl.UInt64()}
        self._source = RowBuckets(scratch, {**key, CHECKSUM: pl.UInt64()}, bucket, count, held_rows=held_rows)
        self._not_sent = RowBuckets(scratch, key, bucket, count, held_rows=held_rows)
        self._changed = self._vanished = pl.Series(KEY_HASH, dtype=pl.UInt64)

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows of the source that may be sent: key_hash, checksum. Raises `OutOfSpace`."""
        self._source.add(rows)

    def add_rejected(self, rows: pl.DataFrame) -> None:
        """Add rows that exist in the source and are not sent: key_hash. Raises `OutOfSpace`."""
        self._not_sent.add(rows.filter(pl.col(KEY_HASH).is_not_null()))

    def compare(self) -> None:
        """Find the rows that changed and those that vanished. Raises `DamagedFile` if the index cannot be read.

        A row is unchanged if the index has its key hash with the same checksum. The checksum covers the external id, so
        a collision of key hashes alone cannot hide a change. A record whose marker has no bucket counts as changed.
        """
        changed, vanished = [self._changed], [self._vanished]
        for source, not_sent, index in self._ranges():
            known = index.filter(HAS_BUCKET)
            changed.append(source.join(known, on=[KEY_HASH, CHECKSUM], how="anti")[KEY_HASH])
            still_there = pl.concat([source.select(KEY_HASH), not_sent])
            vanished.append(index.join(still_there, on=KEY_HASH, how="anti")[KEY_HASH])
        self._changed, self._vanished = pl.concat(changed).sort(), pl.concat(vanished).sort()

    def unchanged(self, rows: pl.DataFrame) -> pl.Series:
        """True for the rows that Salesforce holds with the same checksum."""
        return ~_is_in(rows[KEY_HASH], self._changed)

    @property
    def vanished_rows(self) -> int:
        return len(self._vanished)

    def vanished(self, rows: int) -> Iterator[pl.DataFrame]:
        """external_id and salesforce_id of the keys that the source no longer has, in frames of at most `rows` rows."""
        columns = ["external_id", "salesforce_id"]
        for frame in read_slices(self._path, [KEY_HASH, *columns], rows, remedy=self._remedy):
            yield frame.filter(_is_in(frame[KEY_HASH], self._vanished)).select(columns)

    def _ranges(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
        """Per range of hashes: rows of the source that may be sent, those that are not sent, and rows of the index."""
        if self.rows + self._source.rows + self._not_sent.rows <= self._held_rows:
            yield self._source.whole(), self._not_sent.whole(), self._read(0, (1 << 64) - 1)
            return
        ranges = zip(self._source.buckets(), self._not_sent.buckets(), _RANGES.bounds(), strict=True)
        for source, not_sent, (least, greatest) in ranges:
            yield source, not_sent, self._read(least, greatest)

    def _count(self) -> int:
        try:
            return int(pq.read_metadata(self._path).num_rows)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _read(self, least: int, greatest: int) -> pl.DataFrame:
        """The index rows whose hashes are in a range; row groups of other ranges are not decoded."""
        hashes = _RANGES.holds(least, greatest)
        try:
            index = with_all_columns(pl.scan_parquet(self._path))
            return index.filter(hashes).select(KEY_HASH, CHECKSUM, HAS_BUCKET).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DamagedFile:
        return DamagedFile(f"{self._path} cannot be read: {error}.", self._remedy, path=self._path)


def _is_in(hashes: pl.Series, ascending: pl.Series) -> pl.Series:
    if not len(ascending):
        return pl.Series([False]).new_from_index(0, len(hashes))
    positions = ascending.search_sorted(hashes).clip(upper_bound=len(ascending) - 1)
    return ascending.gather(positions) == hashes
