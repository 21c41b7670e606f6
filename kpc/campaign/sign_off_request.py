"""What a person is asked to sign for: a phase, or the migration, as it is now."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.campaign.completeness import Completeness, counted_completeness
from kpc.campaign.sign_off_evidence import certificates_digest, check_certified, phase_of, standing_certificates
from kpc.campaign.sign_off_figures import TableFigures, table_figures
from kpc.campaign.sign_off_list import ListedSignOff, Signatures, SignOffStanding, list_sign_offs, signatures
from kpc.catalog import Phase
from kpc.errors import ConfigError
from kpc.ledger import Ledger, ScopeRow, SignOff
from kpc.ledger.states import SignOffDecision
from kpc.partition import Environment
from kpc.stages.names import MIGRATION, sign_off_dag
from kpc.stages.workspace import Workspace


@dataclass(frozen=True, slots=True)
class SignOffRequest:
    """A request, with the numbers that it shows.

    `certificates_sha256` is the hash of the `certificates` that it covers. `former` are valid decisions: about single
    tables and partitions, sign-offs of phases, refusals of the subject itself. `newest` is the number of the newest
    decision on the subject.
    """

    subject: str
    environment: Environment
    scope: ScopeRow
    found: Completeness
    certificates: int
    certificates_sha256: str
    tables: tuple[TableFigures, ...]
    former: tuple[ListedSignOff, ...]
    signed: Signatures
    newest: int

    @property
    def title(self) -> str:
        return "the migration" if self.subject == MIGRATION else f"phase {self.subject}"


def sign_off_request(subject: str, workspace: Workspace) -> SignOffRequest:
    """The request for a phase, or for `migration`. Raises `ConfigError` if it cannot be signed off yet."""
    phase, ledger, environment = phase_of(subject), workspace.ledger, workspace.environment
    found = counted_completeness(phase, workspace)
    scope = ledger.scope.current(environment)
    if found is None or scope is None:
        raise ConfigError("No campaign has been planned yet.", "Run `kpc plan --months FIRST:COUNT` first.")
    if not found.partitions:
        raise ConfigError(f"Nothing of {subject} is in the campaign's scope.", "`kpc status` shows what is planned.")
    if not found.is_complete:
        raise ConfigError(
            f"{subject} is not ready for sign-off: {found.summary}",
            f"Complete it, then trigger the DAG {sign_off_dag(subject)}; a hub that finds it complete does so as well.",
        )
    standing = standing_certificates(subject, ledger, environment)
    check_certified(subject, standing)
    tables = table_figures(phase, scope, workspace)
    names = {one.table.name for one in tables}
    return SignOffRequest(
        subject=subject,
        environment=environment,
        scope=scope,
        found=found,
        certificates=len(standing),
        certificates_sha256=certificates_digest(standing),
        tables=tables,
        former=tuple(
            one
            for one in list_sign_offs(workspace)
            if one.standing is SignOffStanding.STANDS and _is_of(one.sign_off, subject, names)
        ),
        signed=signatures(subject, ledger, environment, workspace.settings.sign_off),
        newest=newest_decision(subject, ledger, environment),
    )


def newest_decision(subject: str, ledger: Ledger, environment: Environment) -> int:
    """The number of the newest decision on a subject; 0 if there is none."""
    return max((one.id for one in ledger.sign_offs.all(environment) if one.subject == subject), default=0)


def outdated(subject: str, certificates_sha256: str, newest: int, ledger: Ledger, environment: Environment) -> str:
    """One sentence saying why a request is outdated; empty while it is current."""
    if certificates_sha256 != certificates_digest(standing_certificates(subject, ledger, environment)):
        return (
            f"The certificates of {subject} are no longer those that this request shows: something was compared, "
            "loaded or planned again. Once the new ones are complete, there is a new request."
        )
    if (other := newest_decision(subject, ledger, environment)) != newest:
        return f"Sign-off {other} decided about {subject} while this request was open."
    return ""


def _is_of(one: SignOff, subject: str, tables: set[str]) -> bool:
    """Whether a decision is about a part of the subject, or refused the subject itself."""
    if one.revokes is not None:
        return False
    if one.subject == subject:
        return one.decision is SignOffDecision.REFUSED
    is_phase = subject == MIGRATION and one.subject in [*Phase]
    return is_phase or one.subject.split(" ")[0] in tables
