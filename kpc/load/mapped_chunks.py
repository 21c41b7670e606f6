"""`load_chunk` split into steps, so that an Airflow task does not occupy a worker while Salesforce works.

    plan_load -> begin_chunk, poll_chunk, finish_chunk for each chunk -> the asset sf_loaded publishes

The tasks of one run share the stage's lease: each renews it and does not release it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from kpc.ledger import Lease
from kpc.ledger.states import ChunkState
from kpc.load.chunk_load import ChunkLoad, ChunkSpec, chunk_intent
from kpc.load.chunk_result import ChunkResult
from kpc.load.finalize_chunk import finalize_chunk
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import JobProgress, poll_job
from kpc.load.plan import check_org, plan, result_of
from kpc.load.pre_image import keep_pre_image
from kpc.partition import siblings
from kpc.salesforce import BulkJobState
from kpc.stages.context import LeasedContext, PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import leased
from kpc.stages.workspace import Workspace


def plan_load(context: PartitionContext) -> tuple[ChunkSpec, ...]:
    """`plan` for the mapped tasks of a run."""
    with leased(context, SF_LOADED) as held:
        return plan(held, staged_manifest(held))


def check_room(context: PartitionContext, specs: Sequence[ChunkSpec]) -> None:
    """Check whether the first planned chunk could start now, so that no task takes a slot only to find out.

    Raises `QuotaExhausted` with the time at which it can, `Paused` when new jobs are paused, `SiblingLoading`.
    """
    if not specs:
        return
    # Nothing is written, so a lease that the ledger does not know is enough.
    lease = Lease(context.environment, context.partition, SF_LOADED, context.run_id, 0, context.clock())
    held = LeasedContext(context.workspace, context.partition, context.pinned, lease=lease)
    if ChunkLoad(specs[0], held).live_job() is not None:
        return  # its job already exists
    context.ledger.pauses.check(context.environment, context.table)
    context.governor.check(chunk_intent(specs[0], context.table))
    context.ledger.jobs.check_siblings(context.environment, context.partition, siblings(context.partition))


def begin_chunk(workspace: Workspace, spec: ChunkSpec) -> str:
    """The id of a chunk's ingest job, started or resumed after a crash."""
    with _chunk(workspace, spec) as load:
        done = _finished(load)
        if done:
            return done.jobs[0]
        keep_pre_image(load)
        return start_job(load)


def poll_chunk(workspace: Workspace, spec: ChunkSpec, job_id: str) -> JobProgress:
    """Poll a job once; `wait_s` is the time until the next poll. Renews the run's lease."""
    with _chunk(workspace, spec, wait_s=0) as load:
        if _finished(load):
            return JobProgress(BulkJobState.JOB_COMPLETE.value, spec.rows, spec.rows, 0.0, is_final=True)
        return poll_job(load, job_id)


def ends_within(workspace: Workspace, spec: ChunkSpec, job_id: str, patience_s: float) -> bool:
    """Poll a job for `patience_s` seconds at most; whether it has ended.

    Returns at once where the job will take longer at the pace of the latest one: the wait would only hold the worker.
    """
    until = time.monotonic() + patience_s
    while not (state := poll_chunk(workspace, spec, job_id)).is_final:
        if state.expected_s > patience_s or time.monotonic() + state.wait_s > until:
            return False
        time.sleep(state.wait_s)
    return True


def hold_chunk(workspace: Workspace, spec: ChunkSpec) -> None:
    """Renew the run's lease, for poll intervals longer than the lease."""
    with _chunk(workspace, spec, wait_s=0):
        pass


def finish_chunk(workspace: Workspace, spec: ChunkSpec, job_id: str) -> ChunkResult:
    """Read and record an ended job's results."""
    with _chunk(workspace, spec) as load:
        return _finished(load) or finalize_chunk(load, job_id)


def _finished(load: ChunkLoad) -> ChunkResult | None:
    """The result of a chunk that is recorded as done; None if it is not."""
    spec = load.spec
    chunks = load.ledger.chunks.of_generation(spec.generation, spec.mapping_version)
    if not any(chunk.name == spec.chunk and chunk.state == ChunkState.DONE for chunk in chunks):
        return None
    return result_of(load.results, spec.chunk, load.store)


@contextmanager
def _chunk(workspace: Workspace, spec: ChunkSpec, *, wait_s: float | None = None) -> Iterator[ChunkLoad]:
    with leased(spec.context(workspace), SF_LOADED, wait_s=wait_s) as shared:
        check_org(shared)
        # A task that was tried again excludes its earlier try, which may only have been paused.
        held = replace(shared, lease=shared.ledger.leases.fence(shared.lease, spec.chunk))
        with held.governor.translate_quota_errors():
            yield ChunkLoad(spec, held, waits_here=False)
