"""What is still needed, and therefore not purged at any age."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.campaign.file_kinds import FileKind
from kpc.ledger import GenerationRow
from kpc.ledger.states import GenerationState, StageState
from kpc.stages.context import PartitionContext
from kpc.stages.names import RECONCILED

_PROVEN = (StageState.RECONCILED, StageState.RECONCILED_WITH_EXCEPTIONS)
_FOR_PROOF = (FileKind.EXTRACT, FileKind.CHUNKS)
_FOR_REPAIR = (FileKind.EXTRACT, FileKind.CHUNKS, FileKind.REJECTS, FileKind.FAILED_ROWS)
_FOR_ROLLBACK = (FileKind.PRE_IMAGES, FileKind.ROLLBACK, FileKind.CORRECTIONS)


@dataclass(frozen=True, slots=True)
class Need:
    """Why files are kept, and what ends the need."""

    reason: str
    remedy: str


def need_of(
    context: PartitionContext, generation: GenerationRow, kind: FileKind, *, is_signed_off: bool
) -> Need | None:
    """Why a generation's files of a kind are still needed; None if they are not.

    `is_signed_off`: the sign-off of the partition's phase, or of the migration, is valid.
    """
    table, key = context.table.name, context.key
    if generation.state is GenerationState.OPEN:
        return Need("the extract is not complete", f"Complete it: `kpc run {table} {key}`.")
    if generation.state is GenerationState.SEALED and kind in _FOR_PROOF:
        need = _for_proof(context, generation)
        if need is not None:
            return need
    if is_signed_off:
        return None
    if kind in _FOR_ROLLBACK and generation.state is GenerationState.SEALED:
        phase = context.table.phase
        return Need(f"a rollback needs them until {phase} is signed off", f"`kpc sign-off {phase}` ends it.")
    if kind in _FOR_REPAIR and _is_last(context, generation) and _has_open_failures(context):
        return Need(
            "rows of it were rejected or refused, and nobody has accepted that",
            f"Repair them (`kpc failed {table} {key}`), or sign off {context.table.phase}.",
        )
    return None


def _for_proof(context: PartitionContext, generation: GenerationRow) -> Need | None:
    """The newest extract must be reconciled in full; older ones are not needed once the newest is loaded."""
    table, key = context.table.name, context.key
    if not _is_last(context, generation):
        if context.ledger.stages.is_loaded(context.environment, context.partition):
            return None
        return Need("the partition's newest extract is not loaded yet", f"Load it: `kpc run {table} {key}`.")
    proof = context.ledger.stages.last(context.environment, context.partition, RECONCILED, generation=generation.id)
    if proof is not None and proof.state in _PROVEN:
        return None
    found = "was not reconciled yet" if proof is None else f"is not proven: its reconciliation is {proof.state}"
    return Need(f"the generation {found}", f"Compare every record: `kpc reconcile {table} {key} --level3 full`.")


def _is_last(context: PartitionContext, generation: GenerationRow) -> bool:
    current = context.ledger.generations.current(context.environment, context.partition)
    return current is not None and current.id == generation.id


def _has_open_failures(context: PartitionContext) -> bool:
    return bool(context.ledger.failures.of_partition(context.environment, context.partition, limit=1))
