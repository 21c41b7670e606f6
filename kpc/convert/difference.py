"""What Salesforce already holds of a partition, as the last load confirmed it, and what that leaves to send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.convert.parquet import read_slices
from kpc.errors import DamagedFile
from kpc.partition import Partition

LOADED_INDEX = "loaded_index.parquet"


class LoadedIndex:
    """The partition's loaded_index.parquet: key_hash, checksum, salesforce_id, external_id, ascending by key_hash.

    Keeps 17 bytes per row in memory; the texts stay on disk. `seen` remembers which keys the source still has.
    """

    def __init__(self, path: Path, partition: Partition) -> None:
        self._path = path
        self._remedy = (
            f"Move the file away and load the partition again in full: `kpc run {partition.table.name} "
            f"{partition.key} --mode full`."
        )
        self._hashes, self._checksums = _read(path, self._remedy)
        self._seen = pl.Series("seen", [False]).new_from_index(0, len(self._hashes))
        self.rows = len(self._hashes)

    def unchanged(self, rows: pl.DataFrame) -> pl.Series:
        """True for the rows that Salesforce holds with the same checksum. Marks all their keys as seen.

        The checksum covers the external id, so that a chance collision of key hashes alone cannot hide a change.
        """
        places, known = self._find(rows[KEY_HASH])
        if not self.rows:
            return known
        self._mark(places.filter(known))
        return known & (self._checksums.gather(places) == rows[CHECKSUM])

    def see(self, hashes: pl.Series) -> None:
        """These keys still exist in the source, although their rows are not sent."""
        places, known = self._find(hashes)
        self._mark(places.filter(known))

    @property
    def vanished_rows(self) -> int:
        return self.rows - int(self._seen.sum() or 0)

    def vanished(self, rows: int) -> Iterator[pl.DataFrame]:
        """external_id and salesforce_id of the keys that the source no longer has, in frames of at most `rows` rows."""
        start = 0
        for frame in read_slices(self._path, ["external_id", "salesforce_id"], rows, remedy=self._remedy):
            yield frame.filter(~self._seen.slice(start, frame.height))
            start += frame.height

    def _find(self, hashes: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Where each hash would stand (a valid place as long as there is any), and whether it does."""
        if not self.rows:
            return hashes.clear().cast(pl.UInt32), pl.Series([False]).new_from_index(0, len(hashes))
        places = self._hashes.search_sorted(hashes).clip(upper_bound=self.rows - 1)
        return places, self._hashes.gather(places) == hashes

    def _mark(self, places: pl.Series) -> None:
        if len(places):
            self._seen.scatter(places, True)


def _read(path: Path, remedy: str) -> tuple[pl.Series, pl.Series]:
    try:
        index = pl.read_parquet(path, columns=[KEY_HASH, CHECKSUM])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read: {error}.", remedy, path=path) from error
    if not index[KEY_HASH].is_sorted():
        raise DamagedFile(f"{path} is not ordered by key_hash.", remedy, path=path)
    return index[KEY_HASH], index[CHECKSUM]
