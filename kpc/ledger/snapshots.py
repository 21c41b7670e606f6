"""The SCNs at which parents and children of one partition key are read together, booked by whichever is read first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from kpc.ledger import schema
from kpc.ledger.database import Database
from kpc.ledger.partition_filters import in_environment, in_partition, partition_values
from kpc.partition import Environment, Partition

_SNAPSHOT = schema.snapshot


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A booked SCN; `taken_utc` is right before Oracle was asked for it, `booked_by` the table that was read first."""

    scn: int
    taken_utc: datetime
    booked_by: str


@dataclass(frozen=True, slots=True)
class SnapshotWish:
    """Which booked SCNs a reader may use: newer than `above`, taken at `since` or later (None: at any time).

    `family` is the partition of the family's first table; `table` is the reader's own, whose bookings it never uses
    again: what it booked it has read, or given up.
    """

    family: Partition
    table: str
    above: int
    since: datetime | None


class Snapshots:
    """All booked SCNs; the newest that suits applies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usable(self, environment: Environment, wish: SnapshotWish) -> Snapshot | None:
        """The newest booked SCN that suits the reader; None if there is none."""
        with self._database.reading() as connection:
            return _usable(connection, environment, wish)

    def book(
        self, environment: Environment, wish: SnapshotWish, *, scn: int, taken_utc: datetime, run_id: str
    ) -> Snapshot:
        """Book an SCN for the family, unless another reader was first: then its booking, which suits too."""
        name = f"snapshot {environment} {wish.family}"
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, name)
            other = _usable(connection, environment, wish)
            if other is not None:
                return other
            known = in_partition(_SNAPSHOT, environment, wish.family) & (_SNAPSHOT.c.scn == scn)
            if connection.execute(select(_SNAPSHOT.c.id).where(known)).one_or_none() is None:
                connection.execute(
                    insert(_SNAPSHOT).values(
                        **partition_values(environment, wish.family),
                        scn=scn,
                        taken_utc=taken_utc,
                        booked_by=wish.table,
                        run_id=run_id,
                    )
                )
        return Snapshot(scn, taken_utc, wish.table)

    def give_up(self, environment: Environment, family: Partition, scn: int, *, booked_by: str | None = None) -> None:
        """Let nobody else use an SCN that could not be read; with `booked_by` only if that table booked it."""
        which = in_partition(_SNAPSHOT, environment, family) & (_SNAPSHOT.c.scn == scn)
        if booked_by is not None:
            which &= _SNAPSHOT.c.booked_by == booked_by
        with self._database.writing() as connection:
            connection.execute(update(_SNAPSHOT).where(which).values(given_up_utc=self._database.clock()))

    def taken_utc(self, environment: Environment, family: Partition, scn: int) -> datetime | None:
        """When an SCN was taken; None for one that an older version took."""
        which = in_partition(_SNAPSHOT, environment, family) & (_SNAPSHOT.c.scn == scn)
        with self._database.reading() as connection:
            taken: datetime | None = connection.execute(select(_SNAPSHOT.c.taken_utc).where(which)).scalar()
        return taken

    def time_of(self, environment: Environment, scn: int) -> datetime | None:
        """When an SCN was taken, whichever family booked it; None if none did."""
        which = in_environment(_SNAPSHOT, environment) & (_SNAPSHOT.c.scn == scn)
        with self._database.reading() as connection:
            taken: datetime | None = connection.execute(select(_SNAPSHOT.c.taken_utc).where(which)).scalars().first()
        return taken


def _usable(connection: Connection, environment: Environment, wish: SnapshotWish) -> Snapshot | None:
    suits = (
        in_partition(_SNAPSHOT, environment, wish.family)
        & (_SNAPSHOT.c.scn > wish.above)
        & (_SNAPSHOT.c.booked_by != wish.table)
        & _SNAPSHOT.c.given_up_utc.is_(None)
    )
    if wish.since is not None:
        suits &= _SNAPSHOT.c.taken_utc >= wish.since
    columns = [_SNAPSHOT.c[name] for name in Snapshot.__slots__]
    query = select(*columns).where(suits).order_by(_SNAPSHOT.c.scn.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return Snapshot(**row) if row else None
