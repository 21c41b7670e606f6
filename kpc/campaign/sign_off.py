"""Recording a person's decision: about rows without a partition, changes in Oracle, a phase or the migration."""

from __future__ import annotations

from dataclasses import replace

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
from kpc.campaign.sign_off_evidence import (
    Decision,
    certificates_digest,
    check_certified,
    phase_of,
    standing_certificates,
    write_record,
)
from kpc.catalog import Phase, find_table
from kpc.errors import ConfigError
from kpc.ledger import ScopeRow, Signer, Vouched
from kpc.ledger.states import SignOffDecision
from kpc.partition import find_partition
from kpc.settings import SignOffSettings
from kpc.stages.context import PartitionContext
from kpc.stages.names import MIGRATION, sign_off_dag
from kpc.stages.vouched_work import facts_of_files
from kpc.stages.workspace import Workspace


def sign_off(
    subject: str,
    key: str | None,
    workspace: Workspace,
    *,
    accepts: bool,
    note: str,
    signer: Signer | None = None,
    certificates_sha256: str = "",
) -> Decision:
    """Record the decision with a hash of its numbers. Accepting requires that everything it covers is complete.

    A decision about a phase or the migration names the certificates that it covers. `signer` is who decides, if that is
    known better than by the operating system's user; `certificates_sha256` is the hash of the certificates that the
    person was shown. Raises `ConfigError` if there is nothing to decide, or if something is missing.
    """
    certificates: dict[str, str] | None = None
    if key is None:
        _scope(workspace)
        if accepts:
            _check_signer(subject, signer, workspace.settings.sign_off)
        filed, evidence, certificates = _phase(subject, workspace, accepts=accepts)
        if certificates_sha256 not in ("", evidence["certificates_sha256"]):
            raise ConfigError(
                f"The certificates of {subject} are no longer those that were shown.",
                f"Trigger the DAG {sign_off_dag(subject)} to be asked about the current ones.",
            )
    elif key.upper() == FOREIGN:
        filed, evidence = _foreign(find_table(subject).name, workspace, note)
    elif key.upper() == UNASSIGNED:
        filed, evidence = _unassigned(find_table(subject).name, _scope(workspace))
    else:
        filed, evidence = _change(PartitionContext(workspace, find_partition(subject, key)), note)
    decided = ACCEPTED if accepts else REFUSED
    return _record(workspace, Decision(filed, decided, evidence, evidence_of(evidence), certificates), note, signer)


def revoke_sign_off(number: int, workspace: Workspace, *, note: str, signer: Signer | None = None) -> Decision:
    """Take back a decision; it stays in the list, and what it accepted is undecided again. Raises `ConfigError`."""
    made = workspace.ledger.sign_offs.all(workspace.environment)
    former = next((one for one in made if one.id == number), None)
    if former is None or former.decision is SignOffDecision.REVOKED:
        raise ConfigError(f"There is no sign-off {number} to revoke.", "`kpc sign-off list` shows their numbers.")
    if any(one.revokes == number for one in made):
        raise ConfigError(f"Sign-off {number} is already revoked.", "`kpc sign-off list` shows which are valid.")
    if not note:
        raise ConfigError(
            f"Revoking sign-off {number} of {former.subject} needs its reason.",
            f"Give it: `kpc sign-off revoke {number} --note REASON`.",
        )
    evidence: dict[str, object] = {"revokes": number, "decision": str(former.decision), "by": former.actor}
    decision = Decision(former.subject, SignOffDecision.REVOKED, evidence, former.evidence_sha256 or "", revokes=number)
    return _record(workspace, decision, note, signer)


def operating_system_user(workspace: Workspace) -> Signer:
    """The person at a command line, as named by the operating system."""
    return Signer(workspace.actor, f"operating system user on {calling_machine()}", is_authenticated=False)


def _record(workspace: Workspace, decision: Decision, note: str, signer: Signer | None) -> Decision:
    signer = signer or operating_system_user(workspace)
    with workspace.ledger.together():
        number = workspace.ledger.sign_offs.record(
            workspace.environment,
            decision.subject,
            signer,
            decision=decision.decision,
            note=note or None,
            evidence_sha256=decision.evidence_sha256,
            certificates=decision.certificates,
            revokes=decision.revokes,
        )
        decided = replace(decision, number=number, signer=signer)
        path = write_record(workspace, decided, note)
        workspace.ledger.audit.append(
            f"sign-off {decision.decision}",
            actor=signer.actor,
            run_id=workspace.run_id,
            environment=workspace.environment,
            detail={
                "subject": decision.subject,
                "note": note,
                "evidence_sha256": decision.evidence_sha256,
                "identified": signer.identified,
                "is_authenticated": signer.is_authenticated,
                **({"revokes": decision.revokes} if decision.revokes else {}),
            },
            vouched=Vouched((("sign_off", str(number)),), files=facts_of_files(workspace, [path])),
        )
    return decided


def _check_signer(subject: str, signer: Signer | None, settings: SignOffSettings) -> None:
    if settings.needs_log_in and not (signer and signer.is_authenticated):
        raise ConfigError(
            f"{subject} can be signed off only by people who log in to Airflow: KPC__SIGN_OFF__FOUR_EYES or "
            "KPC__SIGN_OFF__SIGNERS is set.",
            f"Answer the request of the DAG {sign_off_dag(subject)} under Required Actions.",
        )


def _scope(workspace: Workspace) -> ScopeRow:
    scope = workspace.ledger.scope.current(workspace.environment)
    if scope is None:
        raise ConfigError("No campaign has been planned yet.", "Run `kpc plan --months FIRST:COUNT` first.")
    return scope


def _change(context: PartitionContext, note: str) -> tuple[str, dict[str, object]]:
    """What changed in a partition in Oracle since it was extracted, as the newest `kpc delta` found."""
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
            "There is nothing to decide; `kpc plan` counts them again.",
        )
    return unassigned_subject(table), dict(scope.unassigned[table])


def _phase(subject: str, workspace: Workspace, *, accepts: bool) -> tuple[str, dict[str, object], dict[str, str]]:
    names = [*Phase, MIGRATION]
    if subject not in names:
        raise ConfigError(f"There is no {subject!r} to sign off.", f"Use one of {', '.join(names)}, or a table.")
    found = counted_completeness(phase_of(subject), workspace)
    if found is None or (accepts and not found.is_complete):
        raise ConfigError(
            f"{subject} cannot be signed off: {found.summary if found else 'no campaign has been planned'}",
            "Complete it first; `kpc status` shows the state of each partition.",
        )
    standing = standing_certificates(subject, workspace.ledger, workspace.environment)
    if accepts:
        check_certified(subject, standing)
    certificates = {name: sha256 for name, sha256 in standing.items() if sha256}
    evidence = found.as_json() | {
        "certificates": len(certificates),
        "certificates_sha256": certificates_digest(certificates),
    }
    return subject, evidence, certificates
