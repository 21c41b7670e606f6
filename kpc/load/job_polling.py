"""Following an ingest job until it has ended, with the process's one poller (`kpc.salesforce.job_poller`)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from kpc.errors import RateLimited, SalesforceDown, Terminal, Transient
from kpc.ledger.states import IN_FLIGHT, JobState
from kpc.load.chunk_load import ChunkLoad
from kpc.salesforce import BulkJobState, JobInfo
from kpc.salesforce.constants import RESULT_DAYS
from kpc.salesforce.job_pace import Pace
from kpc.salesforce.job_poller import WAKE_S

log = logging.getLogger(__name__)

NO_LONGER_IN_ORG = "no longer in the org"  # why a job was given up whose results nobody can read any more
_OUTAGE_S = 600.0  # give up polling a job after this long without a response
_SHORTEST_S = 0.005  # between two looks at the poller: another thread may be asking for this job at this moment


@dataclass(frozen=True, slots=True)
class JobProgress:
    """An ingest job's progress: Salesforce's `state`, rows processed so far, and the wait until the next poll.

    `expected_s` is how long the org works on it at the pace of the latest job of its object; 0 if none is known.
    """

    state: str
    processed: int
    rows: int
    wait_s: float
    is_final: bool
    expected_s: float = 0.0


def follow_job(load: ChunkLoad, job_id: str) -> None:
    """Poll the job until it ends, tolerating outages of some minutes.

    Raises `Transient` after `job_timeout_s`; the job itself continues.
    """
    settings, poller = load.settings, load.salesforce.poller
    deadline = time.monotonic() + settings.job_timeout_s
    try:
        while time.monotonic() < deadline:
            wait_s = WAKE_S
            try:
                progress = poll_job(load, job_id)
            except (SalesforceDown, RateLimited) as outage:
                if poller.silent_s > _OUTAGE_S:
                    raise
                log.warning("%s: %s Polling job %s again.", load, outage.what, job_id)
            else:
                if progress.is_final:
                    return
                wait_s = progress.wait_s
            load.pause(min(max(wait_s, _SHORTEST_S), WAKE_S))
    finally:
        poller.forget(job_id)
    raise Transient(
        f"Ingest job {job_id} of {load} has not ended after {settings.job_timeout_s:,.0f} s.",
        "Run the load again; it resumes with this job.",
    )


def poll_job(load: ChunkLoad, job_id: str) -> JobProgress:
    """The job as last seen, polled if that is due; records that a worker is following it, and that its slot is free.

    Raises `Terminal` if the job no longer exists.
    """
    client = load.salesforce
    poller = client.poller
    if not poller.is_following(job_id):
        _follow(load, job_id)
    sighting = poller.poll(job_id, client.poll_ingest_job, client.list_ingest_states)
    if sighting.is_gone:
        raise _gone(load, job_id)
    if sighting.is_news:
        load.ledger.jobs.touch(load.job(job_id).id, processed=sighting.processed, lease=load.lease)
    if sighting.is_final:
        _remember_pace(load)
        _free_slot(load, job_id, sighting.state)
    pace = None if sighting.is_final else _remembered_pace(load)
    expected_s = load.spec.rows / pace.rows_per_s if pace and pace.rows_per_s else 0.0
    return JobProgress(
        sighting.state.value, sighting.processed, load.spec.rows, sighting.wait_s, sighting.is_final, expected_s
    )


def _free_slot(load: ChunkLoad, job_id: str, state: BulkJobState) -> None:
    """Record the end of a job that is complete; what another end means is found when its results are read.

    The task that reads them may wait long for a worker. Until then no other chunk could begin, and if those held all
    workers while they wait for a slot, it would get none.
    """
    if state is BulkJobState.JOB_COMPLETE:
        job = load.job(job_id)
        if job.state in IN_FLIGHT:
            load.end_job(job, JobState.ENDED)


def ask(load: ChunkLoad, job_id: str) -> JobInfo:
    """The job's state in the org. Raises `Terminal` if the job no longer exists (after 7 days, or deleted by hand)."""
    info = load.salesforce.job(job_id)
    if info is None:
        raise _gone(load, job_id)
    return info


def _gone(load: ChunkLoad, job_id: str) -> Terminal:
    load.end_job(load.job(job_id), JobState.GIVEN_UP, NO_LONGER_IN_ORG)
    return Terminal(
        f"The org no longer knows ingest job {job_id} of {load}.",
        f"Results are kept for {RESULT_DAYS} days. Run the load again: the chunk is sent again, and the upsert "
        "creates no duplicates.",
    )


def _follow(load: ChunkLoad, job_id: str) -> None:
    """Hand the job to the poller, with what the ledger knows about it and about earlier jobs."""
    job, now, poller, kind = load.job(job_id), load.context.clock(), load.salesforce.poller, _kind(load)
    age_s = max(0.0, (now - (job.closed_utc or job.intent_utc)).total_seconds())
    seen_ago_s = max(0.0, (now - job.touched_utc).total_seconds())
    if pace := _remembered_pace(load):
        poller.learn(kind, pace)
    poller.follow(
        job_id,
        kind,
        load.spec.rows,
        age_s=age_s,
        seen_ago_s=seen_ago_s if job.state in IN_FLIGHT else age_s,  # an ended one is polled at once
        processed=job.processed or 0,
    )


def _kind(load: ChunkLoad) -> str:
    return f"{load.spec.operation} {load.table.target}"


def _remembered_pace(load: ChunkLoad) -> Pace | None:
    """The pace of the latest job of this object, in any process, as `rows rows_per_s`."""
    text = load.ledger.org_facts.find(load.salesforce.org_id, f"pace {_kind(load)}")
    if text is None:
        return None
    rows, rows_per_s = text.split()
    return Pace(int(rows), float(rows_per_s))


def _remember_pace(load: ChunkLoad) -> None:
    if pace := load.salesforce.poller.latest_pace(_kind(load)):
        load.ledger.org_facts.remember(
            load.salesforce.org_id, f"pace {_kind(load)}", f"{pace.rows} {pace.rows_per_s:.3f}"
        )
