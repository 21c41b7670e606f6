"""Triggers of deferred tasks. The triggerer can load them only from an installed package.

The ledger and the clients are synchronous; each poll runs in a thread, so that the triggerer's event loop stays free.
Slow modules are imported inside functions, because the triggerer imports this module at start.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from dags.connections import open_named_workspace, settings_of_connections
from kpc.catalog import find_table
from kpc.errors import KpcError, QuotaExhausted, Transient
from kpc.partition import Environment, Partition, find_partition

if TYPE_CHECKING:
    from kpc.ledger import Ledger
    from kpc.load.chunk_load import ChunkSpec
    from kpc.load.job_polling import JobProgress
    from kpc.salesforce.job_poller import JobPoller
    from kpc.stages.workspace import Workspace

FAILED_POLL_WAIT_S = 10.0
LOOK_S = 0.25  # how often a trigger looks whether its job is due; asks nobody
RECORD_S = 300.0  # at least this often the ledger is told that the job is followed
LONGEST_WAIT_S = 600.0  # that a server may ask for between two polls
STILL = "still"  # event key: what the task was still waiting for at the deadline, as texts
ERROR = "error"  # event key: why polling ended without a result, in one sentence


class Deferred(BaseTrigger):
    """Waits no longer than `deadline_utc`. Its arguments are JSON, so any triggerer can recreate it and continue."""

    def __init__(self, *, deadline_utc: str, **arguments: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.arguments = {**arguments, "deadline_utc": deadline_utc}
        self.deadline_utc = datetime.fromisoformat(deadline_utc)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments

    def is_too_late(self) -> bool:
        return datetime.now(UTC) >= self.deadline_utc


class LedgerPoll(Deferred):
    """Asks the ledger every `poll_s` seconds, and fires when nothing is waited for any more or the deadline has passed.

    Each subclass says what it waits for.
    """

    def __init__(self, *, source_id: str, target_id: str, poll_s: float, deadline_utc: str, **arguments: Any) -> None:
        super().__init__(
            source_id=source_id, target_id=target_id, poll_s=poll_s, deadline_utc=deadline_utc, **arguments
        )
        self.environment = Environment(source_id, target_id)
        self.poll_s = poll_s

    @abstractmethod
    def waits_for(self, ledger: Ledger) -> list[str]:
        """What the task is waiting for; empty when it may continue."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ledger: Ledger | None = None
        with ExitStack() as scope:
            while True:
                try:
                    if ledger is None:
                        ledger = await asyncio.to_thread(_ledger_of_settings)
                        scope.callback(ledger.close)
                    still = await asyncio.to_thread(self.waits_for, ledger)
                except Transient as error:
                    still = [str(error)]
                except KpcError as error:  # waiting would not help
                    yield fired({STILL: [], ERROR: str(error)})
                    return
                if not still or self.is_too_late():
                    break
                await asyncio.sleep(self.poll_s)
        yield fired({STILL: still})


def _ledger_of_settings() -> Ledger:
    from kpc.stages.workspace import ledger_of  # noqa: PLC0415  see the module's docstring

    return ledger_of(settings_of_connections())


class ParentsLoaded(LedgerPoll):
    """Waits until the `parents`, [table name, key] pairs, are loaded at their current generation."""

    def __init__(self, *, parents: list[list[str]], **arguments: Any) -> None:
        super().__init__(parents=parents, **arguments)
        self.parents = parents
        self.missing: list[Partition] | None = None

    def waits_for(self, ledger: Ledger) -> list[str]:
        if self.missing is None:  # an error of the constructor would end the whole triggerer
            self.missing = [find_partition(table, key) for table, key in self.parents]
        self.missing = [parent for parent in self.missing if not ledger.stages.is_loaded(self.environment, parent)]
        return [str(parent) for parent in self.missing]


class Resumed(LedgerPoll):
    """Waits until no active pause covers the table."""

    def __init__(self, *, table: str, **arguments: Any) -> None:
        super().__init__(table=table, **arguments)
        self.table = table

    def waits_for(self, ledger: Ledger) -> list[str]:
        return [str(pause) for pause in ledger.pauses.active(self.environment, find_table(self.table))]


class CampaignMoved(LedgerPoll):
    """Waits until a campaign's next step may have something to do: its pulse has changed since the last one."""

    def __init__(self, *, campaign: int, round_: int, pulse: str, not_before_utc: str, **arguments: Any) -> None:
        super().__init__(
            campaign=campaign, round_=round_, pulse=pulse, not_before_utc=not_before_utc, **arguments
        )  # fmt: skip
        self.campaign = campaign
        self.round_ = round_
        self.pulse = pulse
        self.not_before_utc = datetime.fromisoformat(not_before_utc)

    def waits_for(self, ledger: Ledger) -> list[str]:
        from kpc.campaign.pulse import has_moved  # noqa: PLC0415  see the module's docstring

        if datetime.now(UTC) >= self.not_before_utc and has_moved(ledger, self.campaign, self.round_, self.pulse):
            return []
        return [f"campaign {self.campaign}"]


class JobEnded(Deferred):
    """Fires when the ingest job of a chunk has ended, in any state. `spec` is the chunk as `plan_load` planned it.

    A poll that fails with a transient error is repeated until `deadline_utc`.
    """

    def __init__(self, *, spec: dict[str, Any], job_id: str, run_id: str, actor: str, deadline_utc: str) -> None:
        super().__init__(spec=spec, job_id=job_id, run_id=run_id, actor=actor, deadline_utc=deadline_utc)
        self.spec = spec
        self.job_id = job_id
        self.run_id = run_id
        self.actor = actor
        self._poller: JobPoller | None = None  # the process's, shared by all its triggers

    async def run(self) -> AsyncIterator[TriggerEvent]:
        reason = ""
        workspace: Workspace | None = None
        with ExitStack() as stack:
            stack.callback(self._stop_following)
            while not self.is_too_late():
                try:
                    if workspace is None:
                        opened = open_named_workspace(self.run_id, self.actor)
                        workspace = await asyncio.to_thread(stack.enter_context, opened)
                    state = await asyncio.to_thread(self._look, workspace)
                    if state.is_final:
                        yield fired({ERROR: ""})
                        return
                    await self._wait(min(state.wait_s, RECORD_S), workspace, self._is_due)
                except QuotaExhausted as error:  # the API call quota is used up; the job continues without polling
                    reason = str(error)
                    free_s = (error.next_free_utc - datetime.now(UTC)).total_seconds()
                    await self._wait(max(FAILED_POLL_WAIT_S, free_s), workspace)
                except Transient as error:
                    reason = str(error)
                    asked_s = min(error.retry_after_s or 0.0, LONGEST_WAIT_S)
                    await self._wait(max(FAILED_POLL_WAIT_S, asked_s), workspace)
                except KpcError as error:
                    yield fired({ERROR: str(error)})
                    return
        yield fired({ERROR: f"Ingest job {self.job_id} did not end before {self.deadline_utc}. {reason}".strip()})

    async def _wait(self, wait_s: float, workspace: Workspace | None, is_over: Callable[[], bool] = bool) -> None:
        """Sleep, renewing the lease as often as a running task would; `is_over` may end it early."""
        now_s = held_s = time.monotonic()
        until_s = now_s + wait_s
        while now_s < until_s and not is_over():
            await asyncio.sleep(min(until_s - now_s, LOOK_S))
            now_s = time.monotonic()
            if workspace is not None and now_s - held_s >= workspace.settings.lease_s / 2:
                held_s = now_s
                with suppress(Transient):  # the next poll reports it
                    await asyncio.to_thread(self._hold, workspace)

    def _is_due(self) -> bool:
        """Whether to poll now, or the poll of another trigger in this process has found the job ended."""
        return self._poller is not None and self._poller.due_in_s(self.job_id) <= 0

    def _stop_following(self) -> None:
        if self._poller is not None:
            self._poller.forget(self.job_id)

    @property
    def _chunk(self) -> ChunkSpec:
        from kpc.load.chunk_load import ChunkSpec  # noqa: PLC0415  see the module's docstring

        return ChunkSpec.model_validate(self.spec)

    def _hold(self, workspace: Workspace) -> None:
        from kpc.load.mapped_chunks import hold_chunk  # noqa: PLC0415  see the module's docstring

        hold_chunk(workspace, self._chunk)

    def _look(self, workspace: Workspace) -> JobProgress:
        from kpc.load.mapped_chunks import poll_chunk  # noqa: PLC0415  see the module's docstring

        self._poller = workspace.salesforce.poller
        return poll_chunk(workspace, self._chunk, self.job_id)


def fired(payload: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's own
