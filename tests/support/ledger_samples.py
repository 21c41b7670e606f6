"""Environments, partitions and small steps that the ledger's tests share."""

from __future__ import annotations

from kpc.ledger import Allowance, JobIntent, JobRow, Lease, Ledger
from kpc.partition import Environment, Partition, find_partition

SANDBOX = Environment("DB1.1", "00Dsandbox")
PRODUCTION = Environment("DB1.1", "00Dproduction")
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
JANUARY = find_partition("KPS_T_SALES_M", "2024-01")
STAGE = "sf_loaded"


def take_lease(ledger: Ledger, owner: str, partition: Partition = SUPPLIERS, *, wait_s: float = 0) -> Lease:
    return ledger.leases.acquire(SANDBOX, partition, STAGE, owner=owner, ttl_s=60, wait_s=wait_s)


def start_generation(ledger: Ledger, lease: Lease, *, seal: bool = True) -> str:
    generation = ledger.generations.start(
        lease.environment, lease.partition, scn=1, mode="full", spec_hash="s", run_id="r", lease=lease
    )
    if seal:
        ledger.generations.seal(generation, rows=10, raw_bytes=100, lease=lease)
    return generation


def intend_job(
    ledger: Ledger, lease: Lease, *, rows: int = 10_000, slots: int = 15, allowance: Allowance | None = None
) -> JobRow | None:
    intent = JobIntent("g", "m", "chunk-00001", 1, "Obj__c", "External_ID__c", rows, -(-rows // 10_000))
    return ledger.jobs.intend(intent, slots=slots, allowance=allowance or Allowance(), lease=lease)
