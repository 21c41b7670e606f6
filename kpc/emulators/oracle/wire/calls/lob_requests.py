"""Requests for parts of a LOB, parsed from the stream."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.emulators.oracle.wire.calls.requests import bounded
from kpc.emulators.oracle.wire.transport.packets import ProtocolError
from kpc.emulators.oracle.wire.transport.streams import RequestStream

LOB_CREATE_TEMP = 0x0110

LOB_FREE_TEMP = 0x0111

LOB_WRITE = 0x40

_LOB_DATA_MARK = 14


@dataclass(slots=True)
class LobRequest:
    operation: int
    locator: bytes
    offset: int
    dest_offset: int
    amount: int
    has_amount: bool
    charset: int = 0
    data: bytes = b""


def read_lob(stream: RequestStream) -> LobRequest:
    """Function 96: the operation, its locator (several in a row when freeing), and what the operation needs."""
    stream.u8()
    locator_bytes = bounded(stream.ub(), 1 << 20, "locator bytes")
    stream.u8()
    stream.ub()
    stream.ub()
    stream.ub()
    stream.raw(3)
    operation = stream.ub()
    stream.raw(2)
    offset, dest_offset = stream.ub(), stream.ub()
    has_amount = bool(stream.u8())
    stream.raw(6)
    request = LobRequest(operation, stream.raw(locator_bytes), offset, dest_offset, 0, has_amount)
    if operation == LOB_CREATE_TEMP:
        request.charset = stream.ub()
    if operation == LOB_WRITE:
        if stream.u8() != _LOB_DATA_MARK:
            raise ProtocolError("LOB write without data")
        request.data = stream.clr() or b""
    if has_amount:
        request.amount = stream.ub()
    return request
