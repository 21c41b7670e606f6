"""Polling an ingest job with adaptive backoff until it has ended."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from kpc.errors import RateLimited, SalesforceDown, Terminal, Transient
from kpc.ledger.states import JobState
from kpc.load.chunk_load import ChunkLoad
from kpc.salesforce import JobInfo
from kpc.salesforce.constants import RESULT_DAYS
from kpc.settings import SalesforceSettings

log = logging.getLogger(__name__)

_OUTAGE_S = 600.0  # give up polling a job after this long without a response
_EARLY_SHARE = 0.5  # of the estimated remaining time: poll again then
_PATIENT_SHARE = 0.03  # of a job's age: the shortest poll interval
_FASTEST_ROWS_PER_S = 100_000  # upper bound on how fast an org processes a job


@dataclass(frozen=True, slots=True)
class JobProgress:
    """An ingest job's progress: Salesforce's `state`, rows processed so far, and the wait until the next poll."""

    state: str
    processed: int
    rows: int
    wait_s: float
    is_final: bool


def follow_job(load: ChunkLoad, job_id: str) -> JobInfo:
    """Poll the job until it ends, tolerating outages of some minutes.

    Raises `Transient` after `job_timeout_s`; the job itself continues.
    """
    settings = load.settings
    deadline = time.monotonic() + settings.job_timeout_s
    answered_s = time.monotonic()
    while time.monotonic() < deadline:
        wait_s = settings.poll_longest_s
        try:
            info, state = poll_job(load, job_id)
        except (SalesforceDown, RateLimited) as outage:
            if time.monotonic() - answered_s > _OUTAGE_S:
                raise
            log.warning("%s: %s Polling job %s again.", load, outage.what, job_id)
        else:
            if info.state.is_final:
                return info
            answered_s, wait_s = time.monotonic(), state.wait_s
        load.pause(wait_s)
    raise Transient(
        f"Ingest job {job_id} of {load} has not ended after {settings.job_timeout_s:,.0f} s.",
        "Run the load again; it resumes with this job.",
    )


def poll_job(load: ChunkLoad, job_id: str) -> tuple[JobInfo, JobProgress]:
    """Poll a job once and record that a worker is following it."""
    info = ask(load, job_id)
    job = load.job(job_id)
    load.ledger.jobs.touch(job.id, processed=info.processed, lease=load.lease)
    elapsed_s = (load.context.clock() - (job.closed_utc or job.intent_utc)).total_seconds()
    return info, job_progress(load, info, max(0.0, elapsed_s))


def ask(load: ChunkLoad, job_id: str) -> JobInfo:
    """The job's state in the org. Raises `Terminal` if the job no longer exists (after 7 days, or deleted by hand)."""
    info = load.salesforce.job(job_id)
    if info is None:
        load.end_job(load.job(job_id), JobState.GIVEN_UP, "no longer in the org")
        raise Terminal(
            f"The org no longer knows ingest job {job_id} of {load}.",
            f"Results are kept for {RESULT_DAYS} days. Run the load again: the chunk is sent again, and the upsert "
            "creates no duplicates.",
        )
    return info


def job_progress(load: ChunkLoad, info: JobInfo, elapsed_s: float) -> JobProgress:
    wait_s = next_poll_s(load.settings, load.spec.rows, info.processed, elapsed_s)
    return JobProgress(info.state.value, info.processed, load.spec.rows, wait_s, info.state.is_final)


def next_poll_s(settings: SalesforceSettings, rows: int, processed: int, elapsed_s: float) -> float:
    """Seconds until the next poll: half of the remaining time as estimated from the rows processed so far.

    Large and old jobs are polled less often: a job of 500,000 rows needs about nine polls.
    """
    remaining_s = elapsed_s
    if processed:
        remaining_s = elapsed_s * max(0, rows - processed) / processed
    shortest_s = max(settings.poll_first_s, rows / _FASTEST_ROWS_PER_S, _PATIENT_SHARE * elapsed_s)
    return min(settings.poll_longest_s, max(shortest_s, _EARLY_SHARE * remaining_s))
