"""What is left to load of a partition: its staged chunks except those recorded as done."""

from __future__ import annotations

from pathlib import Path

from kpc.errors import ConfigError
from kpc.ledger.states import IN_FLIGHT, ChunkState
from kpc.load.chunk_load import ChunkLoad, ChunkSpec
from kpc.load.chunk_result import ChunkResult
from kpc.load.pre_image import needs_pre_image
from kpc.load.superseded_loads import finalize_superseded_loads
from kpc.load.target_schema import check_object
from kpc.partition import Partition
from kpc.stages.context import LeasedContext, PartitionContext
from kpc.stages.vouched_work import record_mapping
from kpc.storage.layout import chunk_of_job, result_name, staged_folder
from kpc.storage.manifests import LoadManifest, StagedManifest
from kpc.storage.store import Store


def missing_parents(context: PartitionContext) -> tuple[Partition, ...]:
    """The parent partitions whose current generation is not loaded yet; lookups to them would fail."""
    ledger, environment = context.ledger, context.environment
    return tuple(parent for parent in context.partition.parents() if not ledger.stages.is_loaded(environment, parent))


def plan(context: LeasedContext, staged: StagedManifest) -> tuple[ChunkSpec, ...]:
    """The chunks that are still to load; none when there is nothing to send. Costs no quota.

    Jobs of older loads that were never published are finalized first. Raises `SchemaDrift` when the object cannot take
    the rows, `Superseded` when a newer generation is being loaded.
    """
    folder = context.paths.generation(staged.generation).loaded(staged.mapping_version)
    if context.store.manifest(folder, LoadManifest) is not None:
        return ()
    ledger = context.ledger
    version = record_mapping(context)
    attempt = ledger.attempts.begin(staged.generation, version, run_id=context.run_id, lease=context.lease)
    finalize_superseded_loads(context, (staged.generation, version))
    if not staged.chunks:
        return ()
    _check_fit(context, staged)
    is_kept = needs_pre_image(context)
    planned = ledger.chunks.plan(staged.generation, version, staged.chunks, lease=context.lease)
    done = {
        chunk.name
        for chunk in planned
        if chunk.state == ChunkState.DONE and result_of(folder, chunk.name, context.store)
    }
    specs = [
        ChunkSpec.of(
            entry,
            context,
            generation=staged.generation,
            folder=staged_folder(version),
            attempt=attempt,
            pre_image=is_kept,
        )
        for entry in staged.chunks
        if entry.name not in done
    ]
    return _in_order(specs, context)


def _check_fit(context: LeasedContext, staged: StagedManifest) -> None:
    """Raises `ConfigError` or `SchemaDrift` if the chunks do not match the catalog or the org."""
    context.ledger.mappings.check_external_id(context.environment, context.table)
    if staged.header != context.table.header:
        raise ConfigError(
            f"The chunks of {context} have a different header than {context.table.name} in the catalog.",
            f"Stage it first: `kpc rerun {context.table.name} {context.key}`.",
        )
    check_org(context)
    check_object(context.salesforce, context.table)


def _in_order(specs: list[ChunkSpec], context: LeasedContext) -> tuple[ChunkSpec, ...]:
    """First the chunks whose jobs hold slots, then those whose jobs have ended, then the others.

    Rows of an ended job may have to be sent again, which needs a slot: new jobs must not have taken all of them.
    """
    at_work = context.ledger.jobs.at_work(context.environment, context.partition)
    holding = {chunk_of_job(job.chunk) for job in at_work if job.state in IN_FLIGHT}

    def rank(spec: ChunkSpec) -> tuple[bool, bool, str]:
        return spec.chunk not in holding, ChunkLoad(spec, context).live_job() is None, spec.chunk

    return tuple(sorted(specs, key=rank))


def check_org(context: PartitionContext) -> None:
    """Raises `ConfigError` if this worker is logged in to a different org than the plan's."""
    org_id, wanted = context.salesforce.org_id, context.environment.target_id
    if org_id != wanted:
        raise ConfigError(
            f"The login is for org {org_id}, but this load is for org {wanted}.",
            "Check KPC__SALESFORCE__BASE_URL; nothing was sent.",
        )


def result_of(folder: Path, chunk: str, store: Store) -> ChunkResult | None:
    """The recorded result of a chunk; None if it was never finalized."""
    return store.manifest(folder, ChunkResult, result_name(chunk))
