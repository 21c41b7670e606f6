"""One run of a stage: a lease, a recorded start and end, an audit entry, a result.

Assets, rollback and repair all use it; their own work is the function that they pass to `run_stage`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kpc.errors import KpcError, NotYet
from kpc.ledger import Lease
from kpc.ledger.states import StageState
from kpc.stages.campaign_constants import check_constants
from kpc.stages.context import LeasedContext, Mode, PartitionContext, StageContext
from kpc.stages.result import StageResult
from kpc.stages.setting_folders import explained_by_setting
from kpc.stages.vouched_work import book_begin, book_end, files_of_stage
from kpc.storage.manifests import StageOutput

log = logging.getLogger(__name__)

_WITHOUT_RESULT = (StageState.RUNNING, StageState.FAILED, StageState.WAITING, StageState.ROLLED_BACK)


class HasOutput(Protocol):
    """What a stage makes (a manifest, a report, the counts of a rollback) says what the ledger records about it."""

    def output(self) -> StageOutput: ...


MadeT = TypeVar("MadeT", bound=HasOutput)


@dataclass(frozen=True, slots=True)
class FinishedStage(Generic[MadeT]):
    """A recorded stage run and what it made; `made` is None if another run did the work meanwhile."""

    result: StageResult
    made: MadeT | None


def run_stage(
    context: PartitionContext,
    stage: str,
    make: Callable[[StageContext], MadeT],
    *,
    mode: Mode = "incremental",
    wait_s: float | None = None,
) -> FinishedStage[MadeT]:
    """Run `make` under the lease of (partition, stage) and record what it made.

    A run that had to wait for another run's lease adopts that run's result instead of doing the work again.
    Raises what `make` raises, after recording the failure, and `LeaseTaken` if the lease stays taken for `wait_s`.
    """
    with leased(context, stage, wait_s=wait_s, gives_back=True, books=False, is_alone=True) as held:
        if held.lease.has_waited and (other := _result_of_other_run(held)) is not None:
            log.info("%s %s was done by another run meanwhile; using its result", context, stage)
            return FinishedStage(other, None)
        began = time.monotonic()
        running = _start(held, mode)
        try:
            made = make(running)
            output = made.output()
            result = _timed(running, output, time.monotonic() - began)
            _record_output(running, output, result)
        except OSError as error:
            failure = explained_by_setting(error, context.settings)
            _record_failure(running, failure)
            raise failure from error
        except BaseException as error:
            _record_failure(running, error)
            raise
    log.info("%s %s %s: %s rows in %.1f s", context, stage, output.state, f"{output.rows:,}", result.seconds)
    return FinishedStage(result, made)


@contextmanager
def leased(
    context: PartitionContext,
    stage: str,
    *,
    wait_s: float | None = None,
    gives_back: bool = False,
    books: bool = True,
    is_alone: bool = False,
) -> Iterator[LeasedContext]:
    """Hold the lease of a stage, renewed in the background.

    At the end it is kept for the next task of the same run; with `gives_back` it is released, even if it was inherited
    from a killed task of the same run. The audit log says when a run starts work under it and when it releases it; with
    `books` false the caller writes these entries. With `is_alone` no other process of the same run may write under it
    any more, for example an earlier try on a worker that was only paused. Raises `ConfigError` on a worker that sees a
    different staging root or has another campaign constant, `LeaseTaken` when another run holds the lease for longer
    than `wait_s` (default: the setting `lease_wait_s`).
    """
    ledger, settings = context.ledger, context.settings
    context.workspace.check_root(context.environment)
    check_constants(context, stage)
    with ledger.leases.hold(
        context.environment,
        context.partition,
        stage,
        owner=context.run_id,
        ttl_s=settings.lease_s,
        wait_s=settings.lease_wait_s if wait_s is None else wait_s,
        keep=not gives_back,
        is_alone=is_alone,
    ) as lease:
        held = LeasedContext(context.workspace, context.partition, context.pinned, lease=lease)
        try:
            if books and not lease.is_reentered:
                book_begin(held)
            yield held
        finally:
            if gives_back:
                if books:
                    book_end(held)
                ledger.leases.release(lease)


def _start(held: LeasedContext, mode: Mode) -> StageContext:
    with held.ledger.together():
        stage_run = held.ledger.stages.start(
            held.environment,
            held.partition,
            held.lease.stage,
            generation=None,
            mapping_version=None,
            run_id=held.run_id,
            actor=held.actor,
            mode=mode,
            lease=held.lease,
        )
        book_begin(held, stage_run)
    return StageContext(held.workspace, held.partition, held.pinned, lease=held.lease, stage_run=stage_run, mode=mode)


def _timed(context: StageContext, output: StageOutput, seconds: float) -> StageResult:
    return _as_result(context.lease, output, round(seconds, 3))


def _as_result(lease: Lease, output: StageOutput, seconds: float) -> StageResult:
    return StageResult(
        table=lease.partition.table.name,
        key=lease.partition.key,
        stage=lease.stage,
        generation=output.generation,
        rows=output.rows,
        bytes=output.bytes,
        seconds=seconds,
        state=output.state,
        detail=output.detail,
    )


def _record_output(context: StageContext, output: StageOutput, result: StageResult) -> None:
    files = files_of_stage(context, output)
    with context.ledger.together():
        context.ledger.stages.finish(
            context.stage_run,
            state=StageState(output.state),
            generation=output.generation,
            mapping_version=output.mapping_version,
            rows=output.rows,
            bytes=output.bytes,
            detail={**output.detail, "seconds": str(result.seconds)},
            lease=context.lease,
        )
        book_end(
            context,
            f"{result.stage} {output.state}",
            context.stage_run,
            files=files,
            generation=output.generation,
            mapping_version=output.mapping_version,
            detail={"rows": output.rows, "bytes": output.bytes, **output.detail},
        )


def _record_failure(context: StageContext, error: BaseException) -> None:
    state = StageState.WAITING if isinstance(error, NotYet) else StageState.FAILED
    # Only this program's messages are safe to store; others may quote a value.
    reason = str(error) if isinstance(error, KpcError) else type(error).__name__
    files = files_of_stage(context, None)
    with context.ledger.together():
        context.ledger.stages.fail(context.stage_run, reason, state=state, cause=type(error).__name__)
        action, detail = f"{context.lease.stage} {state}", {"error": type(error).__name__}
        book_end(context, action, context.stage_run, files=files, detail=detail)


def _result_of_other_run(held: LeasedContext) -> StageResult | None:
    row = held.ledger.stages.last(held.environment, held.partition, held.lease.stage)
    if row is None or row.state in _WITHOUT_RESULT or row.run_id == held.run_id:
        return None
    detail = dict(row.detail or {})
    seconds = float(detail.pop("seconds", 0))
    output = StageOutput(row.generation or "", row.rows or 0, row.bytes or 0, row.state, row.mapping_version, detail)
    return _as_result(held.lease, output, seconds)
