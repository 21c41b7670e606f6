"""The ledger: everything that must survive a crash, a restart and the people who were there."""

from __future__ import annotations

from kpc.ledger.attempts import Attempts
from kpc.ledger.audit import Audit
from kpc.ledger.database import Clock, make_engine, utc_now
from kpc.ledger.failed_records import FailedRecords
from kpc.ledger.jobs import Jobs
from kpc.ledger.leases import Leases
from kpc.ledger.memory import Memory
from kpc.ledger.migrate import migrate
from kpc.ledger.pauses import Pauses
from kpc.ledger.proofs import Proofs
from kpc.ledger.stage_runs import StageRuns


class Ledger(Leases, StageRuns, Attempts, Jobs, Pauses, FailedRecords, Proofs, Memory, Audit):
    """One door to the durable memory; each parent class is one thought of it.

    Safe to share between threads; every process opens its own. Each write is one transaction, and a write that belongs
    to a stage checks the stage's lease in it.
    """


def open_ledger(url: str, *, clock: Clock = utc_now, is_durable: bool = True) -> Ledger:
    """The ledger at `url` (`sqlite:///FILE` or `postgresql+psycopg2://...`), its schema brought up to date.

    One that is not durable (SQLite only) does not wait for the disk: for simulations, whose memory nobody needs.
    Raises `ConfigError` for a wrong address, wrong credentials or a newer schema, `Transient` when the database does
    not answer.
    """
    engine = make_engine(url, is_durable=is_durable)
    try:
        migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return Ledger(engine, clock)
