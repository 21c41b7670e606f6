"""Loading one chunk, and several in parallel.

    plan(context, staged) -> [ChunkSpec]
    load_chunk(ChunkLoad) -> ChunkResult
    publish(context, staged, [ChunkResult]) -> LoadManifest

`load_chunk` waits for the chunk's ingest job in this process. Airflow runs the same steps as mapped tasks that can
defer while they wait: see `kpc.load.mapped_chunks`. Every step may be repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from kpc.errors import Paused, QuotaExhausted
from kpc.load.chunk_load import ChunkLoad, ChunkSpec
from kpc.load.chunk_result import ChunkResult
from kpc.load.finalize_chunk import finalize_chunk
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import follow_job
from kpc.load.pre_image import keep_pre_image
from kpc.load.upload_encoding import encoding_is_unknown, may_probe_gzip
from kpc.stages.context import LeasedContext

_AT_RESULTS = 4  # chunks whose job has ended: their results are read while the next jobs take the slots


def load_chunk(load: ChunkLoad) -> ChunkResult:
    """Send a chunk, or resume its job after a crash, and record its results."""
    with load.governor.translate_quota_errors():
        keep_pre_image(load)
        job_id = start_job(load)
        follow_job(load, job_id)
        return finalize_chunk(load, job_id)


def load_chunks(context: LeasedContext, specs: Sequence[ChunkSpec]) -> list[ChunkResult]:
    """Load every planned chunk, several at once. Raises the first error; the other chunks are then stopped.

    If it is unknown whether the org accepts gzip uploads, one small chunk is loaded first to find out.
    """
    waiting, results = list(specs), []
    probe = next((spec for spec in waiting if may_probe_gzip(spec)), None)
    if probe is not None and encoding_is_unknown(context):
        waiting.remove(probe)
        results.append(load_chunk(ChunkLoad(probe, context)))
    return [*results, *_load_in_parallel(context, waiting)]


def _load_in_parallel(context: LeasedContext, specs: Sequence[ChunkSpec]) -> list[ChunkResult]:
    """Load chunks in parallel. Running jobs are followed to their end if quota or a pause stops new ones."""
    if not specs:
        return []
    stop = threading.Event()
    workers = min(len(specs), context.settings.salesforce.jobs_in_flight + _AT_RESULTS)
    results: list[ChunkResult] = []
    held: list[QuotaExhausted | Paused] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="load") as pool:
        loads = [pool.submit(load_chunk, ChunkLoad(spec, context, stop)) for spec in specs]
        try:
            for load in as_completed(loads):
                try:
                    results.append(load.result())
                except (QuotaExhausted, Paused) as error:
                    held.append(error)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    if held:
        raise next((error for error in held if isinstance(error, Paused)), held[0])
    return results
