"""Compare a loaded partition: Oracle's control totals and the sealed extract against Salesforce, at three levels.

Nothing that staging or loading wrote about its own work is read, because that is what must be proven. The only thing
taken from the ledger is the list of rows that were rejected or refused, which must explain every difference, and for
these rows the checksums of what Salesforce accepted before (`kpc.reconcile.refused_updates`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from decimal import Decimal

from kpc.errors import ConfigError, Mismatch
from kpc.ledger import Compared
from kpc.ledger.states import StageState
from kpc.reconcile.comparison import Comparison
from kpc.reconcile.expected_rows import expected_rows
from kpc.reconcile.mismatch_remedy import mismatch_remedy
from kpc.reconcile.records import RecordDifferences, compare_all, compare_sample
from kpc.reconcile.report import ReconciliationReport, last_report
from kpc.reconcile.totals import compare_totals, read_target
from kpc.stages.bucket_queries import BucketQueries
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.relatives import relatives_of
from kpc.stages.result import StageResult
from kpc.storage.layout import REPORT
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
    folder = make_private(context.paths.generation(extract.generation).reconciled / "query")
    try:
        is_sample = level3 == "sample" or (level3 == "auto" and extract.rows > context.settings.reconcile.full_rows)
        sample_rows = context.settings.reconcile.sample_rows if is_sample else 0
        expected = expected_rows(context, extract, exceptions, folder, sample_rows=sample_rows)
        totals = expected.totals or extract.control_totals
        queries = BucketQueries(context, expected.counts)
        salesforce = read_target(queries, context.table)
        records = None
        if level3 != "off":
            records = (
                compare_sample(expected, context) if is_sample else compare_all(expected, queries, context, folder)
            )
        comparisons = compare_totals(
            context.table, oracle=extract.control_totals, expected=totals, salesforce=salesforce
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if records is not None:
        comparisons.append(_as_comparison(records, expected.kept))
    report = ReconciliationReport.of(
        extract,
        comparisons,
        records,
        expected,
        exceptions=len(exceptions),
        compared_utc=context.clock(),
        relatives=relatives_of(context, extract.scn),
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
    raise Mismatch(
        f"{context} differs between Oracle and Salesforce in: {differing}.",
        mismatch_remedy(context, last_report(context)),
        measures=tuple(differing.split(", ")),
    )


def _as_comparison(records: RecordDifferences, kept: int) -> Comparison:
    """Surplus records are subtracted, so that a target with extra records does not agree.

    The `kept` records equal what is expected of them, but not Oracle's rows: they are exceptions.
    """
    return Comparison(
        level=3,
        measure="records with equal checksum",
        source=Decimal(records.compared),
        target=Decimal(records.equal - records.surplus - kept),
        excepted=Decimal(kept),
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
