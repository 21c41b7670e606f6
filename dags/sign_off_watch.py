"""The trigger that waits while a request for sign-off is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.hitl import update_hitl_detail_response
from asgiref.sync import sync_to_async

from dags.outages import outage_of
from dags.triggers import STILL, LedgerPoll

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from kpc.ledger import Ledger

CLOSED = "Closed"  # the answer of a request that closed by itself; people cannot choose it


class RequestOutdated(LedgerPoll):
    """Waits until a request is outdated, and closes it; a person's response ends the wait earlier.

    `task_instance` is the task that asks. `certificates_sha256` is what it shows, `newest` the newest decision that it
    knew. Airflow lets only a trigger close a request; a response that comes later is refused (HTTP 409).
    """

    def __init__(
        self, *, task_instance: str, subject: str, certificates_sha256: str, newest: int, **arguments: Any
    ) -> None:
        super().__init__(
            task_instance=task_instance,
            subject=subject,
            certificates_sha256=certificates_sha256,
            newest=newest,
            **arguments,
        )
        self.asks = UUID(task_instance)
        self.subject = subject
        self.certificates_sha256 = certificates_sha256
        self.newest = newest

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async for event in super().run():
            if not event.payload[STILL]:
                await self._close()
            yield event

    async def _close(self) -> None:
        """Close the request, unless somebody responds at this moment; it must not stay open for an ended task."""
        while True:
            try:
                await sync_to_async(update_hitl_detail_response)(self.asks, [CLOSED], {})
            except AirflowRuntimeError as error:
                if outage_of(error) is None:
                    return
            else:
                return
            await asyncio.sleep(self.poll_s)

    def waits_for(self, ledger: Ledger) -> list[str]:
        from kpc.campaign.sign_off_request import outdated  # noqa: PLC0415  slow to import

        is_outdated = outdated(self.subject, self.certificates_sha256, self.newest, ledger, self.environment)
        return [] if is_outdated else [f"an answer about {self.subject}"]
