"""The ledger's tables, by subject. Every change needs a migration in kpc/ledger/migrations."""

from __future__ import annotations

from kpc.ledger.schema.alerts import alert, alert_message, failure_report
from kpc.ledger.schema.audit import audit_head, audit_log
from kpc.ledger.schema.campaign import (
    campaign,
    campaign_start,
    mapping_version,
    object_check,
    reconciliation,
    scope,
    sign_off,
)
from kpc.ledger.schema.columns import canonical_json, metadata
from kpc.ledger.schema.constants import campaign_constant
from kpc.ledger.schema.loads import attempt, chunk, failed_records, job, pause
from kpc.ledger.schema.quota import org_limits, query_job, quota_entry
from kpc.ledger.schema.source import snapshot, source_check
from kpc.ledger.schema.stages import generation, lease, stage_run
from kpc.ledger.schema.systems import endpoint, org_trait, source_database

REVISION = "0011"  # the newest migration; a test compares it with kpc/ledger/migrations

__all__ = [
    "REVISION",
    "alert",
    "alert_message",
    "attempt",
    "audit_head",
    "audit_log",
    "campaign",
    "campaign_constant",
    "campaign_start",
    "canonical_json",
    "chunk",
    "endpoint",
    "failed_records",
    "failure_report",
    "generation",
    "job",
    "lease",
    "mapping_version",
    "metadata",
    "object_check",
    "org_limits",
    "org_trait",
    "pause",
    "query_job",
    "quota_entry",
    "reconciliation",
    "scope",
    "sign_off",
    "snapshot",
    "source_check",
    "source_database",
    "stage_run",
]
