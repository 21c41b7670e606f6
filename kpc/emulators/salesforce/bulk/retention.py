"""Expiry of jobs: an Open job ends after a day; an ended job and its results are deleted after a week."""

from __future__ import annotations

from kpc.emulators.salesforce.errors import not_found
from kpc.emulators.salesforce.org.jobs import ABORTED, OPEN, Job
from kpc.emulators.salesforce.org.org import Org

_HOUR_S, _DAY_S = 3600.0, 86_400.0


def keep_time(org: Org, job: Job) -> bool:
    """Apply the expiry rules; tells whether the job still exists."""
    now = org.clock.now().timestamp()
    if job.state == OPEN and now - job.created > org.switches.open_job_hours * _HOUR_S:
        with org.jobs.changing(job):
            job.state, job.ended, job.modified = ABORTED, now, now
        org.jobs.save(job)
    if job.is_over and now - job.ended > org.switches.result_days * _DAY_S:
        org.jobs.remove(job)
        return False
    return True


def find_kept(org: Org, job_id: str, kind: str) -> Job:
    """The job, unless it is unknown or too old: then 404."""
    job = org.jobs.find(job_id, kind)
    if not keep_time(org, job):
        raise not_found()
    return job
