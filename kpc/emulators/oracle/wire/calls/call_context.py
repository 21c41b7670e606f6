"""The context of every call of a session: the session, its thread, the request stream, and the end-of-call message."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from kpc.emulators.oracle.control import Control
from kpc.emulators.oracle.counters import StatementRecord
from kpc.emulators.oracle.interface import DatabaseSession, OraError
from kpc.emulators.oracle.wire.calls import responses
from kpc.emulators.oracle.wire.calls.lobs import LobStore
from kpc.emulators.oracle.wire.calls.worker import SessionWorker
from kpc.emulators.oracle.wire.transport.packets import BreakRequested, Marker, PacketChannel
from kpc.emulators.oracle.wire.transport.streams import RequestStream

T = TypeVar("T")
_LOOK_S = 0.05  # how soon a pause notices a break


@dataclass(slots=True)
class CallContext:
    channel: PacketChannel
    stream: RequestStream
    session: DatabaseSession
    worker: SessionWorker
    field_version: int
    control: Control = field(default_factory=Control)
    attributes: dict[str, str | None] = field(default_factory=dict)  # module, action ... as the client set them
    lobs: LobStore = field(init=False)

    def __post_init__(self) -> None:
        self.lobs = LobStore(lambda home, content: self.run(lambda: self.session.write_lob(home, content)))

    def run(self, call: Callable[[], T]) -> T:
        """Make a call on the session's thread, while the socket is watched for a break."""
        return self.worker.run(call)

    def record(self, sql: str) -> StatementRecord:
        """Note that a statement is executed now."""
        given = self.attributes
        return self.control.counters.start(
            StatementRecord(sql, self.session.user, given.get("module") or "", given.get("action") or "")
        )

    def stop_on_break(self) -> None:
        """Raises `BreakRequested` if the client has asked for a break, `PeerClosed` if it has gone."""
        self.channel.poll()
        if self.channel.has_marker():
            raise BreakRequested(Marker.INTERRUPT)

    def pause(self, wait_s: float) -> None:
        """Wait, but react to a break."""
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_S))
            self.stop_on_break()

    def call_status(self) -> int:
        return responses.CALL_ENDED | (responses.TRANSACTION_OPEN if self.session.in_transaction else 0)

    def end(
        self,
        *,
        cursor_id: int = 0,
        row_count: int = 0,
        code: int = 0,
        message: str = "",
        position: int = 0,
        batch_errors: Sequence[tuple[int, OraError]] = (),
        rowid: str | None = None,
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
            rowid=rowid,
        )

    def error(self, error: OraError) -> bytes:
        """The end of a call that failed; array DML also says how many rows went before."""
        return self.end(
            code=error.code,
            message=error.message,
            position=error.position,
            row_count=error.row_count,
        )
