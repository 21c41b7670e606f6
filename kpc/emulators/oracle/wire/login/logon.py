"""The login of one connection: from its first packet to a session on the database."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from kpc.emulators.oracle.control import Control
from kpc.emulators.oracle.faults import ConnectionCut
from kpc.emulators.oracle.interface import DatabaseSession, OraError, ServedDatabase
from kpc.emulators.oracle.wire.calls import responses
from kpc.emulators.oracle.wire.calls.cursors import MAX_CURSORS
from kpc.emulators.oracle.wire.calls.requests import Message
from kpc.emulators.oracle.wire.login import auth, handshake
from kpc.emulators.oracle.wire.login.auth import AuthRequest
from kpc.emulators.oracle.wire.login.handshake import Abilities, ConnectRequest
from kpc.emulators.oracle.wire.transport.packets import PacketChannel, ProtocolError
from kpc.emulators.oracle.wire.transport.streams import RequestStream, ResponseWriter

BANNER = "KPC Oracle emulator"
_NO_SERVICE, _NO_SID = 12514, 12505
_TOKEN_FIELD_VERSION = 18
_session_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """What the listener offers its clients, and how much of it."""

    field_version: int = 12
    end_of_response: bool = False
    max_sdu: int = 65535
    max_connections: int = 500
    login_timeout_s: float = 60.0


def read_header(stream: RequestStream, abilities: Abilities) -> tuple[int, int, int]:
    """Message type, function, and the token that a pipelined request wants back."""
    message, function = stream.u8(), stream.u8()
    stream.u8()
    token = stream.ub() if abilities.field_version >= _TOKEN_FIELD_VERSION else 0
    return message, function, token


class Login:
    """Steps of one login; `abilities` is known after `connect`."""

    def __init__(
        self,
        channel: PacketChannel,
        stream: RequestStream,
        databases: Sequence[ServedDatabase],
        options: ListenerOptions,
        control: Control,
    ) -> None:
        self._channel = channel
        self._stream = stream
        self._databases = databases
        self._database = databases[0]  # until the client names a service
        self._options = options
        self._control = control
        self.abilities = Abilities()
        self.session_number = next(_session_numbers) % 65535 + 1

    def run(self) -> DatabaseSession | None:
        """The session, or None when the client was refused and told so."""
        refusal = self._meet_faults()
        request = handshake.read_connect(self._channel)
        if not refusal and not self._is_known(request):
            refusal = _NO_SID if request.is_sid else _NO_SERVICE
        if refusal:
            self._control.counters.add("refused")
            handshake.send_refuse(self._channel, refusal)
            return None
        options = self._options
        is_modern = options.end_of_response and request.version >= handshake.TNS_VERSION_END_OF_RESPONSE
        self._accept(request, is_modern=is_modern)
        self.abilities = handshake.exchange_capabilities(
            self._channel,
            self._stream,
            field_version=options.field_version,
            end_of_response=is_modern,
            banner=BANNER,
        )
        try:
            return self._authenticate(request)
        except OraError as error:
            self._control.counters.add("refused")
            self._reply(self._end_of_call(error))
            return None

    def _accept(self, request: ConnectRequest, *, is_modern: bool) -> None:
        """Accept the connection. A client that cannot go on in the way the server wants it leaves here."""
        faults = self._control.faults
        if faults.on_handshake("version_11_1"):
            handshake.send_old_accept(self._channel, request)
            raise ProtocolError(f"packet type {self._channel.next_packet().type} after an accept of release 11.1")
        demands_encryption = faults.on_handshake("native_encryption")
        handshake.send_accept(
            self._channel,
            request,
            max_sdu=self._options.max_sdu,
            end_of_response=is_modern,
            demands_encryption=demands_encryption,
        )
        if demands_encryption:
            raise ProtocolError(f"packet type {self._channel.next_packet().type} instead of native network encryption")

    def _meet_faults(self) -> int:
        """The code to refuse this connection with, or 0; a silent listener only waits for its client to give up."""
        self._control.counters.add("connections")
        fault = self._control.faults.on_connect()
        if fault is None:
            return 0
        if fault.action == "hang_up":
            raise ConnectionCut(str(fault.value))
        if fault.action == "silent":
            self._channel.outlast()
        return fault.code

    def _is_known(self, request: ConnectRequest) -> bool:
        """Whether the listener knows the service; its database is the one to log in to."""
        wanted = request.service.upper()
        for database in self._databases:
            if any(wanted in {name.upper(), name.upper().partition(".")[0]} for name in database.service_names):
                self._database = database
                return True
        return False

    def _authenticate(self, connect: ConnectRequest) -> DatabaseSession:
        first = self._read_auth(auth.PHASE_ONE)
        user = auth.user_name(first.user)
        if first.mode & auth.MODE_PRIVILEGED:
            raise OraError(1031, "insufficient privileges")
        verifier = auth.Verifier(self._database.password_of(user))
        is_10g = self._control.faults.on_handshake("verifier_10g", user)
        challenge = verifier.challenge_10g() if is_10g else verifier.challenge()
        self._reply(auth.pairs_message(challenge) + responses.status(0))
        second = self._read_auth(auth.PHASE_TWO)
        proof = verifier.check(second)
        if "AUTH_NEWPASSWORD" in second.pairs or "PROXY_CLIENT_NAME" in second.pairs:
            raise OraError(3001, "unimplemented feature: new passwords and proxy users at login")
        fault = self._control.faults.on_login(user)
        if fault is not None:
            raise fault.raised()
        session = self._database.login(
            user,
            service=connect.service,
            program=first.pairs.get("AUTH_PROGRAM_NM", connect.program),
            machine=first.pairs.get("AUTH_MACHINE", connect.machine),
        )
        session.set_attributes(osuser=first.pairs.get("AUTH_SID"), terminal=first.pairs.get("AUTH_TERMINAL"))
        self._control.counters.add("sessions_opened")
        self._reply(auth.pairs_message(self._session_pairs(connect.service, proof)) + responses.status(0))
        return session

    def _read_auth(self, wanted: int) -> AuthRequest:
        message, function, _ = read_header(self._stream, self.abilities)
        if message != Message.FUNCTION or function not in {auth.PHASE_ONE, auth.PHASE_TWO}:
            raise ProtocolError(f"function {function} before the login")
        request = auth.read_auth(self._stream)
        if function != wanted:
            raise OraError(1017, "invalid username/password; logon denied")
        return request

    def _session_pairs(self, service: str, proof: str) -> list[tuple[str, str, int]]:
        version = auth.version_number(self._database.version, self.abilities.field_version)
        instance = self._database.service_names[0].partition(".")[0]
        values = {
            "AUTH_SVR_RESPONSE": proof,
            "AUTH_SESSION_ID": str(self.session_number),
            "AUTH_SERIAL_NUM": str(os.getpid() % 65535 + 1),
            "AUTH_VERSION_NO": str(version),
            "AUTH_VERSION_STRING": f"- {BANNER}",
            "AUTH_SC_DBUNIQUE_NAME": instance,
            "AUTH_SC_REAL_DBUNIQUE_NAME": instance,
            "AUTH_SC_SERVICE_NAME": service,
            "AUTH_SC_DB_DOMAIN": "",
            "AUTH_INSTANCENAME": instance,
            "AUTH_MAX_OPEN_CURSORS": str(MAX_CURSORS),
            "AUTH_MAX_IDEN_LENGTH": "128",
        }
        return [(key, value, 0) for key, value in values.items()]

    def _end_of_call(self, error: OraError) -> bytes:
        return responses.end_of_call(
            call_status=0, field_version=self.abilities.field_version, code=error.code, message=error.message
        )

    def _reply(self, message: bytes) -> None:
        writer = ResponseWriter(self._channel, end_of_response=self.abilities.end_of_response)
        writer.write(message)
        writer.finish()
