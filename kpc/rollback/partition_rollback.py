"""Rolling back a partition in Salesforce: records it created are deleted, records it updated are restored.

Deletion covers the records that this migration created, by their recorded ids; records not in the loaded index are
never touched. Records with a pre-image are restored unless somebody has changed them since; others stay as they are.
A killed run is resumed by the next one: the plan is written before the first request, and deleting a deleted record or
restoring a restored one succeeds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.errors import ConfigError, Transient
from kpc.load.chunk_result import ChunkResult
from kpc.load.created_records import created_before
from kpc.load.loaded_index import read_loaded_index, update_loaded_index
from kpc.load.org_records import ID, image_header
from kpc.load.pre_image import KeptImage, kept_images
from kpc.partition import Partition, find_partition
from kpc.rollback.restore import RestoreManifest, Restoring, restore_name
from kpc.rollback.rollback_files import ROLLBACK, RollbackFiles
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.current_manifests import current_generation
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import run_stage
from kpc.storage.layout import result_name
from kpc.storage.manifests import LoadManifest, StagedManifest, StageOutput
from kpc.storage.store import FileEntry, make_private

log = logging.getLogger(__name__)

_HEADER = (ID,)
_CHUNK_ROWS = 500_000


class DeletionManifest(BaseModel):
    """What one rollback deletes: files of record ids, made from the loaded index with digest `index_digest`.

    `updated` counts the records that the migration updated but did not create.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: int
    updated: int
    chunks: tuple[FileEntry, ...]
    index_digest: str = ""


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """What a rollback did: `created` records deleted, `restored` to their pre-image, `left` as we wrote them.

    `changed`: records with the migration's mark that somebody else has changed since; not touched. `differing`:
    records that were restored and still differ from their pre-image.
    """

    generation: str
    mapping_version: str
    created: int
    updated: int
    restored: int
    left: int
    changed: int
    differing: int

    def output(self) -> StageOutput:
        """What the stage run records of it."""
        counts = ("restored", "left", "changed", "differing")
        detail: dict[str, int | str] = {"deleted": self.created, **{name: getattr(self, name) for name in counts}}
        return StageOutput(self.generation, 0, 0, "rolled_back", self.mapping_version, detail)


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do: delete `created` records, and restore the `imaged` of the `updated` ones.

    `children` (loaded child partitions) and `jobs_at_work` prevent it.
    """

    partition: Partition
    created: int
    updated: int
    imaged: int
    children: tuple[Partition, ...]
    jobs_at_work: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "table": self.partition.table.name,
            "key": self.partition.key,
            "created": self.created,
            "updated": self.updated,
            "with_pre_image": self.imaged,
            "children": [str(child) for child in self.children],
            "jobs_at_work": list(self.jobs_at_work),
        }


def plan_rollback(context: PartitionContext) -> RollbackPlan:
    """Count what a rollback would do and list what prevents it. Changes nothing and sends no request to the org."""
    created = updated = 0
    for frame in _index(context):
        created += int(frame["created"].sum() or 0)
        updated += int((~frame["created"]).sum() or 0)
    imaged = sum(_updated_of(context, kept) for kept in _usable(context)) if updated else 0
    children, at_work = loaded_children(context), _jobs_at_work(context)
    return RollbackPlan(context.partition, created, updated, min(imaged, updated), children, at_work)


def _jobs_at_work(context: PartitionContext) -> tuple[str, ...]:
    jobs = context.ledger.jobs.at_work(context.environment, context.partition)
    return tuple(job.job_id or "one being created" for job in jobs if job.purpose != ROLLBACK)


def _index(context: PartitionContext) -> Iterator[pl.DataFrame]:
    context.store.fetch(context.paths.loaded_index)
    yield from read_loaded_index(context.paths.folder)


def _updated_of(context: PartitionContext, kept: KeptImage) -> int:
    """How many records of a pre-image are in the index as updated."""
    ids = pl.concat(list(kept.frames(context.store, ID))).rename({ID: "salesforce_id"})
    updated = (frame.filter(~pl.col("created")) for frame in _index(context))
    return sum(frame.join(ids, on="salesforce_id", how="semi").height for frame in updated)


def _usable(context: PartitionContext) -> list[KeptImage]:
    """The pre-images that can be restored, newest first. Those with the fields of another mapping cannot."""
    header = image_header(context.table)
    return [kept for kept in reversed(kept_images(context)) if kept.image.header == header]


def loaded_children(context: PartitionContext) -> tuple[Partition, ...]:
    """The loaded partitions whose records refer to this partition's."""
    runs = context.ledger.stages.newest(context.environment)
    known = {(run.table_name, run.partition_key) for run in runs if run.stage == SF_LOADED}
    candidates = [find_partition(*each) for each in sorted(known)]
    return tuple(
        child
        for child in candidates
        if context.partition in child.parents() and any(frame.height for frame in _index(context.of(child)))
    )


def roll_back(context: PartitionContext) -> RollbackResult:
    """Delete what the partition created, restore what it updated, and record that it is no longer loaded.

    Repeating it resumes. Raises `ConfigError` while child partitions are loaded or its own load is in progress,
    `QuotaExhausted`, `Paused`, and `Terminal` with the error codes when Salesforce refuses records.
    """
    finished = run_stage(context, SF_LOADED, _roll_back)
    if finished.made is None:
        raise Transient(f"{context} was just loaded by another run.", "Check its result, then roll it back.")
    return finished.made


def _roll_back(context: StageContext) -> RollbackResult:
    _refuse_if_in_use(context)
    generation, tag = current_generation(context).id, str(context.stage_run)
    folder = context.paths.generation(generation).rollback
    manifest = _planned_deletion(context, folder, tag)
    RollbackFiles(context, generation, "delete").send(manifest.chunks)
    restored = _restore(Restoring(context, folder, tag, manifest.index_digest), generation)
    context.ledger.leases.require(context.lease)
    for path in (context.paths.loaded_index, context.paths.corrected_rows):
        context.store.remove(path)
    context.ledger.generations.roll_back(context.lease)
    return RollbackResult(
        generation=generation,
        mapping_version=context.table.mapping_version,
        created=manifest.created,
        updated=manifest.updated,
        restored=sum(one.rows for one in restored),
        left=manifest.updated - sum(one.known for one in restored),
        changed=sum(one.changed for one in restored),
        differing=sum(one.differing or 0 for one in restored),
    )


def _refuse_if_in_use(context: PartitionContext) -> None:
    if context.ledger.generations.current(context.environment, context.partition) is None:
        raise ConfigError(
            f"{context} is not loaded; there is nothing to roll back.", "`kpc status` shows what is loaded."
        )
    if children := loaded_children(context):
        names = ", ".join(map(str, children))
        first = children[0]
        raise ConfigError(
            f"{context} cannot be rolled back while records of {names} refer to it.",
            f"Roll those back first: `kpc rollback {first.table.name} {first.key}`.",
        )
    if at_work := _jobs_at_work(context):
        raise ConfigError(
            f"The load of {context} is in progress: {', '.join(at_work)}.",
            f"Let it finish first: `kpc run {context.table.name} {context.key} --stage sf_loaded`.",
        )


def _planned_deletion(context: PartitionContext, folder: Path, tag: str) -> DeletionManifest:
    """Write the ids to delete to files before the first is sent. Planned again if the index has changed since."""
    store, partition_dir = context.store, context.paths.folder
    manifest = store.manifest(folder, DeletionManifest)
    has_index = store.fetch(context.paths.loaded_index)
    if manifest is not None and not has_index:
        return manifest  # everything is deleted; only the ledger entry is missing
    _absorb_unpublished(context)
    digest = _index_digest(partition_dir)
    if manifest is None or manifest.index_digest != digest:
        manifest = _write_deletion(folder, partition_dir, tag, digest)
        store.publish(folder, manifest, manifest.chunks)
    return manifest


def _index_digest(partition_dir: Path) -> str:
    """A digest of the index's content, independent of its file's bytes: row count and sum of the row hashes."""
    rows = total = 0
    for frame in read_loaded_index(partition_dir):
        rows += frame.height
        total = (total + int(frame.hash_rows(7).sum() or 0)) % (1 << 64)
    return f"{rows}-{total:016x}"


def _absorb_unpublished(context: PartitionContext) -> None:
    """Add chunks of unpublished loads to the index: their records were created by this migration too."""
    store, is_changed = context.store, False
    planned = context.ledger.chunks.planned(context.environment, context.partition)
    for generation, version in dict.fromkeys((chunk.generation, chunk.mapping_version) for chunk in planned):
        paths = context.paths.generation(generation)
        staged = store.manifest(paths.staged(version), StagedManifest)
        if staged is None or store.manifest(paths.loaded(version), LoadManifest) is not None:
            continue
        index = store.file(paths.staged(version), staged.index_file, remedy="Stage the partition again.")
        for chunk in staged.chunks:
            for file in _success_files(context, generation, version, chunk.name):
                update_loaded_index(context.paths.folder, index, file)
                is_changed = True
    if is_changed:
        store.send(context.paths.loaded_index)


def _success_files(context: PartitionContext, generation: str, version: str, chunk: str) -> list[Path]:
    """The files that list a chunk's accepted rows."""
    folder = context.paths.generation(generation).loaded(version)
    files = created_before(context, generation, version, chunk)
    if result := context.store.manifest(folder, ChunkResult, result_name(chunk)):
        files.append(
            context.store.file(folder, result.success_file, remedy="Run the load again; it is downloaded again.")
        )
    return files


def _write_deletion(folder: Path, partition_dir: Path, tag: str, index_digest: str) -> DeletionManifest:
    chunks: list[FileEntry] = []
    rows = 0
    waiting = pl.DataFrame(schema={"salesforce_id": pl.String})
    for frame in read_loaded_index(partition_dir):
        rows += frame.height
        waiting = pl.concat([waiting, frame.filter("created").select("salesforce_id")])
        while waiting.height >= _CHUNK_ROWS:
            chunks.append(_write_chunk(folder, f"{tag}-{len(chunks) + 1:05d}", waiting.head(_CHUNK_ROWS)))
            waiting = waiting.slice(_CHUNK_ROWS)
    if waiting.height:
        chunks.append(_write_chunk(folder, f"{tag}-{len(chunks) + 1:05d}", waiting))
    created = sum(chunk.rows for chunk in chunks)
    return DeletionManifest(created=created, updated=rows - created, chunks=tuple(chunks), index_digest=index_digest)


def _write_chunk(folder: Path, name: str, ids: pl.DataFrame) -> FileEntry:
    with GzipTable(make_private(folder) / f"undo-{name}.csv.gz", _HEADER, 1) as table:
        table.write(csv_bytes(ids, null=""), ids.height)
        return table.close()


def _restore(restoring: Restoring, generation: str) -> list[RestoreManifest]:
    """Restore one pre-image after another. Each is planned just before, as earlier ones may wait for quota."""
    context = restoring.context
    files = RollbackFiles(context, generation, "update")
    images = _usable(context)
    done = []
    for index, kept in enumerate(images):
        manifest = context.store.manifest(restoring.folder, RestoreManifest, restore_name(kept))
        is_stale = manifest is None or manifest.index_digest != restoring.index_digest
        if manifest is None or is_stale or not (manifest.is_done or files.have_jobs(manifest.files)):
            newer = [other for other in images[:index] if other.folder != kept.folder]
            manifest = restoring.plan(kept, newer, manifest)
        if not manifest.is_done:
            files.send(manifest.files)
            manifest = restoring.finish(kept, manifest)
        done.append(manifest)
    return done
