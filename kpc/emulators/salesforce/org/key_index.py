"""Indexes in memory, by which a batch finds records of a large object without reading all of its keys.

DuckDB's own index slows every write down and does not serve joins. Here an index maps the hash of a key to the row's
position in its table. It may be out of date: whoever uses it checks the key at the position, and reads the whole
column for keys that are not where the index says. It takes 16 bytes per record.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.org.storage import StorageSession, quoted, table_of
from kpc.emulators.salesforce.settings import Switches

_FIRST_UNCOMMITTED = 1 << 60  # DuckDB's positions of rows that are not committed yet
_MOST_MISSES = 10_000  # keys that were not where the index said, before it is made anew
_ROWS_AT_ONCE = 200_000

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class KeyIndex:
    """Sorted runs of hashes with the positions of their rows, merged so that there are few."""

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Positions]] = []
        self.shift = 0  # what a record's number is away from its position

    def add(self, keys: pl.Series, positions: Positions) -> None:
        """Rows with these keys, of which none is null."""
        hashes = _hashes(keys)
        order = np.argsort(hashes)
        self._runs.append((hashes[order], positions[order]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._runs[-2:] = [_merged(self._runs[-2], self._runs[-1])]

    def candidates(self, keys: pl.Series) -> pl.DataFrame:
        """Columns key and position: where the rows with these keys may be. A key that is in no row is not there."""
        keys = keys.rename("key")
        hashes = _hashes(keys)
        order = np.argsort(hashes)
        wanted = hashes[order]
        found: list[tuple[Positions, Positions]] = []
        for known, positions in self._runs:
            at = np.searchsorted(known, wanted)
            left = np.arange(len(wanted))
            while len(left):  # a hash may be there several times
                left = left[at[left] < len(known)]
                left = left[known[at[left]] == wanted[left]]
                found.append((order[left], positions[at[left]]))
                at = at + 1
        places = np.concatenate([np.empty(0, np.int64), *(each for each, _ in found)])
        where = np.concatenate([np.empty(0, np.int64), *(each for _, each in found)])
        found_all = {"key": keys.gather(pl.Series(places)), "position": pl.Series(where, dtype=pl.Int64)}
        return pl.DataFrame(found_all).unique()  # what was rolled back and done again stands there twice


class KeyIndexes:
    """The indexes of an org, each made when it is first needed. Used only by whoever writes."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._known: dict[tuple[str, str], KeyIndex] = {}
        self._misses = 0

    def find(self, session: StorageSession, sobject: SObject, column: str) -> KeyIndex | None:
        """The index of a stored column; None for an object that is so small that reading all is as fast."""
        if index := self._known.get((sobject.name, column)):
            return index
        taken = session.run("SELECT value::BIGINT FROM emulator.setting WHERE name = ?", [f"next {sobject.name}"])
        if not taken or taken[0][0] - 1 < self._switches.key_index_records:
            return None
        index = _made(session, sobject, column, taken[0][0] - 1)
        if index:
            self._known[sobject.name, column] = index
        return index

    def add(self, sobject: SObject, first_number: int, rows: pl.DataFrame) -> None:
        """New records with consecutive numbers; `rows` has their stored columns."""
        for (name, column), index in self._known.items():
            if name == sobject.name and column in rows.columns:
                positions = np.arange(first_number + index.shift, first_number + index.shift + rows.height)
                is_given = rows[column].is_not_null()
                index.add(rows[column].filter(is_given), positions[is_given.to_numpy()])

    def forget(self, sobject: SObject, column: str) -> None:
        """The keys of records change."""
        self._known.pop((sobject.name, column), None)

    def missed(self, keys: int) -> None:
        """So many keys were not where an index said; after too many all are made anew."""
        self._misses += keys
        if self._misses > _MOST_MISSES:
            self._known.clear()
            self._misses = 0


def _made(session: StorageSession, sobject: SObject, column: str, numbers: int) -> KeyIndex | None:
    """From all records; None while some of them are not committed, because their positions will change."""
    index, last = KeyIndex(), -1
    name = quoted(column)
    sql = f"SELECT rowid AS position, {name} AS key FROM {table_of(sobject)}"
    for batch in session.batches(sql, (), _ROWS_AT_ONCE):
        rows = pl.DataFrame(batch)
        last = max(last, int(rows["position"].max() or 0))  # type: ignore[arg-type]
        if last >= _FIRST_UNCOMMITTED:
            return None
        rows = rows.drop_nulls()
        index.add(rows["key"], rows["position"].to_numpy())
    index.shift = last - numbers
    return index


def _hashes(keys: pl.Series) -> Hashes:
    return keys.hash().to_numpy()


def _merged(one: tuple[Hashes, Positions], other: tuple[Hashes, Positions]) -> tuple[Hashes, Positions]:
    hashes, positions = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    order = np.argsort(hashes, kind="stable")
    return hashes[order], positions[order]
