"""Level 3: compare record by record, and find what differs, in which fields."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.buckets import BUCKET, marker_bucket
from kpc.convert.canonical import KEY_HASH
from kpc.reconcile.bucket_fingerprints import BucketFingerprint, Fingerprints
from kpc.reconcile.comparison_hash import COMPARED
from kpc.reconcile.comparison_progress import ComparisonProgress
from kpc.reconcile.differences import DifferenceKind, DifferingRecord
from kpc.reconcile.differing_records import differing_records
from kpc.reconcile.expected_rows import ExpectedRows
from kpc.reconcile.group_comparison import GroupComparison, compare_group
from kpc.reconcile.read_totals import ReadTotals
from kpc.reconcile.target_records import (
    HashedRecords,
    hashed_pages,
    page_reader,
    record_fields,
    records_by_id,
    records_with_hashes,
)
from kpc.stages.bucket_queries import BucketQueries
from kpc.stages.context import PartitionContext
from kpc.storage.arrow_memory import release_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordDifferences:
    """The result of comparing records. Counts are complete; `differing` holds the first 20,000 of each kind."""

    compared: int
    equal: int
    missing: int  # in Oracle, not in Salesforce
    surplus: int  # in Salesforce, not in Oracle
    changed: int  # in both, with different values or a different marker
    differing: tuple[DifferingRecord, ...] = ()
    as_doubles: int = 0  # equal records whose checksums differ, but only in digits that the API cannot carry
    source_buckets: tuple[BucketFingerprint, ...] = ()
    target_buckets: tuple[BucketFingerprint, ...] = ()
    totals: ReadTotals | None = None  # None: not all records were read
    rows: pl.DataFrame | None = None  # external id and checksum of the extract's rows of `differing`
    resumed: int = 0  # buckets whose comparison an interrupted run had finished

    def of_kind(self, kind: DifferenceKind) -> tuple[DifferingRecord, ...]:
        """The differing records of one kind, by external id."""
        return tuple(one for one in self.differing if one.kind is kind)


def compare_all(
    expected: ExpectedRows,
    queries: BucketQueries,
    context: PartitionContext,
    folder: Path,
    progress: ComparisonProgress,
) -> RecordDifferences:
    """Compare every record of the partition, some buckets at a time.

    Salesforce's records are read by bulk queries into files in `folder`, which the caller removes. Buckets that
    `progress` holds are not read again.
    """
    groups: list[GroupComparison] = []
    finished: set[str] = set()
    for markers, found in progress.finished(context.clock()):
        if finished.isdisjoint(markers):
            finished.update(markers)
            groups.append(found)
    if finished:
        log.info("%s: %d buckets were compared before the interruption; continuing", context, len(finished))
    resumed = len(finished)
    reader = page_reader(context, expected.seed)
    for group, pages in queries.records(record_fields(context.table), folder, without=finished, reader=reader):
        read_utc = context.clock()
        hashes = hashed_pages(pages, context, expected.seed)
        records = partial(records_with_hashes, pages, context=context)
        found = compare_group(_expected_of(expected, group.markers, context.key), hashes, records, context)
        progress.keep(group.markers, found, read_utc)
        groups.append(found)
        finished.update(group.markers)
        release_memory()
        log.info("%s: %d of %d buckets compared", context, len(finished), queries.buckets)
    return _summed(groups, expected, context, resumed)


def _expected_of(expected: ExpectedRows, markers: Sequence[str], key: str) -> pl.DataFrame:
    numbers = (marker_bucket(key, name) for name in markers)
    frames = (expected.pairs.bucket(number) for number in numbers if number is not None)
    return pl.concat([expected.pairs.bucket(0).head(0), *frames])


def compare_sample(expected: ExpectedRows, context: PartitionContext) -> RecordDifferences:
    """Compare only the records of the sample, queried by their external ids."""
    sample = expected.sample
    records = records_by_id(context, sample[EXTERNAL_ID].to_list())
    unhashed = records.select(KEY_HASH, BUCKET, pl.lit(None, pl.UInt64).alias(COMPARED))
    found = compare_group(sample, [HashedRecords(unhashed, ReadTotals())], lambda _: iter([records]), context)
    return _summed([found], expected, context, 0, is_complete=False)


def _summed(
    groups: Sequence[GroupComparison],
    expected: ExpectedRows,
    context: PartitionContext,
    resumed: int,
    *,
    is_complete: bool = True,
) -> RecordDifferences:
    """The sum of all groups; reads the extract again to find the fields that differ."""
    source, target, totals = Fingerprints(), Fingerprints(), ReadTotals()
    for group in groups:
        source.merge(group.source.listed())
        target.merge(group.target.listed())
        totals.merge(group.totals.by_bucket)
    found = differing_records(groups, expected, context)
    return RecordDifferences(
        compared=sum(group.compared for group in groups),
        equal=sum(group.equal for group in groups) + found.as_doubles,
        missing=found.missing,
        surplus=found.surplus,
        changed=found.changed,
        differing=found.listed,
        rows=found.rows,
        as_doubles=found.as_doubles,
        source_buckets=source.listed(),
        target_buckets=target.listed(),
        totals=totals if is_complete else None,
        resumed=resumed,
    )
