"""The content of a certificate. Its `sha256` covers the canonical JSON of all except itself and the signature."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kpc.ledger.schema import canonical_json

State = Literal["reconciled", "reconciled_with_exceptions", "sampled", "mismatch"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageEvidence(_Part):
    """Who ran a stage, when, and how it ended; `finished_utc` of the reconciliation is when it was certified."""

    stage: str
    stage_run: int
    actor: str
    run_id: str
    started_utc: datetime
    finished_utc: datetime | None
    state: str
    rows: int | None


class OpinionCoverage(_Part):
    """How much of what Salesforce must hold was computed by Oracle itself, with independent value rules.

    It was asked for `buckets` of the 256, and answered for `opinions` rows. `compared` records of these were read back;
    `differing` ones contradict it, `excepted` ones belong to rows that Salesforce refused.
    """

    buckets: int
    opinions: int
    compared: int
    excepted: int
    differing: int


class Coverage(_Part):
    """How much was compared record by record: `full`, `sample` or `none`; `compared` of `expected` records."""

    kind: Literal["full", "sample", "none"]
    compared: int
    expected: int
    seed: int | None = None  # of the sample
    second_opinion: OpinionCoverage | Literal["none"] = "none"


class ComparedValue(_Part):
    """One compared number; target must equal source minus excepted, within the tolerance."""

    level: int
    measure: str
    source: Decimal | None
    excepted: Decimal
    target: Decimal | None
    tolerance: Decimal
    agrees: bool


class RecordCounts(_Part):
    """The result of comparing records. `as_doubles` of the equal ones differ in digits that the API cannot carry."""

    equal: int
    missing: int
    surplus: int
    changed: int
    as_doubles: int


class BucketSide(_Part):
    """Rows, sum (modulo 2^64) and XOR of the row checksums of one bucket on one side; 16 hexadecimal digits."""

    rows: int = Field(ge=0)
    sum: str = Field(pattern=r"^[0-9a-f]{16}$")
    xor: str = Field(pattern=r"^[0-9a-f]{16}$")


class BucketEvidence(_Part):
    """One bucket of `Migration_Partition__c`; None: records whose marker names no bucket of the partition."""

    bucket: int | None
    source: BucketSide | None
    target: BucketSide | None


class JobEvidence(_Part):
    job_id: str | None
    chunk: str
    purpose: str
    operation: str
    state: str
    rows: int


class ExceptionEvidence(_Part):
    """A row that was rejected or refused, by its external id."""

    key: str
    error_class: str
    error_code: str


class CorrectionEvidence(_Part):
    """A cell that a person corrected; keyed hashes of the old and the new value."""

    key: str
    field: str
    old: str
    new: str
    actor: str
    at_utc: datetime


class FileEvidence(_Part):
    """A file by its root and path, as the audit log names it."""

    name: str
    bytes: int
    sha256: str


class AuditHead(_Part):
    seq: int
    entry_hash: str


class Signature(_Part):
    """Ed25519 over the text of `sha256`; both values in hexadecimal."""

    public_key: str
    value: str


class Certificate(_Part):
    """What one reconciliation found for one partition, and everything that it is based on."""

    format: Literal["kpc-certificate-1"] = "kpc-certificate-1"
    place: str  # the name of this file
    table: str
    key: str
    source_id: str
    target_id: str
    generation: str
    mapping_version: str
    external_id_version: str
    tool_version: str
    constants: dict[str, str]  # fingerprints by name
    scn: int
    scn_utc: datetime  # just before Oracle was asked for the SCN
    state: State
    coverage: Coverage
    stages: tuple[StageEvidence, ...]
    comparisons: tuple[ComparedValue, ...]
    records: RecordCounts | None
    buckets: tuple[BucketEvidence, ...]
    jobs: tuple[JobEvidence, ...]
    exceptions: tuple[ExceptionEvidence, ...]
    corrected: int  # rows that hold the values that people gave them
    kept: int  # records that keep their former values, because their update was refused
    corrections: tuple[CorrectionEvidence, ...]
    files: tuple[FileEvidence, ...]
    audit_head: AuditHead
    issued_by: str
    issued_utc: datetime
    sha256: str = ""
    signature: Signature | None = None

    def digest(self) -> str:
        """The sha256 that the certificate must have."""
        return hashlib.sha256(canonical_json(self._covered()).encode()).hexdigest()

    def _covered(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"sha256", "signature"})
