"""What the triggerer waits for while a task is deferred. Importable from an installed package, or it cannot be loaded.

The ledger and the clients are synchronous; each poll runs in a thread so that the triggerer's loop stays free. What is
heavy is imported there too: the triggerer imports this module when it starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from dags.connections import open_named_workspace, settings_of_connections
from kpc.errors import KpcError, Transient
from kpc.partition import Partition, find_partition
from kpc.store import Environment

MISSING = "missing"  # in an event: the parents that are still not loaded
ERROR = "error"  # in an event: why polling ended without an answer


class ParentsLoaded(BaseTrigger):
    """Fires when the parent partitions are loaded at their current generation, or when `deadline_utc` has passed.

    `parents` are [table name, key] pairs.
    """

    def __init__(
        self, *, parents: list[list[str]], source_id: str, target_id: str, poll_s: float, deadline_utc: str
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.arguments = {
            "parents": parents,
            "source_id": source_id,
            "target_id": target_id,
            "poll_s": poll_s,
            "deadline_utc": deadline_utc,
        }
        self.parents = [find_partition(table, key) for table, key in parents]
        self.environment = Environment(source_id, target_id)
        self.poll_s = poll_s
        self.deadline_utc = datetime.fromisoformat(deadline_utc)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        missing = self.parents
        while missing := await asyncio.to_thread(self._not_loaded, missing):
            if datetime.now(UTC) >= self.deadline_utc:
                break
            await asyncio.sleep(self.poll_s)
        yield TriggerEvent({MISSING: [str(partition) for partition in missing]})

    def _not_loaded(self, partitions: list[Partition]) -> list[Partition]:
        from kpc.ledger import open_ledger  # noqa: PLC0415  see the module's docstring

        ledger = open_ledger(settings_of_connections().ledger_url.get_secret_value())
        try:
            return [partition for partition in partitions if not ledger.is_loaded(self.environment, partition)]
        finally:
            ledger.close()


class JobEnded(BaseTrigger):
    """Fires when the ingest job of a chunk has ended, however it ended. `spec` is the chunk as `plan_load` planned it.

    A poll that fails for a passing reason is repeated until `deadline_utc`.
    """

    def __init__(
        self, *, spec: dict[str, Any], job_id: str, run_id: str, actor: str, poll_s: float, deadline_utc: str
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.arguments = {
            "spec": spec,
            "job_id": job_id,
            "run_id": run_id,
            "actor": actor,
            "poll_s": poll_s,
            "deadline_utc": deadline_utc,
        }
        self.spec = spec
        self.job_id = job_id
        self.run_id = run_id
        self.actor = actor
        self.poll_s = poll_s
        self.deadline_utc = datetime.fromisoformat(deadline_utc)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        reason = ""
        while datetime.now(UTC) < self.deadline_utc:
            try:
                if await asyncio.to_thread(self._has_ended):
                    yield TriggerEvent({ERROR: ""})
                    return
            except Transient as error:
                reason = str(error)
            except KpcError as error:
                yield TriggerEvent({ERROR: str(error)})
                return
            await asyncio.sleep(self.poll_s)
        yield TriggerEvent(
            {ERROR: f"Ingest job {self.job_id} did not end before {self.deadline_utc}. {reason}".strip()}
        )

    def _has_ended(self) -> bool:
        from assets.sf_loaded import poll_chunk  # noqa: PLC0415  see the module's docstring

        with open_named_workspace(self.run_id, self.actor) as workspace:
            return poll_chunk(self.spec, workspace, self.job_id).is_final
