"""The use of the org's allowance in the rolling 24 h, and what is left of it for this migration."""

from __future__ import annotations

from typing import Any

from kpc.ledger import Ledger
from kpc.salesforce.constants import BATCH_ROWS
from kpc.settings import SalesforceSettings


def quota_of(ledger: Ledger, target_id: str, settings: SalesforceSettings) -> dict[str, Any]:
    """Records and batches: used, allowed and free for a first upload. Use by others is as last reported by the org."""
    state = ledger.quota.state(target_id)
    org_batches = ledger.overview.org_batches(target_id)
    most_rows = min(settings.daily_rows, org_batches * BATCH_ROWS) if org_batches else settings.daily_rows
    most_batches = min(settings.daily_batches, org_batches) if org_batches else settings.daily_batches
    jobs, raw_bytes = ledger.query_jobs.used(target_id)
    return {
        "rows": _left(settings, most_rows, state.rows, state.others_rows),
        "batches": _left(settings, most_batches, state.batches, state.others_batches),
        "calls": {"used": state.calls, "allowed": int(state.calls_max * settings.call_share)},
        "query_jobs": {"used": jobs, "allowed": int(settings.daily_query_jobs * settings.quota_share)},
        "query_bytes": {"used": raw_bytes, "allowed": int(settings.daily_query_bytes * settings.quota_share)},
        "jobs_in_flight": ledger.jobs.in_flight(target_id),
        "jobs_at_once": settings.jobs_in_flight,
        "read_utc": state.read_utc,
        "next_free_utc": ledger.quota.next_expiry(target_id),
        "blocked_until_utc": state.blocked_until_utc,
        "blocked_reason": state.blocked_reason,
    }


def _left(settings: SalesforceSettings, most: int, used: int, others: int) -> dict[str, int]:
    """`allowed` is our share minus the reserve for retries; `free` also subtracts what other software has used."""
    share = int(most * settings.quota_share)
    allowed = share - int(share * settings.retry_reserve)
    free = min(allowed - used, most - used - others)
    return {"used": used, "others": others, "allowed": allowed, "free": max(0, free)}
