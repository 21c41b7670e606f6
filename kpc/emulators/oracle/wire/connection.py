"""One client connection after its login: requests in, answers out, breaks in between."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import Sequence

from kpc.emulators.oracle.control import Control
from kpc.emulators.oracle.faults import ConnectionCut
from kpc.emulators.oracle.interface import DatabaseSession, OraError, ServedDatabase
from kpc.emulators.oracle.wire.calls import responses
from kpc.emulators.oracle.wire.calls.call_context import CallContext
from kpc.emulators.oracle.wire.calls.dispatch import Calls
from kpc.emulators.oracle.wire.calls.requests import Function, Message
from kpc.emulators.oracle.wire.calls.worker import SessionWorker
from kpc.emulators.oracle.wire.login.logon import ListenerOptions, Login, read_header
from kpc.emulators.oracle.wire.transport.packets import (
    BreakRequested,
    Marker,
    PacketChannel,
    PacketType,
    PeerClosed,
    ProtocolError,
)
from kpc.emulators.oracle.wire.transport.streams import MAX_VALUE_BYTES, RequestStream, ResponseWriter
from kpc.emulators.oracle.wire.values.codec import ub

log = logging.getLogger(__name__)

_GOODBYE_TIMEOUT_S = 2.0
_MAX_PACKETS_TO_RESET = 100_000
_USER_CANCEL = OraError(1013, "user requested cancel of current operation")
_TOKEN_MARK = b"\x21"


class ClientConnection:
    """Serves one socket until the client leaves, breaks the protocol, or the server stops."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        databases: Sequence[ServedDatabase],
        options: ListenerOptions,
        control: Control,
    ) -> None:
        self._sock = sock
        self._control = control
        self._peer = peer
        self._channel = PacketChannel(sock)
        self._stream = RequestStream(self._channel)
        self._login = Login(self._channel, self._stream, databases, options, control)
        self._token = 0
        self._login_timeout_s = options.login_timeout_s

    def serve(self) -> None:
        """Never raises: every client error ends with one log line and a closed socket."""
        try:
            self._sock.settimeout(self._login_timeout_s)
            session = self._login.run()
            if session is not None:
                self._sock.settimeout(None)
                self._stream.max_value_bytes = MAX_VALUE_BYTES
                self._serve_session(session)
        except ConnectionCut as cut:
            self._cut(cut.end)
        except PeerClosed:
            log.debug("%s left", self._peer)
        except ProtocolError as error:
            log.warning("%s does not speak the protocol: %s", self._peer, error)
        except BreakRequested:
            log.warning("%s broke off its login", self._peer)
        except Exception:
            log.exception("connection of %s failed", self._peer)
        finally:
            self._sock.close()

    def _cut(self, end: str) -> None:
        """Make the coming close a FIN, or a RST that also destroys what is still under way."""
        log.debug("%s is cut off (%s)", self._peer, end)
        with contextlib.suppress(OSError):
            if end == "rst":
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self._sock.shutdown(socket.SHUT_RDWR)

    def _serve_session(self, session: DatabaseSession) -> None:
        worker = SessionWorker(self._channel, session.interrupt, self._peer)
        version = self._login.abilities.field_version
        calls = Calls(CallContext(self._channel, self._stream, session, worker, version, self._control))
        try:
            while self._serve_request(calls):
                pass
            self._await_goodbye()
        finally:
            calls.close_cursors()
            worker.close(session.close)

    def _serve_request(self, calls: Calls) -> bool:
        """One request and its answer; False after a log-off."""
        try:
            function = self._read_function(calls)
            if function == Function.LOGOFF:
                self._answer([responses.status(0)])
                return False
            self._call(calls, function)
        except BreakRequested as request:
            self._reset(request.kind)
            self._answer([calls.error(_USER_CANCEL)])
        except OraError as error:  # a piggyback failed, and the call behind it is not made
            self._stream.skip_request()
            self._answer([calls.error(error)])
        return True

    def _read_function(self, calls: Calls) -> int:
        """The function of the next request, after its piggybacks were applied."""
        while True:
            message, function, self._token = read_header(self._stream, self._login.abilities)
            if message == Message.FUNCTION:
                return function
            if message != Message.PIGGYBACK:
                raise ProtocolError(f"message type {message}")
            calls.apply_piggyback(function)

    def _call(self, calls: Calls, function: int) -> None:
        """Perform one call; a fault may cut it off after the rows it had."""
        writer = self._writer()
        try:
            calls.perform(function, writer)
        except OraError as error:
            if not self._stream.is_at_end():
                self._stream.skip_request()
            writer.write(calls.error(error))
        except ConnectionCut:
            writer.flush()
            raise
        except (BreakRequested, PeerClosed, ProtocolError):
            raise
        except Exception as error:
            log.exception("call %d of %s failed", function, self._peer)
            writer.write(calls.error(OraError(604, f"error occurred at recursive SQL level 1: {error!r:.300}")))
        if not self._stream.is_at_end():
            raise ProtocolError(f"bytes left over after function {function}")
        writer.finish()

    def _writer(self) -> ResponseWriter:
        writer = ResponseWriter(self._channel, end_of_response=self._login.abilities.end_of_response)
        if self._token:
            writer.write(_TOKEN_MARK + ub(self._token))
        return writer

    def _answer(self, parts: Sequence[bytes]) -> None:
        writer = self._writer()
        for part in parts:
            writer.write(part)
        writer.finish()

    def _reset(self, kind: int) -> None:
        """The break handshake: break, wait for the client's reset, reset. The error message follows it."""
        self._stream.discard()
        self._channel.send_marker(Marker.BREAK)
        for _ in range(_MAX_PACKETS_TO_RESET):
            if kind == Marker.RESET:
                self._channel.send_marker(Marker.RESET)
                return
            packet = self._channel.next_packet()
            kind = packet.marker if packet.type == PacketType.MARKER else 0
        raise ProtocolError("no reset after a break")

    def _await_goodbye(self) -> None:
        """The client closes after its log-off; closing first could destroy our last answer."""
        self._sock.settimeout(_GOODBYE_TIMEOUT_S)
        with contextlib.suppress(ProtocolError):
            self._channel.next_packet()
