"""Recording a person's decision about rows without a partition, about a phase or about the migration."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.campaign.assignment import UNASSIGNED
from kpc.campaign.completeness import ACCEPTED, REFUSED, completeness, evidence_of, unassigned_subject
from kpc.catalog import Phase, find_table
from kpc.errors import ConfigError
from kpc.ledger import ScopeRow
from kpc.ledger.states import SignOffDecision
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
    scope = workspace.ledger.scope.current(workspace.environment)
    if scope is None:
        raise ConfigError("No campaign has been planned yet.", "Run `kpc plan --months FIRST:COUNT` first.")
    if key is not None:
        filed, evidence = _unassigned(subject, key, scope)
    else:
        filed, evidence = _phase(subject, workspace, accepts=accepts)
    decision = Decision(filed, ACCEPTED if accepts else REFUSED, evidence, evidence_of(evidence))
    workspace.ledger.sign_offs.record(
        workspace.environment,
        filed,
        actor=workspace.actor,
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
    )
    return decision


def _unassigned(subject: str, key: str, scope: ScopeRow) -> tuple[str, dict[str, object]]:
    table = find_table(subject).name
    if key.upper() != UNASSIGNED:
        raise ConfigError(
            f"A single partition such as {table} {key} cannot be signed off.",
            f"Sign off a phase, `migration`, or `{table} {UNASSIGNED}`.",
        )
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
    found = completeness(None if subject == MIGRATION else Phase(subject), workspace)
    if found is None or (accepts and not found.is_complete):
        raise ConfigError(
            f"{subject} cannot be signed off: {found.summary if found else 'no campaign has been planned'}",
            "Complete it first; `kpc status` shows where each partition is.",
        )
    return subject, found.as_json()
