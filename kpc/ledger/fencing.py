"""Fencing: the lease that allows a worker to write, and the check of its token inside each write's transaction."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select

from kpc.errors import LeaseLost
from kpc.ledger import schema
from kpc.partition import Environment, Partition

LEASE = schema.lease.c


@dataclass(frozen=True)
class Lease:
    """The right of `owner` to work on one partition's stage; `token` increases with each new holder (fencing)."""

    environment: Environment
    partition: Partition
    stage: str
    owner: str
    token: int
    expires_utc: datetime
    has_waited: bool = False  # another run held it before: check again what is left to do
    is_reentered: bool = False  # the owner had it already, in this task or another one
    part: Lease | None = None  # of a part of the work, which only one process at a time may do; see `Leases.fence`
    lost: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.partition}, stage {self.stage}"


def lease_row(environment: Environment, partition: Partition, stage: str) -> ColumnElement[bool]:
    """The condition that selects one lease."""
    return and_(
        LEASE.source_id == environment.source_id,
        LEASE.target_id == environment.target_id,
        LEASE.table_name == partition.table.name,
        LEASE.partition_key == partition.key,
        LEASE.stage == stage,
    )


def check_lease(connection: Connection, lease: Lease, *, will_change: bool = False) -> None:
    """Raises `LeaseLost` unless `lease` is still the newest; the row stays locked until the transaction ends.

    An expired lease that nobody took over is still valid: nobody else has written since, and the lock prevents it now.
    The lock is shared, so that tasks of one run can check at the same time; with `will_change` it is exclusive.
    """
    row = connection.execute(
        select(LEASE.owner, LEASE.token)
        .where(lease_row(lease.environment, lease.partition, lease.stage))
        .with_for_update(read=not will_change)
    ).one_or_none()
    if row is None or row.token != lease.token or row.owner != lease.owner:
        lease.lost.set()
        raise lease_lost(lease, row.owner if row else None)
    if lease.part is not None:
        check_lease(connection, lease.part)


def lease_lost(lease: Lease, holder: str | None) -> LeaseLost:
    reason = f"{holder} has taken it over" if holder else "it was released"
    if holder == lease.owner:
        reason = "a later try of the same run has taken it over"
    return LeaseLost(
        f"This run ({lease.owner}) no longer holds the lease of {lease}: {reason}.",
        "Nothing was written since. Wait for the other run to finish; `kpc status` shows it.",
    )
