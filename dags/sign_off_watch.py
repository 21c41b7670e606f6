"""The trigger that waits while a request for sign-off is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail, update_hitl_detail_response
from asgiref.sync import sync_to_async

from dags.outages import outage_of
from dags.triggers import STILL, LedgerPoll, fired
from kpc.errors import Transient

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from kpc.ledger import Ledger

CLOSED = "Closed"  # the answer of a request that closed by itself; people cannot choose it


class RequestOutdated(LedgerPoll):
    """Waits until a request is outdated, and closes it, or until a person has responded.

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
        self.response: dict[str, Any] | None = None

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async for event in super().run():
            if self.response is not None:
                yield fired(self.response)
                return
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

        if outdated(self.subject, self.certificates_sha256, self.newest, ledger, self.environment):
            return []
        self.response = self._response()
        return [] if self.response is not None else [f"an answer about {self.subject}"]

    def _response(self) -> dict[str, Any] | None:
        """A response as Airflow passes it on; None if nobody has responded.

        Airflow hands a response to a task that waits. One that was given in the moment before it waited stays there.
        """
        try:
            found = get_hitl_detail_content_detail(self.asks)
        except AirflowRuntimeError as error:
            raise outage_of(error) or Transient(f"The request to sign {self.subject} off cannot be read.") from None
        if not found.response_received or found.chosen_options == [CLOSED]:
            return None
        return {
            "chosen_options": found.chosen_options,
            "params_input": found.params_input or {},
            "responded_at": found.responded_at,
            "responded_by_user": found.responded_by_user.model_dump() if found.responded_by_user else None,
        }
