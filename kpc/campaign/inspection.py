"""The details of one partition for `kpc show`: its stages, files and comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kpc.campaign.assignment import UNASSIGNED
from kpc.campaign.file_kinds import FileKind
from kpc.campaign.plan import unassigned
from kpc.catalog.table import Table
from kpc.ledger import Compared, SourceCheckRow, StageRun
from kpc.load.pre_image import KeptImage, kept_images
from kpc.reconcile.report import ReconciliationReport
from kpc.repair.correction_log import LoggedCorrection, logged_corrections
from kpc.stages.context import PartitionContext
from kpc.stages.names import STAGES
from kpc.stages.relatives import relatives_of
from kpc.stages.workspace import Workspace
from kpc.staging.rejects import read_rejected
from kpc.storage.layout import CLEANED, PURGED, REPORT, GenerationPaths
from kpc.storage.manifests import (
    CleanedManifest,
    ExtractManifest,
    LoadManifest,
    PurgedManifest,
    StagedManifest,
)
from kpc.storage.store import FileEntry, Store


def inspect_partition(context: PartitionContext) -> dict[str, Any]:
    """Plain data for `kpc show`; sections that do not exist yet are left out."""
    ledger, environment = context.ledger, context.environment
    facts: dict[str, Any] = {
        "table": context.table.name,
        "key": context.key,
        "target": context.table.target,
        "mapping_version": context.table.mapping_version,
        "source_id": environment.source_id,
        "target_id": environment.target_id,
        "parents": [str(parent) for parent in context.partition.parents()],
    }
    runs = (ledger.stages.last(environment, context.partition, stage) for stage in STAGES)
    facts["stages"] = [_stage(run) for run in runs if run is not None]
    generation = ledger.generations.current(environment, context.partition)
    if generation is None:
        return facts
    paths = context.paths.generation(generation.id)
    facts["generation"] = {
        "id": generation.id,
        "scn": str(generation.scn),
        "mode": generation.mode,
        "folder": context.store.shown(paths.folder),
    }
    version = context.table.mapping_version
    if others := relatives_of(context, generation.scn):
        facts["other_scns"] = [one.compared_with(generation.scn) for one in others]
    if extract := context.store.manifest(paths.extract, ExtractManifest):
        facts["extract"] = {
            "rows": extract.rows,
            **_delta(extract),
            "chunks": [_file(one) for one in extract.chunks],
        }
    if staged := context.store.manifest(paths.staged(version), StagedManifest):
        facts["staged"] = _staged(staged, paths.staged(version), context.store)
    if loaded := context.store.manifest(paths.loaded(version), LoadManifest):
        counts = ("attempt", "staged", "loaded", "created", "failed", "unprocessed")
        facts["loaded"] = {**{name: getattr(loaded, name) for name in counts}, "jobs": list(loaded.jobs)}
    if corrections := logged_corrections(ledger, environment, context.partition):
        facts["corrections"] = [_correction(one) for one in corrections]
    if updates := _refused_updates(context, paths):
        facts["refused_updates"] = updates
    if images := kept_images(context):
        facts["pre_images"] = [_image(kept) for kept in reversed(images)]
    if check := ledger.source_checks.of_partition(environment, context.partition):
        facts["source_check"] = _source_check(check)
    facts["comparisons"] = [_compared(one) for one in ledger.reconciliations.newest(environment, context.partition)]
    return facts


def _source_check(check: SourceCheckRow) -> dict[str, Any]:
    """What `kpc delta` found last, about the generation that it names."""
    return {
        "state": check.state,
        "final_scn": str(check.final_scn),
        "generation": check.generation or "none",
        "checked_utc": f"{check.checked_utc:%F %T}",
        **check.detail,
    }


def _compared(one: Compared) -> dict[str, Any]:
    return {
        "level": one.level,
        "measure": one.measure,
        "oracle": one.source_value,
        "salesforce": one.target_value,
        "passed": one.passed,
    }


def _refused_updates(context: PartitionContext, paths: GenerationPaths) -> list[str]:
    """The first records that keep their former values, as of the newest comparison."""
    report = context.store.manifest(paths.reconciled, ReconciliationReport, REPORT)
    return [str(one) for one in report.kept_records] if report else []


def _staged(staged: StagedManifest, folder: Path, store: Store) -> dict[str, Any]:
    counts = ("extracted", "staged", "unchanged", "rejected", "truncated", "rounded", "vanished")
    facts: dict[str, Any] = {
        **{name: getattr(staged, name) for name in counts},
        "mapping_version": staged.mapping_version,
        "chunks": [_file(chunk) for chunk in staged.chunks],
        "rejected_file": staged.rejected_file.name if staged.rejected_file else "none",
    }
    purged = store.manifest(folder.parent / PURGED, PurgedManifest, f"{FileKind.REJECTS}.json")
    if staged.rejected_file and purged is not None:
        facts["rejected_file"] = f"purged on {purged.purged_utc:%F}"
    elif staged.rejected_file:
        listed = read_rejected(store.file(folder, staged.rejected_file, remedy="Stage the partition again."))
        facts["rejects"] = listed.group_by("rule", "field").len("rows").sort("rule", "field").to_dicts()
    if cleaned := store.manifest(folder, CleanedManifest, CLEANED):
        when = f"{cleaned.cleaned_utc:%F %T}"
        facts["cleaned"] = {"policy": cleaned.policy, "place": cleaned.place or "none", "cleaned_utc": when}
    return facts


def inspect_unassigned(table: Table, workspace: Workspace) -> dict[str, Any]:
    """The rows of a table that belong to no month in scope, by cause, with the most frequent values."""
    found = unassigned(workspace, table)
    return {
        "table": table.name,
        "key": UNASSIGNED,
        "scn": str(found.scn),
        "rows": found.rows,
        "unassigned": found.unassigned_rows,
        "causes": [{"cause": cause.value, "rows": rows} for cause, rows in found.unassigned.items()],
        "values": [
            {"cause": cause.value, "value": value, "rows": rows}
            for cause, values in found.examples.items()
            for value, rows in values
        ],
    }


def _image(kept: KeptImage) -> dict[str, Any]:
    taken = f"{kept.image.taken_utc:%F %T}"
    return {"generation": kept.generation, "chunk": kept.image.chunk, "rows": kept.rows, "taken_utc": taken}


def _correction(one: LoggedCorrection) -> dict[str, Any]:
    cell = one.cell
    hashes = {"old": cell.old[:12], "new": cell.new[:12]}
    return {"at_utc": f"{one.at_utc:%F %T}", "actor": one.actor, "row": cell.external_id, "field": cell.field} | hashes


def _stage(run: StageRun) -> dict[str, Any]:
    facts = {"stage": run.stage, "state": run.state, "rows": run.rows, "started_utc": f"{run.started_utc:%F %T}"}
    return {**facts, **({"error": run.error} if run.error else {})}


def _delta(extract: ExtractManifest) -> dict[str, Any]:
    """What an incremental extract read; empty for a full one."""
    if extract.base is None:
        return {}
    return {"read_rows": extract.read_rows, "changed_since": str(extract.since), "base": extract.base}


def _file(entry: FileEntry) -> dict[str, Any]:
    facts = {"name": entry.name, "rows": entry.rows, "bytes": entry.bytes, "sha256": entry.sha256[:12]}
    return {**facts, **({"first_key": entry.first_key, "last_key": entry.last_key} if entry.first_key else {})}
