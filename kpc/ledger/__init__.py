"""Durable state: leases, generations, stage runs, jobs, quota, failures, decisions and the audit log."""

from __future__ import annotations

from kpc.ledger.alerts import AlertCondition, AlertMessage, AlertRow, FailureReport
from kpc.ledger.audit_log import AuditEntry
from kpc.ledger.campaigns import CampaignRow, CampaignStart
from kpc.ledger.chunks import ChunkCounts, ChunkRow
from kpc.ledger.failures import FailedRecord, RowFailure
from kpc.ledger.fencing import Lease
from kpc.ledger.generations import GenerationRow
from kpc.ledger.jobs import JobIntent, JobRow
from kpc.ledger.ledger import Ledger, open_ledger
from kpc.ledger.object_checks import ObjectCheckRow, ObjectFinding
from kpc.ledger.overview import NewestRun, OpenFailures, RunningLoad, Throughput
from kpc.ledger.partition_work import PartitionWork
from kpc.ledger.pauses import Pause
from kpc.ledger.quota import Allowance, QuotaRequest, QuotaState
from kpc.ledger.quota_entries import OrgUsage
from kpc.ledger.reconciliations import Compared
from kpc.ledger.scope import ScopeRow
from kpc.ledger.sign_offs import Signer, SignOff
from kpc.ledger.snapshots import Snapshot, SnapshotWish
from kpc.ledger.source_checks import SourceCheckRow, SourceFinding
from kpc.ledger.stage_runs import FinishedRun, StageRun
from kpc.ledger.vouching import Vouched, constant_group

__all__ = [
    "AlertCondition",
    "AlertMessage",
    "AlertRow",
    "Allowance",
    "AuditEntry",
    "CampaignRow",
    "CampaignStart",
    "ChunkCounts",
    "ChunkRow",
    "Compared",
    "FailedRecord",
    "FailureReport",
    "FinishedRun",
    "GenerationRow",
    "JobIntent",
    "JobRow",
    "Lease",
    "Ledger",
    "NewestRun",
    "ObjectCheckRow",
    "ObjectFinding",
    "OpenFailures",
    "OrgUsage",
    "PartitionWork",
    "Pause",
    "QuotaRequest",
    "QuotaState",
    "RowFailure",
    "RunningLoad",
    "ScopeRow",
    "SignOff",
    "Signer",
    "Snapshot",
    "SnapshotWish",
    "SourceCheckRow",
    "SourceFinding",
    "StageRun",
    "Throughput",
    "Vouched",
    "constant_group",
    "open_ledger",
]
