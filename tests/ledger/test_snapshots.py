"""The SCN that parents and children of one key share is booked once, whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from ledger_samples import JANUARY, PRODUCTION, SANDBOX
from moved_clock import MovedClock

from kpc.ledger import Ledger, Snapshot, SnapshotWish
from kpc.partition import Environment, Partition

TABLES = ("KPS_T_SALES_M", "KPS_T_SALES_MD", "KPS_T_SALESPAY_MD")


def book(ledger: Ledger, table: str, scn: int, *, above: int = -1, where: Environment = SANDBOX) -> Snapshot:
    wish = SnapshotWish(JANUARY, table, above, None)
    return ledger.snapshots.book(where, wish, scn=scn, taken_utc=ledger.clock(), run_id="r")


def test_readers_that_begin_together_agree(ledger: Ledger) -> None:
    """Each brings an SCN of its own; all leave with the one that was booked first."""
    with ThreadPoolExecutor(len(TABLES)) as pool:
        booked = list(pool.map(lambda number: book(ledger, TABLES[number], 100 + number), range(len(TABLES))))
    assert len({one.scn for one in booked}) == 1
    assert len({one.booked_by for one in booked}) == 1


def test_what_suits_a_reader(ledger: Ledger, clock: MovedClock) -> None:
    """Not its own booking, not one that it has read, none from before its request, none that was given up."""
    headers, lines, payments = TABLES
    assert book(ledger, headers, 10).scn == 10
    assert book(ledger, lines, 11).scn == 10
    assert book(ledger, lines, 12, above=10).scn == 12  # read before at 10
    assert book(ledger, headers, 13).scn == 12
    clock.now += timedelta(hours=1)
    late = SnapshotWish(JANUARY, payments, -1, clock.now)
    assert ledger.snapshots.usable(SANDBOX, late) is None
    any_time = SnapshotWish(JANUARY, payments, -1, None)
    ledger.snapshots.give_up(SANDBOX, JANUARY, 12, booked_by=headers)  # not its own
    assert ledger.snapshots.usable(SANDBOX, any_time) == Snapshot(12, clock.now - timedelta(hours=1), lines)
    ledger.snapshots.give_up(SANDBOX, JANUARY, 12, booked_by=lines)
    found = ledger.snapshots.usable(SANDBOX, any_time)
    assert found is not None
    assert found.scn == 10


def test_bookings_of_other_systems_and_months_do_not_count(ledger: Ledger) -> None:
    """A rehearsal against the sandbox books nothing for production."""
    book(ledger, TABLES[0], 10)
    assert book(ledger, TABLES[1], 20, where=PRODUCTION).scn == 20
    february = SnapshotWish(Partition(JANUARY.table, "2024-02"), TABLES[1], -1, None)
    assert ledger.snapshots.usable(SANDBOX, february) is None
    assert ledger.snapshots.taken_utc(SANDBOX, JANUARY, 10) == ledger.clock()
    assert ledger.snapshots.taken_utc(SANDBOX, JANUARY, 20) is None
