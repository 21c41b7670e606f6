"""Taking a partition out of Salesforce again: the records that this migration created, by their recorded ids.

What was only updated stays as it is: no image of it was taken before. What the index does not know is never touched.
A run that was killed is carried on by the next one: the ids to delete were written down before the first was sent, and
deleting what is gone already is success.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from assets.chunk_result import ChunkResult, read_columns, result_name
from assets.load_job import ChunkLoad, ChunkSpec, ask, follow_job, governor_of, row_of, start_job
from assets.loaded_index import read_loaded_index, update_loaded_index
from assets.receipt import Made
from assets.repaired_rows import REPAIRS
from assets.sf_loaded import STAGE
from assets.stage import Turn, current_generation, run_stage
from kpc.convert.difference import LOADED_INDEX
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.errors import ConfigError, JobFailed, Terminal, Transient
from kpc.manifests import LoadManifest, StagedManifest, loaded_folder, staged_folder
from kpc.partition import Partition, find_partition
from kpc.salesforce import Results, State, failed_job, parse_row_error
from kpc.store import FileEntry, make_private, read_manifest, write_manifest
from kpc.workspace import Workspace

log = logging.getLogger(__name__)

UNDO = "undo"
_HEADER = ("Id",)
_CHUNK_ROWS = 500_000
_GONE = ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")


class UndoManifest(BaseModel):
    """What one rollback deletes: files of record ids, and how many records it leaves as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: int
    updated: int
    chunks: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What a rollback would do: `created` records deleted, `updated` ones left; `children` stand in its way."""

    partition: Partition
    created: int
    updated: int
    children: tuple[Partition, ...]
    jobs_at_work: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "table": self.partition.table.name,
            "key": self.partition.key,
            "created": self.created,
            "updated": self.updated,
            "children": [str(child) for child in self.children],
            "jobs_at_work": list(self.jobs_at_work),
        }


def plan_undo(partition: Partition, workspace: Workspace) -> UndoPlan:
    """Count what a rollback would delete and what stands in its way; changes nothing."""
    workspace.store.require_directory("A rollback")
    frames = list(_index_flags(partition, workspace))
    created = sum(int(frame["created"].sum() or 0) for frame in frames)
    rows = sum(frame.height for frame in frames)
    jobs = workspace.ledger.jobs_at_work(workspace.environment, partition)
    at_work = tuple(job.job_id or "one being created" for job in jobs if job.purpose != UNDO)
    return UndoPlan(partition, created, rows - created, loaded_children(partition, workspace), at_work)


def _index_flags(partition: Partition, workspace: Workspace) -> Iterator[pl.DataFrame]:
    folder = workspace.store.partition_dir(workspace.environment, partition)
    for frame in read_loaded_index(folder):
        yield frame.select("created")


def loaded_children(partition: Partition, workspace: Workspace) -> tuple[Partition, ...]:
    """The partitions with records in the org that refer to this one's."""
    runs = workspace.ledger.stages(workspace.environment)
    known = {(run.table_name, run.partition_key) for run in runs if run.stage == STAGE}
    candidates = [find_partition(*each) for each in sorted(known)]
    return tuple(
        child
        for child in candidates
        if partition in child.parents() and any(frame.height for frame in _index_flags(child, workspace))
    )


def roll_back(partition: Partition, workspace: Workspace) -> UndoManifest:
    """Delete what the partition created, forget that it is loaded, book it. Repeating it carries on.

    Raises `ConfigError` while child partitions are loaded or its own load is under way, `QuotaExhausted`, `Paused`,
    `Terminal` naming the codes when Salesforce does not let records go.
    """
    done: list[UndoManifest] = []

    def make(turn: Turn) -> Made:
        manifest = _undo(partition, workspace, turn)
        done.append(manifest)
        generation = current_generation(partition, workspace).id
        workspace.ledger.roll_back_generations(turn.lease)
        detail: dict[str, int | str] = {"deleted": manifest.created, "left": manifest.updated}
        return Made(generation, 0, 0, "rolled_back", partition.table.mapping_version, detail)

    run_stage(STAGE, partition, workspace, make)
    if not done:
        raise Transient(f"{partition} was just loaded by another run.", "Look at it first, then roll it back.")
    return done[0]


def _undo(partition: Partition, workspace: Workspace, turn: Turn) -> UndoManifest:
    _refuse_if_in_use(partition, workspace)
    generation = current_generation(partition, workspace).id
    partition_dir = workspace.store.partition_dir(workspace.environment, partition)
    folder = partition_dir / generation / UNDO
    manifest = read_manifest(folder, UndoManifest)
    if manifest is None:
        _absorb_unpublished(partition, partition_dir, partition_dir / generation)
        manifest = _write_down(partition_dir, folder)
    refused: dict[str, int] = {}
    for entry in manifest.chunks:
        for code, rows in _delete(_chunk_load(partition, workspace, turn, generation, entry)).items():
            refused[code] = refused.get(code, 0) + rows
    if refused:
        shutil.rmtree(folder)  # the next run asks for all of them again
        listed = ", ".join(f"{code} {rows:,}" for code, rows in sorted(refused.items()))
        raise Terminal(
            f"Salesforce kept {sum(refused.values()):,} of {manifest.created:,} records of {partition}: {listed}.",
            "Remove the cause in the org and roll back again; the partition still counts as loaded.",
        )
    workspace.ledger.require_lease(turn.lease)
    for name in (LOADED_INDEX, REPAIRS):
        (partition_dir / name).unlink(missing_ok=True)
    return manifest


def _refuse_if_in_use(partition: Partition, workspace: Workspace) -> None:
    if workspace.ledger.current_generation(workspace.environment, partition) is None:
        raise ConfigError(f"{partition} is not loaded; there is nothing to take out.", "`kpc status` shows what is.")
    plan = plan_undo(partition, workspace)
    if plan.children:
        names = ", ".join(map(str, plan.children))
        first = plan.children[0]
        raise ConfigError(
            f"{partition} cannot be taken out while records of {names} refer to it.",
            f"Roll those back first: `kpc rollback {first.table.name} {first.key}`.",
        )
    if plan.jobs_at_work:
        raise ConfigError(
            f"The load of {partition} is under way: {', '.join(plan.jobs_at_work)}.",
            f"Let it end first: `kpc run {partition.table.name} {partition.key} --stage sf_loaded`.",
        )


def _absorb_unpublished(partition: Partition, partition_dir: Path, generation_dir: Path) -> None:
    """Chunks that were loaded by a run that never published: their records are ours as well."""
    version = partition.table.mapping_version
    staged = read_manifest(generation_dir / staged_folder(version), StagedManifest)
    folder = generation_dir / loaded_folder(version)
    if staged is None or read_manifest(folder, LoadManifest) is not None:
        return
    index = generation_dir / staged_folder(version) / staged.index_file.name
    finished = [read_manifest(folder, ChunkResult, result_name(entry.name)) for entry in staged.chunks]
    files = [folder / result.success_file.name for result in finished if result is not None]
    for file in [*sorted(folder.glob("*.created.csv.gz")), *files]:
        update_loaded_index(partition_dir, index, file)


def _write_down(partition_dir: Path, folder: Path) -> UndoManifest:
    """The ids to delete, in files, before the first one is sent."""
    shutil.rmtree(folder, ignore_errors=True)
    make_private(folder)
    chunks: list[FileEntry] = []
    rows = created = 0
    waiting = pl.DataFrame(schema={"salesforce_id": pl.String})
    for frame in read_loaded_index(partition_dir):
        rows += frame.height
        waiting = pl.concat([waiting, frame.filter("created").select("salesforce_id")])
        while waiting.height >= _CHUNK_ROWS:
            chunks.append(_write_chunk(folder, len(chunks) + 1, waiting.head(_CHUNK_ROWS)))
            waiting = waiting.slice(_CHUNK_ROWS)
    if waiting.height:
        chunks.append(_write_chunk(folder, len(chunks) + 1, waiting))
    created = sum(chunk.rows for chunk in chunks)
    manifest = UndoManifest(created=created, updated=rows - created, chunks=tuple(chunks))
    write_manifest(folder, manifest)
    return manifest


def _write_chunk(folder: Path, number: int, ids: pl.DataFrame) -> FileEntry:
    with GzipTable(folder / f"undo-{number:05d}.csv.gz", _HEADER, 1) as table:
        table.write(csv_bytes(ids, null=""), ids.height)
        return table.close()


def _chunk_load(partition: Partition, workspace: Workspace, turn: Turn, generation: str, entry: FileEntry) -> ChunkLoad:
    spec = ChunkSpec(
        source_id=turn.lease.environment.source_id,
        target_id=turn.lease.environment.target_id,
        table=partition.table.name,
        key=partition.key,
        generation=generation,
        mapping_version=partition.table.mapping_version,
        attempt=0,
        chunk=entry.name,
        folder=UNDO,
        rows=entry.rows,
        bytes=entry.bytes,
        raw_bytes=entry.raw_bytes or 0,
        sha256=entry.sha256,
        purpose=UNDO,
        operation="delete",
    )
    return ChunkLoad(spec, workspace, turn.lease)


def _delete(load: ChunkLoad) -> dict[str, int]:
    """Delete one file of ids; returns the records that Salesforce kept, by error code."""
    with governor_of(load.workspace).heeding():
        if load.spec.rows <= load.workspace.settings.salesforce.collection_rows:
            return _delete_collected(load)
        job_id = start_job(load)
        follow_job(load, job_id)
        kept = _kept_by(load, job_id)
    state = "failed" if kept else "complete"  # a failed one is sent anew by the next run
    load.workspace.ledger.end_job(row_of(load, job_id).id, state=state, lease=load.lease)
    return kept


def _delete_collected(load: ChunkLoad) -> dict[str, int]:
    load.workspace.ledger.check_pause(load.lease.environment, load.table)
    load.workspace.ledger.require_lease(load.lease)
    file = load.generation_dir / load.spec.folder / load.spec.chunk
    ids = [record for frame in read_columns(file, _HEADER) for record in frame["Id"]]
    errors = [saved.error for saved in load.salesforce.delete_records(ids) if saved.error]
    return _counted(errors)


def _kept_by(load: ChunkLoad, job_id: str) -> dict[str, int]:
    info = ask(load, job_id)
    if info.ran_out_of_quota:
        load.workspace.ledger.end_job(
            row_of(load, job_id).id, state="failed", error=info.error_message, lease=load.lease
        )
        raise governor_of(load.workspace).stop(info.error_message)
    if info.state is not State.JOB_COMPLETE:
        load.workspace.ledger.end_job(
            row_of(load, job_id).id, state="failed", error=info.error_message, lease=load.lease
        )
        error: JobFailed = failed_job(info, str(load))
        raise error
    if not info.failed and info.processed == load.spec.rows:
        return {}
    file = load.generation_dir / load.spec.folder / f"{job_id}.failed.csv.gz"
    load.salesforce.results(job_id, Results.FAILED, file)
    return _counted(error for frame in read_columns(file, ("sf__Error",)) for error in frame["sf__Error"])


def _counted(errors: Iterator[str] | list[str]) -> dict[str, int]:
    kept: dict[str, int] = {}
    for text in errors:
        code = parse_row_error(text).code
        if code not in _GONE:
            kept[code] = kept.get(code, 0) + 1
    return kept
