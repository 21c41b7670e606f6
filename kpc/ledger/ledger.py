"""The ledger: everything that must survive a crash or a restart."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import datetime

from kpc.ledger.alerts import Alerts
from kpc.ledger.attempts import Attempts
from kpc.ledger.audit_log import AuditLog
from kpc.ledger.campaigns import Campaigns
from kpc.ledger.chunks import Chunks
from kpc.ledger.constants import Constants
from kpc.ledger.database import Clock, Database, make_engine, utc_now
from kpc.ledger.endpoints import Endpoints
from kpc.ledger.failures import Failures
from kpc.ledger.generations import Generations
from kpc.ledger.jobs import Jobs
from kpc.ledger.leases import Leases
from kpc.ledger.mappings import Mappings
from kpc.ledger.migrate import migrate
from kpc.ledger.object_checks import ObjectChecks
from kpc.ledger.org_facts import OrgFacts
from kpc.ledger.overview import Overview
from kpc.ledger.partition_work import PartitionWorkQueries
from kpc.ledger.pauses import Pauses
from kpc.ledger.progress import SignsOfProgress
from kpc.ledger.query_jobs import QueryJobs
from kpc.ledger.quota import Quota
from kpc.ledger.reconciliations import Reconciliations
from kpc.ledger.scope import CampaignScope
from kpc.ledger.sign_offs import SignOffs
from kpc.ledger.snapshots import Snapshots
from kpc.ledger.source_checks import SourceChecks
from kpc.ledger.sources import Sources
from kpc.ledger.stage_runs import StageRuns

log = logging.getLogger(__name__)


class Ledger:
    """All durable state; each attribute covers one subject, with one or two tables.

    Safe to share between threads; every process opens its own. Each write is one transaction; a write of a stage checks
    the stage's lease in that transaction.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.endpoints = Endpoints(database)
        self.sources = Sources(database)
        self.org_facts = OrgFacts(database)
        self.mappings = Mappings(database)
        self.constants = Constants(database)
        self.scope = CampaignScope(database)
        self.campaigns = Campaigns(database)
        self.leases = Leases(database)
        self.generations = Generations(database)
        self.stages = StageRuns(database, self.generations)
        self.work = PartitionWorkQueries(database, self.generations)
        self.attempts = Attempts(database)
        self.chunks = Chunks(database)
        self.jobs = Jobs(database)
        self.quota = Quota(database)
        self.query_jobs = QueryJobs(database)
        self.pauses = Pauses(database)
        self.failures = Failures(database)
        self.reconciliations = Reconciliations(database)
        self.sign_offs = SignOffs(database)
        self.snapshots = Snapshots(database)
        self.source_checks = SourceChecks(database)
        self.object_checks = ObjectChecks(database)
        self.progress = SignsOfProgress(database)
        self.alerts = Alerts(database)
        self.overview = Overview(database)
        self.audit = AuditLog(database)

    def clock(self) -> datetime:
        """The current time, as used in the ledger's entries."""
        return self.database.clock()

    def together(self) -> AbstractContextManager[None]:
        """One transaction for all of this thread's calls in the block."""
        return self.database.together()

    def close(self) -> None:
        self.database.close()


def open_ledger(url: str, *, clock: Clock = utc_now, is_durable: bool = True, makes_folder: bool = True) -> Ledger:
    """The ledger at `url` (`sqlite:///FILE` or `postgresql+psycopg2://...`), its schema brought up to date.

    Without `makes_folder`, a SQLite file's folder must exist: a typing error must not begin a second ledger.
    With `is_durable` false (SQLite only) it does not wait for the disk: for simulations, whose ledger is discarded.
    Raises `ConfigError` for a wrong address, wrong credentials or a newer schema, `Transient` when the database does
    not answer.
    """
    engine = make_engine(url, is_durable=is_durable, makes_folder=makes_folder)
    try:
        is_new = migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    if is_new and is_durable:  # after a typing error in the address, this line is all that tells
        log.info("A new, empty ledger was made: %s", engine.url.render_as_string(hide_password=True))
    return Ledger(Database(engine, clock))
