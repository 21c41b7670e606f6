"""Compare a loaded partition: Oracle's control totals and the sealed extract with Salesforce, at three levels.

Nothing that staging or loading wrote about its own work is read, because that is what is checked. The only thing
taken from the ledger is the list of rows that were rejected or refused, which must explain every difference, and for
these rows the checksums of what Salesforce accepted before (`kpc.reconcile.refused_updates`).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from kpc.errors import ConfigError, Mismatch
from kpc.ledger import Compared, FailedRecord
from kpc.ledger.schema import canonical_json
from kpc.ledger.states import StageState
from kpc.load.corrected_rows import hashes_of_corrections
from kpc.private_files import make_private
from kpc.reconcile.asked_opinion import ask_opinions, kept_opinions
from kpc.reconcile.causes import counted, explained, write_differences
from kpc.reconcile.comparison import Comparison
from kpc.reconcile.comparison_progress import ComparisonProgress
from kpc.reconcile.expected_rows import ExpectedRows, expected_rows
from kpc.reconcile.kept_checksums import purged_corrections, purged_extract, remembered_rows
from kpc.reconcile.mismatch_remedy import mismatch_remedy
from kpc.reconcile.present_rows import counted_since, since_extract
from kpc.reconcile.records import RecordDifferences, compare_all, compare_sample
from kpc.reconcile.report import CheckFacts, Level3, ReconciliationReport, last_report
from kpc.reconcile.second_opinion.sealed_opinion import sealed_opinion
from kpc.reconcile.totals import (
    TargetTotals,
    aggregates_soql,
    compare_totals,
    converted_measures,
    target_totals,
)
from kpc.stages.bucket_queries import BucketQueries
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.names import SF_LOADED
from kpc.stages.relatives import relatives_of
from kpc.stages.result import StageResult
from kpc.storage.layout import REPORT
from kpc.storage.manifests import ExtractManifest
from kpc.storage.prefetch import begun

log = logging.getLogger(__name__)

LEVELS3: tuple[Level3, ...] = ("full", "sample", "off")


@dataclass(frozen=True, slots=True)
class PartitionComparison:
    """All compared numbers of one partition, and the report with the verdict."""

    report: ReconciliationReport
    comparisons: tuple[Comparison, ...]
    records: RecordDifferences | None = None
    exceptions: tuple[FailedRecord, ...] = ()


def compare_partition(
    context: PartitionContext, level3: str = "", sample_rows: int | None = None
) -> PartitionComparison:
    """Compare the current generation with what Salesforce holds of the partition. Raises `ConfigError`.

    `level3` and `sample_rows` replace the settings `reconcile.level3` and `reconcile.sample_rows`.
    """
    chosen = _chosen(level3 or context.settings.reconcile.level3)
    sampled = (sample_rows or context.settings.reconcile.sample_rows) if chosen == "sample" else 0
    extract = sealed_extract(context)
    exceptions = context.ledger.failures.of_partition(context.environment, context.partition)
    data = _fingerprint(context, extract, exceptions)
    reconciled = context.paths.generation(extract.generation).reconciled
    progress = ComparisonProgress(reconciled, data, context.settings)
    folder = make_private(reconciled / "query")
    purged = purged_extract(context, extract.generation)
    try:
        expected = _expected(context, extract, exceptions, folder, sampled)
        queries = BucketQueries(context, expected.counts)
        converted = converted_measures(context.table, context.salesforce)
        records = opinion = None
        # Salesforce's aggregates take as long as sending the records; both are independent, so they run at once.
        with begun(queries.aggregates(aggregates_soql(context.table, converted))) as answers:
            if chosen == "full":
                records = compare_all(expected, queries, context, folder, progress)
                progress.remove()
                if kept := None if purged else kept_opinions(context, extract):
                    opinion = sealed_opinion(context, kept, exceptions, queries, expected.source, folder)
            elif chosen == "sample":
                records = compare_sample(expected, context)
            salesforce = target_totals(answers(), context.table, converted)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    comparisons = _comparisons(context, extract, expected, salesforce)
    if records is not None:
        comparisons += [*_two_ways(records, salesforce, queries, context), _as_comparison(records, expected.kept)]
    check = CheckFacts(
        level3=chosen,
        data=data,
        exceptions=len(exceptions),
        compared_utc=context.clock(),
        relatives=relatives_of(context, extract.scn),
        converted=tuple(sorted(converted)),
        purged_utc=None if purged is None else purged.purged_utc,
        second_opinion=opinion,
    )
    report = ReconciliationReport.of(extract, comparisons, records, expected, check)
    return PartitionComparison(report, tuple(comparisons), records, tuple(exceptions))


def _comparisons(
    context: PartitionContext, extract: ExtractManifest, expected: ExpectedRows, salesforce: TargetTotals
) -> list[Comparison]:
    """Counts and aggregates: Oracle's own, unless an exception or a correction changes what is expected."""
    oracle = extract.control_totals
    return compare_totals(context.table, oracle=oracle, expected=expected.totals or oracle, salesforce=salesforce)


def _expected(
    context: PartitionContext,
    extract: ExtractManifest,
    exceptions: Sequence[FailedRecord],
    folder: Path,
    sample_rows: int,
) -> ExpectedRows:
    """The expected rows, from the extract, or from the checksums kept after its purge."""
    purged = purged_extract(context, extract.generation)
    if purged is None:
        return expected_rows(context, extract, exceptions, folder, sample_rows=sample_rows)
    return remembered_rows(context, purged, folder, sample_rows=sample_rows)


def _chosen(level3: str) -> Level3:
    """The mode of this name. Raises `ConfigError` if there is none."""
    chosen = next((one for one in LEVELS3 if one == level3), None)
    if chosen is None:
        raise ConfigError(f"There is no level 3 mode {level3!r}.", f"Choose one of {', '.join(LEVELS3)}.")
    return chosen


def ask_second_opinion(context: StageContext, share: str) -> None:
    """Get Oracle's opinion on `all` rows of the current extract, or on this many buckets; see `ask_opinions`."""
    extract = sealed_extract(context)
    if purged_extract(context, extract.generation) is not None:
        raise ConfigError(
            f"The extract of {context} was purged, and Oracle's opinion needs its rows.",
            f"Extract the partition again: `kpc run {context.table.name} {context.key} --mode full`.",
        )
    ask_opinions(context, extract, share)


def publish_report(context: StageContext, compared: PartitionComparison) -> ReconciliationReport:
    """Store the report; returns the current verdict, which is an older one if that is stronger.

    Every check has its own report. A weaker check of the same data that found nothing does not become the verdict: it
    neither turns a mismatch into a success, nor replaces a comparison of all records by one of some.
    """
    folder = context.paths.generation(compared.report.generation).reconciled
    report = _with_causes(context, compared, folder)
    files = [report.records.file] if report.records and report.records.file else []
    context.store.publish(folder, report, files, name=f"report-{context.stage_run}.json")
    standing = context.store.manifest(folder, ReconciliationReport, REPORT)
    if standing is not None and standing.stands_against(report):
        what = "no record" if report.level3 == "off" else f"{report.share} records"
        note = f"{report.compared_utc:%Y-%m-%d %H:%M} UTC, {what} compared: no difference"
        return standing.model_copy(update={"weaker_check": note})
    context.store.publish(folder, report, name=REPORT)
    recorded = [_recorded(comparison) for comparison in compared.comparisons]
    context.ledger.reconciliations.record(report.generation, context.stage_run, recorded, lease=context.lease)
    return report


def _with_causes(context: StageContext, compared: PartitionComparison, folder: Path) -> ReconciliationReport:
    """The report with the causes of its differences, which are listed in a separate file."""
    report, records = compared.report, compared.records
    if records is None or report.records is None or not records.differing:
        return report
    explanations = explained(records.differing, context)
    since = {} if records.rows is None else since_extract(records.differing, records.rows, context)
    file = write_differences(folder / f"differences-{context.stage_run}.csv", explanations, since)
    found = {"causes": counted(explanations), "since": counted_since(since), "file": file}
    named = report.records.model_copy(update=found)
    return report.model_copy(update={"records": named})


def _two_ways(
    records: RecordDifferences, salesforce: TargetTotals, queries: BucketQueries, context: PartitionContext
) -> Iterator[Comparison]:
    """Salesforce's own aggregates of each bucket compared with those of the records read back."""
    if records.totals is None:
        return
    differing = records.totals.disagreements(salesforce, context.table, context.key)
    if differing:
        log.warning("%s: Salesforce's own aggregates are not those of its records in %s", context, ", ".join(differing))
    buckets = Decimal(queries.buckets)
    level = 2 if context.table.measures else 1  # without measures they are counts
    yield Comparison(level, "buckets whose aggregates equal their records", buckets, buckets - len(differing))


def _fingerprint(context: PartitionContext, extract: ExtractManifest, exceptions: Sequence[FailedRecord]) -> str:
    """What is compared: the extract, its load, the rows that people corrected, and the exceptions."""
    run = context.ledger.stages.last(context.environment, context.partition, SF_LOADED)
    facts = {
        "generation": extract.generation,
        "load": run.id if run else None,
        "corrected": sorted([*hashes_of_corrections(context), *purged_corrections(context, extract.generation)]),
        "exceptions": sorted(f"{row.external_id} {row.error_class}" for row in exceptions),
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def raise_mismatch(context: PartitionContext, result: StageResult) -> None:
    """Raise `Mismatch` if there is a difference that the listed exceptions do not explain."""
    if result.state != StageState.MISMATCH:
        return
    differing = str(result.detail["differing"])
    weaker = str(result.detail.get("weaker_check", ""))
    stands = f" This was found when every record was compared; a weaker check ({weaker}) does not change it."
    raise Mismatch(
        f"{context} differs between Oracle and Salesforce in: {differing}.{stands if weaker else ''}",
        mismatch_remedy(context, last_report(context)),
        measures=tuple(differing.split(", ")),
    )


def _as_comparison(records: RecordDifferences, kept: int) -> Comparison:
    """Surplus records are subtracted, so that a target with extra records does not agree.

    The `kept` records are as expected, but not equal to Oracle's rows: they are exceptions.
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
