"""Loads that a newer generation supersedes before they were published: interrupted, aborted, or given up.

Their jobs are finalized first: followed to their end, or aborted if they were never closed. The records that they wrote
enter the loaded index. So the next staging sends none of them again, and a rollback knows each one, whatever ended the
run. If a job's results no longer exist, the org is asked for the records that bear the generation's marker.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD
from kpc.errors import DamagedFile
from kpc.ledger import ChunkRow, JobRow
from kpc.ledger.states import DEAD, JobPurpose, JobState
from kpc.load.chunk_load import ChunkLoad, ChunkSpec
from kpc.load.chunk_result import CREATED, SALESFORCE_ID, SUCCESS_HEADER, ChunkResult, read_columns, write_loaded
from kpc.load.created_records import accepted_before, accepted_file, keep_accepted
from kpc.load.ingest_job import recover_job
from kpc.load.job_polling import NO_LONGER_IN_ORG, follow_job
from kpc.load.loaded_index import update_loaded_index
from kpc.load.pre_image import kept_images
from kpc.private_files import make_private
from kpc.salesforce import BulkJobState, JobInfo, Refused, ResultKind
from kpc.salesforce.soql import text_literal
from kpc.stages.bucket_queries import BucketQueries, evenly
from kpc.stages.context import LeasedContext, PartitionContext
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import leased
from kpc.storage.layout import chunk_of_job, result_name, staged_folder
from kpc.storage.manifests import LoadManifest, StagedManifest

log = logging.getLogger(__name__)

_WRITTEN = "written.csv.gz"  # what one load wrote, until it is in the loaded index
_RESTORE = (
    "Restore it from a backup of the staging folder: it belongs to an interrupted load and says which records that "
    "load may have written."
)
_CLOCK_SKEW = timedelta(minutes=2)
_SUBMITTED = (JobState.CLOSING, JobState.CLOSED, JobState.ENDED, JobState.COMPLETE)

_END_STATES = {
    BulkJobState.JOB_COMPLETE: JobState.COMPLETE,
    BulkJobState.FAILED: JobState.FAILED,
    BulkJobState.ABORTED: JobState.ABORTED,
}

Load = tuple[str, str]  # generation and mapping version


@dataclass(frozen=True, slots=True)
class SupersededLoad:
    """A load that was planned and never published, with its staged chunks."""

    generation: str
    mapping_version: str
    staged: StagedManifest


def superseded_loads(context: PartitionContext, current: Load | None) -> list[SupersededLoad]:
    """The unpublished loads of the partition, oldest first, except `current` and those that are finalized already."""
    found = []
    for generation, version in _loads(context.ledger.chunks.planned(context.environment, context.partition)):
        if (generation, version) == current or context.ledger.attempts.is_superseded(generation, version):
            continue
        paths = context.paths.generation(generation)
        if _is_published(context, paths.loaded(version)):
            continue
        staged = _staged(context, paths.staged(version))
        if staged is not None:
            found.append(SupersededLoad(generation, version, staged))
    return found


def _is_published(context: PartitionContext, folder: Path) -> bool:
    """False for a damaged manifest too: finalizing a load once more changes nothing."""
    try:
        return context.store.manifest(folder, LoadManifest) is not None
    except DamagedFile:
        return False


def _staged(context: PartitionContext, folder: Path) -> StagedManifest | None:
    """Raises `DamagedFile`: a newer generation does not replace a manifest that lists what was sent."""
    try:
        return context.store.manifest(folder, StagedManifest)
    except DamagedFile as error:
        raise DamagedFile(error.what, _RESTORE, path=error.path) from None


def finalize_superseded_loads(context: PartitionContext, current: Load | None) -> int:
    """Finalize the jobs of all unpublished loads but `current`, and add their records to the loaded index.

    With `current` the other loads will not be continued. Without it (a rollback, or its preview) they all stay as they
    are, and may be continued. Returns the number of records added. Safe to repeat. Waits for jobs that are still at
    work; raises `Transient` while another run is loading the partition.
    """
    if not superseded_loads(context, current):
        return 0
    # Staging gives it back at once: in Airflow the load is another run, which would wait until it expires.
    is_loading = isinstance(context, LeasedContext) and context.lease.stage == SF_LOADED
    with leased(context, SF_LOADED, gives_back=not is_loading) as held:
        loads = superseded_loads(held, current)
        return sum(_finalize(held, load, is_replaced=current is not None) for load in loads)


def _loads(chunks: Sequence[ChunkRow]) -> Iterator[Load]:
    return iter(dict.fromkeys((chunk.generation, chunk.mapping_version) for chunk in chunks))


def _finalize(context: LeasedContext, load: SupersededLoad, *, is_replaced: bool) -> int:
    paths, store = context.paths.generation(load.generation), context.store
    folder = make_private(paths.loaded(load.mapping_version))
    jobs = [job for job in context.ledger.jobs.of_load(load.generation, load.mapping_version) if _is_load(job)]
    pending = [job for job in jobs if job.state not in DEAD and not _is_recorded(context, load, job)]
    if pending:
        log.info("%s: finalizing %s ingest jobs of generation %s", context, len(pending), load.generation)
    has_results = [_finalize_job(_load_of(context, load, job), job) for job in pending]
    lost = [job for job in jobs if job.state in DEAD and job.error == NO_LONGER_IN_ORG]
    frames = [_accepted(context, load)]
    if lost or not all(has_results):
        frames.append(_marked(context, load, [*lost, *pending]))
    loaded = write_loaded(chain(*frames), folder / _WRITTEN)
    context.ledger.leases.require(context.lease)
    if loaded.rows:
        store.fetch(context.paths.loaded_index)
        index = store.file(paths.staged(load.mapping_version), load.staged.index_file, remedy=_RESTORE)
        has_bucket = context.ledger.mappings.has_buckets(load.mapping_version)
        update_loaded_index(context.paths.folder, index, folder / _WRITTEN, has_bucket=has_bucket)
        store.send(context.paths.loaded_index)
        log.info("%s: %s records of generation %s are known now", context, f"{loaded.rows:,}", load.generation)
    if is_replaced:
        context.ledger.attempts.supersede(load.generation, load.mapping_version, lease=context.lease)
    (folder / _WRITTEN).unlink()
    return loaded.rows


def _is_load(job: JobRow) -> bool:
    return job.purpose in (JobPurpose.CHUNK, JobPurpose.RETRY)


def _is_recorded(context: LeasedContext, load: SupersededLoad, job: JobRow) -> bool:
    """Whether the records that a job wrote are in a file already."""
    folder = context.paths.generation(load.generation).loaded(load.mapping_version)
    if context.store.manifest(folder, ChunkResult, result_name(chunk_of_job(job.chunk))) is not None:
        return True
    file = accepted_file(_load_of(context, load, job), job.job_id or "")
    return job.state == JobState.COMPLETE and context.store.fetch(file)


def _load_of(context: LeasedContext, load: SupersededLoad, job: JobRow) -> ChunkLoad:
    """The load that made a job, under the mapping of that time."""
    entry = next((chunk for chunk in load.staged.chunks if chunk.name == job.chunk), load.staged.chunks[0])
    spec = ChunkSpec.of(entry, context, generation=load.generation, folder=staged_folder(load.mapping_version))
    changes = {"mapping_version": load.mapping_version, "chunk": job.chunk, "rows": job.rows, "attempt": job.attempt}
    return ChunkLoad(spec.model_copy(update=changes), context)


def _finalize_job(load: ChunkLoad, job: JobRow) -> bool:
    """Bring one job to its end and keep what it wrote; False if that can only be learnt from the org's records."""
    job_id = job.job_id
    if job_id is None:
        found = recover_job(job, load)
        if found is None:
            return True  # never created, or never closed: it wrote nothing
        job_id = found.id
    job = load.job(job_id)
    info = load.salesforce.job(job_id)
    if info is not None and info.state is BulkJobState.OPEN:
        load.salesforce.abort_job(job_id)
        load.end_job(job, JobState.ABORTED, "a newer generation replaces it")
        return True
    if info is not None and not info.state.is_final:
        follow_job(load, job_id)
        info = load.salesforce.job(job_id)
    if info is None:
        load.end_job(job, JobState.GIVEN_UP, NO_LONGER_IN_ORG)
        return job.state not in _SUBMITTED
    is_kept = not info.processed or _keep_results(load, info)
    load.end_job(job, _END_STATES[info.state], info.error_message or None)
    return is_kept


def _keep_results(load: ChunkLoad, info: JobInfo) -> bool:
    """Save which records the job wrote; False if its results are gone."""
    with tempfile.TemporaryDirectory(dir=make_private(load.results), prefix=".results-") as scratch:
        file = Path(scratch) / "successful.csv.gz"
        try:
            load.salesforce.results(
                info.id, ResultKind.SUCCESSFUL, file, rows=load.spec.rows, raw_bytes=load.spec.raw_bytes
            )
        except Refused as refused:
            if refused.status not in (404, 410):
                raise
            return False
        keep_accepted(load, info.id, file)
    return True


def _accepted(context: LeasedContext, load: SupersededLoad) -> Iterator[pl.DataFrame]:
    """SUCCESS_HEADER of every record that finished chunks and dead jobs of the load wrote."""
    folder = context.paths.generation(load.generation).loaded(load.mapping_version)
    for chunk in load.staged.chunks:
        for file in accepted_before(context, load.generation, load.mapping_version, chunk.name):
            yield from read_columns(file, SUCCESS_HEADER)
        if result := context.store.manifest(folder, ChunkResult, result_name(chunk.name)):
            file = context.store.file(folder, result.success_file, remedy=_RESTORE)
            yield from read_columns(file, SUCCESS_HEADER)


def _marked(context: LeasedContext, load: SupersededLoad, jobs: Sequence[JobRow]) -> Iterator[pl.DataFrame]:
    """SUCCESS_HEADER of the org's records with the generation's marker.

    A record counts as created by the migration if this user created it after the first of the jobs was planned, and if
    it is in no pre-image.
    """
    log.warning(
        "%s: the org no longer has all results of generation %s; asking for its records", context, load.generation
    )
    since = min(job.intent_utc for job in jobs) - _CLOCK_SKEW
    names = ("Id", EXTERNAL_ID, "CreatedById", "CreatedDate")
    of_generation = f"{GENERATION_FIELD} = {text_literal(load.generation)}"
    folder = make_private(context.paths.generation(load.generation).loaded(load.mapping_version))
    earlier = [frame for kept in kept_images(context) for frame in kept.frames(context.store, "Id")]
    imaged = pl.concat(earlier)["Id"] if earlier else pl.Series(dtype=pl.String)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".query-") as scratch:
        queries = BucketQueries(context, evenly(load.staged.staged, context.key))
        found = queries.records(names, Path(scratch), also=of_generation)
        for file in (file for _, pages in found for file in pages.files):
            for frame in read_columns(file, names):
                created = pl.col("CreatedDate").str.to_datetime(time_zone="UTC") >= since
                by_us = pl.col("CreatedById") == context.salesforce.user_id
                is_ours = created & by_us & ~pl.col("Id").is_in(imaged.implode())
                yield frame.select(
                    EXTERNAL_ID, pl.col("Id").alias(SALESFORCE_ID), is_ours.cast(pl.String).alias(CREATED)
                )
