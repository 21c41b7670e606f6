"""Stage 4: a loaded partition compared with its source, with a published report."""

from __future__ import annotations

from dataclasses import replace
from time import process_time
from typing import TYPE_CHECKING

from assets.sf_loaded import sf_loaded
from kpc.stages.asset import asset

if TYPE_CHECKING:
    from pathlib import Path

    from kpc.reconcile.partition_reconciliation import PartitionComparison
    from kpc.reconcile.report import ReconciliationReport
    from kpc.stages.context import PartitionContext, StageContext
    from kpc.stages.result import StageResult
    from kpc.storage.manifests import LoadManifest


def read_report(context: PartitionContext) -> ReconciliationReport:
    """The newest reconciliation report of the current generation. Raises `ConfigError` if there is none."""
    from kpc.reconcile.report import last_report  # noqa: PLC0415  heavy; see kpc.stages.asset

    return last_report(context)


def act_on_verdict(context: PartitionContext, result: StageResult) -> None:
    """Raise `Mismatch` for a partition that differs; clean up the chunks of a reconciled one, by policy."""
    from kpc.reconcile.partition_reconciliation import raise_mismatch  # noqa: PLC0415  heavy; see kpc.stages.asset
    from kpc.staging.cleanup import clean_up_quietly  # noqa: PLC0415

    raise_mismatch(context, result)
    clean_up_quietly(context)


@asset(upstream=sf_loaded, read=read_report, after=act_on_verdict)
def reconciled(
    context: StageContext,
    loaded: LoadManifest,
    level3: str = "",
    sample_rows: int | None = None,
    second_opinion: str = "",
) -> ReconciliationReport:
    """Compares Oracle with Salesforce: counts, sums and averages, checksums of records.

    It uses only the mapping version of the load, because the load's own counts are what it verifies. With
    `second_opinion`, Oracle is now asked for its opinion on `all` rows, or this many buckets, if the extract has fewer.
    """
    from kpc.campaign.certificates import certify, standing_certificate  # noqa: PLC0415  heavy; see kpc.stages.asset
    from kpc.reconcile.partition_reconciliation import (  # noqa: PLC0415
        ask_second_opinion,
        compare_partition,
        publish_report,
    )

    if second_opinion:
        ask_second_opinion(context, second_opinion)
    compared = compare_partition(context, level3, sample_rows)
    verdict = publish_report(context, compared)
    if verdict.weaker_check:
        evidence = standing_certificate(context, verdict)
    else:
        checks_cpu_ms, results = _check_expectations(context, replace(compared, report=verdict), loaded.mapping_version)
        evidence = certify(context, compared, loaded.mapping_version, results) | {"checks_cpu_ms": checks_cpu_ms}
    return verdict.model_copy(update={"mapping_version": loaded.mapping_version, **evidence})


def _check_expectations(
    context: StageContext, compared: PartitionComparison, mapping_version: str
) -> tuple[int, list[Path]]:
    """Store the comparison in Great Expectations; returns the CPU milliseconds it took, and the stored results."""
    from expectations import stored_results, validate  # noqa: PLC0415  heavy; see kpc.stages.asset
    from expectations.provenance import record_of  # noqa: PLC0415
    from kpc.campaign.audit.anchors import as_fact  # noqa: PLC0415

    began_s, report, root = process_time(), compared.report, context.settings.reconcile.docs_root
    run_name = f"{context.table.name}__{context.key}__{report.generation}__{context.stage_run}"
    validate(
        context.table,
        context.key,
        compared.comparisons,
        run_name=run_name,
        root=root,
        facts=report.facts() | {"audit log": as_fact(*context.ledger.audit.head())},
        record=record_of(context, compared, mapping_version),
        clock=context.clock,
    )
    return int(1000 * (process_time() - began_s)), stored_results(root, run_name)
