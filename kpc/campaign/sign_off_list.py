"""The sign-offs of a migration, which of them are still valid, and whether they sign off a phase."""

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
from kpc.ledger import Ledger, SignOff
from kpc.ledger.states import SignOffDecision
from kpc.partition import Environment
from kpc.settings import SignOffSettings
from kpc.stages.names import MIGRATION
from kpc.stages.workspace import Workspace

_NAMED = 3


class SignOffStanding(StrEnum):
    """Whether a decision still counts."""

    STANDS = "stands"
    EXPIRED = "expired"  # what it was based on has changed
    REVOKED = "revoked"
    REPLACED = "replaced"  # by a later decision on the same subject


@dataclass(frozen=True, slots=True)
class ListedSignOff:
    """A decision with its standing; `reason` says why it is no longer valid."""

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


@dataclass(frozen=True, slots=True)
class Signatures:
    """The valid acceptances of a phase, or of the migration: those of exactly the current certificates.

    `needed` different people must have accepted. If the settings say who may sign, or require four eyes, only people
    who logged in to Airflow count.
    """

    made: tuple[SignOff, ...]
    needed: int

    @property
    def people(self) -> frozenset[str]:
        return frozenset(map(_person, self.made))

    @property
    def is_complete(self) -> bool:
        return len(self.people) >= self.needed


def is_signed_off(subject: str, workspace: Workspace) -> bool:
    """Whether a phase, or `migration`, is signed off, and its certificates are still those that were signed for."""
    return signatures(subject, workspace.ledger, workspace.environment, workspace.settings.sign_off).is_complete


def signed_off(workspace: Workspace) -> frozenset[Phase]:
    """The phases that are signed off, each by itself or with the migration."""
    if is_signed_off(MIGRATION, workspace):
        return frozenset(Phase)
    return frozenset(phase for phase in Phase if is_signed_off(phase, workspace))


def signatures(subject: str, ledger: Ledger, environment: Environment, settings: SignOffSettings) -> Signatures:
    """The valid acceptances of a phase, or of `migration`, by the ledger only."""
    made = ledger.sign_offs.all(environment)
    standing = standing_certificates(subject, ledger, environment)
    accepted = [one for one in made if one.subject == subject and one.decision is SignOffDecision.ACCEPTED]
    found = [one for one in accepted if _listed(one, made, {}, standing).standing is SignOffStanding.STANDS]
    if settings.needs_log_in:
        found = [one for one in found if one.is_authenticated]
    return Signatures(tuple(found), needed=2 if settings.four_eyes else 1)


def list_sign_offs(workspace: Workspace) -> list[ListedSignOff]:
    """Every decision, oldest first, with its standing, by the ledger only."""
    made = workspace.ledger.sign_offs.all(workspace.environment)
    evidence = _present_evidence(workspace)
    phases: dict[str, dict[str, str]] = {}
    found = []
    for one in made:
        if one.subject in (*Phase, MIGRATION) and one.subject not in phases:
            phases[one.subject] = standing_certificates(one.subject, workspace.ledger, workspace.environment)
        found.append(_listed(one, made, evidence, phases.get(one.subject)))
    return found


def _listed(
    one: SignOff, made: Sequence[SignOff], evidence: dict[str, str], standing: dict[str, str] | None
) -> ListedSignOff:
    if one.decision is SignOffDecision.REVOKED:
        return ListedSignOff(one, SignOffStanding.STANDS)
    if revoked := next((other for other in made if other.revokes == one.id), None):
        return ListedSignOff(one, SignOffStanding.REVOKED, f"by {revoked.actor}: {revoked.note}")
    later = [other for other in made if other.subject == one.subject and other.id > one.id and not other.revokes]
    if not all(_is_countersigned(one, other) for other in later):
        return ListedSignOff(one, SignOffStanding.REPLACED, f"by sign-off {later[-1].id}")
    if standing is not None:
        return _of_certificates(one, standing)
    if one.evidence_sha256 != evidence.get(one.subject, one.evidence_sha256):
        return ListedSignOff(one, SignOffStanding.EXPIRED, "its numbers changed")
    return ListedSignOff(one, SignOffStanding.STANDS)


def _is_countersigned(one: SignOff, later: SignOff) -> bool:
    """Whether a later decision is another person's acceptance of the same certificates, which replaces nothing."""
    return (
        one.certificates is not None
        and one.certificates == later.certificates
        and one.decision is later.decision is SignOffDecision.ACCEPTED
        and _person(one) != _person(later)
    )


def _person(one: SignOff) -> str:
    """The log-in of a person: it is unique, while two people may have the same name."""
    return one.identified if one.is_authenticated and one.identified else one.actor


def _of_certificates(one: SignOff, standing: dict[str, str]) -> ListedSignOff:
    """A phase's sign-off expires when a partition's certificate changes or goes, or a partition is new in scope."""
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
    """The current evidence for a decision about records of unknown origin, rows without a partition, or a change."""
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
