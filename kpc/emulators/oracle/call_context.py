"""What every call of a session needs: the session and its thread, the request stream, and how a call ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from kpc.emulators.oracle import responses
from kpc.emulators.oracle.interface import OraError, Session
from kpc.emulators.oracle.lobs import LobStore
from kpc.emulators.oracle.packets import PacketChannel
from kpc.emulators.oracle.streams import RequestStream
from kpc.emulators.oracle.worker import SessionWorker

T = TypeVar("T")


@dataclass(slots=True)
class CallContext:
    channel: PacketChannel
    stream: RequestStream
    session: Session
    worker: SessionWorker
    field_version: int
    lobs: LobStore = field(default_factory=LobStore)

    def run(self, call: Callable[[], T]) -> T:
        """Make a call on the session's thread, while the socket is watched for a break."""
        return self.worker.run(call)

    def call_status(self) -> int:
        return responses.TRANSACTION_OPEN if self.session.in_transaction else 0

    def end(
        self,
        *,
        cursor_id: int = 0,
        row_count: int = 0,
        code: int = 0,
        message: str = "",
        position: int = 0,
        batch_errors: Sequence[tuple[int, OraError]] = (),
    ) -> bytes:
        """The message that ends a call, good or bad."""
        return responses.end_of_call(
            call_status=self.call_status(),
            field_version=self.field_version,
            cursor_id=cursor_id,
            row_count=row_count,
            code=code,
            message=message,
            position=position,
            batch_errors=batch_errors,
        )

    def error(self, error: OraError) -> bytes:
        """The end of a call that failed; array DML also says how many rows went before."""
        return self.end(
            code=error.code,
            message=error.message,
            position=error.position,
            row_count=error.row_count,
        )
