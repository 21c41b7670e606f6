"""Messages inside DATA packets: requests as a stream of bytes over packet ends, responses cut into packets.

A message may be cut anywhere by a packet's end, and a request has no end mark: it is parsed as a stream that pulls
packets on demand.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

from kpc.emulators.oracle.wire.transport.packets import (
    DATA_HEADER_BYTES,
    FLAG_END_OF_RESPONSE,
    FLAG_EOF,
    HEADER_BYTES,
    BreakRequested,
    PacketChannel,
    PacketType,
    PeerClosed,
    ProtocolError,
)
from kpc.emulators.oracle.wire.values import codec

MAX_VALUE_BYTES = 512 * 1024 * 1024
MAX_VALUE_BEFORE_LOGIN_BYTES = 64 * 1024
_SEND_AT_BYTES = 256 * 1024


class ResponseWriter:
    """Cuts one response into DATA packets of at most the session's SDU, sending while it grows."""

    def __init__(self, channel: PacketChannel, *, end_of_response: bool) -> None:
        self._channel = channel
        self._end_of_response = end_of_response
        self._parts: list[memoryview] = []
        self._waiting_bytes = 0
        self._payload_bytes = channel.sdu - DATA_HEADER_BYTES
        self._full_header = channel.data_header(self._payload_bytes)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        part = memoryview(data)
        if not part:
            return
        self._parts.append(part)
        self._waiting_bytes += len(part)
        if self._waiting_bytes >= _SEND_AT_BYTES:
            self._send_full_packets()

    def flush(self) -> None:
        """Send what fills packets; the rest must wait for the response's end."""
        self._send_full_packets()

    def finish(self) -> None:
        if self._end_of_response:
            self.write(b"\x1d")
        self._send_full_packets()
        flags = FLAG_END_OF_RESPONSE if self._end_of_response else 0
        self._channel.send_buffers([self._channel.data_header(self._waiting_bytes, flags), *self._parts])
        self._parts, self._waiting_bytes = [], 0

    def _send_full_packets(self) -> None:
        """One packet's worth always stays behind, so that `finish` has a last packet to mark."""
        out: list[bytes | memoryview] = []
        room = self._payload_bytes
        packets = (self._waiting_bytes - 1) // self._payload_bytes if self._waiting_bytes else 0
        if not packets:
            return
        parts = deque(self._parts)
        for _ in range(packets):
            out.append(self._full_header)
            room = self._payload_bytes
            while room:
                part = parts.popleft()
                if len(part) > room:
                    parts.appendleft(part[room:])
                    part = part[:room]
                out.append(part)
                room -= len(part)
        self._parts = list(parts)
        self._waiting_bytes -= packets * self._payload_bytes
        self._channel.send_buffers(out)


class RequestStream:
    """The bytes of the client's messages, over packet ends. Every read raises `BreakRequested` on a MARKER."""

    def __init__(self, channel: PacketChannel) -> None:
        self._channel = channel
        self.max_value_bytes = MAX_VALUE_BEFORE_LOGIN_BYTES
        self._data = b""
        self._at = 0
        self._last_packet_bytes = 0

    def _more(self) -> None:
        packet = self._channel.next_packet()
        if packet.type == PacketType.MARKER:
            self.discard()
            raise BreakRequested(packet.marker)
        if packet.type != PacketType.DATA or len(packet.body) < 2:
            raise ProtocolError(f"packet type {packet.type} instead of DATA")
        if struct.unpack_from(">H", packet.body)[0] & FLAG_EOF:
            raise PeerClosed("end of file flag")
        self._data, self._at = packet.body, 2
        self._last_packet_bytes = len(packet.body) + HEADER_BYTES

    def discard(self) -> None:
        self._data, self._at = b"", 0

    def is_at_end(self) -> bool:
        return self._at >= len(self._data)

    def skip_request(self) -> None:
        """Drop the rest of a request that cannot be parsed: clients fill every packet but the last."""
        while self._last_packet_bytes >= self._channel.sdu:
            self._more()
        self.discard()

    def raw(self, size: int) -> bytes:
        if self._at + size <= len(self._data):
            self._at += size
            return self._data[self._at - size : self._at]
        if size > self.max_value_bytes:
            raise ProtocolError(f"value of {size} bytes")
        parts, wanted = [], size
        while wanted:
            if self.is_at_end():
                self._more()
            part = self._data[self._at : self._at + wanted]
            self._at += len(part)
            wanted -= len(part)
            parts.append(part)
        return b"".join(parts)

    def u8(self) -> int:
        if self._at < len(self._data):
            self._at += 1
            return self._data[self._at - 1]
        return self.raw(1)[0]

    def u16be(self) -> int:
        return int.from_bytes(self.raw(2), "big")

    def ub(self) -> int:
        size = self.u8()
        if size == 0:
            return 0
        if size > 8:
            raise ProtocolError(f"integer of {size} bytes")
        return int.from_bytes(self.raw(size), "big")

    def sb(self) -> int:
        size = self.u8()
        value = int.from_bytes(self.raw(size & 0x7F), "big") if size & 0x7F <= 8 else 0
        return -value if size & 0x80 else value

    def clr(self) -> bytes | None:
        """A value after its length; None for NULL."""
        size = self.u8()
        if size in {0, codec.NULL_MARK}:
            return None
        if size == codec.ESCAPE_MARK:  # a NULL BOOLEAN
            self.u8()
            return None
        if size != codec.LONG_MARK:
            return self.raw(size)
        return b"".join(self._chunks())

    def _chunks(self) -> Iterable[bytes]:
        total = 0
        while size := self.ub():
            total += size
            if total > self.max_value_bytes:
                raise ProtocolError(f"value of more than {self.max_value_bytes} bytes")
            yield self.raw(size)

    def dalc(self) -> bytes:
        return (self.clr() or b"") if self.ub() else b""
