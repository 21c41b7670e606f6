"""The SCN at which a partition is read: the one of its parents and children where that is right, otherwise a new one.

Lines are inserted together with their header. If both are read at one SCN, no line is without its header and no header
without its lines. So the first of a family that is read books its SCN in the ledger, and the others use it:

    first read of a partition             any booked SCN that undo still reaches
    read again                            a new SCN: a repaired source must be read. Only an SCN that a relative booked
                                          after this run was requested is as good, as in a backfill of the family
    the SCN was lost, the data unreadable never that SCN again
    a pass over a whole table             one SCN for all months, shared with the passes of its relatives in the same
                                          way; each month then books it for its own relatives
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from kpc.catalog import family
from kpc.errors import DataUnreadable, SnapshotLost
from kpc.extract.statements import first_row
from kpc.ledger import GenerationRow, Snapshot, SnapshotWish
from kpc.partition import Partition
from kpc.stages.context import PartitionContext

log = logging.getLogger(__name__)

_NONE, _ANY = -1, 2**62  # less and greater than any SCN


def choose_scn(context: PartitionContext, since: datetime | None, *, read_before: int | None = None) -> int:
    """The SCN for a new read of the partition; it is booked for the relatives.

    `since`: when the run was requested; None lets a partition that was read before use an older booking too.
    `read_before`: the newest SCN at which it was read, if that is not known from its generations.
    Raises `OracleDown`.
    """
    own = read_before
    if own is None:
        own = context.ledger.generations.newest_scn(context.environment, context.partition)
    is_first = own is None
    wish = SnapshotWish(
        _family(context), context.table.name, _NONE if own is None else own, None if is_first else since
    )
    while True:
        booked = context.ledger.snapshots.usable(context.environment, wish) or _book_new(context, wish)
        if booked.booked_by == context.table.name or _is_readable(context, booked):
            return booked.scn
        wish = SnapshotWish(wish.family, wish.table, booked.scn, wish.since)


def _book_new(context: PartitionContext, wish: SnapshotWish) -> Snapshot:
    taken = context.clock()  # before the SCN: what changes later than the SCN has a later time
    scn = context.oracle.current_scn()
    return context.ledger.snapshots.book(context.environment, wish, scn=scn, taken_utc=taken, run_id=context.run_id)


def _is_readable(context: PartitionContext, booked: Snapshot) -> bool:
    """Whether undo still reaches a booked SCN, asked of the table itself; a later read may find that it does not.

    One of a former incarnation of the database names a moment of another history.
    """
    if context.workspace.is_of_former_incarnation(booked.taken_utc):
        return False
    try:
        with context.oracle.session(f"scn {context}", context.table.name) as session:
            list(session.rows(first_row(context.oracle.owner, context.table, booked.scn)))
    except SnapshotLost as lost:
        log.warning(
            "%s cannot be read at SCN %d, at which %s was read, and takes another one: %s",
            *(context, booked.scn, booked.booked_by, lost.what),
        )
        return False
    log.info("%s is read at SCN %d, as %s was", context, booked.scn, booked.booked_by)
    return True


def choose_pass_scn(context: PartitionContext, months: Iterable[Partition]) -> int:
    """The SCN of a pass over the whole table: that of a relative's pass, unless one of its months was read before."""
    newest = context.ledger.generations.newest_scn
    read = [newest(context.environment, month) for month in months]
    read_before = max((scn for scn in read if scn is not None), default=None)
    return choose_scn(context, context.asked_utc or context.clock(), read_before=read_before)


@contextmanager
def giving_up(context: PartitionContext, scn: int) -> Iterator[None]:
    """Let no later pass use the SCN of one that could not be read."""
    try:
        yield
    except (SnapshotLost, DataUnreadable):
        context.ledger.snapshots.give_up(context.environment, _family(context), scn)
        raise


def book_month_of_pass(context: PartitionContext, whole: PartitionContext, scn: int) -> None:
    """Book the SCN of a finished pass for the relatives of one of its months, with the time at which it was taken."""
    environment, snapshots = context.environment, context.ledger.snapshots
    taken = snapshots.taken_utc(environment, _family(whole), scn)
    if taken is not None:
        wish = SnapshotWish(_family(context), context.table.name, _ANY, None)
        snapshots.book(environment, wish, scn=scn, taken_utc=taken, run_id=context.run_id)


def give_up_own(context: PartitionContext, scn: int) -> None:
    """Keep the relatives from an SCN that this partition booked and could not read."""
    context.ledger.snapshots.give_up(context.environment, _family(context), scn, booked_by=context.table.name)


def taken_utc(context: PartitionContext, generation: GenerationRow) -> datetime:
    """When a generation's SCN was taken: before the generation began, if a relative had booked it."""
    taken = context.ledger.snapshots.taken_utc(context.environment, _family(context), generation.scn)
    return generation.started_utc if taken is None else min(taken, generation.started_utc)


def _family(context: PartitionContext) -> Partition:
    return Partition(next(iter(family(context.table)), context.table), context.key)
