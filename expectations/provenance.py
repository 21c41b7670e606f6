"""Collect the record of a reconciliation from the ledger and the manifests."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from expectations.demands import demands
from expectations.run_record import DifferenceCount, ExceptionCause, JobFacts, RestrictedFile, RunRecord, StageFacts
from kpc.catalog import family
from kpc.ledger import StageRun
from kpc.partition import Partition
from kpc.reconcile.mismatch_remedy import healing_file
from kpc.reconcile.partition_reconciliation import PartitionComparison
from kpc.reconcile.report import ReconciliationReport
from kpc.stages.context import StageContext
from kpc.stages.names import STAGES
from kpc.storage.manifests import ExtractManifest, StagedManifest
from kpc.tool_version import tool_version


def record_of(context: StageContext, compared: PartitionComparison, mapping_version: str) -> RunRecord:
    """The record of this reconciliation of the generation that was loaded under the mapping version."""
    report = compared.report
    causes = report.records.causes | report.records.since if report.records else {}
    scn_utc, is_exact = _scn_time(context, report)
    jobs = context.ledger.jobs.of_load(report.generation, mapping_version)
    return RunRecord(
        verdict=report.state,
        by_records=tuple(_by_records(context, compared)),
        tool_version=tool_version(),
        mapping_version=mapping_version,
        scn_utc=scn_utc,
        is_scn_time_exact=is_exact,
        stages=tuple(stage_facts(run) for run in _stage_runs(context, report.generation)),
        jobs=tuple(
            JobFacts(job.job_id, job.purpose.value, job.state.value, job.rows, job.processed)
            for job in jobs
            if job.job_id
        ),
        causes=tuple(
            ExceptionCause(kind, code, rows)
            for kind, code, rows in context.ledger.failures.causes(context.environment, context.partition)
        ),
        files=tuple(_restricted_files(context, report, mapping_version)),
        differences=tuple(DifferenceCount(str(cause), count) for cause, count in causes.items()),
        keys_file=healing_file(context, report),
    )


def _by_records(context: StageContext, compared: PartitionComparison) -> list[str]:
    """The measured columns whose sums were not compared, or with a tolerance wider than the catalog's."""
    allowed = {measure: Decimal(tolerance) for level, measure, tolerance in demands(context.table) if level == 2}
    rounded = {
        one.measure.split(" ", 1)[0]
        for one in compared.comparisons
        if one.level == 2 and one.tolerance > allowed.get(one.measure, one.tolerance)
    }
    return sorted({*compared.report.converted, *rounded})


def stage_facts(run: StageRun) -> StageFacts:
    return StageFacts(
        stage=run.stage,
        state=run.state.value,
        actor=run.actor,
        run_id=run.run_id,
        started_utc=run.started_utc,
        finished_utc=run.finished_utc,
        rows=run.rows,
        bytes=run.bytes,
    )


def _stage_runs(context: StageContext, generation: str) -> list[StageRun]:
    """The newest run of each stage on the generation; for the last stage, this run, which has no generation yet."""
    found = [
        context.ledger.stages.last(context.environment, context.partition, stage, generation=generation)
        for stage in STAGES[:-1]
    ]
    found.append(context.ledger.stages.last(context.environment, context.partition, STAGES[-1]))
    return [run for run in found if run is not None]


def _scn_time(context: StageContext, report: ReconciliationReport) -> tuple[datetime | None, bool]:
    """When Oracle was asked for the SCN, and True; if that was not recorded, when the extract began, and False."""
    first = Partition(family(context.table)[0], context.key)
    taken = context.ledger.snapshots.taken_utc(context.environment, first, report.scn)
    if taken is not None:
        return taken, True
    extract = context.store.manifest(context.paths.generation(report.generation).extract, ExtractManifest)
    return (extract.started_utc if extract else None), False


def _restricted_files(context: StageContext, report: ReconciliationReport, version: str) -> list[RestrictedFile]:
    """The files that hold the keys of exceptions and differences."""
    paths = context.paths.generation(report.generation)

    def shown(content: str, path: Path) -> RestrictedFile:
        return RestrictedFile(content, context.store.shown(path))

    listed = report.records.file if report.records else None
    files = [shown("all differing records, with their causes", paths.reconciled / listed.name)] if listed else []
    files += [shown("this report, with keys of differences", paths.reconciled / f"report-{context.stage_run}.json")]
    staged = context.store.manifest(paths.staged(version), StagedManifest)
    if staged is not None and staged.rejected_file is not None:
        files.append(shown("rejected rows, with their reasons", paths.staged(version) / staged.rejected_file.name))
    if report.exceptions:
        files.append(shown("results of the ingest jobs", paths.loaded(version)))
    return files
