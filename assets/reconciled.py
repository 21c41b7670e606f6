"""Station 4: Oracle's control totals and the sealed extract against Salesforce, at three levels.

Nothing that staging or loading wrote about its own work is read: what they call loaded is exactly what is in doubt. The
one thing taken from the ledger is the list of rows that were rejected or refused, which must explain every difference.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from time import process_time

import polars as pl

from expectations import validate
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.frame import KEY, convert_frame
from kpc.errors import ConfigError, Mismatch
from kpc.extract.control_totals import measure_rows, scan_chunks
from kpc.extract.partition_extract import extract_folder, sealed_extract
from kpc.ledger import Compared, FailedRecord
from kpc.load.corrected_rows import read_repairs, with_repairs
from kpc.partition import Partition
from kpc.reconcile.comparison import Comparison
from kpc.reconcile.records import RecordDifferences, compare_all, compare_sample
from kpc.reconcile.report import ReconciliationReport
from kpc.reconcile.totals import compare_totals, read_target
from kpc.stages.result import Made, Receipt
from kpc.stages.stage_run import Turn, current_generation, run_stage
from kpc.stages.workspace import Workspace
from kpc.staging.cleanup import clean_up_quietly
from kpc.staging.staged_partition import REJECTED_CLASS
from kpc.storage.manifests import ControlTotals, ExtractManifest
from kpc.storage.store import make_private

LEVELS3 = ("auto", "sample", "full", "off")
REPORT = "report.json"


def reconciled(partition: Partition, workspace: Workspace, *, level3: str = "") -> Receipt:
    """Compare and store the result. Raises `Mismatch` if anything is left that the listed exceptions do not explain."""
    level3 = level3 or workspace.settings.reconcile.level3
    if level3 not in LEVELS3:
        raise ConfigError(f"There is no level 3 mode {level3!r}.", f"Choose one of {', '.join(LEVELS3)}.")

    def make(turn: Turn) -> Made:
        generation = current_generation(partition, workspace)
        if not workspace.ledger.is_loaded(workspace.environment, partition):
            raise ConfigError(
                f"Generation {generation.id} of {partition} is not loaded yet; there is nothing to compare.",
                f"Load it first: `kpc run {partition.table.name} {partition.key}`, or wait for its stage sf_loaded.",
            )
        extract = sealed_extract(partition, workspace, generation.id)
        exceptions = workspace.ledger.failed_records(workspace.environment, partition)
        rows, repaired = _arriving_rows(partition, workspace, extract, exceptions)
        expected = measure_rows(rows, partition.table) if exceptions or repaired else extract.control_totals
        comparisons = compare_totals(
            partition.table,
            oracle=extract.control_totals,
            expected=expected,
            salesforce=read_target(workspace.salesforce, partition),
        )
        records = _compare_records(partition, workspace, extract.generation, rows, expected, level3)
        if records is not None:
            comparisons.append(_as_comparison(records))
        report = ReconciliationReport.of(
            extract, comparisons, records, len(exceptions), workspace.clock(), repaired=repaired
        )
        return _publish(partition, workspace, report, comparisons, turn)

    receipt = run_stage("reconciled", partition, workspace, make)
    if receipt.state == "mismatch":
        raise _mismatch(partition, workspace, receipt)
    clean_up_quietly(partition, workspace)
    return receipt


def _arriving_rows(
    partition: Partition, workspace: Workspace, extract: ExtractManifest, exceptions: Sequence[FailedRecord]
) -> tuple[pl.LazyFrame, int]:
    """The extracted rows less the listed exceptions: Oracle's columns beside the canonical ones.

    Rows that people corrected are as corrected; the second value says how many these are.
    """
    table = partition.table
    folder = extract_folder(partition, workspace, extract.generation)
    for chunk in extract.chunks:
        workspace.store.file(folder, chunk, remedy=f"Extract it again: `kpc rerun {table.name} {partition.key}`.")
    raw = scan_chunks(folder, extract.chunks, table)
    hash_key = workspace.settings.hash_key.get_secret_value()
    converted = convert_frame(raw, table, key=partition.key, hash_key=hash_key).select(*table.data_header, KEY)
    rows = pl.concat([raw, converted], how="horizontal")
    rows, repaired = with_repairs(rows, table, read_repairs(partition, workspace))
    if not exceptions:
        return rows, repaired
    rejected = [row.external_id for row in exceptions if row.error_class == REJECTED_CLASS]
    refused = [row.external_id for row in exceptions if row.error_class != REJECTED_CLASS]
    is_listed = pl.col(KEY).is_in(rejected) | pl.col(EXTERNAL_ID).is_in(refused).fill_null(value=False)
    return rows.filter(~is_listed), repaired


def _compare_records(
    partition: Partition,
    workspace: Workspace,
    generation: str,
    rows: pl.LazyFrame,
    expected: ControlTotals,
    level3: str,
) -> RecordDifferences | None:
    settings = workspace.settings.reconcile
    if level3 == "off":
        return None
    canonical = rows.select(*partition.table.data_header)
    if level3 == "sample" or (level3 == "auto" and expected.rows > settings.full_rows):
        return compare_sample(canonical, partition, workspace.salesforce, settings.sample_rows)
    folder = make_private(report_folder(partition, workspace, generation) / "query")
    try:
        return compare_all(canonical, partition, workspace.salesforce, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report_folder(partition: Partition, workspace: Workspace, generation: str) -> Path:
    return workspace.store.generation_dir(workspace.environment, partition, generation) / "reconciled"


def last_report(partition: Partition, workspace: Workspace) -> ReconciliationReport:
    """What the newest reconciliation of the current generation found. Raises `ConfigError` if there was none."""
    generation = current_generation(partition, workspace).id
    report = workspace.store.manifest(report_folder(partition, workspace, generation), ReconciliationReport, REPORT)
    if report is None:
        raise ConfigError(
            f"Generation {generation} of {partition} was never reconciled.",
            f"Run `kpc reconcile {partition.table.name} {partition.key}`.",
        )
    return report


def _as_comparison(records: RecordDifferences) -> Comparison:
    """Surplus records count against equality: the target then holds more than there was to compare."""
    return Comparison(
        level=3,
        measure="records with equal checksum",
        source=Decimal(records.compared),
        target=Decimal(records.equal - records.surplus),
    )


def _publish(
    partition: Partition,
    workspace: Workspace,
    report: ReconciliationReport,
    comparisons: Sequence[Comparison],
    turn: Turn,
) -> Made:
    """Store the result where it is looked for: beside the extract, in the ledger, in Great Expectations' store."""
    workspace.store.publish(report_folder(partition, workspace, report.generation), report, name=REPORT)
    booked = [_booked(comparison) for comparison in comparisons]
    workspace.ledger.record_reconciliation(report.generation, turn.stage_run, booked, lease=turn.lease)
    began_s = process_time()
    validate(
        partition.table,
        partition.key,
        comparisons,
        run_name=f"{partition.table.name}__{partition.key}__{report.generation}__{turn.stage_run}",
        root=workspace.settings.reconcile.docs_root,
        facts=report.facts(),
        clock=workspace.clock,
    )
    checks_ms = int(1000 * (process_time() - began_s))
    return Made(
        report.generation,
        rows=report.target_rows,
        bytes=0,
        state=report.state,
        mapping_version=partition.table.mapping_version,
        detail={**report.detail(), "checks_cpu_ms": checks_ms},
    )


def _booked(comparison: Comparison) -> Compared:
    return Compared(
        level=comparison.level,
        measure=comparison.measure,
        source_value=None if comparison.source is None else f"{comparison.source:f}",
        target_value=None if comparison.target is None else f"{comparison.target:f}",
        passed=comparison.agrees,
        detail={"excepted": f"{comparison.excepted:f}", "tolerance": f"{comparison.tolerance:f}"},
    )


def _mismatch(partition: Partition, workspace: Workspace, receipt: Receipt) -> Mismatch:
    differing = str(receipt.detail["differing"])
    report = workspace.store.shown(report_folder(partition, workspace, receipt.generation) / REPORT)
    return Mismatch(
        f"{partition} differs between Oracle and Salesforce in: {differing}.",
        f"`kpc show {partition.table.name} {partition.key}` lists the numbers; keys and fields are in {report}.",
        measures=tuple(differing.split(", ")),
    )
