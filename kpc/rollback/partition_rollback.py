"""Taking a partition out of Salesforce again: what it created is deleted, what it changed is set back.

Deleted are the records that this migration made, by their recorded ids; what the index does not know is never touched.
Set back are records of which a pre-image was kept, unless somebody has changed them since; the others stay as they are.
A run that was killed is carried on by the next one: what is to be done is written down before the first request, and
deleting what is gone, or setting back what is as it was, is success.
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
from kpc.ledger import Lease
from kpc.load.chunk_result import ChunkResult, result_name
from kpc.load.corrected_rows import REPAIRS
from kpc.load.job_results import created_before
from kpc.load.loaded_index import read_loaded_index, update_loaded_index
from kpc.load.org_records import ID, image_header
from kpc.load.partition_load import STAGE
from kpc.load.pre_image import KeptImage, kept_images
from kpc.partition import Partition, find_partition
from kpc.rollback.restore import RestoreManifest, Restoring, restore_name
from kpc.rollback.rollback_jobs import UNDO, UndoFiles
from kpc.stages.result import Made
from kpc.stages.stage_run import Turn, current_generation, run_stage
from kpc.stages.workspace import Workspace
from kpc.staging.unchanged_rows import LOADED_INDEX
from kpc.storage.manifests import LoadManifest, StagedManifest, loaded_folder, staged_folder
from kpc.storage.store import FileEntry, make_private

log = logging.getLogger(__name__)

_HEADER = (ID,)
_CHUNK_ROWS = 500_000


class UndoManifest(BaseModel):
    """What one rollback deletes: files of record ids, of the loaded index with that digest.

    `updated` counts the records that the migration only changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: int
    updated: int
    chunks: tuple[FileEntry, ...]
    index_digest: str = ""


@dataclass(frozen=True, slots=True)
class Undone:
    """What a rollback did: `created` records deleted, `restored` to their pre-image, `left` as the migration made them.

    `changed`: bear the migration's mark, were changed since by somebody else, and are not touched. `differing`: were
    set back, and are still not like their image.
    """

    created: int
    updated: int
    restored: int
    left: int
    changed: int
    differing: int


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What a rollback would do: `created` records deleted, `updated` ones set back, as far as `imaged`.

    `children` and `jobs_at_work` stand in its way.
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


def plan_undo(partition: Partition, workspace: Workspace) -> UndoPlan:
    """Count what a rollback would do and what stands in its way; changes nothing, asks nothing of the org."""
    created = updated = 0
    for frame in _index(partition, workspace):
        created += int(frame["created"].sum() or 0)
        updated += int((~frame["created"]).sum() or 0)
    imaged = sum(_updated_of(kept, partition, workspace) for kept in _usable(partition, workspace)) if updated else 0
    children, at_work = loaded_children(partition, workspace), _jobs_at_work(partition, workspace)
    return UndoPlan(partition, created, updated, min(imaged, updated), children, at_work)


def _jobs_at_work(partition: Partition, workspace: Workspace) -> tuple[str, ...]:
    jobs = workspace.ledger.jobs_at_work(workspace.environment, partition)
    return tuple(job.job_id or "one being created" for job in jobs if job.purpose != UNDO)


def _index(partition: Partition, workspace: Workspace) -> Iterator[pl.DataFrame]:
    folder = workspace.store.partition_dir(workspace.environment, partition)
    workspace.store.fetch(folder / LOADED_INDEX)
    yield from read_loaded_index(folder)


def _updated_of(kept: KeptImage, partition: Partition, workspace: Workspace) -> int:
    """How many records of an image the index has as updated."""
    ids = pl.concat(list(kept.frames(workspace, ID))).rename({ID: "salesforce_id"})
    updated = (frame.filter(~pl.col("created")) for frame in _index(partition, workspace))
    return sum(frame.join(ids, on="salesforce_id", how="semi").height for frame in updated)


def _usable(partition: Partition, workspace: Workspace) -> list[KeptImage]:
    """The images that can be set back, newest first. One of another mapping's fields cannot: its records are left."""
    header = image_header(partition.table)
    return [kept for kept in reversed(kept_images(partition, workspace)) if kept.image.header == header]


def loaded_children(partition: Partition, workspace: Workspace) -> tuple[Partition, ...]:
    """The partitions with records in the org that refer to this one's."""
    runs = workspace.ledger.stages(workspace.environment)
    known = {(run.table_name, run.partition_key) for run in runs if run.stage == STAGE}
    candidates = [find_partition(*each) for each in sorted(known)]
    return tuple(
        child
        for child in candidates
        if partition in child.parents() and any(frame.height for frame in _index(child, workspace))
    )


def roll_back(partition: Partition, workspace: Workspace) -> Undone:
    """Delete what the partition created, set back what it changed, forget that it is loaded, book it.

    Repeating it carries on. Raises `ConfigError` while child partitions are loaded or its own load is under way,
    `QuotaExhausted`, `Paused`, `Terminal` naming the codes when Salesforce does not let records go.
    """
    done: list[Undone] = []

    def make(turn: Turn) -> Made:
        undone = _undo(partition, workspace, turn)
        done.append(undone)
        generation = current_generation(partition, workspace).id
        workspace.ledger.roll_back_generations(turn.lease)
        detail: dict[str, int | str] = {
            "deleted": undone.created,
            **{name: getattr(undone, name) for name in ("restored", "left", "changed", "differing")},
        }
        return Made(generation, 0, 0, "rolled_back", partition.table.mapping_version, detail)

    run_stage(STAGE, partition, workspace, make)
    if not done:
        raise Transient(f"{partition} was just loaded by another run.", "Look at it first, then roll it back.")
    return done[0]


def _undo(partition: Partition, workspace: Workspace, turn: Turn) -> Undone:
    _refuse_if_in_use(partition, workspace)
    generation = current_generation(partition, workspace).id
    partition_dir = workspace.store.partition_dir(workspace.environment, partition)
    folder = partition_dir / generation / UNDO
    manifest = _written_down(partition, workspace, folder, str(turn.stage_run))
    UndoFiles(partition, workspace, turn.lease, generation, "delete").send(manifest.chunks)
    restoring = Restoring(partition, workspace, folder, str(turn.stage_run), manifest.index_digest)
    restored = _restore(restoring, turn.lease, generation)
    workspace.ledger.require_lease(turn.lease)
    for name in (LOADED_INDEX, REPAIRS):
        workspace.store.remove(partition_dir / name)
    return Undone(
        created=manifest.created,
        updated=manifest.updated,
        restored=sum(one.rows for one in restored),
        left=manifest.updated - sum(one.known for one in restored),
        changed=sum(one.changed for one in restored),
        differing=sum(one.differing or 0 for one in restored),
    )


def _refuse_if_in_use(partition: Partition, workspace: Workspace) -> None:
    if workspace.ledger.current_generation(workspace.environment, partition) is None:
        raise ConfigError(f"{partition} is not loaded; there is nothing to take out.", "`kpc status` shows what is.")
    if children := loaded_children(partition, workspace):
        names = ", ".join(map(str, children))
        first = children[0]
        raise ConfigError(
            f"{partition} cannot be taken out while records of {names} refer to it.",
            f"Roll those back first: `kpc rollback {first.table.name} {first.key}`.",
        )
    if at_work := _jobs_at_work(partition, workspace):
        raise ConfigError(
            f"The load of {partition} is under way: {', '.join(at_work)}.",
            f"Let it end first: `kpc run {partition.table.name} {partition.key} --stage sf_loaded`.",
        )


def _written_down(partition: Partition, workspace: Workspace, folder: Path, tag: str) -> UndoManifest:
    """The ids to delete, in files, before the first one is sent; anew when the index has changed since."""
    store, partition_dir = workspace.store, folder.parent.parent
    manifest = store.manifest(folder, UndoManifest)
    has_index = store.fetch(partition_dir / LOADED_INDEX)
    if manifest is not None and not has_index:
        return manifest  # all was done, and only the booking is left
    _absorb_unpublished(partition, workspace, partition_dir)
    digest = _index_digest(partition_dir)
    if manifest is None or manifest.index_digest != digest:
        manifest = _write_down(folder, partition_dir, tag, digest)
        store.publish(folder, manifest, manifest.chunks)
    return manifest


def _index_digest(partition_dir: Path) -> str:
    """What the index says, whatever its file's bytes: rows and the sum of their hashes."""
    rows = total = 0
    for frame in read_loaded_index(partition_dir):
        rows += frame.height
        total = (total + int(frame.hash_rows(7).sum() or 0)) % (1 << 64)
    return f"{rows}-{total:016x}"


def _absorb_unpublished(partition: Partition, workspace: Workspace, partition_dir: Path) -> None:
    """Chunks that were loaded by runs that never published: their records are ours as well."""
    store, is_changed = workspace.store, False
    planned = workspace.ledger.planned_chunks(workspace.environment, partition)
    for generation, version in dict.fromkeys((chunk.generation, chunk.mapping_version) for chunk in planned):
        staged_dir = partition_dir / generation / staged_folder(version)
        folder = partition_dir / generation / loaded_folder(version)
        staged = store.manifest(staged_dir, StagedManifest)
        if staged is None or store.manifest(folder, LoadManifest) is not None:
            continue
        index = store.file(staged_dir, staged.index_file, remedy="Stage the partition again.")
        for chunk in staged.chunks:
            files = created_before(workspace, folder, generation, version, chunk.name)
            if result := store.manifest(folder, ChunkResult, result_name(chunk.name)):
                files.append(store.file(folder, result.success_file, remedy="Run the load again; it is read anew."))
            for file in files:
                update_loaded_index(partition_dir, index, file)
                is_changed = True
    if is_changed:
        store.send(partition_dir / LOADED_INDEX)


def _write_down(folder: Path, partition_dir: Path, tag: str, index_digest: str) -> UndoManifest:
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
    return UndoManifest(created=created, updated=rows - created, chunks=tuple(chunks), index_digest=index_digest)


def _write_chunk(folder: Path, name: str, ids: pl.DataFrame) -> FileEntry:
    with GzipTable(make_private(folder) / f"undo-{name}.csv.gz", _HEADER, 1) as table:
        table.write(csv_bytes(ids, null=""), ids.height)
        return table.close()


def _restore(restoring: Restoring, lease: Lease, generation: str) -> list[RestoreManifest]:
    """Set back image by image, each looked at right before: a rollback that waited for quota asks the org again."""
    partition, workspace = restoring.partition, restoring.workspace
    files = UndoFiles(partition, workspace, lease, generation, "update")
    images = _usable(partition, workspace)
    done = []
    for place, kept in enumerate(images):
        manifest = workspace.store.manifest(restoring.folder, RestoreManifest, restore_name(kept))
        is_stale = manifest is None or manifest.index_digest != restoring.index_digest
        if manifest is None or is_stale or not (manifest.is_done or files.are_begun(manifest.files)):
            newer = [other for other in images[:place] if other.folder != kept.folder]
            manifest = restoring.plan(kept, newer, manifest)
        if not manifest.is_done:
            files.send(manifest.files)
            manifest = restoring.finish(kept, manifest)
        done.append(manifest)
    return done
