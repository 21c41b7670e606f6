"""TNS packets: framing on the socket. Sizes that a peer declares are checked before memory is allocated."""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

HEADER_BYTES = 8
DATA_HEADER_BYTES = 10
MAX_SMALL_PACKET_BYTES = 65535
MAX_WAITING_PACKETS = 4096
_IOV_MAX = 512

FLAG_EOF = 0x0040
FLAG_END_OF_RESPONSE = 0x2000


class PacketType(IntEnum):
    CONNECT = 1
    ACCEPT = 2
    REFUSE = 4
    DATA = 6
    RESEND = 11
    MARKER = 12
    CONTROL = 14


class Marker(IntEnum):
    BREAK = 1
    RESET = 2
    INTERRUPT = 3


class ProtocolError(Exception):
    """The peer does not speak the protocol; the stream cannot be trusted any more."""


class PeerClosed(Exception):
    """The peer ended the connection."""


class BreakRequested(Exception):
    """A MARKER packet arrived where a message was expected."""

    def __init__(self, kind: int) -> None:
        super().__init__(f"marker {kind}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Packet:
    type: int
    body: bytes

    @property
    def marker(self) -> int:
        """The kind of a MARKER packet, whose body is 01 00 kind."""
        return self.body[2] if len(self.body) > 2 else Marker.BREAK


class PacketChannel:
    """Packets over one socket. `accept` switches to the large header that follows an ACCEPT."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = bytearray()
        self._waiting: deque[Packet] = deque()
        self._is_large = False
        self.sdu = 8192

    def accept(self, sdu: int) -> None:
        self._is_large = True
        self.sdu = sdu

    @property
    def max_packet_bytes(self) -> int:
        return max(self.sdu, MAX_SMALL_PACKET_BYTES)

    def next_packet(self) -> Packet:
        """Wait for a packet. Raises `PeerClosed` or `ProtocolError`."""
        while not self._waiting:
            self._receive()
        return self._waiting.popleft()

    def fileno(self) -> int:
        return self._sock.fileno()

    def poll(self) -> bool:
        """Take in what has arrived, without waiting; False when no more may wait. Raises `PeerClosed`."""
        while len(self._waiting) < MAX_WAITING_PACKETS:
            if not _is_readable(self._sock):
                return True
            self._receive()
        return False

    def outlast(self) -> None:
        """Send nothing until the peer disconnects. Raises `PeerClosed`."""
        self._sock.settimeout(None)
        while self._sock.recv(65536):
            pass
        raise PeerClosed("end of stream")

    def has_marker(self) -> bool:
        return any(packet.type == PacketType.MARKER for packet in self._waiting)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(262144)
        except TimeoutError as error:
            raise ProtocolError("silent for too long") from error
        except OSError as error:
            raise PeerClosed(str(error)) from error
        if not data:
            raise PeerClosed("end of stream")
        self._received += data
        while len(self._received) >= HEADER_BYTES:
            size = self._packet_bytes()
            if len(self._received) < size:
                break
            self._waiting.append(Packet(self._received[4], bytes(self._received[HEADER_BYTES:size])))
            del self._received[:size]

    def _packet_bytes(self) -> int:
        size = int(struct.unpack_from(">I" if self._is_large else ">H", self._received)[0])
        if not HEADER_BYTES <= size <= self.max_packet_bytes:
            raise ProtocolError(f"packet of {size} bytes")
        if self._received[4] not in PacketType.__members__.values():
            raise ProtocolError(f"packet type {self._received[4]}")
        return size

    def send(self, packet_type: PacketType, body: bytes) -> None:
        self.send_buffers([self._header(packet_type, len(body)), body])

    def send_marker(self, kind: Marker) -> None:
        self.send(PacketType.MARKER, bytes((1, 0, kind)))

    def _header(self, packet_type: PacketType, body_bytes: int) -> bytes:
        size = body_bytes + HEADER_BYTES
        return struct.pack(">IBxxx" if self._is_large else ">HxxBxxx", size, packet_type)

    def data_header(self, payload_bytes: int, flags: int = 0) -> bytes:
        return self._header(PacketType.DATA, payload_bytes + 2) + struct.pack(">H", flags)

    def send_buffers(self, buffers: list[bytes | memoryview]) -> None:
        """Send all of them; partial sends go on where the kernel stopped, without joining the buffers."""
        try:
            for start in range(0, len(buffers), _IOV_MAX):
                self._send_some(buffers[start : start + _IOV_MAX])
        except OSError as error:
            raise PeerClosed(str(error)) from error

    def _send_some(self, buffers: list[bytes | memoryview]) -> None:
        at = 0
        while at < len(buffers):
            sent = self._sock.sendmsg(buffers[at:])
            while at < len(buffers) and sent >= len(buffers[at]):
                sent -= len(buffers[at])
                at += 1
            if sent:
                buffers[at] = memoryview(buffers[at])[sent:]


def _is_readable(sock: socket.socket) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))
