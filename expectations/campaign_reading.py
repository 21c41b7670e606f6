"""Read from the ledger what the pages show about the campaign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from expectations.campaign_facts import (
    CampaignFacts,
    NewestEntry,
    ObjectFacts,
    PartitionFacts,
    Reached,
    SignOffFacts,
    keep_campaign,
)
from expectations.files import Project
from expectations.timeline import timeline_of
from kpc.campaign.certificates import current_certificates
from kpc.campaign.planned_partitions import readable_months
from kpc.campaign.sign_off_list import list_sign_offs
from kpc.catalog import TABLES
from kpc.ledger import FinishedRun, ScopeRow
from kpc.ledger.states import StageState
from kpc.partition import partitions_of
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV
from kpc.stages.workspace import Workspace

_DONE = {ORACLE_EXTRACT: Reached.EXTRACTED, STAGED_CSV: Reached.STAGED, SF_LOADED: Reached.LOADED}
_TROUBLE = (StageState.FAILED, StageState.WAITING, StageState.RUNNING, StageState.ROLLED_BACK)
Named = tuple[str, str]


def read_campaign(root: Path, workspace: Workspace) -> CampaignFacts:
    """Read the campaign's facts and keep them for the pages under `root`."""
    ledger, environment = workspace.ledger, workspace.environment
    scope = ledger.scope.current(environment)
    runs = ledger.stages.finished(environment)
    planned = _planned(scope)
    facts = CampaignFacts(
        read_utc=workspace.clock(),
        source_id=environment.source_id,
        target_id=environment.target_id,
        months=tuple(readable_months(scope)) if scope else (),
        planned_utc=scope.set_utc if scope else None,
        planned_by=scope.actor if scope else "",
        partitions=tuple(_partitions(workspace, planned, runs)),
        sign_offs=tuple(_sign_offs(workspace)),
        objects=tuple(_objects(workspace)),
        audit=_audit_head(workspace),
        timeline=timeline_of(runs, planned=len(planned)),
    )
    keep_campaign(Project(root), facts)
    return facts


def _planned(scope: ScopeRow | None) -> list[Named]:
    if scope is None:
        return []
    months = readable_months(scope)
    tables = [table for table in TABLES.values() if table.name in scope.tables]
    return [(one.table.name, one.key) for table in tables for one in partitions_of(table, months)]


def _partitions(
    workspace: Workspace, planned: Sequence[Named], runs: Sequence[FinishedRun]
) -> Iterable[PartitionFacts]:
    """The planned partitions, then other partitions of the catalog that were run."""
    ledger, environment = workspace.ledger, workspace.environment
    current = {(one.table_name, one.partition_key): one.id for one in ledger.generations.all_current(environment)}
    by_name: dict[Named, list[FinishedRun]] = {name: [] for name in planned}
    for run in runs:
        if run.table_name in TABLES:
            by_name.setdefault((run.table_name, run.partition_key), []).append(run)
    newest = ledger.stages.newest(environment)
    trouble = {
        (one.table_name, one.partition_key): f"{one.stage} {one.state.value.replace('_', ' ')}"
        for one in newest
        if one.state in _TROUBLE
    }
    weaker = {
        (one.table_name, one.partition_key): str((one.detail or {}).get("weaker_check", ""))
        for one in newest
        if one.stage == RECONCILED
    }
    certificates = {
        (one.table, one.key): (one.sha256, workspace.store.shown(one.path))
        for one in current_certificates(workspace)
        if one.is_current
    }
    for name, mine in by_name.items():
        reached, verdict = _standing([run for run in mine if run.generation == current.get(name)])
        certificate = certificates.get(name, ("", ""))
        yield PartitionFacts(*name, reached, verdict, trouble.get(name, ""), *certificate, weaker.get(name, ""))


def _standing(runs: Sequence[FinishedRun]) -> tuple[Reached, str]:
    """The last stage that these runs on the current extract have passed, and the verdict on its newest load."""
    reached, verdict = Reached.PLANNED, ""
    for run in runs:
        if run.stage == RECONCILED and run.state not in _TROUBLE:
            reached, verdict = Reached.COMPARED, run.state.value
        elif run.stage in _DONE and run.state is StageState.DONE:
            reached, verdict = _DONE[run.stage], "" if run.stage == SF_LOADED else verdict
        elif run.state is StageState.ROLLED_BACK:
            reached, verdict = Reached.STAGED, ""
    return reached, verdict


def _sign_offs(workspace: Workspace) -> Iterable[SignOffFacts]:
    for listed in list_sign_offs(workspace):
        one = listed.sign_off
        yield SignOffFacts(
            subject=one.subject,
            decision=one.decision.value,
            actor=one.actor,
            signed_utc=one.signed_utc,
            evidence_sha256=one.evidence_sha256 or "",
            standing=listed.standing.value,
            identified=one.identified or "",
            is_authenticated=bool(one.is_authenticated),
            certificates=len(one.certificates or {}),
        )


def _objects(workspace: Workspace) -> Iterable[ObjectFacts]:
    """The newest counts of whole objects, in load order."""
    counted = workspace.ledger.object_checks.newest(workspace.environment)
    for one in (counted[name] for name in TABLES if name in counted):
        yield ObjectFacts(one.table_name, one.records, one.expected, one.unknown, one.checked_utc)


def _audit_head(workspace: Workspace) -> NewestEntry | None:
    newest = workspace.ledger.audit.entries(limit=1)
    return NewestEntry(newest[0].seq, newest[0].entry_hash, newest[0].at_utc) if newest else None
