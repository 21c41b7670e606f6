"""Rolling a partition back: records that it created are deleted, records that it changed are set back.

Created records are deleted by their recorded ids; a record that is not in the loaded index is never touched. A changed
record is set back to its pre-image, unless it has none or somebody has changed it since. A killed rollback is continued
by the next one: the plan is saved before the first request, and deleting a deleted record, or setting back a record
that has its former values already, counts as success.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from kpc.errors import ConfigError, Transient
from kpc.ledger.states import StageState
from kpc.load.loaded_index import read_loaded_index
from kpc.load.org_records import ID, image_header
from kpc.load.pre_image import KeptImage, kept_images
from kpc.load.superseded_loads import finalize_superseded_loads
from kpc.partition import Partition, stored_partition
from kpc.rollback.deletion import count_deletion, plan_deletion
from kpc.rollback.restore import RestoreManifest, Restoring, restore_name
from kpc.rollback.rollback_files import RollbackFiles
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import run_stage
from kpc.storage.manifests import StageOutput


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """What a rollback did: `created` records deleted, `restored` to their pre-image, `left` as we wrote them.

    `changed`: carry the migration's marker, were changed since by somebody else, and are not touched.
    `differing`: were set back, and still do not equal their image.
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
        return StageOutput(self.generation, 0, 0, StageState.ROLLED_BACK, self.mapping_version, detail)


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do: delete `created` records, and restore the `imaged` of the `updated` ones.

    A rollback is refused while there are `children`.
    """

    partition: Partition
    created: int
    updated: int
    imaged: int
    children: tuple[Partition, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "table": self.partition.table.name,
            "key": self.partition.key,
            "created": self.created,
            "updated": self.updated,
            "with_pre_image": self.imaged,
            "children": [str(child) for child in self.children],
        }


def plan_rollback(context: PartitionContext) -> RollbackPlan:
    """What `roll_back` would do, and what prevents it; no record is deleted or changed.

    As in the rollback itself, the jobs of an interrupted load are finalized first: otherwise nobody could tell which
    records there are. Raises `ConfigError` if the partition is not loaded, `Transient` while another run loads it.
    """
    folder = context.paths.generation(_loaded_generation(context)).rollback
    finalize_superseded_loads(context, None)
    counts = count_deletion(context, folder)
    imaged = sum(_updated_of(context, kept) for kept in _usable(context)) if counts.updated else 0
    return RollbackPlan(
        context.partition, counts.created, counts.updated, min(imaged, counts.updated), loaded_children(context)
    )


def _loaded_generation(context: PartitionContext) -> str:
    """The generation that a rollback names. Raises `ConfigError`."""
    current = context.ledger.generations.current(context.environment, context.partition)
    if current is None:
        raise ConfigError(f"{context} is not loaded; there is nothing to roll back.", "`kpc status` shows what is.")
    return current.id


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
    candidates = [found for each in sorted(known) if (found := stored_partition(*each)) is not None]
    return tuple(
        child
        for child in candidates
        if context.partition in child.parents() and any(frame.height for frame in _index(context.of(child)))
    )


def roll_back(context: PartitionContext) -> RollbackResult:
    """Delete what the partition created, restore what it updated, and record that it is no longer loaded.

    Repeating it continues it. The jobs of an interrupted load are finalized first. Raises `ConfigError` while child
    partitions are loaded, `QuotaExhausted`, `Paused`, `Terminal` naming the codes when Salesforce does not let records
    go.
    """
    finished = run_stage(context, SF_LOADED, _roll_back)
    if finished.made is None:
        raise Transient(f"{context} was just loaded by another run.", "Check its result, then roll it back.")
    return finished.made


def _roll_back(context: StageContext) -> RollbackResult:
    generation, tag = _loaded_generation(context), str(context.stage_run)
    _refuse_if_in_use(context)
    finalize_superseded_loads(context, None)
    folder = context.paths.generation(generation).rollback
    manifest = plan_deletion(context, folder, tag)
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
    if children := loaded_children(context):
        names = ", ".join(map(str, children))
        first = children[0]
        raise ConfigError(
            f"{context} cannot be rolled back while records of {names} refer to it.",
            f"Roll those back first: `kpc rollback {first.table.name} {first.key}`.",
        )


def _restore(restoring: Restoring, generation: str) -> list[RestoreManifest]:
    """Set back image by image, comparing each right before: a rollback may have waited for quota in between."""
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
