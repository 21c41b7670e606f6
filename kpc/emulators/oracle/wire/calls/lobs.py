"""LOBs of one session: locators, reading and writing parts, temporary LOBs.

CLOB data travels as UTF-16BE and its offsets and amounts count UTF-16 code units, as Oracle does for AL32UTF8.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from kpc.emulators.oracle.interface import LobHome, OraError, OraType
from kpc.emulators.oracle.wire.calls.lob_requests import LOB_CREATE_TEMP, LOB_FREE_TEMP, LOB_WRITE, LobRequest
from kpc.emulators.oracle.wire.values.codec import clr, sb, ub

LOCATOR_BYTES = 40
CHUNK_BYTES = 8132
MAX_LOB_BYTES = 1 << 30
KEPT_BYTES = 512 * 1024 * 1024
_KEPT_LOBS = 500_000
_UNICODE_FLAG = 0x80  # byte 6: the data is UTF-16BE
_TEMP_FLAG = 0x01  # byte 7: the client frees it
_BLOB_FLAG = 0x01  # byte 4

_GET_LENGTH = 0x0001
_READ = 0x0002
_TRIM = 0x0020
_GET_CHUNK_SIZE = 0x4000
_OPEN = 0x8000
_CLOSE = 0x10000
_IS_OPEN = 0x11000


LobWriter = Callable[[LobHome, str | bytes], None]


@dataclass(slots=True)
class Lob:
    """Content as it travels: UTF-16BE for text. `home` is the row it was read from, if a table stores it."""

    content: bytes | bytearray
    is_text: bool
    is_temp: bool = False
    is_open: bool = False
    home: LobHome | None = None

    @property
    def unit_bytes(self) -> int:
        return 2 if self.is_text else 1

    @property
    def length(self) -> int:
        return len(self.content) // self.unit_bytes

    def value(self) -> str | bytes:
        return self.content.decode("utf-16-be") if self.is_text else bytes(self.content)


class LobStore:
    """The LOBs that a session's locators name. The oldest fetched ones are forgotten when they grow too many.

    `write_home` changes a LOB in its row; it raises ORA-22920 if the session's transaction does not hold that row.
    """

    def __init__(self, write_home: LobWriter, most_bytes: int = KEPT_BYTES) -> None:
        self._write_home = write_home
        self._most_bytes = most_bytes
        self._lobs: OrderedDict[int, Lob] = OrderedDict()
        self._next = 1
        self._kept_bytes = 0

    def add(self, value: str | bytes, home: LobHome | None = None, *, is_temp: bool = False) -> bytes:
        """Remember a value and return its locator."""
        is_text = isinstance(value, str)
        content = value.encode("utf-16-be") if isinstance(value, str) else value
        number, self._next = self._next, self._next + 1
        self._lobs[number] = Lob(bytearray(content) if is_temp else content, is_text, is_temp, home=home)
        self._kept_bytes += len(content)
        while self._kept_bytes > self._most_bytes or len(self._lobs) > _KEPT_LOBS:
            if not self._forget_oldest():
                break
        return _locator(number, is_text=is_text, is_temp=is_temp)

    def _forget_oldest(self) -> bool:
        for number, lob in self._lobs.items():
            if not lob.is_temp:
                self._kept_bytes -= len(lob.content)
                del self._lobs[number]
                return True
        return False

    def find(self, locator: bytes) -> Lob:
        number = struct.unpack_from(">Q", locator, 10)[0] if len(locator) == LOCATOR_BYTES else 0
        lob = self._lobs.get(number)
        if lob is None:
            raise OraError(22922, "nonexistent LOB value")
        return lob

    def value(self, locator: bytes) -> str | bytes:
        return self.find(locator).value()

    def described(self, value: str | bytes, home: LobHome | None, *, is_temp: bool = False) -> bytes:
        """A LOB column's value in a row: locator length, size, chunk size, locator."""
        locator = self.add(value, home, is_temp=is_temp)
        return ub(LOCATOR_BYTES) + ub(self.find(locator).length) + ub(CHUNK_BYTES) + clr(locator)

    def out_bind(self, value: str | bytes, home: LobHome | None = None) -> bytes:
        """A LOB that RETURNING gives back from its row, or a temporary one: PL/SQL's, or an expression's."""
        return self.described(value, home, is_temp=home is None)

    def free(self, locators: bytes) -> None:
        """Forget temporary LOBs; `locators` holds one after the other."""
        for start in range(0, len(locators) - LOCATOR_BYTES + 1, LOCATOR_BYTES):
            lob = self._lobs.pop(struct.unpack_from(">Q", locators, start + 10)[0], None)
            if lob is not None:
                self._kept_bytes -= len(lob.content)

    def perform(self, request: LobRequest) -> bytes:
        """The reply to a LOB request, without the end of call. Raises OraError."""
        if request.operation == LOB_CREATE_TEMP:
            return self._create(request)
        if request.operation & LOB_FREE_TEMP == LOB_FREE_TEMP:
            self.free(request.locator)
            return b"\x08" + request.locator
        lob = self.find(request.locator)
        head = b""
        amount = request.amount
        if request.operation == _READ:
            data = _part(lob, request.offset, amount)
            head, amount = b"\x0e" + clr(data) if data else b"", len(data) // lob.unit_bytes
        elif request.operation == LOB_WRITE:
            self._write(lob, request.offset, request.data)
        elif request.operation == _TRIM:
            self._trim(lob, amount)
        elif request.operation == _GET_LENGTH:
            amount = lob.length
        elif request.operation == _GET_CHUNK_SIZE:
            amount = CHUNK_BYTES
        elif request.operation in {_OPEN, _CLOSE, _IS_OPEN}:
            return b"\x08" + request.locator + _open_or_close(lob, request)
        else:
            raise OraError(3001, f"unimplemented feature: LOB operation {request.operation:#x}")
        return head + b"\x08" + request.locator + (sb(amount) if request.has_amount else b"")

    def _create(self, request: LobRequest) -> bytes:
        empty: str | bytes = b"" if request.dest_offset == OraType.BLOB else ""
        locator = self.add(empty, is_temp=True)
        return b"\x08" + locator + ub(request.charset) + b"\x00"

    def _write(self, lob: Lob, offset: int, data: bytes) -> None:
        content = self._writable(lob)
        if len(data) % lob.unit_bytes or offset < 1 or (offset - 1) * lob.unit_bytes + len(data) > MAX_LOB_BYTES:
            raise OraError(24801, "illegal parameter value in OCI lob function")
        start, before = (offset - 1) * lob.unit_bytes, len(content)
        if start > len(content):
            content += (b"\x00 " if lob.is_text else b"\x00") * ((start - len(content)) // lob.unit_bytes)
        content[start : start + len(data)] = data
        self._store(lob, content, before)

    def _trim(self, lob: Lob, length: int) -> None:
        content = self._writable(lob)
        if length > lob.length:
            raise OraError(22926, "specified trim length is greater than current LOB value's length")
        before = len(content)
        del content[length * lob.unit_bytes :]
        self._store(lob, content, before)

    def _writable(self, lob: Lob) -> bytearray:
        """What a change starts from: a temporary LOB itself, of a stored one a copy."""
        if lob.home is None and not lob.is_temp:
            raise OraError(22920, "row containing the LOB value is not locked")
        return lob.content if isinstance(lob.content, bytearray) else bytearray(lob.content)

    def _store(self, lob: Lob, content: bytearray, bytes_before: int) -> None:
        if lob.home is not None:
            self._write_home(lob.home, Lob(content, lob.is_text).value())
        self._kept_bytes += len(content) - bytes_before
        lob.content = content if lob.is_temp else bytes(content)


def _part(lob: Lob, offset: int, amount: int) -> bytes:
    if offset < 1:
        raise OraError(24801, "illegal parameter value in OCI lob function")
    start = (offset - 1) * lob.unit_bytes
    return bytes(lob.content[start : start + amount * lob.unit_bytes])


def _open_or_close(lob: Lob, request: LobRequest) -> bytes:
    if request.operation == _IS_OPEN:
        return bytes((int(lob.is_open),))
    if request.operation == _OPEN and lob.is_open:
        raise OraError(22293, "LOB already opened in the same transaction")
    if request.operation == _CLOSE and not lob.is_open:
        raise OraError(22289, "cannot perform operation on an unopened file or LOB")
    lob.is_open = request.operation == _OPEN
    return sb(request.amount) if request.has_amount else b""


def _locator(number: int, *, is_text: bool, is_temp: bool) -> bytes:
    locator = bytearray(LOCATOR_BYTES)
    struct.pack_into(">H", locator, 0, LOCATOR_BYTES - 2)
    locator[4] = 0 if is_text else _BLOB_FLAG
    locator[5] = 0x08
    locator[6] = _UNICODE_FLAG if is_text else 0
    locator[7] = _TEMP_FLAG if is_temp else 0
    struct.pack_into(">Q", locator, 10, number)
    return bytes(locator)
