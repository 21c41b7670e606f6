"""Recording a person's decision: about rows without a partition, changes in Oracle, a phase or the migration."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.calling_user import calling_machine
from kpc.campaign.assignment import UNASSIGNED
from kpc.campaign.completeness import (
    ACCEPTED,
    REFUSED,
    change_evidence,
    counted_completeness,
    evidence_of,
    source_changes,
    unassigned_subject,
)
from kpc.campaign.object_accounts import FOREIGN, foreign_evidence, foreign_subject
from kpc.catalog import Phase, find_table
from kpc.errors import ConfigError
from kpc.ledger import ScopeRow, Signer, Vouched
from kpc.ledger.states import SignOffDecision
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.names import MIGRATION
from kpc.stages.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, with its subject and the numbers it is based on."""

    subject: str
    decision: SignOffDecision
    evidence: dict[str, object]
    evidence_sha256: str


def sign_off(subject: str, key: str | None, workspace: Workspace, *, accepts: bool, note: str) -> Decision:
    """Record the decision with a hash of its numbers. Accepting requires that everything it covers is complete.

    Raises `ConfigError` if there is nothing to decide, or if something is missing.
    """
    if key is None:
        _scope(workspace)
        filed, evidence = _phase(subject, workspace, accepts=accepts)
    elif key.upper() == FOREIGN:
        filed, evidence = _foreign(find_table(subject).name, workspace, note)
    elif key.upper() == UNASSIGNED:
        filed, evidence = _unassigned(find_table(subject).name, _scope(workspace))
    else:
        filed, evidence = _change(PartitionContext(workspace, find_partition(subject, key)), note)
    decision = Decision(filed, ACCEPTED if accepts else REFUSED, evidence, evidence_of(evidence))
    signer = Signer(workspace.actor, f"operating system user on {calling_machine()}")
    with workspace.ledger.together():
        number = workspace.ledger.sign_offs.record(
            workspace.environment,
            filed,
            signer,
            decision=decision.decision,
            note=note or None,
            evidence_sha256=decision.evidence_sha256,
        )
        workspace.ledger.audit.append(
            f"sign-off {decision.decision}",
            actor=workspace.actor,
            run_id=workspace.run_id,
            environment=workspace.environment,
            detail={"subject": filed, "note": note, "evidence_sha256": decision.evidence_sha256},
            vouched=Vouched((("sign_off", str(number)),)),
        )
    return decision


def _scope(workspace: Workspace) -> ScopeRow:
    scope = workspace.ledger.scope.current(workspace.environment)
    if scope is None:
        raise ConfigError("No campaign has been planned yet.", "Run `kpc plan --months FIRST:COUNT` first.")
    return scope


def _change(context: PartitionContext, note: str) -> tuple[str, dict[str, object]]:
    """What Oracle changed in a partition since it was extracted, as the newest `kpc delta` found it."""
    change = source_changes(context.workspace).get(context.partition)
    if change is None:
        raise ConfigError(
            f"`kpc delta` has found no change in {context} that waits for a decision; a partition itself is not signed "
            "off.",
            f"Sign off a phase, `migration`, or `{context.table.name} {UNASSIGNED}`.",
        )
    if not note:
        raise ConfigError(
            f"A decision about the changes in {context} needs its reason.",
            f"Give it: `kpc sign-off {context.table.name} {context.key} --note REASON`.",
        )
    return str(context), change_evidence(change)


def _foreign(table: str, workspace: Workspace, note: str) -> tuple[str, dict[str, object]]:
    """The records of unknown origin that the newest count of a table's object found."""
    check = workspace.ledger.object_checks.newest(workspace.environment).get(table)
    if check is None or not check.unknown:
        raise ConfigError(
            f"No records of unknown origin are known in the object of {table}.",
            f"`kpc reconcile {table}` counts it again.",
        )
    if not note:
        raise ConfigError(
            f"A decision about the {check.unknown:,} records of unknown origin of {table} needs its reason.",
            f"Give it: `kpc sign-off {table} {FOREIGN} --note REASON`.",
        )
    return foreign_subject(table), foreign_evidence(check)


def _unassigned(table: str, scope: ScopeRow) -> tuple[str, dict[str, object]]:
    if table not in scope.unassigned:
        raise ConfigError(
            f"Every row of {table} belonged to a partition when the campaign was planned.",
            "There is nothing to decide; `kpc plan` counts again.",
        )
    return unassigned_subject(table), dict(scope.unassigned[table])


def _phase(subject: str, workspace: Workspace, *, accepts: bool) -> tuple[str, dict[str, object]]:
    names = [*Phase, MIGRATION]
    if subject not in names:
        raise ConfigError(f"There is no {subject!r} to sign off.", f"Use one of {', '.join(names)}, or a table.")
    found = counted_completeness(None if subject == MIGRATION else Phase(subject), workspace)
    if found is None or (accepts and not found.is_complete):
        raise ConfigError(
            f"{subject} cannot be signed off: {found.summary if found else 'no campaign has been planned'}",
            "Complete it first; `kpc status` shows where each partition is.",
        )
    return subject, found.as_json()
