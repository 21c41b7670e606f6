"""The rows that Salesforce must hold of a partition: Oracle's, except for the listed exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.external_id import folded
from kpc.convert.frame import KEY, convert_frame
from kpc.extract.control_totals import measure_rows, scan_chunks
from kpc.ledger import FailedRecord
from kpc.load.corrected_rows import read_corrections, with_corrections
from kpc.reconcile.refused_updates import KeptRecord, RefusedUpdates, find_refused_updates
from kpc.reconcile.totals import added
from kpc.stages.context import PartitionContext
from kpc.staging.rejected_rows import REJECTED_CLASS
from kpc.storage.manifests import ControlTotals, ExtractManifest


@dataclass(frozen=True)
class ExpectedRows:
    """`rows` are Oracle's, without the exceptions: its columns and `data_header` in canonical text side by side.

    `corrected` of them have the values that people gave them. `refused` are records that exist although their update
    is an exception.
    """

    table: Table
    rows: pl.LazyFrame
    corrected: int
    refused: RefusedUpdates | None = None

    def canonical(self) -> pl.LazyFrame:
        """All expected records: `data_header` in canonical text."""
        rows = self.rows.select(self.table.data_header)
        return rows if self.refused is None else pl.concat([rows, self.refused.known])

    def totals(self) -> ControlTotals:
        """The control totals that Salesforce must have."""
        totals = measure_rows(self.rows, self.table)
        return totals if self.refused is None else added(totals, measure_rows(self._known_values(), self.table))

    @property
    def kept(self) -> int:
        """Records that keep their former values, because their update was refused."""
        return self.refused.kept if self.refused else 0

    @property
    def examples(self) -> tuple[KeptRecord, ...]:
        """The first of the kept records."""
        return self.refused.examples if self.refused else ()

    @property
    def always_compared(self) -> pl.Series:
        """Key hashes of the records that a sample must include."""
        return self.refused.hashes if self.refused else pl.Series(dtype=pl.UInt64)

    def _known_values(self) -> pl.LazyFrame:
        """The measured columns of the records whose update was refused, under Oracle's names."""
        assert self.refused is not None  # noqa: S101  the caller has checked it
        return self.refused.known.with_columns(
            pl.col(column.field or "").cast(pl.Decimal(38, column.type.scale if column.type else 0)).alias(column.name)
            for column in self.table.measured_columns
        )


def expected_rows(
    context: PartitionContext, extract: ExtractManifest, exceptions: Sequence[FailedRecord], folder: Path
) -> ExpectedRows:
    """The expected rows of the generation that `extract` sealed; `folder` takes records that are read meanwhile."""
    rows, corrected = with_corrections(_converted(context, extract), context.table, read_corrections(context))
    if not exceptions:
        return ExpectedRows(context.table, rows, corrected)
    rejected = [row.external_id for row in exceptions if row.error_class == REJECTED_CLASS]
    refused = [row.external_id for row in exceptions if row.error_class != REJECTED_CLASS]
    is_rejected = pl.col(KEY).is_in(rejected).fill_null(value=False)
    is_refused = pl.col(EXTERNAL_ID).is_in(refused).fill_null(value=False)
    listed = rows.filter(is_rejected | is_refused)
    if len(exceptions) <= context.settings.reconcile.sample_rows:
        listed = listed.collect(engine="streaming").lazy()
    updates = find_refused_updates(context, listed, ~is_rejected, folder)
    is_other = folded(pl.col(EXTERNAL_ID)).is_in(updates.others.implode()).fill_null(value=False)
    others = listed.filter(is_other).unique(EXTERNAL_ID)
    return ExpectedRows(
        context.table, pl.concat([rows.filter(~(is_rejected | is_refused)), others]), corrected, updates
    )


def _converted(context: PartitionContext, extract: ExtractManifest) -> pl.LazyFrame:
    """The extracted rows: Oracle's columns, the canonical ones, and the source key."""
    table, folder = context.table, context.paths.generation(extract.generation).extract
    for chunk in extract.chunks:
        context.store.file(folder, chunk, remedy=f"Extract it again: `kpc rerun {table.name} {context.key}`.")
    raw = scan_chunks(folder, extract.chunks, table)
    hash_key = context.settings.hash_key.get_secret_value()
    converted = convert_frame(raw, table, key=context.key, hash_key=hash_key).select(*table.data_header, KEY)
    return pl.concat([raw, converted], how="horizontal")
