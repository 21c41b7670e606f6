"""The sign-offs of a migration, and which of them still stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kpc.campaign.completeness import (
    change_evidence,
    evidence_of,
    unassigned_subject,
)
from kpc.campaign.object_accounts import foreign_evidence, foreign_subject
from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates
from kpc.catalog import Phase
from kpc.ledger import SignOff
from kpc.ledger.states import SignOffDecision
from kpc.stages.names import MIGRATION
from kpc.stages.workspace import Workspace

_NAMED = 3


class SignOffStanding(StrEnum):
    """Whether a decision still counts."""

    STANDS = "stands"
    EXPIRED = "expired"  # what it was based on is no longer so
    REVOKED = "revoked"
    REPLACED = "replaced"  # by a later decision on the same subject


@dataclass(frozen=True, slots=True)
class ListedSignOff:
    """A decision with its standing; `reason` says why it does not stand any more."""

    sign_off: SignOff
    standing: SignOffStanding
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        one = self.sign_off
        certificates = one.certificates
        return {
            "number": one.id,
            "subject": one.subject,
            "decision": str(one.decision),
            "standing": str(self.standing),
            "reason": self.reason,
            "actor": one.actor,
            "identified": one.identified or "not recorded",
            "is_authenticated": bool(one.is_authenticated),
            "signed_utc": one.signed_utc,
            "note": one.note,
            "certificates": None if certificates is None else len(certificates),
            "certificates_sha256": None if certificates is None else certificates_digest(certificates),
            "evidence_sha256": one.evidence_sha256,
            "revokes": one.revokes,
        }


def list_sign_offs(workspace: Workspace) -> list[ListedSignOff]:
    """Every decision, oldest first, with its standing; from the ledger alone."""
    made = workspace.ledger.sign_offs.all(workspace.environment)
    evidence = _present_evidence(workspace)
    phases: dict[str, dict[str, str]] = {}
    found = []
    for one in made:
        if one.subject in (*Phase, MIGRATION) and one.subject not in phases:
            phases[one.subject] = standing_certificates(one.subject, workspace)
        found.append(_listed(one, made, evidence, phases.get(one.subject)))
    return found


def _listed(
    one: SignOff, made: Sequence[SignOff], evidence: dict[str, str], standing: dict[str, str] | None
) -> ListedSignOff:
    if one.decision is SignOffDecision.REVOKED:
        return ListedSignOff(one, SignOffStanding.STANDS)
    if revoked := next((other for other in made if other.revokes == one.id), None):
        return ListedSignOff(one, SignOffStanding.REVOKED, f"by {revoked.actor}: {revoked.note}")
    later = [other.id for other in made if other.subject == one.subject and other.id > one.id and not other.revokes]
    if later:
        return ListedSignOff(one, SignOffStanding.REPLACED, f"by sign-off {later[-1]}")
    if standing is not None:
        return _of_certificates(one, standing)
    if one.evidence_sha256 != evidence.get(one.subject, one.evidence_sha256):
        return ListedSignOff(one, SignOffStanding.EXPIRED, "its numbers changed")
    return ListedSignOff(one, SignOffStanding.STANDS)


def _of_certificates(one: SignOff, standing: dict[str, str]) -> ListedSignOff:
    """A phase's sign-off expires when a partition has another certificate, none any more, or is new in scope."""
    if one.certificates is None:
        return ListedSignOff(one, SignOffStanding.EXPIRED, "it names no certificates: an older version recorded it")
    if one.decision is SignOffDecision.REFUSED:
        return ListedSignOff(one, SignOffStanding.STANDS)
    names = {**one.certificates, **standing}
    changed = [name for name in names if one.certificates.get(name, "") != standing.get(name, "")]
    if not changed:
        return ListedSignOff(one, SignOffStanding.STANDS)
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return ListedSignOff(
        one, SignOffStanding.EXPIRED, f"other or no certificates now: {', '.join(changed[:_NAMED])}{more}"
    )


def _present_evidence(workspace: Workspace) -> dict[str, str]:
    """What a decision about records of unknown origin, rows without a partition or a change must be based on now."""
    ledger, environment = workspace.ledger, workspace.environment
    found: dict[str, object] = {
        foreign_subject(table): foreign_evidence(check)
        for table, check in ledger.object_checks.newest(environment).items()
    }
    scope = ledger.scope.current(environment)
    if scope is not None:
        found |= {unassigned_subject(table): dict(causes) for table, causes in scope.unassigned.items()}
    for check in ledger.source_checks.newest(environment):
        if "rows" in check.detail and "numbers" in check.detail:
            found[f"{check.table_name} {check.partition_key}"] = change_evidence(check)
    return {subject: evidence_of(facts) for subject, facts in found.items()}
