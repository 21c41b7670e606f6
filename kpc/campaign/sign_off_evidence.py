"""What a sign-off is based on: the certificates that it covers, and the record that is kept beside the data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kpc.campaign.certificates import current_hashes
from kpc.campaign.certificates.content import AuditHead, Signature
from kpc.campaign.certificates.signing import private_key, sign
from kpc.campaign.planned_partitions import partitions_in_scope
from kpc.catalog import Phase
from kpc.errors import ConfigError
from kpc.ledger import Ledger, Signer
from kpc.ledger.schema import canonical_json
from kpc.ledger.states import SignOffDecision
from kpc.partition import Environment
from kpc.stages.names import MIGRATION
from kpc.stages.workspace import Workspace

FOLDER = "sign-offs"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, with its subject and the numbers it is based on.

    `certificates` has the sha256 of each covered certificate, by partition (`TABLE KEY`); None where none is covered.
    """

    subject: str
    decision: SignOffDecision
    evidence: dict[str, object]
    evidence_sha256: str
    certificates: dict[str, str] | None = None
    revokes: int | None = None
    number: int = 0
    signer: Signer = field(default_factory=lambda: Signer("", ""))


class SignOffRecord(BaseModel):
    """The file `sign-off-NUMBER.json`: a decision outside of the ledger, and an anchor of the audit log.

    `sha256` covers the canonical JSON of everything else but the signature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    source_id: str
    target_id: str
    subject: str
    decision: str
    note: str
    signer: dict[str, str | bool]
    evidence: dict[str, object]
    evidence_sha256: str
    certificates: dict[str, str] | None
    revokes: int | None
    signed_utc: str
    audit_head: AuditHead
    sha256: str = ""
    signature: Signature | None = None

    def digest(self) -> str:
        """The sha256 that the record must have."""
        covered = self.model_dump(mode="json", exclude={"sha256", "signature"})
        return hashlib.sha256(canonical_json(covered).encode()).hexdigest()


def phase_of(subject: str) -> Phase | None:
    """The phase of a subject; None for the whole migration."""
    return None if subject == MIGRATION else Phase(subject)


def standing_certificates(subject: str, ledger: Ledger, environment: Environment) -> dict[str, str]:
    """The sha256 of the standing certificate of each planned partition of a phase, or of the migration.

    Empty for a partition that has none since its last load.
    """
    scope = ledger.scope.current(environment)
    if scope is None:
        return {}
    standing = current_hashes(ledger, environment)
    names = [f"{one.table.name} {one.key}" for one in partitions_in_scope(phase_of(subject), scope)]
    return {name: standing.get(name, "") for name in names}


def check_certified(subject: str, standing: Mapping[str, str]) -> None:
    """Raises `ConfigError` if a partition has no certificate since its last load."""
    if missing := [name for name, sha256 in standing.items() if not sha256]:
        first, *others = missing
        names = f"{first} and {len(others):,} more have" if others else f"{first} has"
        raise ConfigError(
            f"{subject} cannot be signed off: {names} no certificate since the last load.",
            f"Run `kpc reconcile {first}`{', and the same for each of the others' if others else ''}.",
        )


def certificates_digest(certificates: Mapping[str, str]) -> str:
    """One sha256 for a set of certificates: over their sorted hashes, one per line."""
    return hashlib.sha256("\n".join(sorted(certificates.values())).encode()).hexdigest()


def write_record(workspace: Workspace, decision: Decision, note: str) -> Path:
    """Write the decision beside the data, and return the file."""
    environment = workspace.environment
    seq, entry_hash = workspace.ledger.audit.head()
    record = SignOffRecord(
        number=decision.number,
        source_id=environment.source_id,
        target_id=environment.target_id,
        subject=decision.subject,
        decision=decision.decision,
        note=note,
        signer=asdict(decision.signer),
        evidence=decision.evidence,
        evidence_sha256=decision.evidence_sha256,
        certificates=decision.certificates,
        revokes=decision.revokes,
        signed_utc=f"{workspace.clock():%Y-%m-%dT%H:%M:%SZ}",
        audit_head=AuditHead(seq=seq, entry_hash=entry_hash),
    )
    sha256, key = record.digest(), private_key(workspace.settings)
    signature = None
    if key is not None:
        public_key, value = sign(key, sha256)
        signature = Signature(public_key=public_key, value=value)
    folder = workspace.store.root / environment.source_id / environment.target_id / FOLDER
    name = f"sign-off-{decision.number}.json"
    workspace.store.publish(folder, record.model_copy(update={"sha256": sha256, "signature": signature}), name=name)
    return folder / name
