"""Publishing a load: merge the chunks' results, update the loaded index, write the manifest last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import Terminal, Transient
from kpc.ledger.states import AttemptState
from kpc.load.chunk_result import ChunkResult, read_columns
from kpc.load.corrected_rows import accept_corrections
from kpc.load.loaded_index import update_loaded_index
from kpc.load.plan import result_of
from kpc.load.pre_image import kept_rows
from kpc.load.result_files import merge_results
from kpc.stages.context import LeasedContext
from kpc.storage.manifests import LoadManifest, StagedManifest
from kpc.storage.store import FileEntry


def publish(context: LeasedContext, staged: StagedManifest, loaded: Sequence[ChunkResult] = ()) -> LoadManifest:
    """Merge the results of all chunks and write the manifest; returns the existing one if already published.

    Nothing is uploaded. `loaded` are the results of the chunks that this run has loaded; those of earlier runs are
    read from their folder. Raises `Transient` when a chunk is not finished, `Terminal` when the results do not add up.
    """
    folder = context.paths.generation(staged.generation).loaded(staged.mapping_version)
    published = context.store.manifest(folder, LoadManifest)
    if published is not None:
        return _closed(context, published)
    results = _all_results(context, staged, folder, loaded)
    attempt = context.ledger.attempts.begin(
        staged.generation, staged.mapping_version, run_id=context.run_id, lease=context.lease
    )
    files = merge_results(folder, context.table, results, context.store)
    context.ledger.leases.require(context.lease)
    _update_index(context, staged, folder / files[0].name)
    manifest = _manifest(context, staged, results, files, attempt)
    context.store.publish(folder, manifest, files)
    return _closed(context, manifest)


def _all_results(
    context: LeasedContext, staged: StagedManifest, folder: Path, loaded: Sequence[ChunkResult]
) -> list[ChunkResult]:
    """The recorded result of every staged chunk, in the order of the chunks."""
    recorded = [result_of(folder, chunk.name, context.store) for chunk in staged.chunks]
    finished = [result for result in recorded if result is not None]
    if len(finished) < len(recorded):
        raise Transient(
            f"{len(recorded) - len(finished)} of {len(recorded)} chunks of {context} are not finished.",
            "Run the load again; it continues with them.",
        )
    rows = sum(result.rows for result in finished)
    if rows != staged.staged or not {result.chunk for result in loaded} <= {result.chunk for result in finished}:
        raise Terminal(
            f"The chunks of {context} account for {rows:,} rows of {staged.staged:,} staged.",
            f"Extract and load it again: `kpc rerun {context.table.name} {context.key}`.",
        )
    return finished


def _update_index(context: LeasedContext, staged: StagedManifest, success_file: Path) -> None:
    """Add the confirmed rows to the loaded index, with the corrections among them."""
    store, paths = context.store, context.paths
    store.fetch(paths.loaded_index)
    staged_dir = paths.generation(staged.generation).staged(staged.mapping_version)
    remedy = f"Stage it first: `kpc rerun {context.table.name} {context.key}`."
    index = store.file(staged_dir, staged.index_file, remedy=remedy)
    update_loaded_index(paths.folder, index, success_file)
    store.send(paths.loaded_index)
    accept_corrections(context, staged.generation, read_columns(success_file, (EXTERNAL_ID,)))


def _manifest(
    context: LeasedContext,
    staged: StagedManifest,
    results: Sequence[ChunkResult],
    files: tuple[FileEntry, ...],
    attempt: int,
) -> LoadManifest:
    chunks = context.ledger.chunks.of_generation(staged.generation, staged.mapping_version)
    return LoadManifest(
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
        started_utc=min((chunk.planned_utc for chunk in chunks), default=context.clock()),
        finished_utc=context.clock(),
        pre_image=kept_rows(context, staged),
    )


def _closed(context: LeasedContext, manifest: LoadManifest) -> LoadManifest:
    """Record the end of the attempt. Repeated after a crash between writing the manifest and this."""
    ledger, generation, version = context.ledger, manifest.generation, manifest.mapping_version
    ledger.attempts.end(generation, version, manifest.attempt, state=AttemptState.LOADED, lease=context.lease)
    ledger.failures.resolve(generation, version, lease=context.lease)
    return manifest
