"""One ingest job per chunk, started or resumed where a crash interrupted it.

The ledger is written before each request; when an outcome is unknown, the server is asked:

    intended  the create may or may not have arrived      look for a job that can only be ours, else create another
    open      the upload is unconfirmed                   upload again; if the job refuses it, abort and create another
    closing   UploadComplete may or may not have arrived  ask for the state; if still Open, close again
    closed    Salesforce is processing the job            read its results when it has ended
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kpc.errors import NoFreeSlot, OutcomeUnknown, SiblingLoading, Transient
from kpc.ledger import JobRow
from kpc.ledger.states import JobPurpose, JobState
from kpc.load.chunk_load import ChunkLoad, chunk_intent
from kpc.load.created_records import keep_found
from kpc.load.job_polling import NO_LONGER_IN_ORG
from kpc.load.upload_encoding import encodings, is_about_gzip, note_refusal
from kpc.partition import siblings
from kpc.salesforce import BulkJobState, Encoding, JobInfo, Refused

log = logging.getLogger(__name__)

_FRESH_JOBS = 6  # jobs created for one chunk in one call before we give up
_CLOCK_SKEW = timedelta(minutes=2)
_SLOT_PAUSE_S = 1.0
_SLOT_LOOK = timedelta(seconds=10)  # of a task that gives its worker back


def start_job(load: ChunkLoad) -> str:
    """The id of the chunk's job, which is created, uploaded and closed as far as still needed.

    Raises `QuotaExhausted`, `Superseded`, `LeaseLost`, `DamagedFile` before any quota is used.
    """
    for number in range(_FRESH_JOBS):
        if number:
            load.pause(load.settings.poll_first_s * 2**number)
        job = load.live_job()
        if job is None:
            load.chunk_file()
            _keep_lost(load)
            info = _create(_intend(load), load)
        elif job.job_id is None:
            info = recover_job(job, load)
        elif job.state in (JobState.CLOSED, JobState.ENDED, JobState.COMPLETE):
            return job.job_id
        else:
            info = load.salesforce.job(job.job_id)
            if info is None:
                load.end_job(job, JobState.GIVEN_UP, "not closed")
        if info is not None and _resume(info, load):
            return info.id
    raise Transient(
        f"{load}: {_FRESH_JOBS} ingest jobs in a row could not be created, uploaded and closed.",
        "Check Setup > Bulk Data Load Jobs and the log; then run the load again.",
    )


def _keep_lost(load: ChunkLoad) -> None:
    """Before a chunk is sent again: what a job has written that was closed, and whose results nobody can read."""
    for job in load.jobs():
        if job.error == NO_LONGER_IN_ORG and job.job_id is not None and job.closed_utc is not None:
            keep_found(load, job)


def _intend(load: ChunkLoad) -> JobRow:
    """Claim quota and a job slot.

    Raises `SiblingLoading`, and `NoFreeSlot` for a chunk that is sent for the first time, at once unless it waits here;
    rows that are sent again wait here always, because to try later means to read their chunk's results once more.
    Raises `Transient` if it waited `job_timeout_s` for a slot.
    """
    settings = load.settings
    governor, intent = load.governor, chunk_intent(load.spec, load.table)
    deadline, has_told = time.monotonic() + settings.job_timeout_s, False
    while True:
        try:
            job = governor.intend(intent, load.lease, siblings(load.context.partition))
        except SiblingLoading as sibling:
            if not load.waits_here or time.monotonic() > deadline:
                raise
            if not has_told:
                log.warning("%s", sibling.what)
            has_told = True
            load.pause(_SLOT_PAUSE_S)
            continue
        if job is not None:
            return job
        full = (
            f"{load} found no free slot: as many ingest jobs are in flight as KPC__SALESFORCE__JOBS_IN_FLIGHT allows "
            f"({settings.jobs_in_flight})."
        )
        if not load.waits_here and intent.purpose is JobPurpose.CHUNK:
            remedy = "Nothing is to be done: it looks again by itself (`kpc status` shows the jobs)."
            raise NoFreeSlot(full, remedy, again_utc=datetime.now(UTC) + _SLOT_LOOK)
        if time.monotonic() > deadline:
            raise Transient(full, "Run the load again later, or raise it.")
        load.pause(_SLOT_PAUSE_S)


def _create(job: JobRow, load: ChunkLoad) -> JobInfo | None:
    """Create the intended job. None if a new intent is needed."""
    try:
        with load.governor.translate_quota_errors():
            info = load.salesforce.create_job(job.object_name, job.external_id_field, operation=job.operation)
    except OutcomeUnknown as lost:
        log.warning("%s: %s", load, lost)
        return recover_job(job, load)
    except Exception:
        # Refused or never sent: free the slot and the reserved quota at once.
        load.end_job(job, JobState.GIVEN_UP, "not created")
        raise
    if load.ledger.jobs.mark_open(job.id, info.id, lease=load.lease):
        return info
    load.end_job(job, JobState.GIVEN_UP, "adopted by another worker")
    return None


def recover_job(job: JobRow, load: ChunkLoad) -> JobInfo | None:
    """A job whose creation was never confirmed, if the org has exactly one that can only be ours."""
    ledger = load.ledger
    candidates = [info for info in load.salesforce.list_jobs() if _may_be(info, job, load)]
    # After listing: a concurrent creator of a job for this object has recorded either its job id or its intent.
    ours = [info for info in candidates if not ledger.jobs.is_known(job.target_id, info.id)]
    is_certain = len(ours) == 1 and not load.settings.shared_user
    if (
        is_certain
        and not ledger.jobs.other_intents(job)
        and ledger.jobs.mark_open(job.id, ours[0].id, lease=load.lease)
    ):
        log.info("%s: ingest job %s was created although its reply was lost", load, ours[0].id)
        return ours[0]
    if ours:
        names = ", ".join(info.id for info in ours)
        log.warning("%s: not adopting these Open jobs, although one may be ours; they will expire: %s", load, names)
    load.end_job(job, JobState.GIVEN_UP, "creation not confirmed")
    return None


def _may_be(info: JobInfo, job: JobRow, load: ChunkLoad) -> bool:
    return (
        info.state is BulkJobState.OPEN
        and info.created_by == load.salesforce.user_id
        and info.object_name == job.object_name
        and info.operation == job.operation
        and info.external_id_field in (None, job.external_id_field)
        and job.intent_utc - _CLOCK_SKEW <= info.created_utc <= load.context.clock() + _CLOCK_SKEW
    )


def _resume(info: JobInfo, load: ChunkLoad) -> bool:
    """Upload and close the job as far as still needed; False if another job must be created instead."""
    ledger, job = load.ledger, load.job(info.id)
    if info.state is BulkJobState.ABORTED:
        load.end_job(job, JobState.ABORTED, "not closed")
        return False
    if info.state is BulkJobState.OPEN and job.encoding is None and not _upload(job, load):
        load.end_job(job, JobState.ABORTED, "upload not confirmed")
        return False
    ledger.attempts.refuse_superseded(load.spec.generation, load.spec.mapping_version, load.lease)
    if job.state != JobState.CLOSING:
        load.governor.confirm()
        ledger.jobs.mark_closing(job.id, lease=load.lease)
    if info.state is BulkJobState.OPEN:
        load.salesforce.complete_upload(info.id)
    ledger.jobs.mark_closed(job.id, lease=load.lease)
    return True


def _upload(job: JobRow, load: ChunkLoad) -> bool:
    """Upload the verified chunk. If an upload's outcome stays unknown, abort the job and return False."""
    job_id = job.job_id or ""
    file = load.chunk_file()
    for encoding in encodings(load):
        try:
            is_confirmed = _put(job_id, file, encoding, load)
        except Refused as refused:
            if encoding == "gzip" and is_about_gzip(load, refused):
                log.info("%s: the gzip upload was refused (%s); sending plain CSV", load, refused.reason)
                note_refusal(load, job)
                continue
            raise
        if not is_confirmed:
            load.salesforce.abort_job(job_id)
            return False
        load.ledger.jobs.mark_uploaded(job.id, encoding, lease=load.lease)
        return True
    return False


def _put(job_id: str, file: Path, encoding: Encoding, load: ChunkLoad) -> bool:
    """PUT the file. False if it remains unknown whether the job received the data."""
    try:
        load.salesforce.upload(job_id, file, encoding=encoding, raw_bytes=load.spec.raw_bytes)
    except OutcomeUnknown as lost:
        log.warning("%s: %s", load, lost)
        return False
    return True
