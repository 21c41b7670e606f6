"""The comparison of some buckets: expected rows against the records that Salesforce holds of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from kpc.convert.buckets import BUCKET
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.reconcile.bucket_fingerprints import Fingerprints
from kpc.reconcile.comparison_hash import COMPARED
from kpc.reconcile.read_totals import ReadTotals
from kpc.reconcile.target_records import canonical_records
from kpc.stages.context import PartitionContext
from kpc.storage.arrow_memory import compacted

HELD_ROWS = 20_000  # differing records whose fields are compared; more are counted

Records = Callable[[], Iterator[pl.DataFrame]]

_NO_RECORDS = pl.DataFrame(schema={KEY_HASH: pl.UInt64, BUCKET: pl.UInt8, COMPARED: pl.UInt64})
_OF_SOURCE = {name: f"source:{name}" for name in (BUCKET, CHECKSUM, COMPARED)}


@dataclass
class GroupComparison:
    """What was found. `missing` holds key hashes of rows without a record, `changed` and `surplus` records.

    The frames have `table.data_header` in canonical text, bucket and key_hash; the first `HELD_ROWS` of each kind are
    held, all are counted.
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


def compare_group(expected: pl.DataFrame, records: Records, context: PartitionContext) -> GroupComparison:
    """Compare rows of `ExpectedRows.pairs` with `records`, which reads the frames of `read_pages` as often as called.

    Each side has a key at most once.
    """
    return _Comparing(context).run(expected, records)


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

    def run(self, expected: pl.DataFrame, records: Records) -> GroupComparison:
        found = self._found
        pairs = expected.select(KEY_HASH, *(pl.col(name).alias(renamed) for name, renamed in _OF_SOURCE.items()))
        joined = self._hashes(records()).join(pairs, on=KEY_HASH, how="left")
        unequal = joined.filter(_differs(COMPARED)).select(KEY_HASH)
        equal = joined.filter(~_differs(COMPARED))
        found.compared, found.equal = pairs.height, equal.height
        found.source.add(expected)
        found.target.add(equal.select(BUCKET, pl.col(_OF_SOURCE[CHECKSUM]).alias(CHECKSUM)))
        keys = [equal[KEY_HASH]]
        if unequal.height:
            keys += [self._look_closer(frame.join(unequal, on=KEY_HASH, how="semi"), pairs) for frame in records()]
        found.missing = pairs.join(pl.concat(keys).to_frame(), on=KEY_HASH, how="anti")[KEY_HASH]
        return found

    def _hashes(self, frames: Iterator[pl.DataFrame]) -> pl.DataFrame:
        """The columns of `_NO_RECORDS` of all records, whose aggregates are added up: once, which costs far less."""
        table = self._context.table
        measured = [pl.col(column.field or "").cast(pl.Float64, strict=False) for column in table.measured_columns]
        kept = [compacted(frame.select(*_NO_RECORDS.columns, *measured)) for frame in frames]
        if not kept:
            return _NO_RECORDS
        records = pl.concat(kept)
        self._found.totals.add(records, table)
        return records.select(_NO_RECORDS.columns)

    def _look_closer(self, unequal: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
        """Compare canonical text, in which white space and spellings do not differ; returns its key hashes."""
        if unequal.is_empty():
            return unequal[KEY_HASH]
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
    """True where this hash or the bucket differs from the row's, or there is no such row."""
    is_equal = [pl.col(name) == pl.col(_OF_SOURCE[name]) for name in (hashed, BUCKET)]
    return ~pl.all_horizontal(is_equal).fill_null(value=False)
