"""The quota governor: whether another ingest job may start now, and if not, exactly when it may.

The ledger's window counts across workers and restarts. It is corrected by the org's own figures: `/limits` is read
every ten minutes, every minute while the window is nearly full, and at once when the org refuses a job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kpc.errors import KpcError, QuotaExhausted
from kpc.ledger import Allowance, JobIntent, JobRow, Lease, Ledger, OrgUsage
from kpc.ledger.query_jobs import QueryAllowance
from kpc.ledger.quota import QuotaRequest
from kpc.partition import Sibling
from kpc.salesforce.answers import LOOK_AGAIN, AllowanceRefused
from kpc.salesforce.limits import Limit
from kpc.settings import SalesforceSettings
from kpc.storage.store import disk_may_fill

if TYPE_CHECKING:
    from kpc.salesforce import QueryPages, Salesforce
    from kpc.salesforce.page_reading import PageReader

log = logging.getLogger(__name__)

CALLS_PER_JOB = 15  # create, upload, close, about nine polls, results
_NEARLY_FULL = 0.8
_FULL = 0.97
_FRESH = timedelta(seconds=5)
_TIGHT = timedelta(seconds=60)
_NO_LIMIT = Limit(0, 0)


def allowance_of(settings: SalesforceSettings) -> Allowance:
    """What the org allows in 24 hours, and our share of it, from the settings."""
    return Allowance(
        rows=settings.daily_rows,
        batches=settings.daily_batches,
        share=settings.quota_share,
        reserve=settings.retry_reserve,
        call_share=settings.call_share,
    )


@dataclass(frozen=True)
class Governor:
    """One worker's access to an org's quota. `read_limits` reads the org's `/limits`."""

    ledger: Ledger
    settings: SalesforceSettings
    target_id: str
    read_limits: Callable[[], Mapping[str, Limit]]
    run_id: str = ""

    @property
    def allowance(self) -> Allowance:
        return allowance_of(self.settings)

    def intend(self, intent: JobIntent, lease: Lease, siblings: Sequence[Sibling] = ()) -> JobRow | None:
        """Claim quota and a slot for a job; None while all slots are taken.

        Raises `QuotaExhausted` (before a slot is taken) with the time at which there is room, `Paused` if new jobs
        are paused, `SiblingLoading` while a job of one of `siblings` is in flight.
        """
        self._refresh_limits()
        return self.ledger.jobs.intend(
            intent,
            slots=self.settings.jobs_in_flight,
            allowance=self.allowance,
            lease=lease,
            calls=CALLS_PER_JOB,
            siblings=siblings,
        )

    def confirm(self) -> None:
        """Check again right before a job is closed: others may have used its quota since it was intended.

        Raises `QuotaExhausted`; the job then stays Open, which costs nothing, and is closed when there is room.
        """
        state = self.ledger.quota.state(self.target_id)
        if state.batches + state.others_batches <= _FULL * self.settings.daily_batches:
            return
        if state.read_utc is None or self.ledger.clock() - state.read_utc > _FRESH:
            with self.translate_quota_errors():
                self._read()
        # Its own rows and batches are already reserved.
        self.ledger.quota.check(self.target_id, QuotaRequest(0, 0, is_repair=True), self.allowance)

    def bulk_query(
        self,
        salesforce: Salesforce,
        soql: str,
        folder: Path,
        *,
        rows: int | None = None,
        reader: PageReader | None = None,
    ) -> QueryPages:
        """Run a bulk query (`Salesforce.bulk_query`) within the org's allowance of query jobs and of their results.

        Raises `QuotaExhausted` before the job is created, with the time from which there is room.
        """
        settings = self.settings
        share = settings.quota_share
        allowance = QueryAllowance(int(settings.daily_query_jobs * share), int(settings.daily_query_bytes * share))
        object_name = soql.partition(" FROM ")[2].partition(" ")[0]
        number = self.ledger.query_jobs.begin(self.target_id, object_name, allowance, self.run_id)
        with disk_may_fill(folder / "a page of records"):
            pages = salesforce.bulk_query(soql, folder, rows=rows, reader=reader)
        self.ledger.query_jobs.finish(number, rows=pages.rows, raw_bytes=pages.raw_bytes)
        return pages

    def check(self, intent: JobIntent) -> None:
        """Raise `QuotaExhausted` if such a job could not start now; claims nothing."""
        self._refresh_limits()
        self.ledger.quota.check(self.target_id, intent.request(CALLS_PER_JOB), self.allowance)

    @contextmanager
    def translate_quota_errors(self) -> Iterator[None]:
        """Wrap requests to the org: if it refuses one because its quota is used up, block new jobs for all workers."""
        try:
            yield
        except AllowanceRefused as refused:
            raise self._stopped(refused) from None

    def stop(self, reason: str) -> QuotaExhausted:
        """Block new jobs for all workers after the org refused a request for lack of quota; reads `/limits` again.

        Returns the error to raise, with the time at which the block ends.
        """
        now = self.ledger.clock()
        try:
            self._read()
        except KpcError as unread:  # /limits may be refused as well; then block without its figures
            log.warning("%s", unread)
        until = now + LOOK_AGAIN
        if (oldest := self.ledger.quota.next_expiry(self.target_id)) is not None:
            until = max(now + _TIGHT, min(until, oldest))
        self.ledger.quota.block(self.target_id, until, reason)
        return QuotaExhausted(
            f"Salesforce refused a request because its quota is used up: {reason}",
            f"No new job starts before {until:%Y-%m-%d %H:%M:%S} UTC (`kpc status` shows what is used and by whom); "
            "then run the load again; it continues where it stopped.",
            next_free_utc=until,
        )

    def _stopped(self, refused: AllowanceRefused) -> QuotaExhausted:
        return self.stop(refused.reason)

    def _refresh_limits(self) -> None:
        """Read `/limits` if the last reading is too old; the less quota is left, the sooner."""
        state = self.ledger.quota.state(self.target_id)
        most = min(self.settings.daily_batches * self.settings.quota_share, self.settings.daily_batches)
        is_tight = state.batches + state.others_batches > _NEARLY_FULL * most
        longest = _TIGHT if is_tight else timedelta(seconds=self.settings.limits_every_s)
        if state.read_utc is not None and self.ledger.clock() - state.read_utc < longest:
            return
        with self.translate_quota_errors():
            self._read()

    def _read(self) -> None:
        limits = self.read_limits()
        batches, calls = (limits.get(name, _NO_LIMIT) for name in ("DailyBulkApiBatches", "DailyApiRequests"))
        usage = OrgUsage(batches.max, batches.max - batches.remaining, calls.max, calls.max - calls.remaining)
        self.ledger.quota.record_limits(self.target_id, usage)
