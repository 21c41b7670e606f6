"""Level 3: compare record by record, by checksums of canonical text, and find the fields that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.buckets import BUCKET, marker_bucket
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.reconcile.bucket_fingerprints import BucketFingerprint, Fingerprints
from kpc.reconcile.comparison_hash import COMPARED, number_fields
from kpc.reconcile.double_numbers import same_as_doubles
from kpc.reconcile.expected_rows import ExpectedRows, rows_with_hashes
from kpc.reconcile.target_records import LISTED, canonical_records, read_pages, record_fields, records_by_id
from kpc.stages.bucket_queries import BucketQueries
from kpc.stages.context import PartitionContext
from kpc.storage.arrow_memory import compacted

_HELD_ROWS = 20_000  # differing records whose fields are compared; more are counted

Records = Callable[[], Iterator[pl.DataFrame]]

_NO_RECORDS = pl.DataFrame(schema={KEY_HASH: pl.UInt64, BUCKET: pl.UInt8, COMPARED: pl.UInt64})
_OF_SOURCE = {name: f"source:{name}" for name in (BUCKET, CHECKSUM, COMPARED)}


@dataclass(frozen=True, slots=True)
class RecordDifferences:
    """The result of comparing records. Counts are complete; the lists hold the first `LISTED` keys."""

    compared: int
    equal: int
    missing: int  # in Oracle, not in Salesforce
    surplus: int  # in Salesforce, not in Oracle
    changed: int  # in both, with other values or another marker
    missing_keys: tuple[str, ...] = ()
    surplus_keys: tuple[str, ...] = ()
    changed_fields: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (external id, fields that differ)
    as_doubles: int = 0  # of the equal ones: the checksums differ, but only in digits that the API cannot carry
    source_buckets: tuple[BucketFingerprint, ...] = ()
    target_buckets: tuple[BucketFingerprint, ...] = ()


def compare_all(
    expected: ExpectedRows, queries: BucketQueries, context: PartitionContext, folder: Path
) -> RecordDifferences:
    """Compare every record of the partition, some buckets at a time.

    Salesforce's records are read by bulk queries into files in `folder`, which the caller removes.
    """
    found = _Differences(context)
    for group, pages in queries.records(record_fields(context.table), folder):
        numbers = [marker_bucket(context.key, name) for name in group.markers]
        source = pl.concat([expected.pairs.bucket(0).head(0), *_buckets(expected, numbers)])
        found.compare(source, partial(read_pages, pages, context, expected.seed))
    return found.result(expected)


def _buckets(expected: ExpectedRows, numbers: list[int | None]) -> Iterator[pl.DataFrame]:
    return (expected.pairs.bucket(number) for number in numbers if number is not None)


def compare_sample(expected: ExpectedRows, context: PartitionContext) -> RecordDifferences:
    """The records of the sample alone, asked for by their external ids."""
    found = _Differences(context)
    sample = expected.sample
    records = records_by_id(context, sample[EXTERNAL_ID].to_list())
    unhashed = records.with_columns(pl.lit(None, pl.UInt64).alias(COMPARED))
    found.compare(sample, lambda: iter([unhashed]))
    return found.result(expected)


class _Differences:
    """What differs, over all groups of buckets."""

    def __init__(self, context: PartitionContext) -> None:
        self._context = context
        self._table = context.table
        self._numbers = set(number_fields(context.table))
        self._compared = self._equal = self._changed = self._surplus = 0
        self._source_buckets, self._target_buckets = Fingerprints(), Fingerprints()
        self._missing: list[pl.Series] = []
        self._held_changed: list[pl.DataFrame] = []
        self._held_surplus: list[pl.DataFrame] = []

    def compare(self, source: pl.DataFrame, target: Records) -> None:
        """Compare expected rows with the records of `read_pages`, which `target` reads; each side has a key once."""
        pairs = source.select(KEY_HASH, *(pl.col(name).alias(of_source) for name, of_source in _OF_SOURCE.items()))
        found = pl.concat([_NO_RECORDS, *(compacted(frame.select(_NO_RECORDS.columns)) for frame in target())])
        joined = found.join(pairs, on=KEY_HASH, how="left")
        unequal = joined.filter(_differs(COMPARED)).select(KEY_HASH)
        self._compared += pairs.height
        self._equal += found.height - unequal.height
        self._source_buckets.add(source)
        # Equal records have the checksum of their row.
        equal = joined.filter(~_differs(COMPARED)).select(BUCKET, pl.col(_OF_SOURCE[CHECKSUM]).alias(CHECKSUM))
        self._target_buckets.add(equal)
        keys = [found[KEY_HASH]]
        if unequal.height:
            for frame in target():
                keys += self._look_closer(frame.join(unequal, on=KEY_HASH, how="semi"), pairs)
        self._missing.append(pairs.join(pl.concat(keys).to_frame(), on=KEY_HASH, how="anti")[KEY_HASH])

    def _look_closer(self, unequal: pl.DataFrame, pairs: pl.DataFrame) -> Iterator[pl.Series]:
        """Compare canonical text, in which white space and spellings do not differ; returns its key hashes."""
        if unequal.is_empty():
            return
        records = canonical_records(unequal, self._context)
        self._target_buckets.add(records)
        differing = records.join(pairs, on=KEY_HASH, how="left").filter(_differs(CHECKSUM))
        self._equal += records.height - differing.height
        if differing.height:
            self._keep(differing)
        yield records[KEY_HASH]

    def _keep(self, differing: pl.DataFrame) -> None:
        is_known = differing[_OF_SOURCE[CHECKSUM]].is_not_null()
        changed, surplus = differing.filter(is_known), differing.filter(~is_known)
        self._changed += changed.height
        self._surplus += surplus.height
        for kept, frame in ((self._held_changed, changed), (self._held_surplus, surplus)):
            room = _HELD_ROWS - sum(one.height for one in kept)
            if room > 0:
                kept.append(compacted(frame.head(room).select(*self._table.data_header, BUCKET, KEY_HASH)))

    def result(self, expected: ExpectedRows) -> RecordDifferences:
        """All differences; reads the extract again for the fields of those that differ."""
        missing = pl.concat(self._missing)
        changed, surplus = (_one(held) for held in (self._held_changed, self._held_surplus))
        if surplus is not None and not missing.is_empty():
            # A record with the marker of another bucket is surplus there and missing where it belongs.
            misplaced = surplus.join(missing.to_frame(), on=KEY_HASH, how="semi")
            surplus = surplus.join(misplaced, on=KEY_HASH, how="anti")
            missing = missing.to_frame().join(misplaced, on=KEY_HASH, how="anti")[KEY_HASH]
            changed = misplaced if changed is None else pl.concat([changed, misplaced])
            self._surplus -= misplaced.height
            self._changed += misplaced.height
        fields, missing_keys = self._named(expected, changed, missing)
        as_doubles = sum(not names for _, names in fields)
        fields = tuple((key, names) for key, names in fields if names)[:LISTED]
        return RecordDifferences(
            compared=self._compared,
            equal=self._equal + as_doubles,
            missing=missing.len(),
            surplus=self._surplus,
            changed=self._changed - as_doubles,
            missing_keys=missing_keys,
            surplus_keys=() if surplus is None else _first_keys(surplus[EXTERNAL_ID]),
            changed_fields=fields,
            as_doubles=as_doubles,
            source_buckets=self._source_buckets.listed(),
            target_buckets=self._target_buckets.listed(),
        )

    def _named(
        self, expected: ExpectedRows, changed: pl.DataFrame | None, missing: pl.Series
    ) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...]]:
        """The differing fields of changed records, and the first missing keys; values are not kept.

        A record has no differing field if its numbers are equal as far as the API, which carries doubles, can tell.
        """
        listed = [missing.head(_HELD_ROWS)] if changed is None else [missing.head(_HELD_ROWS), changed[KEY_HASH]]
        wanted = pl.concat(listed)
        if wanted.is_empty():
            return (), ()
        source = pl.concat([expected.sample.head(0), *rows_with_hashes(expected, wanted)])
        keys = source.join(missing.to_frame(), on=KEY_HASH, how="semi")[EXTERNAL_ID]
        if changed is None:
            return (), _first_keys(keys)
        pairs = source.join(changed, on=KEY_HASH, suffix=":target").sort(EXTERNAL_ID)
        return tuple(self._fields(pair) for pair in pairs.iter_rows(named=True)), _first_keys(keys)

    def _fields(self, pair: dict[str, object]) -> tuple[str, tuple[str, ...]]:
        names = [
            name
            for name in self._table.data_header
            if pair[name] != pair[f"{name}:target"]
            and not (name in self._numbers and same_as_doubles(pair[name], pair[f"{name}:target"]))
        ]
        if pair[BUCKET] != pair[f"{BUCKET}:target"]:
            names.append(PARTITION_FIELD)
        return str(pair[EXTERNAL_ID]), tuple(names)


def _differs(hashed: str) -> pl.Expr:
    """True where this hash or the bucket differs from the row's, or there is no such row."""
    is_equal = [pl.col(name) == pl.col(_OF_SOURCE[name]) for name in (hashed, BUCKET)]
    return ~pl.all_horizontal(is_equal).fill_null(value=False)


def _one(frames: list[pl.DataFrame]) -> pl.DataFrame | None:
    return pl.concat(frames) if frames else None


def _first_keys(keys: pl.Series) -> tuple[str, ...]:
    return tuple(key or "" for key in keys.sort().head(LISTED))
