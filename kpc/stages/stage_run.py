"""What every stage has in common: one worker at a time, a booked start and end, an audit entry, a receipt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kpc.errors import ConfigError, KpcError, OutsideWindow
from kpc.ledger import GenerationRow, Lease
from kpc.partition import Partition
from kpc.stages.result import Made, Receipt
from kpc.stages.workspace import Workspace

log = logging.getLogger(__name__)

_WITHOUT_RESULT = ("running", "failed", "waiting", "rolled_back")


@dataclass(frozen=True, slots=True)
class Turn:
    """A worker's turn at one stage of one partition: the lease it holds and the stage run it is booked under."""

    lease: Lease
    stage_run: int


def run_stage(
    stage: str, partition: Partition, workspace: Workspace, make: Callable[[Turn], Made], *, mode: str = "incremental"
) -> Receipt:
    """Run `make` under the lease of (partition, stage) and book what it made.

    A run that had to wait for another one's lease takes over the other's result instead of doing the work again.
    Raises what `make` raises, after the failure was booked, and `Transient` if the lease stays taken.
    """
    ledger, environment = workspace.ledger, workspace.environment
    workspace.check_root(environment)
    with _lease(stage, partition, workspace) as lease:
        if lease.has_waited and (receipt := _result_of_other_run(stage, partition, workspace)) is not None:
            log.info("%s %s was done by another run meanwhile; its result stands", partition, stage)
            return receipt
        began = time.monotonic()
        booking = ledger.start_stage(
            environment,
            partition,
            stage,
            generation=None,
            mapping_version=None,
            run_id=workspace.run_id,
            actor=workspace.actor,
            mode=mode,
            lease=lease,
        )
        try:
            made = make(Turn(lease, booking))
            receipt = made.receipt(partition, stage, time.monotonic() - began)
            _book(booking, made, receipt, lease, workspace)
        except BaseException as error:
            state = "waiting" if isinstance(error, OutsideWindow) else "failed"
            ledger.fail_stage(booking, _describe(error), state=state)
            _audit(f"{stage} {state}", partition, stage, workspace, detail={"error": type(error).__name__})
            raise
    log.info("%s %s %s: %s rows in %.1f s", partition, stage, made.state, f"{made.rows:,}", receipt.seconds)
    return receipt


@contextmanager
def _lease(stage: str, partition: Partition, workspace: Workspace) -> Iterator[Lease]:
    """The stage's lease, given back at the end even if it was inherited from a killed task of the same run."""
    ledger, settings = workspace.ledger, workspace.settings
    with ledger.lease(
        workspace.environment,
        partition,
        stage,
        owner=workspace.run_id,
        ttl_s=settings.lease_s,
        wait_s=settings.lease_wait_s,
    ) as lease:
        try:
            yield lease
        finally:
            ledger.release_lease(lease)


def _book(booking: int, made: Made, receipt: Receipt, lease: Lease, workspace: Workspace) -> None:
    workspace.ledger.finish_stage(
        booking,
        state=made.state,
        generation=made.generation,
        mapping_version=made.mapping_version,
        rows=made.rows,
        bytes=made.bytes,
        detail={**made.detail, "seconds": str(receipt.seconds)},
        lease=lease,
    )
    facts = {"rows": made.rows, "bytes": made.bytes, **made.detail}
    _audit(
        f"{receipt.stage} {made.state}",
        lease.partition,
        receipt.stage,
        workspace,
        generation=made.generation,
        mapping_version=made.mapping_version,
        detail=facts,
    )


def _audit(
    action: str,
    partition: Partition,
    stage: str,
    workspace: Workspace,
    *,
    generation: str | None = None,
    mapping_version: str | None = None,
    detail: dict[str, int | str],
) -> None:
    workspace.ledger.append_audit(
        action,
        actor=workspace.actor,
        run_id=workspace.run_id,
        environment=workspace.environment,
        partition=partition,
        stage=stage,
        generation=generation,
        mapping_version=mapping_version,
        detail=detail,
    )


def _result_of_other_run(stage: str, partition: Partition, workspace: Workspace) -> Receipt | None:
    row = workspace.ledger.last_stage(workspace.environment, partition, stage)
    if row is None or row.state in _WITHOUT_RESULT or row.run_id == workspace.run_id:
        return None
    detail = dict(row.detail or {})
    seconds = float(detail.pop("seconds", 0))
    made = Made(row.generation or "", row.rows or 0, row.bytes or 0, row.state, row.mapping_version, detail)
    return made.receipt(partition, stage, seconds)


def _describe(error: BaseException) -> str:
    """Only our own messages are safe to keep; a foreign one may quote a value."""
    return str(error) if isinstance(error, KpcError) else type(error).__name__


def current_generation(partition: Partition, workspace: Workspace) -> GenerationRow:
    """The newest sealed generation. Raises `ConfigError` if the partition was never extracted."""
    generation = workspace.ledger.current_generation(workspace.environment, partition)
    if generation is None:
        raise ConfigError(
            f"{partition} has not been extracted yet.",
            f"Run `kpc rerun {partition.table.name} {partition.key}` (all four stages), or stage oracle_extract alone.",
        )
    return generation
