"""The comparison of some buckets: expected rows with the records that Salesforce holds for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from kpc.convert.buckets import BUCKET
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.reconcile.bucket_fingerprints import Fingerprints
from kpc.reconcile.comparison_hash import COMPARED
from kpc.reconcile.read_totals import ReadTotals
from kpc.reconcile.target_records import HashedRecords, canonical_records
from kpc.stages.context import PartitionContext
from kpc.storage.arrow_memory import compacted

HELD_ROWS = 20_000  # differing records whose fields are compared; more are counted

Records = Callable[[pl.Series], Iterator[pl.DataFrame]]

_NO_RECORDS = pl.DataFrame(schema={KEY_HASH: pl.UInt64, BUCKET: pl.UInt8, COMPARED: pl.UInt64})
_OF_SOURCE = {name: f"source:{name}" for name in (BUCKET, CHECKSUM, COMPARED)}


@dataclass
class GroupComparison:
    """What was found. `missing` holds key hashes of rows without a record, `changed` and `surplus` records.

    The frames have `table.data_header` in canonical text, bucket and key_hash; the first `HELD_ROWS` of each kind are
    kept, all are counted.
    """

    compared: int
    equal: int
    missing: pl.Series
    changed: pl.DataFrame
    surplus: pl.DataFrame
    changed_rows: int
    surplus_rows: int
    source: Fingerprints
    target: Fingerprints
    totals: ReadTotals


def compare_group(
    expected: pl.DataFrame, hashed: Iterable[HashedRecords], records: Records, context: PartitionContext
) -> GroupComparison:
    """Compare rows of `ExpectedRows.pairs` with records.

    If they differ, `records` returns the records with given key hashes (`records_with_hashes`). A key occurs at most
    once on each side.
    """
    return _Comparing(context).run(expected, hashed, records)


class _Comparing:
    def __init__(self, context: PartitionContext) -> None:
        self._context = context
        columns = [*context.table.data_header, BUCKET, KEY_HASH]
        types: dict[str, type[pl.DataType]] = {BUCKET: pl.UInt8, KEY_HASH: pl.UInt64}
        nothing = pl.DataFrame(schema={name: types.get(name, pl.String) for name in columns})
        self._found = GroupComparison(
            0,
            0,
            pl.Series(KEY_HASH, dtype=pl.UInt64),
            nothing,
            nothing,
            0,
            0,
            Fingerprints(),
            Fingerprints(),
            ReadTotals(),
        )

    def run(self, expected: pl.DataFrame, hashed: Iterable[HashedRecords], records: Records) -> GroupComparison:
        found, hashes = self._found, [_NO_RECORDS]
        for page in hashed:
            found.totals.merge(page.totals.by_bucket)
            hashes.append(page.rows)
        pairs = expected.select(KEY_HASH, *(pl.col(name).alias(renamed) for name, renamed in _OF_SOURCE.items()))
        joined = pl.concat(hashes).join(pairs, on=KEY_HASH, how="left")
        is_other = joined.select(_differs(COMPARED)).to_series()
        unequal, equal = joined.filter(is_other)[KEY_HASH], joined.filter(~is_other)
        found.compared, found.equal = pairs.height, equal.height
        found.source.add(expected)
        found.target.add(equal.select(BUCKET, pl.col(_OF_SOURCE[CHECKSUM]).alias(CHECKSUM)))
        keys = [equal[KEY_HASH]]
        if unequal.len():
            keys += [self._look_closer(frame, pairs) for frame in records(unequal)]
        found.missing = pairs.join(pl.concat(keys).to_frame(), on=KEY_HASH, how="anti")[KEY_HASH]
        return found

    def _look_closer(self, unequal: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
        """Compare canonical text, in which white space and notation do not matter; returns the differing key hashes."""
        records, found = canonical_records(unequal, self._context), self._found
        found.target.add(records)
        differing = records.join(pairs, on=KEY_HASH, how="left").filter(_differs(CHECKSUM))
        found.equal += records.height - differing.height
        is_known = pl.col(_OF_SOURCE[CHECKSUM]).is_not_null()
        changed, surplus = differing.filter(is_known), differing.filter(~is_known)
        found.changed_rows += changed.height
        found.surplus_rows += surplus.height
        found.changed = _held(found.changed, changed)
        found.surplus = _held(found.surplus, surplus)
        return records[KEY_HASH]


def _held(known: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    room = HELD_ROWS - known.height
    if room <= 0 or more.is_empty():
        return known
    return pl.concat([known, compacted(more.head(room).select(known.columns))])


def _differs(hashed: str) -> pl.Expr:
    """True if this hash or the bucket differs from the row's, or there is no such row."""
    is_equal = [pl.col(name) == pl.col(_OF_SOURCE[name]) for name in (hashed, BUCKET)]
    return ~pl.all_horizontal(is_equal).fill_null(value=False)
