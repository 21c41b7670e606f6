"""Compare a loaded partition: Oracle's control totals and the sealed extract against Salesforce, at three levels.

Nothing that staging or loading wrote about its own work is read, because that is what must be proven. The only thing
taken from the ledger is the list of rows that were rejected or refused, which must explain every difference.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.frame import KEY, convert_frame
from kpc.errors import ConfigError, Mismatch
from kpc.extract.control_totals import measure_rows, scan_chunks
from kpc.ledger import Compared, FailedRecord
from kpc.ledger.states import StageState
from kpc.load.corrected_rows import read_corrections, with_corrections
from kpc.reconcile.comparison import Comparison
from kpc.reconcile.records import RecordDifferences, compare_all, compare_sample
from kpc.reconcile.report import ReconciliationReport
from kpc.reconcile.totals import compare_totals, read_target
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.result import StageResult
from kpc.staging.rejected_rows import REJECTED_CLASS
from kpc.storage.layout import REPORT
from kpc.storage.manifests import ControlTotals, ExtractManifest
from kpc.storage.store import make_private

LEVELS3 = ("auto", "sample", "full", "off")


@dataclass(frozen=True, slots=True)
class PartitionComparison:
    """All compared numbers of one partition, and the report with the verdict."""

    report: ReconciliationReport
    comparisons: tuple[Comparison, ...]


def compare_partition(context: PartitionContext, level3: str = "") -> PartitionComparison:
    """Compare the current generation with what Salesforce holds of the partition. Raises `ConfigError`."""
    level3 = level3 or context.settings.reconcile.level3
    if level3 not in LEVELS3:
        raise ConfigError(f"There is no level 3 mode {level3!r}.", f"Choose one of {', '.join(LEVELS3)}.")
    extract = sealed_extract(context)
    exceptions = context.ledger.failures.of_partition(context.environment, context.partition)
    rows, corrected = _expected_rows(context, extract, exceptions)
    expected = measure_rows(rows, context.table) if exceptions or corrected else extract.control_totals
    comparisons = compare_totals(
        context.table,
        oracle=extract.control_totals,
        expected=expected,
        salesforce=read_target(context.salesforce, context.partition),
    )
    records = _compare_records(context, extract.generation, rows, expected, level3)
    if records is not None:
        comparisons.append(_as_comparison(records))
    report = ReconciliationReport.of(
        extract, comparisons, records, len(exceptions), context.clock(), repaired=corrected
    )
    return PartitionComparison(report, tuple(comparisons))


def publish_report(context: StageContext, compared: PartitionComparison) -> None:
    """Store the result beside the extract and in the ledger."""
    report = compared.report
    context.store.publish(context.paths.generation(report.generation).reconciled, report, name=REPORT)
    recorded = [_recorded(comparison) for comparison in compared.comparisons]
    context.ledger.reconciliations.record(report.generation, context.stage_run, recorded, lease=context.lease)


def raise_mismatch(context: PartitionContext, result: StageResult) -> None:
    """Raises `Mismatch` if there is a difference that the listed exceptions do not explain."""
    if result.state != StageState.MISMATCH:
        return
    differing = str(result.detail["differing"])
    report = context.store.shown(context.paths.generation(result.generation).reconciled / REPORT)
    raise Mismatch(
        f"{context} differs between Oracle and Salesforce in: {differing}.",
        f"`kpc show {context.table.name} {context.key}` lists the numbers; keys and fields are in {report}.",
        measures=tuple(differing.split(", ")),
    )


def _expected_rows(
    context: PartitionContext, extract: ExtractManifest, exceptions: Sequence[FailedRecord]
) -> tuple[pl.LazyFrame, int]:
    """The extracted rows without the listed exceptions: Oracle's columns and the canonical ones side by side.

    Rows that people corrected have their corrected values; the second result is the number of these rows.
    """
    table, folder = context.table, context.paths.generation(extract.generation).extract
    for chunk in extract.chunks:
        context.store.file(folder, chunk, remedy=f"Extract it again: `kpc rerun {table.name} {context.key}`.")
    raw = scan_chunks(folder, extract.chunks, table)
    hash_key = context.settings.hash_key.get_secret_value()
    converted = convert_frame(raw, table, key=context.key, hash_key=hash_key).select(*table.data_header, KEY)
    rows = pl.concat([raw, converted], how="horizontal")
    rows, corrected = with_corrections(rows, table, read_corrections(context))
    if not exceptions:
        return rows, corrected
    rejected = [row.external_id for row in exceptions if row.error_class == REJECTED_CLASS]
    refused = [row.external_id for row in exceptions if row.error_class != REJECTED_CLASS]
    is_listed = pl.col(KEY).is_in(rejected) | pl.col(EXTERNAL_ID).is_in(refused).fill_null(value=False)
    return rows.filter(~is_listed), corrected


def _compare_records(
    context: PartitionContext, generation: str, rows: pl.LazyFrame, expected: ControlTotals, level3: str
) -> RecordDifferences | None:
    settings = context.settings.reconcile
    if level3 == "off":
        return None
    canonical = rows.select(*context.table.data_header)
    if level3 == "sample" or (level3 == "auto" and expected.rows > settings.full_rows):
        return compare_sample(canonical, context.partition, context.salesforce, settings.sample_rows)
    folder = make_private(context.paths.generation(generation).reconciled / "query")
    try:
        return compare_all(canonical, context.partition, context.salesforce, folder, expected_rows=expected.rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_comparison(records: RecordDifferences) -> Comparison:
    """Surplus records are subtracted, so that a target with extra records does not agree."""
    return Comparison(
        level=3,
        measure="records with equal checksum",
        source=Decimal(records.compared),
        target=Decimal(records.equal - records.surplus),
    )


def _recorded(comparison: Comparison) -> Compared:
    return Compared(
        level=comparison.level,
        measure=comparison.measure,
        source_value=None if comparison.source is None else f"{comparison.source:f}",
        target_value=None if comparison.target is None else f"{comparison.target:f}",
        passed=comparison.agrees,
        detail={"excepted": f"{comparison.excepted:f}", "tolerance": f"{comparison.tolerance:f}"},
    )
