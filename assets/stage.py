"""What every stage has in common: one worker at a time, a booked start and end, an audit entry, a receipt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from assets.receipt import Made, Receipt
from kpc.errors import ConfigError, KpcError
from kpc.ledger import GenerationRow, Lease
from kpc.partition import Partition
from kpc.workspace import Workspace

log = logging.getLogger(__name__)


def run_stage(
    stage: str, partition: Partition, workspace: Workspace, make: Callable[[Lease], Made], *, mode: str = "incremental"
) -> Receipt:
    """Run `make` under the lease of (partition, stage) and book what it made.

    A run that had to wait for another one's lease takes over the other's result instead of doing the work again.
    Raises what `make` raises, after the failure was booked, and `Transient` if the lease stays taken.
    """
    ledger, environment = workspace.ledger, workspace.environment
    began = time.monotonic()
    with ledger.lease(
        environment,
        partition,
        stage,
        owner=workspace.run_id,
        ttl_s=workspace.settings.lease_s,
        wait_s=workspace.settings.lease_wait_s,
    ) as lease:
        if lease.has_waited and (receipt := _result_of_other_run(stage, partition, workspace)) is not None:
            log.info("%s %s was done by another run meanwhile; its result stands", partition, stage)
            return receipt
        booking = ledger.start_stage(
            environment, partition, stage, run_id=workspace.run_id, actor=workspace.actor, mode=mode
        )
        try:
            made = make(lease)
            receipt = made.receipt(partition, stage, time.monotonic() - began)
            ledger.finish_stage(
                booking,
                state=made.state,
                generation=made.generation,
                mapping_version=made.mapping_version,
                rows=made.rows,
                bytes=made.bytes,
                detail={**made.detail, "seconds": str(receipt.seconds)},
                lease=lease,
            )
        except BaseException as error:
            ledger.fail_stage(booking, _describe(error))
            raise
    log.info("%s %s %s: %s rows in %.1f s", partition, stage, made.state, f"{made.rows:,}", receipt.seconds)
    return receipt


def _result_of_other_run(stage: str, partition: Partition, workspace: Workspace) -> Receipt | None:
    row = workspace.ledger.last_stage(workspace.environment, partition, stage)
    if row is None or row.state in ("running", "failed") or row.run_id == workspace.run_id:
        return None
    detail = {name: value for name, value in row.detail.items() if name != "seconds"}
    made = Made(row.generation or "", row.rows, row.bytes, row.state, row.mapping_version, detail)
    return made.receipt(partition, stage, float(row.detail.get("seconds", 0)))


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
