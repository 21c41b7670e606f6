"""Answers to a logged-in client, built field by field. Fields come and go with the session's field version."""

from __future__ import annotations

from collections.abc import Sequence

from kpc.emulators.oracle.interface import OraColumn, OraError, OraType
from kpc.emulators.oracle.wire.login.handshake import CHARSET_UTF8, CHARSET_UTF16
from kpc.emulators.oracle.wire.values.codec import clr, dalc, rowid_parts, sb, ub

NO_DATA_FOUND = 1403
ARRAY_ERRORS = 24381
CALL_ENDED = 0x1  # real servers always set it, and one client looks for it
TRANSACTION_OPEN = 0x2
_NO_ROWID = bytes(5)
_TEXT = frozenset({OraType.VARCHAR2, OraType.CHAR, OraType.LONG, OraType.CLOB})
_BUFFER_BYTES = {
    OraType.NUMBER: 22,
    OraType.DATE: 7,
    OraType.TIMESTAMP: 11,
    OraType.TIMESTAMP_TZ: 13,
    OraType.TIMESTAMP_LTZ: 11,
    OraType.INTERVAL_DS: 11,
    OraType.INTERVAL_YM: 5,
    OraType.BINARY_FLOAT: 4,
    OraType.BINARY_DOUBLE: 8,
    OraType.ROWID: 18,
    OraType.UROWID: 5267,
    OraType.CLOB: 4000,
    OraType.BLOB: 4000,
    OraType.LONG: 2147483647,
    OraType.LONG_RAW: 2147483647,
    OraType.BOOLEAN: 1,
}


def buffer_bytes(column: OraColumn) -> int:
    """What the describe declares. Zero tells the client that the column is always NULL, and no value is sent."""
    if column.type in {OraType.VARCHAR2, OraType.CHAR, OraType.RAW}:
        return column.size
    return _BUFFER_BYTES.get(column.type, column.size)


def describe(columns: Sequence[OraColumn], field_version: int) -> bytes:
    """Message 16: the columns of a query."""
    parts = [b"\x10", clr(bytes(16)), ub(sum(map(buffer_bytes, columns)) & 0xFFFFFFFF), ub(len(columns))]
    if columns:
        parts.append(b"\x00")
    parts += [_describe_column(column, at, field_version) for at, column in enumerate(columns, 1)]
    parts += [b"\x00", bytes(4), b"\x00"]
    return b"".join(parts)


def _describe_column(column: OraColumn, position: int, field_version: int) -> bytes:
    is_text = column.type in _TEXT
    charset = (CHARSET_UTF16 if column.is_national else CHARSET_UTF8) if is_text else 0
    name = column.name.encode()
    parts = [
        bytes((column.type, 0, column.precision & 0xFF, column.scale & 0xFF)),
        ub(buffer_bytes(column)),
        b"\x00\x00\x00\x00",  # array elements, flags, object id, version
        ub(charset),
        bytes(((2 if column.is_national else 1) if is_text else 0,)),
        ub(column.chars),
    ]
    if field_version >= 8:
        parts.append(b"\x00")
    parts += [bytes((int(column.nullable), min(len(name), 255))), dalc(name), b"\x00\x00", ub(position), b"\x00"]
    if field_version >= 17:
        parts.append(b"\x00\x00")  # domain schema and name
    if field_version >= 20:
        parts.append(b"\x00")  # annotations
    if field_version >= 24:
        parts.append(b"\x00\x00\x00")  # vector dimensions, format, flags
    return b"".join(parts)


ROW_HEADER = b"\x06" + bytes(7)


def status(call_status: int) -> bytes:
    """Message 9: the end of a call without a cursor."""
    return b"\x09" + ub(call_status) + b"\x00"


def end_of_call(  # noqa: PLR0913 - one per field of the message
    *,
    call_status: int,
    field_version: int,
    cursor_id: int = 0,
    row_count: int = 0,
    code: int = 0,
    message: str = "",
    position: int = 0,
    batch_errors: Sequence[tuple[int, OraError]] = (),
    rowid: str | None = None,
) -> bytes:
    """Message 4: the end of a call, good or bad. `code` 1403 says that all rows were delivered."""
    parts = [
        b"\x04",
        ub(call_status),
        b"\x00",  # sequence number
        ub(row_count & 0xFFFFFFFF),  # the current row, which some clients take for the count
        ub(code & 0xFFFF),
        b"\x00\x00",
        ub(cursor_id),
        sb(min(position, 32767)),
        bytes(6),
        _rowid(rowid) if rowid else _NO_ROWID,
        b"\x00\x00\x00\x00\x00\x00",  # OS error, statement, call, padding, iterations, logical rowid
    ]
    parts += _batch_errors(batch_errors)
    parts += [ub(code), ub(row_count)]
    if field_version >= 14:
        parts.append(b"\x00\x00")
    if code:
        parts.append(clr(f"ORA-{code:05d}: {message}\n".encode()))
    return b"".join(parts)


def _rowid(text: str) -> bytes:
    data_object, file, block, row = rowid_parts(text)
    return ub(data_object) + ub(file) + b"\x00" + ub(block) + ub(row)


def _batch_errors(errors: Sequence[tuple[int, OraError]]) -> list[bytes]:
    """Codes, row offsets and messages of the rows that failed: three lists, each after its length."""
    if not errors:
        return [b"\x00\x00\x00"]
    count = ub(len(errors))
    parts = [count, b"\x00", *(ub(error.code) for _, error in errors)]
    parts += [count, b"\x00", *(ub(offset) for offset, _ in errors)]
    parts += [count, b"\x00"]
    for _, error in errors:
        text = f"ORA-{error.code:05d}: {error.message}\n".encode()
        parts += [ub(len(text)), clr(text), b"\x00\x00"]
    return parts


def row_counts(counts: Sequence[int]) -> bytes:
    """Message 8 of an array DML: the rows that each iteration changed."""
    return b"\x08\x00\x00\x00\x00" + ub(len(counts)) + b"".join(map(ub, counts))


DIRECTION_IN = 32
DIRECTION_IN_OUT = 48


def io_vector(directions: Sequence[int]) -> bytes:
    """Message 11: which binds of a PL/SQL block come back."""
    count = len(directions)
    return b"\x0b\x00" + ub(count % 256) + ub(count // 256) + bytes(4) + bytes(directions)
