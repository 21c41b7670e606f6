"""What is left to load of a partition: its staged chunks, less those that were booked as done."""

from __future__ import annotations

from pathlib import Path

from kpc.errors import ConfigError
from kpc.ledger import Lease
from kpc.ledger.jobs import IN_FLIGHT
from kpc.load.chunk_load import ChunkLoad, ChunkSpec
from kpc.load.chunk_result import ChunkResult, chunk_of_job, result_name
from kpc.load.pre_image import needs_pre_image
from kpc.load.target_schema import check_object
from kpc.partition import Partition
from kpc.stages.stage_run import current_generation
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import LoadManifest, StagedManifest, loaded_folder, staged_folder
from kpc.storage.store import Store


def staged_and_folder(partition: Partition, workspace: Workspace) -> tuple[StagedManifest, Path]:
    """What was staged of the current generation under the present mapping, and the folder of its load."""
    generation = current_generation(partition, workspace).id
    version = partition.table.mapping_version
    folder = workspace.store.generation_dir(workspace.environment, partition, generation)
    staged = workspace.store.manifest(folder / staged_folder(version), StagedManifest)
    if staged is None:
        raise ConfigError(
            f"Generation {generation} of {partition} is not staged under the present mapping.", stage_first(partition)
        )
    return staged, folder / loaded_folder(version)


def chunks_to_load(partition: Partition, workspace: Workspace, lease: Lease) -> list[ChunkSpec]:
    staged, folder = staged_and_folder(partition, workspace)
    if workspace.store.manifest(folder, LoadManifest) is not None:
        return []
    ledger, table = workspace.ledger, partition.table
    version = ledger.remember_mapping(table)
    attempt = ledger.begin_attempt(staged.generation, version, run_id=workspace.run_id, lease=lease)
    if not staged.chunks:
        return []
    ledger.check_external_id(lease.environment, table)
    if staged.header != table.header:
        raise ConfigError(
            f"The chunks of {partition} have another header than the catalog's {table.name}.", stage_first(partition)
        )
    check_org(workspace, lease)
    check_object(workspace.salesforce, table)
    is_kept = needs_pre_image(table, workspace)
    planned = ledger.plan_chunks(staged.generation, version, staged.chunks, lease=lease)
    done = {chunk.name for chunk in planned if chunk.state == "done" and result_of(folder, chunk.name, workspace.store)}
    specs = [
        ChunkSpec.of(
            entry,
            partition,
            lease.environment,
            generation=staged.generation,
            mapping_version=version,
            attempt=attempt,
            folder=staged_folder(version),
            pre_image=is_kept,
        )
        for entry in staged.chunks
        if entry.name not in done
    ]
    return _in_order(specs, workspace, lease)


def _in_order(specs: list[ChunkSpec], workspace: Workspace, lease: Lease) -> list[ChunkSpec]:
    """First the chunks whose jobs hold slots, then those whose jobs have ended, then the others.

    An ended job's rows may have to be sent again: that would wait for a slot which nobody gives back.
    """
    at_work = workspace.ledger.jobs_at_work(lease.environment, lease.partition)
    holding = {chunk_of_job(job.chunk) for job in at_work if job.state in IN_FLIGHT}

    def rank(spec: ChunkSpec) -> tuple[bool, bool, str]:
        return spec.chunk not in holding, ChunkLoad(spec, workspace, lease).live_job() is None, spec.chunk

    return sorted(specs, key=rank)


def check_org(workspace: Workspace, lease: Lease) -> None:
    if workspace.salesforce.org_id != lease.environment.target_id:
        raise ConfigError(
            f"The log-in leads to org {workspace.salesforce.org_id}; this load is for {lease.environment.target_id}.",
            "Check KPC__SALESFORCE__BASE_URL; nothing was sent.",
        )


def result_of(folder: Path, chunk: str, store: Store) -> ChunkResult | None:
    """The booked result of a chunk; None if its files were never finished."""
    return store.manifest(folder, ChunkResult, result_name(chunk))


def stage_first(partition: Partition) -> str:
    """A remedy for staged files that are not there or not as they were."""
    return f"Stage it first: `kpc rerun {partition.table.name} {partition.key}`."
