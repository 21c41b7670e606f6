"""Station 3: the staged chunks of a partition in Salesforce, each row confirmed, failed or accounted for.

    gate (missing_parents) -> plan_load -> start_chunk, poll_chunk, finish_chunk for each chunk -> sf_loaded (publish)

`sf_loaded` alone does all that is left to do, so `kpc run` needs nothing else. Every step may be repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import Paused, QuotaExhausted, Terminal, Transient
from kpc.ledger import Lease
from kpc.load.chunk_load import ENCODING_TRAIT, ChunkLoad, ChunkSpec, chunk_intent, governor_of, may_teach
from kpc.load.chunk_result import ChunkResult, read_columns
from kpc.load.corrected_rows import forget_repairs
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import JobState, follow_job, look
from kpc.load.job_results import settle
from kpc.load.loaded_index import update_loaded_index
from kpc.load.plan import check_org, chunks_to_load, result_of, stage_first, staged_and_folder
from kpc.load.pre_image import keep_pre_image, kept_rows
from kpc.load.result_files import merge_results
from kpc.partition import Partition, find_partition
from kpc.salesforce import BulkJobState
from kpc.stages.result import Made, Receipt
from kpc.stages.stage_run import Turn, run_stage
from kpc.stages.workspace import Workspace
from kpc.staging.unchanged_rows import LOADED_INDEX
from kpc.storage.manifests import LoadManifest, StagedManifest, loaded_folder, staged_folder
from kpc.storage.store import Environment, Store

STAGE = "sf_loaded"


def sf_loaded(partition: Partition, workspace: Workspace) -> Receipt:
    """Load what is not loaded yet, and publish the result."""

    def make(turn: Turn) -> Made:
        return loaded_receipt(load_partition(partition, workspace, turn.lease))

    return run_stage(STAGE, partition, workspace, make)


def loaded_receipt(manifest: LoadManifest) -> Made:
    """A published load as its stage's result."""
    counts = ("staged", "loaded", "created", "failed", "unprocessed")
    return Made(
        generation=manifest.generation,
        rows=manifest.loaded,
        bytes=sum(entry.bytes for entry in manifest.files),
        mapping_version=manifest.mapping_version,
        detail={
            **{name: getattr(manifest, name) for name in counts},
            "jobs": len(manifest.jobs),
            "attempt": manifest.attempt,
            **({"pre_image": manifest.pre_image} if manifest.pre_image else {}),
        },
    )


def missing_parents(partition: Partition, workspace: Workspace) -> tuple[Partition, ...]:
    """The parents whose current generation is not loaded yet; rows could not refer to theirs."""
    ledger, environment = workspace.ledger, workspace.environment
    return tuple(parent for parent in partition.parents() if not ledger.is_loaded(environment, parent))


def plan_load(partition: Partition, workspace: Workspace) -> list[dict[str, Any]]:
    """The chunks that are still to load, as JSON; none when there is nothing to send. Costs no quota.

    Raises `SchemaDrift` when the object cannot take the rows, `Superseded` when a newer generation is being loaded.
    """
    with _held(partition, workspace, workspace.environment) as lease:
        return [spec.as_json() for spec in chunks_to_load(partition, workspace, lease)]


def check_room(specs: list[dict[str, Any]], workspace: Workspace) -> None:
    """Ask whether the first of the planned chunks could begin now, so that its task need not hold a slot to find out.

    Raises `QuotaExhausted` with the moment at which it can, `Paused` when a person stopped new jobs.
    """
    if not specs:
        return
    spec = ChunkSpec.model_validate(specs[0])
    partition = find_partition(spec.table, spec.key)
    load = ChunkLoad(spec, workspace, Lease(spec.environment, partition, STAGE, workspace.run_id, 0, workspace.clock()))
    if load.live_job() is not None:
        return  # its job has begun already
    workspace.ledger.check_pause(spec.environment, partition.table)
    governor_of(workspace).check(chunk_intent(spec, partition.table))


def start_chunk(spec: dict[str, Any], workspace: Workspace) -> str:
    """The id of the ingest job that carries a chunk: begun, or found where a crash left it."""
    with _chunk(spec, workspace) as load:
        done = _finished(load)
        if done:
            return done.jobs[0]
        keep_pre_image(load)
        return start_job(load)


def poll_chunk(spec: dict[str, Any], workspace: Workspace, job_id: str) -> JobState:
    """Ask once how far a job is; `wait_s` says when to ask again. Renews the run's lease."""
    with _chunk(spec, workspace, wait_s=0) as load:
        if _finished(load):
            return JobState(BulkJobState.JOB_COMPLETE.value, load.spec.rows, load.spec.rows, 0.0, is_final=True)
        return look(load, job_id)[1]


def hold_chunk(spec: dict[str, Any], workspace: Workspace) -> None:
    """Renew the run's lease while a job is left alone for longer than the lease lasts."""
    with _chunk(spec, workspace, wait_s=0):
        pass


def finish_chunk(spec: dict[str, Any], workspace: Workspace, job_id: str) -> dict[str, Any]:
    """Read an ended job's results and book them; returns the chunk's counts as JSON."""
    with _chunk(spec, workspace) as load:
        result = _finished(load) or settle(load, job_id)
    return result.model_dump(mode="json", exclude={"success_file", "failed_file", "unprocessed_file"})


def load_partition(partition: Partition, workspace: Workspace, lease: Lease) -> LoadManifest:
    """Load every chunk that is left, several at once, and publish. Raises the first error, the others are stopped."""
    specs = chunks_to_load(partition, workspace, lease)
    teacher = next((spec for spec in specs if may_teach(spec)), None)
    if teacher is not None and _encoding_is_unknown(workspace):
        specs.remove(teacher)  # what the org thinks of gzip is learned from one job
        _load_chunk(ChunkLoad(teacher, workspace, lease))
    _load_at_once(specs, workspace, lease)
    return publish_load(partition, workspace, lease)


def publish_load(partition: Partition, workspace: Workspace, lease: Lease) -> LoadManifest:
    """Join the chunks' results, update loaded_index, write the manifest; returns the present one if there is one.

    Raises `Transient` when a chunk is not finished.
    """
    staged, folder = staged_and_folder(partition, workspace)
    store = workspace.store
    published = store.manifest(folder, LoadManifest)
    if published is not None:
        return _closed(published, workspace, lease)
    ledger = workspace.ledger
    results = _results(staged, folder, store)
    attempt = ledger.begin_attempt(staged.generation, staged.mapping_version, run_id=workspace.run_id, lease=lease)
    files = merge_results(folder, partition.table, results, store)
    started = min(
        (chunk.planned_utc for chunk in ledger.chunks(staged.generation, staged.mapping_version)), default=None
    )
    ledger.require_lease(lease)
    staged_dir = folder.parent / staged_folder(staged.mapping_version)
    partition_dir = store.partition_dir(lease.environment, partition)
    store.fetch(partition_dir / LOADED_INDEX)
    index = store.file(staged_dir, staged.index_file, remedy=stage_first(partition))
    update_loaded_index(partition_dir, index, folder / files[0].name)
    store.send(partition_dir / LOADED_INDEX)
    forget_repairs(partition, workspace, staged.generation, read_columns(folder / files[0].name, (EXTERNAL_ID,)))
    manifest = LoadManifest(
        table=staged.table,
        key=staged.key,
        generation=staged.generation,
        mapping_version=staged.mapping_version,
        attempt=attempt,
        staged=staged.staged,
        loaded=sum(result.loaded for result in results),
        created=sum(result.created for result in results),
        failed=sum(result.failed for result in results),
        unprocessed=sum(result.unprocessed for result in results),
        jobs=tuple(job for result in results for job in result.jobs),
        files=files,
        started_utc=started or workspace.clock(),
        finished_utc=workspace.clock(),
        pre_image=kept_rows(staged, folder.parent, store),
    )
    store.publish(folder, manifest, files)
    return _closed(manifest, workspace, lease)


def _closed(manifest: LoadManifest, workspace: Workspace, lease: Lease) -> LoadManifest:
    """Book the end of the attempt; repeated after a crash between the manifest and here."""
    workspace.ledger.end_attempt(
        manifest.generation, manifest.mapping_version, manifest.attempt, state="loaded", lease=lease
    )
    workspace.ledger.resolve_failures(manifest.generation, manifest.mapping_version, lease=lease)
    return manifest


def _load_at_once(specs: list[ChunkSpec], workspace: Workspace, lease: Lease) -> None:
    """Load several chunks side by side.

    While quota or a person holds new jobs back, those under way are followed to their end; any other error stops them.
    """
    if not specs:
        return
    stop = threading.Event()
    workers = min(len(specs), workspace.settings.salesforce.jobs_in_flight)
    held: list[QuotaExhausted | Paused] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="load") as pool:
        loads = [pool.submit(_load_chunk, ChunkLoad(spec, workspace, lease, stop)) for spec in specs]
        try:
            for load in as_completed(loads):
                try:
                    load.result()
                except (QuotaExhausted, Paused) as error:
                    held.append(error)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    if held:
        raise next((error for error in held if isinstance(error, Paused)), held[0])


def _load_chunk(load: ChunkLoad) -> ChunkResult:
    with governor_of(load.workspace).heeding():
        keep_pre_image(load)
        job_id = start_job(load)
        follow_job(load, job_id)
        return settle(load, job_id)


def _encoding_is_unknown(workspace: Workspace) -> bool:
    is_auto = workspace.settings.salesforce.upload_encoding == "auto"
    return is_auto and workspace.ledger.trait_of(workspace.salesforce.org_id, ENCODING_TRAIT) is None


def _results(staged: StagedManifest, folder: Path, store: Store) -> list[ChunkResult]:
    results = [result_of(folder, chunk.name, store) for chunk in staged.chunks]
    finished = [result for result in results if result is not None]
    if len(finished) < len(results):
        raise Transient(
            f"{len(results) - len(finished)} of {len(results)} chunks of {staged.table} {staged.key} are not finished.",
            "Run the load again; it goes on with them.",
        )
    if sum(result.rows for result in finished) != staged.staged:
        raise Terminal(
            f"The chunks of {staged.table} {staged.key} account for {sum(r.rows for r in finished):,} rows of "
            f"{staged.staged:,} staged.",
            f"Extract and load it again: `kpc rerun {staged.table} {staged.key}`.",
        )
    return finished


def _finished(load: ChunkLoad) -> ChunkResult | None:
    """The result of a chunk that was booked as done."""
    spec = load.spec
    chunks = load.workspace.ledger.chunks(spec.generation, spec.mapping_version)
    if not any(chunk.name == spec.chunk and chunk.state == "done" for chunk in chunks):
        return None
    return result_of(load.generation_dir / loaded_folder(spec.mapping_version), spec.chunk, load.workspace.store)


@contextmanager
def _chunk(spec: dict[str, Any], workspace: Workspace, *, wait_s: float | None = None) -> Iterator[ChunkLoad]:
    parsed = ChunkSpec.model_validate(spec)
    partition = find_partition(parsed.table, parsed.key)
    with _held(partition, workspace, parsed.environment, wait_s=wait_s) as lease:
        check_org(workspace, lease)
        with governor_of(workspace).heeding():
            yield ChunkLoad(parsed, workspace, lease)


@contextmanager
def _held(
    partition: Partition, workspace: Workspace, environment: Environment, *, wait_s: float | None = None
) -> Iterator[Lease]:
    """The stage's lease for one of several tasks of a run: renewed meanwhile, and kept for the next task."""
    workspace.check_root(environment)
    with workspace.ledger.lease(
        environment,
        partition,
        STAGE,
        owner=workspace.run_id,
        ttl_s=workspace.settings.lease_s,
        wait_s=workspace.settings.lease_wait_s if wait_s is None else wait_s,
        keep=True,
    ) as lease:
        yield lease
