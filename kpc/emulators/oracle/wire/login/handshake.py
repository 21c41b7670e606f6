"""From the first byte to the login: CONNECT and its answers, protocol negotiation, data types."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from kpc.emulators.oracle.wire.transport.packets import HEADER_BYTES, Packet, PacketChannel, PacketType, ProtocolError
from kpc.emulators.oracle.wire.transport.streams import RequestStream, ResponseWriter
from kpc.emulators.oracle.wire.values.codec import clr

TNS_VERSION = 318
TNS_VERSION_END_OF_RESPONSE = 319
TNS_VERSION_11_1 = 314
MIN_SDU = 512
MAX_SDU = 2 * 1024 * 1024
CHARSET_UTF8 = 873
CHARSET_UTF16 = 2000
_MAX_NAME_BYTES = 1000
_MAX_TYPES = 10_000
_COMPILE_CAPS = {0: 6, 4: 0xEA, 15: 0x29, 16: 0x90, 23: 0xCF, 27: 1, 37: 0xB8, 40: 0x04}
_FIELD_VERSION_AT = 7
_END_OF_RESPONSE_BIT = 0x20
_RUNTIME_CAPS = {0: 2, 6: 0x05}  # 0x04 of the seventh: strings up to 32,767 bytes
_ACCEPT_END_OF_RESPONSE = 0x02000000
_NATIVE_ENCRYPTION_REQUIRED = 0x10
_SERVICE = re.compile(rb"\(\s*(SERVICE_NAME|SID)\s*=\s*([^()]*?)\s*\)", re.IGNORECASE)
_PROGRAM = re.compile(rb"\(\s*PROGRAM\s*=\s*([^()]*?)\s*\)", re.IGNORECASE)
_HOST = re.compile(rb"\(\s*CID\s*=.*?\(\s*HOST\s*=\s*([^()]*?)\s*\)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What both sides agreed on. Fields of messages come and go with `field_version`."""

    field_version: int = 12
    end_of_response: bool = False


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    service: str
    is_sid: bool
    program: str
    machine: str
    sdu: int
    version: int


def read_connect(channel: PacketChannel) -> ConnectRequest:
    """The CONNECT packet, with its connect data; data over 230 bytes comes in a DATA packet of its own."""
    packet = channel.next_packet()
    if packet.type != PacketType.CONNECT or len(packet.body) < 58:
        raise ProtocolError("no CONNECT packet")
    body = packet.body
    version = struct.unpack_from(">H", body, 0)[0]
    sdu = struct.unpack_from(">I", body, 50)[0] if version >= 315 else struct.unpack_from(">H", body, 6)[0]
    data = _connect_data(channel, packet)
    service = _SERVICE.search(data)
    program, machine = _PROGRAM.search(data), _HOST.search(data)
    return ConnectRequest(
        service=service.group(2).decode(errors="replace") if service else "",
        is_sid=service is not None and service.group(1).upper() == b"SID",
        program=program.group(1).decode(errors="replace") if program else "",
        machine=machine.group(1).decode(errors="replace") if machine else "",
        sdu=sdu,
        version=version,
    )


def _connect_data(channel: PacketChannel, packet: Packet) -> bytes:
    size, offset = struct.unpack_from(">HH", packet.body, 16)
    data = packet.body[max(offset - HEADER_BYTES, 0) :][:size]
    if data or not size:
        return data
    follower = channel.next_packet()
    if follower.type != PacketType.DATA:
        raise ProtocolError("no connect data")
    return follower.body[2:]


def send_accept(
    channel: PacketChannel,
    request: ConnectRequest,
    *,
    max_sdu: int,
    end_of_response: bool,
    demands_encryption: bool = False,
) -> None:
    """Accept, and switch the channel to the agreed packet size.

    With `demands_encryption` the packet says that native network encryption must be negotiated next, as a server with
    SQLNET.ENCRYPTION_SERVER = REQUIRED does; a client that cannot ends the connection.
    """
    sdu = min(max(request.sdu, MIN_SDU), max(max_sdu, MIN_SDU), MAX_SDU)
    version = min(request.version, TNS_VERSION_END_OF_RESPONSE if end_of_response else TNS_VERSION)
    small = min(sdu, 65535)
    flags2 = _ACCEPT_END_OF_RESPONSE if end_of_response else 0
    flags = 4 | (_NATIVE_ENCRYPTION_REQUIRED if demands_encryption else 0)
    body = struct.pack(">7H2B8xIIBI", version, 0, small, small, 1, 0, 45, flags, 4, sdu, sdu, 0, flags2)
    channel.send(PacketType.ACCEPT, body)
    channel.accept(sdu)


def send_old_accept(channel: PacketChannel, request: ConnectRequest) -> None:
    """Accept as a server of release 11.1 does: without 32-bit packet sizes, which every later protocol needs."""
    small = min(request.sdu, 8192)
    channel.send(PacketType.ACCEPT, struct.pack(">7H2B8x", TNS_VERSION_11_1, 0, small, small, 1, 0, 32, 4, 4))


def send_refuse(channel: PacketChannel, code: int) -> None:
    text = f"(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR={code})(ERROR_STACK=(ERROR=(CODE={code})(EMFI=4))))".encode()
    channel.send(PacketType.REFUSE, struct.pack(">BBH", 1, 0, len(text)) + text)


def exchange_capabilities(
    channel: PacketChannel, stream: RequestStream, *, field_version: int, end_of_response: bool, banner: str
) -> Abilities:
    """Answer the protocol and data types messages; neither answer carries the end-of-response mark."""
    _expect(stream.u8(), 1, "protocol")
    _skip_text(stream, "list of protocol versions")
    _skip_text(stream, "driver name")
    _reply(channel, _protocol_message(field_version, banner, end_of_response=end_of_response))
    _expect(stream.u8(), 2, "data types")
    stream.raw(5)
    compile_caps = stream.clr() or b""
    stream.clr()
    _skip_types(stream)
    _reply(channel, b"\x02\x00\x00")
    client_version = compile_caps[_FIELD_VERSION_AT] if len(compile_caps) > _FIELD_VERSION_AT else field_version
    return Abilities(field_version=min(field_version, client_version), end_of_response=end_of_response)


def _expect(found: int, wanted: int, name: str) -> None:
    if found != wanted:
        raise ProtocolError(f"message {found} instead of {name}")


def _skip_text(stream: RequestStream, name: str) -> None:
    """Bytes up to the terminating zero."""
    for _ in range(_MAX_NAME_BYTES):
        if not stream.u8():
            return
    raise ProtocolError(f"endless {name}")


def _skip_types(stream: RequestStream) -> None:
    """Pairs of type and conversion; with a conversion two more numbers follow. A zero ends the list."""
    for _ in range(_MAX_TYPES):
        if not stream.u16be():
            return
        if stream.u16be():
            stream.raw(4)
    raise ProtocolError("endless list of types")


def _reply(channel: PacketChannel, message: bytes) -> None:
    writer = ResponseWriter(channel, end_of_response=False)
    writer.write(message)
    writer.finish()


def _protocol_message(field_version: int, banner: str, *, end_of_response: bool) -> bytes:
    compile_caps = bytearray(55)
    for at, value in {**_COMPILE_CAPS, _FIELD_VERSION_AT: field_version}.items():
        compile_caps[at] = value
    if end_of_response:
        compile_caps[40] |= _END_OF_RESPONSE_BIT
    runtime_caps = bytearray(13)
    for at, value in _RUNTIME_CAPS.items():
        runtime_caps[at] = value
    fdo = bytes(9) + struct.pack(">H", CHARSET_UTF16)
    return b"".join(
        (
            b"\x01\x06\x00",
            banner.encode() + b"\x00",
            struct.pack("<HBH", CHARSET_UTF8, 1, 0),
            struct.pack(">H", len(fdo)),
            fdo,
            clr(bytes(compile_caps)),
            clr(bytes(runtime_caps)),
        )
    )
