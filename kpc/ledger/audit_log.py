"""The audit log: who ran what, when, and on what, as a hash chain that reveals later changes.

Each entry's hash covers its canonical JSON and the hash of the entry before it. The database refuses UPDATE and DELETE;
if somebody circumvents that, `AuditLog.verify` finds the chain broken. The head row holds the newest hash, so that
entries removed from the end are detected too. What an entry speaks about, it vouches for: see `kpc.ledger.vouching`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease
from kpc.ledger.partition_filters import in_environment, in_partition
from kpc.ledger.schema import canonical_json
from kpc.ledger.vouching import VOUCHED, Vouched, digests_of
from kpc.partition import Environment, Partition

GENESIS = "0" * 64
_LOG = schema.audit_log
_HEAD = schema.audit_head


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the log; `detail` holds counts, sizes and checksums, never a personal value."""

    seq: int
    at_utc: datetime
    actor: str
    run_id: str
    action: str
    source_id: str | None
    target_id: str | None
    table_name: str | None
    partition_key: str | None
    stage: str | None
    generation: str | None
    mapping_version: str | None
    detail: dict[str, Any]
    prev_hash: str
    entry_hash: str


class AuditLog:
    """The append-only log of all actions, which can be verified."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(  # noqa: PLR0913  each is a fact of the audit trail
        self,
        action: str,
        *,
        actor: str,
        run_id: str,
        environment: Environment | None = None,
        partition: Partition | None = None,
        stage: str | None = None,
        generation: str | None = None,
        mapping_version: str | None = None,
        detail: dict[str, Any] | None = None,
        vouched: Vouched | None = None,
        lease: Lease | None = None,
    ) -> int:
        """Add one entry and return its number. The rows of `vouched` are read in the entry's own transaction."""
        entry: dict[str, Any] = {
            "at_utc": self._database.clock(),
            "actor": actor,
            "run_id": run_id,
            "action": action,
            "source_id": environment.source_id if environment else None,
            "target_id": environment.target_id if environment else None,
            "table_name": partition.table.name if partition else None,
            "partition_key": partition.key if partition else None,
            "stage": stage,
            "generation": generation,
            "mapping_version": mapping_version,
            "detail": json.loads(canonical_json(detail or {})),  # in the form in which it is read back and hashed
        }
        with self._database.writing(lease) as connection:
            if vouched is not None:
                entry["detail"][VOUCHED] = vouched.as_json(digests_of(connection, vouched.groups))
            return append(connection, entry)

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest entry; (0, `GENESIS`) before the first."""
        with self._database.reading() as connection:
            row = connection.execute(select(_HEAD)).mappings().one_or_none()
        return (int(row["seq"]), str(row["entry_hash"])) if row else (0, GENESIS)

    def entries(self, *, limit: int | None = None) -> list[AuditEntry]:
        """The newest `limit` entries (all when None), oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_LOG).order_by(_LOG.c.seq.desc()).limit(limit)).mappings().all()
        return [AuditEntry(**row) for row in reversed(rows)]

    def of_action(
        self,
        action: str,
        environment: Environment | None,
        partition: Partition | None = None,
        *,
        limit: int | None = None,
    ) -> list[AuditEntry]:
        """The newest `limit` entries of one action, oldest first; of all environments or partitions when None."""
        query = select(_LOG).where(_LOG.c.action == action)
        if environment is not None:
            query = query.where(in_environment(_LOG, environment))
        if environment is not None and partition is not None:
            query = query.where(in_partition(_LOG, environment, partition))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_LOG.c.seq.desc()).limit(limit)).mappings().all()
        return [AuditEntry(**row) for row in reversed(rows)]

    def verify(self) -> list[str]:
        """One sentence per break in the chain; empty if nothing was changed, removed, inserted or reordered."""
        with self._database.reading() as connection:
            return list(self.chain(connection, lambda _: None))

    def chain(self, connection: Connection, follow: Callable[[AuditEntry], None]) -> Iterator[str]:
        """A sentence for each break in the chain; `follow` is called with every entry, oldest first."""
        head = connection.execute(select(_HEAD)).mappings().one_or_none()
        rows = connection.execute(select(_LOG).order_by(_LOG.c.seq), execution_options={"yield_per": 2000}).mappings()
        yield from _breaks(rows, head, follow)


def entry_hash(entry: RowMapping | dict[str, Any]) -> str:
    """sha256 over the canonical JSON of all columns but the hash itself."""
    covered = {name: value for name, value in entry.items() if name != "entry_hash"}
    covered["at_utc"] = entry["at_utc"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return hashlib.sha256(canonical_json(covered).encode()).hexdigest()


def append(connection: Connection, entry: dict[str, Any]) -> int:
    """Add an entry, without its number and hashes, in the caller's transaction; returns its number."""
    # The head stays locked until the commit, so that concurrent appends form one chain.
    head = connection.execute(select(_HEAD).with_for_update()).mappings().one()
    row = {"seq": head["seq"] + 1, **entry, "prev_hash": head["entry_hash"]}
    row["entry_hash"] = entry_hash(row)
    connection.execute(insert(_LOG).values(row))
    connection.execute(update(_HEAD).values(seq=row["seq"], entry_hash=row["entry_hash"]))
    return int(row["seq"])


def _breaks(rows: Iterable[RowMapping], head: RowMapping | None, follow: Callable[[AuditEntry], None]) -> Iterator[str]:
    expected_seq, previous = 1, GENESIS
    for row in rows:
        follow(AuditEntry(**row))
        if row["seq"] != expected_seq:
            yield f"Entry {row['seq']} follows entry {expected_seq - 1}: the entries between them are missing."
        if row["prev_hash"] != previous:
            yield f"Entry {row['seq']} does not continue the entry before it."
        if row["entry_hash"] != entry_hash(row):
            yield f"Entry {row['seq']} was changed after it was written."
        expected_seq, previous = row["seq"] + 1, row["entry_hash"]
    if head is None:
        yield "The head of the log is missing."
    elif (head["seq"], head["entry_hash"]) != (expected_seq - 1, previous):
        yield f"The log ends with entry {expected_seq - 1}, its head says {head['seq']}: the end was changed or cut."
