"""The rows that Salesforce must hold for a partition: Oracle's, except for the listed exceptions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.buckets import BUCKET, bucket_count, bucket_number
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash, row_checksum
from kpc.convert.external_id import folded
from kpc.convert.frame import KEY
from kpc.extract.control_totals import added_up, measure_rows
from kpc.ledger import FailedRecord
from kpc.reconcile.comparison_hash import COMPARED, comparison_hash
from kpc.reconcile.refused_updates import KeptRecord, RefusedUpdates, find_refused_updates
from kpc.reconcile.source_rows import SourceRows
from kpc.reconcile.totals import added
from kpc.stages.context import PartitionContext
from kpc.staging.rejected_rows import REJECTED_CLASS
from kpc.storage.arrow_memory import compacted
from kpc.storage.manifests import ControlTotals, ExtractManifest
from kpc.storage.row_buckets import RowBuckets

_PAIR: dict[str, pl.DataType] = {
    BUCKET: pl.UInt8(),
    KEY_HASH: pl.UInt64(),
    CHECKSUM: pl.UInt64(),
    COMPARED: pl.UInt64(),
}
_HELD_PAIRS = 400_000  # sorting them by bucket takes about 40 MB


@dataclass
class ExpectedRows:
    """What one reading of the extract found.

    `pairs` has bucket, key_hash, checksum and comparison hash of every expected record, `counts` their number by
    bucket. `totals` are None unless an exception or a correction makes them differ from Oracle's own. `sample` holds
    records that `seed` chose at random, and those whose update was refused, with `table.data_header` in canonical text.
    """

    table: Table
    pairs: RowBuckets
    counts: list[int]
    source: SourceRows
    totals: ControlTotals | None = None
    sample: pl.DataFrame = field(default_factory=pl.DataFrame)
    refused: RefusedUpdates | None = None
    seed: int = 0

    @property
    def corrected(self) -> int:
        """Rows that hold values corrected by people."""
        return self.source.corrected

    @property
    def kept(self) -> int:
        """Records that keep their former values, because their update was refused."""
        return self.refused.kept if self.refused else 0

    @property
    def examples(self) -> tuple[KeptRecord, ...]:
        """The first of the kept records."""
        return self.refused.examples if self.refused else ()


def expected_rows(
    context: PartitionContext,
    extract: ExtractManifest,
    exceptions: Sequence[FailedRecord],
    folder: Path,
    *,
    sample_rows: int = 0,
) -> ExpectedRows:
    """The expected rows of the generation that `extract` sealed; `folder` holds what does not fit in memory."""
    return _Reading(context, extract, exceptions, folder, sample_rows).run()


class _Reading:
    """The state of one reading."""

    def __init__(
        self,
        context: PartitionContext,
        extract: ExtractManifest,
        exceptions: Sequence[FailedRecord],
        folder: Path,
        sample_rows: int,
    ) -> None:
        self._context = context
        self._table = context.table
        self._seed = secrets.randbits(63)
        needs_text = bool(exceptions or sample_rows)
        self._source = SourceRows(context, extract, self._seed, with_measures=bool(exceptions), with_text=needs_text)
        self._sample_rows = sample_rows
        count = bucket_count(context.key)
        self._pairs = RowBuckets(folder, _PAIR, pl.col(BUCKET), count, held_rows=_HELD_PAIRS)
        self._counts = [0] * count
        self._sample = pl.DataFrame(schema={**dict.fromkeys(self._table.data_header, pl.String()), **_PAIR})
        self._always = self._sample.clear()  # records of refused updates, which every sample has
        self._totals: list[ControlTotals] = []
        self._has_exceptions = bool(exceptions)
        self._is_exact = not (exceptions or self._source.has_corrections)
        rejected = [row.external_id for row in exceptions if row.error_class == REJECTED_CLASS]
        refused = [row.external_id for row in exceptions if row.error_class != REJECTED_CLASS]
        self._is_rejected = pl.col(KEY).is_in(rejected).fill_null(value=False)
        self._is_refused = pl.col(EXTERNAL_ID).is_in(refused).fill_null(value=False)

    def run(self) -> ExpectedRows:
        listed = []
        for frame in self._source.frames():
            rows = frame
            if self._has_exceptions:
                is_listed = self._is_rejected | self._is_refused
                listed.append(compacted(frame.filter(is_listed)))
                rows = frame.filter(~is_listed)
            self._add(rows)
        found = ExpectedRows(self._table, self._pairs, self._counts, self._source, seed=self._seed)
        if self._has_exceptions:
            found.refused = self._add_exceptions(pl.concat(listed)) if listed else None
        if not self._is_exact:
            found.totals = added_up(self._totals) if self._totals else measure_rows(self._no_rows(), self._table)
            if found.refused is not None:
                known = measure_rows(_with_measures(found.refused.known, self._table), self._table)
                found.totals = added(found.totals, known)
        order = pl.col(KEY_HASH).hash(self._seed)
        drawn = self._sample.bottom_k(self._sample_rows, by=order)
        found.sample = pl.concat([drawn, self._always]).unique(KEY_HASH)
        return found

    def _add(self, rows: pl.DataFrame) -> None:
        """Count these rows as expected."""
        self._add_pairs(rows)
        if not self._is_exact and rows.height:
            self._totals.append(measure_rows(rows.lazy(), self._table))
        if self._sample_rows:
            fresh = compacted(self._drawn(rows.select(self._sample.columns)))
            self._sample = compacted(self._drawn(pl.concat([self._sample, fresh])))

    def _drawn(self, rows: pl.DataFrame) -> pl.DataFrame:
        """A random sample of the rows, with the same number from each bucket."""
        order = pl.col(KEY_HASH).hash(self._seed)
        each = -(-self._sample_rows // len(self._counts))
        return rows.filter(order.rank("ordinal").over(BUCKET) <= each)

    def _add_pairs(self, rows: pl.DataFrame) -> None:
        self._pairs.add(rows)
        for number, count in rows.group_by(BUCKET).len().iter_rows():
            self._counts[number] += count

    def _add_exceptions(self, listed: pl.DataFrame) -> RefusedUpdates:
        """Count what the listed rows left in the org: their former values, or Oracle's if those are not known."""
        updates = find_refused_updates(self._context, listed, ~self._is_rejected)
        is_other = folded(pl.col(EXTERNAL_ID)).is_in(updates.others.implode()).fill_null(value=False)
        others = listed.filter(is_other).unique(EXTERNAL_ID)
        self._add(others)
        known = updates.known.with_columns(bucket_number(self._context.key), key_hash(), row_checksum(self._table))
        known = known.with_columns(comparison_hash(known, self._table, self._seed))
        self._add_pairs(known)
        if self._sample_rows:
            self._always = pl.concat([frame.select(self._sample.columns) for frame in (others, known)])
        return updates

    def _no_rows(self) -> pl.LazyFrame:
        return _with_measures(pl.DataFrame(schema=dict.fromkeys(self._table.data_header, pl.String())), self._table)


def _with_measures(records: pl.DataFrame, table: Table) -> pl.LazyFrame:
    """Records in canonical text with the measured columns under Oracle's names."""
    return records.lazy().with_columns(
        pl.col(column.field or "").cast(pl.Decimal(38, column.type.scale if column.type else 0)).alias(column.name)
        for column in table.measured_columns
    )


def rows_with_hashes(expected: ExpectedRows, hashes: pl.Series) -> Iterator[pl.DataFrame]:
    """The expected rows with these key hashes, read once more: `table.data_header`, bucket, key_hash, checksum."""
    for frame in expected.source.with_hashes(hashes):
        yield frame.select(*expected.table.data_header, *_PAIR)
