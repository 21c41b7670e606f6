"""Dispatch the protocol's functions: a session's calls, and the piggybacks that precede them."""

from __future__ import annotations

from collections.abc import Callable

from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.wire.calls import lob_requests, requests, responses
from kpc.emulators.oracle.wire.calls.call_context import CallContext
from kpc.emulators.oracle.wire.calls.requests import Function
from kpc.emulators.oracle.wire.calls.statements import Statements
from kpc.emulators.oracle.wire.transport.streams import ResponseWriter

_UNSUPPORTED = 3001


class Calls:
    """Performs calls and writes their answers. Raises OraError for what the client has to be told."""

    def __init__(self, context: CallContext) -> None:
        self._context = context
        self._statements = statements = Statements(context)
        session = context.session
        self._functions: dict[int, Callable[[ResponseWriter], None]] = {
            Function.EXECUTE: statements.execute,
            Function.REEXECUTE: lambda writer: statements.execute_again(writer, has_fetch=False),
            Function.REEXECUTE_AND_FETCH: lambda writer: statements.execute_again(writer, has_fetch=True),
            Function.FETCH: statements.fetch,
            Function.LOB: self._lob,
            Function.COMMIT: lambda writer: self._plain(writer, session.commit),
            Function.ROLLBACK: lambda writer: self._plain(writer, session.rollback),
            Function.PING: lambda writer: self._plain(writer, lambda: None),
            Function.PIPELINE_END: self._end_pipeline,
        }

    def perform(self, function: int, writer: ResponseWriter) -> None:
        handler = self._functions.get(function)
        if handler is None:
            self._context.stream.skip_request()
            raise OraError(_UNSUPPORTED, f"unimplemented feature: function {function}")
        handler(writer)

    def error(self, error: OraError) -> bytes:
        return self._context.error(error)

    def close_cursors(self) -> None:
        self._statements.cursors.close_all(self._context.worker)

    def apply_piggyback(self, function: int) -> None:
        """A piggyback: it precedes a request and has no answer."""
        stream = self._context.stream
        cursors, worker = self._statements.cursors, self._context.worker
        if function == Function.CLOSE_CURSORS:
            stream.u8()
            for _ in range(stream.ub()):
                cursors.close(stream.ub(), worker)
        elif function == Function.CANCEL_CURSORS:
            stream.u8()
            for _ in range(stream.ub()):
                cursors.cancel(stream.ub(), worker)
        elif function == Function.END_TO_END:
            self._set(**requests.read_end_to_end(stream))
        elif function == Function.SET_SCHEMA:
            stream.u8()
            stream.ub()
            self._set(current_schema=(stream.clr() or b"").decode(errors="replace"))
        elif function == Function.LOB:
            self._context.lobs.free(lob_requests.read_lob(stream).locator)
        elif function == Function.SESSION_STATE:
            stream.ub()
        elif function == Function.PIPELINE_BEGIN:
            stream.ub()
            stream.raw(2)
        else:
            stream.skip_request()
            raise OraError(_UNSUPPORTED, f"unimplemented feature: piggyback {function}")

    def _set(self, **attributes: str | None) -> None:
        self._context.attributes.update(attributes)
        self._context.run(lambda: self._context.session.set_attributes(**attributes))

    def _plain(self, writer: ResponseWriter, call: Callable[[], None]) -> None:
        self._context.run(call)
        writer.write(responses.status(self._context.call_status()))

    def _end_pipeline(self, writer: ResponseWriter) -> None:
        self._context.stream.ub()
        writer.write(responses.status(self._context.call_status()))

    def _lob(self, writer: ResponseWriter) -> None:
        writer.write(self._context.lobs.perform(lob_requests.read_lob(self._context.stream)))
        writer.write(self._context.end())
