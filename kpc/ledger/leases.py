"""One worker per partition and stage: leases with an owner, a fencing token and an expiry."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from kpc.errors import LeaseLost, LeaseTaken, Transient
from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.fencing import Lease, check_lease, lease_row
from kpc.ledger.partition_filters import in_environment
from kpc.partition import Environment, Partition

_RETRY_S = 0.5
_PART_DIGITS = 16


class Leases:
    """Acquiring, renewing and releasing the right to work on a partition's stage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.contextmanager
    def hold(
        self,
        environment: Environment,
        partition: Partition,
        stage: str,
        *,
        owner: str,
        ttl_s: float,
        wait_s: float,
        keep: bool = False,
        is_alone: bool = False,
    ) -> Iterator[Lease]:
        """Hold the lease for a `with` block, renewed in the background; see `acquire`.

        With `keep` it is not released at the end: further tasks of the same owner continue under it.
        """
        held = self.acquire(environment, partition, stage, owner=owner, ttl_s=ttl_s, wait_s=wait_s, is_alone=is_alone)
        stop = threading.Event()
        keeper = threading.Thread(target=self._renew_until, args=(held, ttl_s, stop), name=f"lease {held}", daemon=True)
        keeper.start()
        try:
            yield held
        finally:
            stop.set()
            keeper.join()
            if not (keep or held.is_reentered):  # a re-entered lease belongs to the outer holder
                self.release(held)

    def acquire(
        self,
        environment: Environment,
        partition: Partition,
        stage: str,
        *,
        owner: str,
        ttl_s: float,
        wait_s: float,
        is_alone: bool = False,
    ) -> Lease:
        """Take the lease, waiting up to `wait_s` for another holder to finish or to expire.

        The same owner re-enters at once, from any process. With `is_alone` nobody else of this owner may write any
        more: an earlier try that was only paused, not dead, finds its token old. Raises `LeaseTaken`, naming the
        holder, when the wait ends.
        """
        deadline = time.monotonic() + wait_s
        has_waited = False
        while True:
            lease, holder = self._try_acquire(environment, partition, stage, owner, ttl_s, is_alone=is_alone)
            if lease is not None:
                return replace(lease, has_waited=has_waited)
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 and holder is not None:
                raise LeaseTaken(
                    f"{partition}, stage {stage}, is being worked on by {holder['owner']}; its lease runs until "
                    f"{holder['expires_utc']:%Y-%m-%d %H:%M:%S} UTC unless it is renewed.",
                    "Wait for that run (`kpc status` shows it); if it died, the lease expires by itself at that time.",
                )
            has_waited = True
            time.sleep(max(0.01, min(_RETRY_S, remaining_s)))

    def _try_acquire(
        self, environment: Environment, partition: Partition, stage: str, owner: str, ttl_s: float, *, is_alone: bool
    ) -> tuple[Lease | None, RowMapping | None]:
        now = self._database.clock()
        expires = now + timedelta(seconds=ttl_s)
        lease = Lease(environment, partition, stage, owner, 1, expires)
        try:
            with self._database.writing() as connection:
                mine = lease_row(environment, partition, stage)
                row = connection.execute(select(schema.lease).where(mine).with_for_update()).mappings().one_or_none()
                if row is None:
                    _insert(connection, lease)
                    return lease, None
                if row["owner"] not in (None, owner) and row["expires_utc"] > now:
                    return None, row
                is_same = row["owner"] == owner
                token = row["token"] + (0 if is_same and not is_alone else 1)
                connection.execute(
                    update(schema.lease)
                    .where(mine)
                    .values(
                        owner=owner,
                        token=token,
                        expires_utc=max(expires, row["expires_utc"]) if is_same else expires,
                        acquired_utc=row["acquired_utc"] if is_same else now,
                    )
                )
                return replace(lease, token=token, is_reentered=is_same), None
        except IntegrityError:  # two workers inserted the first row of this lease at once: the loser tries again
            return self._try_acquire(environment, partition, stage, owner, ttl_s, is_alone=is_alone)

    def fence(self, lease: Lease, part: str) -> Lease:
        """`lease`, narrowed to a part of its work that tasks of one run share out, such as a chunk.

        Whoever fenced the same part before can no longer write: a retried task thereby excludes its earlier try, which
        may only have been paused. Raises `LeaseLost` if `lease` itself is no longer valid.
        """
        digest = hashlib.sha256(part.encode()).hexdigest()[:_PART_DIGITS]
        narrow = replace(lease, stage=f"{lease.stage}/{digest}", part=None)
        mine = lease_row(lease.environment, lease.partition, narrow.stage)
        try:
            with self._database.writing(lease) as connection:
                token = connection.execute(
                    select(schema.lease.c.token).where(mine).with_for_update()
                ).scalar_one_or_none()
                if token is None:
                    narrow = replace(narrow, token=1)
                    _insert(connection, narrow)
                else:
                    narrow = replace(narrow, token=token + 1)
                    values = {"owner": lease.owner, "token": narrow.token, "expires_utc": lease.expires_utc}
                    connection.execute(update(schema.lease).where(mine).values(values))
        except IntegrityError:  # two tries inserted the first row of this part at once: the loser comes second
            return self.fence(lease, part)
        return replace(lease, part=narrow)

    def renew(self, lease: Lease, *, ttl_s: float) -> None:
        """Extend the lease to `ttl_s` from now. Raises `LeaseLost` if another run holds it now."""
        expires = self._database.clock() + timedelta(seconds=ttl_s)
        with self._database.writing() as connection:
            check_lease(connection, lease, will_change=True)
            connection.execute(
                update(schema.lease)
                .where(lease_row(lease.environment, lease.partition, lease.stage))
                .values(expires_utc=expires)
            )

    def release(self, lease: Lease) -> None:
        """Release the lease; does nothing if another run holds it now."""
        with contextlib.suppress(LeaseLost), self._database.writing() as connection:
            check_lease(connection, lease, will_change=True)
            connection.execute(
                update(schema.lease)
                .where(lease_row(lease.environment, lease.partition, lease.stage))
                .values(owner=None, expires_utc=self._database.clock())
            )

    def require(self, lease: Lease) -> None:
        """Raises `LeaseLost` if the lease has a new holder; call it right before an effect outside the ledger."""
        with self._database.reading() as connection:
            check_lease(connection, lease)

    def held(self, environment: Environment) -> set[tuple[str, str, str]]:
        """Table, key and stage of every lease that somebody holds now."""
        lease = schema.lease.c
        query = select(lease.table_name, lease.partition_key, lease.stage).where(
            in_environment(schema.lease, environment),
            lease.owner.is_not(None),
            lease.expires_utc > self._database.clock(),
        )
        with self._database.reading() as connection:
            return {(row.table_name, row.partition_key, row.stage) for row in connection.execute(query)}

    def _renew_until(self, lease: Lease, ttl_s: float, stop: threading.Event) -> None:
        while not stop.wait(ttl_s / 3):
            try:
                self.renew(lease, ttl_s=ttl_s)
            except LeaseLost:
                return  # lease.lost is set; the next write of the holder fails
            except Transient:
                continue  # the database is down: the lease stays valid until it expires


def _insert(connection: Connection, lease: Lease) -> None:
    connection.execute(
        insert(schema.lease).values(
            source_id=lease.environment.source_id,
            target_id=lease.environment.target_id,
            table_name=lease.partition.table.name,
            partition_key=lease.partition.key,
            stage=lease.stage,
            owner=lease.owner,
            token=lease.token,
            acquired_utc=lease.expires_utc,
            expires_utc=lease.expires_utc,
        )
    )
