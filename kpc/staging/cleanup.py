"""Chunks of a reconciled partition are kept, archived or deleted, by policy.

Only chunks are removed. The sealed extract, every manifest, the index, the reject list and the job results stay, so
that the partition can be staged again at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from kpc.errors import ConfigError, KpcError
from kpc.ledger import StageRun, Vouched
from kpc.ledger.states import StageState
from kpc.settings import CleanupPolicy
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import current_generation
from kpc.stages.names import RECONCILED
from kpc.stages.vouched_work import facts_of, file_name
from kpc.storage.layout import CLEANED
from kpc.storage.manifests import CleanedManifest, LoadManifest, StagedManifest
from kpc.storage.store import Store, open_store

log = logging.getLogger(__name__)

_PROVEN = (StageState.RECONCILED, StageState.RECONCILED_WITH_EXCEPTIONS)
_READERS = ("staged_csv", "sf_loaded")  # the stages that write and read chunks


def clean_up(context: PartitionContext, policy: CleanupPolicy) -> CleanedManifest | None:
    """Archive or delete the chunks of the partition's current generation; None if there is nothing to do.

    Chunks of older generations, which can never be loaded again, are removed after them. Repeating it finishes what a
    crash interrupted. Raises `ConfigError` unless that very generation is loaded and reconciled, `Transient` while a
    stage of it is running, `DamagedFile` for a chunk that is not what was staged.
    """
    if policy == "keep":
        return None
    proof = _proof(context)
    proven, version = proof.generation or "", proof.mapping_version or ""
    paths = context.paths.generation(proven)
    with _hold_leases(context):
        cleaned = None
        if context.store.manifest(paths.loaded(version), LoadManifest) is not None:
            cleaned = _clean(context, paths.staged(version), policy)
        for older, staged_under in context.ledger.stages.staged_before(context.environment, context.partition, proven):
            _clean(context, context.paths.generation(older).staged(staged_under), policy)
    return cleaned


def _clean(context: PartitionContext, folder: Path, policy: Literal["archive", "delete"]) -> CleanedManifest | None:
    """Remove the chunks of one folder after `cleaned.json` is written; None if it has none."""
    staged = context.store.manifest(folder, StagedManifest)
    if staged is None or not staged.chunks:
        return None
    cleaned = context.store.manifest(folder, CleanedManifest, CLEANED)
    if cleaned is None:
        cleaned = _cleaned(context, staged, folder, policy)
        context.store.publish(folder, cleaned, name=CLEANED)
        _audit(context, cleaned, folder)
    for chunk in staged.chunks:
        context.store.remove(folder / chunk.name)
    return cleaned


def clean_up_quietly(context: PartitionContext) -> None:
    """`clean_up` by the configured policy. An error is logged only: the partition is reconciled all the same."""
    try:
        clean_up(context, context.settings.staging.after_reconciliation)
    except KpcError as error:
        log.warning(
            "%s: its chunks were not cleaned up: %s Run `kpc archive %s %s` later.",
            context,
            error.what,
            context.table.name,
            context.key,
        )


def _proof(context: PartitionContext) -> StageRun:
    """The reconciliation that allows the clean-up. A generation newer than the proven one is not touched."""
    generation = current_generation(context)
    proof = context.ledger.stages.last(context.environment, context.partition, RECONCILED, generation=generation.id)
    if proof is None or proof.state not in _PROVEN:
        found = "has not been reconciled" if proof is None else f"is not proven: its reconciliation is {proof.state}"
        raise ConfigError(
            f"Generation {generation.id} of {context} {found}; its chunks are kept.",
            f"Run `kpc reconcile {context.table.name} {context.key}` first.",
        )
    return proof


@contextmanager
def _hold_leases(context: PartitionContext) -> Iterator[None]:
    """Keep other runs from staging or loading the partition. Raises `Transient` if one does already."""
    ledger, ttl_s = context.ledger, context.settings.lease_s
    owner = f"{context.run_id} clean-up"
    first, second = (
        ledger.leases.hold(context.environment, context.partition, stage, owner=owner, ttl_s=ttl_s, wait_s=0)
        for stage in _READERS
    )
    with first, second:
        yield


def _cleaned(
    context: PartitionContext, staged: StagedManifest, folder: Path, policy: Literal["archive", "delete"]
) -> CleanedManifest:
    """Copy what must be archived, compare it byte by byte, and list what is about to be removed."""
    place = None
    if policy == "archive":
        settings = context.settings.staging
        archive = open_store(settings.archive_root, settings.scratch / "archive", settings.free_bytes)
        place = _archive(staged, folder, context.store, archive)
        archive.close()
    return CleanedManifest(
        table=staged.table,
        key=staged.key,
        generation=staged.generation,
        mapping_version=staged.mapping_version,
        policy=policy,
        place=place,
        chunks=staged.chunks,
        actor=context.actor,
        cleaned_utc=context.clock(),
    )


def _archive(staged: StagedManifest, folder: Path, store: Store, archive: Store) -> str:
    """Copy every chunk to the same path in the archive, their manifest last; returns that path."""
    target = archive.root / folder.relative_to(store.root)
    archive.check_space(sum(chunk.bytes for chunk in staged.chunks))
    for chunk in staged.chunks:
        remedy = f"Stage it again: `kpc run {staged.table} {staged.key} --stage staged_csv`."
        archive.take(store.file(folder, chunk, remedy=remedy), target / chunk.name)
        archive.file(target, chunk, remedy="The copy in the archive is incomplete; archive it again.")
    archive.publish(target, staged)
    return archive.shown(target)


def _audit(context: PartitionContext, cleaned: CleanedManifest, folder: Path) -> None:
    reason = f"{'archived' if cleaned.policy == 'archive' else 'deleted'} by {cleaned.actor} after reconciliation"
    removed = {file_name(context, folder / chunk.name): (chunk.sha256, reason) for chunk in cleaned.chunks}
    context.ledger.audit.append(
        "chunks archived" if cleaned.policy == "archive" else "chunks deleted",
        actor=context.actor,
        run_id=context.run_id,
        environment=context.environment,
        partition=context.partition,
        stage=RECONCILED,
        generation=cleaned.generation,
        mapping_version=cleaned.mapping_version,
        detail={
            "chunks": len(cleaned.chunks),
            "rows": sum(chunk.rows for chunk in cleaned.chunks),
            "bytes": sum(chunk.bytes for chunk in cleaned.chunks),
            **({"place": cleaned.place} if cleaned.place else {}),
        },
        vouched=Vouched(files=facts_of(context, [folder / CLEANED]), removed=removed),
    )
