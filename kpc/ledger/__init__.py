"""The durable memory: leases, generations, stage runs, jobs, quota, failures, proofs and the audit log."""

from __future__ import annotations

from kpc.ledger.attempts import ChunkCounts, ChunkRow
from kpc.ledger.audit import AuditEntry
from kpc.ledger.failed_records import FailedRecord, Failure
from kpc.ledger.fencing import Lease
from kpc.ledger.generations import GenerationRow
from kpc.ledger.jobs import JobIntent, JobRow
from kpc.ledger.ledger import Ledger, open_ledger
from kpc.ledger.pauses import Pause
from kpc.ledger.proofs import Compared, ScopeRow, SignOff
from kpc.ledger.quota import Allowance, QuotaState
from kpc.ledger.quota_entries import OrgUsage
from kpc.ledger.stage_runs import StageRun

__all__ = [
    "Allowance",
    "AuditEntry",
    "ChunkCounts",
    "ChunkRow",
    "Compared",
    "FailedRecord",
    "Failure",
    "GenerationRow",
    "JobIntent",
    "JobRow",
    "Lease",
    "Ledger",
    "OrgUsage",
    "Pause",
    "QuotaState",
    "ScopeRow",
    "SignOff",
    "StageRun",
    "open_ledger",
]
