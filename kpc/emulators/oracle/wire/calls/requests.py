"""Requests of a logged-in client, parsed field by field from the stream.

Values of binds stay raw here: a value that cannot be decoded must not stop the parsing half-way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from kpc.emulators.oracle.interface import OraError, OraType
from kpc.emulators.oracle.wire.transport.packets import ProtocolError
from kpc.emulators.oracle.wire.transport.streams import RequestStream
from kpc.emulators.oracle.wire.values.bind_spec import BINARY_INTEGER, LOB_TYPES, BindSpec, RawValue

MAX_BINDS = 65535
MAX_BIND_ROWS = 4_000_000
_ARRAY_FLAG = 0x40


class Message(IntEnum):
    FUNCTION = 3
    PIGGYBACK = 17


class Function(IntEnum):
    REEXECUTE = 4
    FETCH = 5
    LOGOFF = 9
    COMMIT = 14
    ROLLBACK = 15
    REEXECUTE_AND_FETCH = 78
    EXECUTE = 94
    LOB = 96
    CLOSE_CURSORS = 105
    CANCEL_CURSORS = 120
    END_TO_END = 135
    PING = 147
    SET_SCHEMA = 152
    KEY_VALUE = 154
    SESSION_STATE = 176
    PIPELINE_BEGIN = 199
    PIPELINE_END = 200


class ExecuteOption(IntFlag):
    PARSE = 0x01
    BIND = 0x08
    DEFINE = 0x10
    EXECUTE = 0x20
    FETCH = 0x40
    COMMIT = 0x100
    NOT_PLSQL = 0x8000
    DESCRIBE = 0x20000
    BATCH_ERRORS = 0x80000


_SCROLLABLE = 0x02


@dataclass(slots=True)
class ExecuteRequest:
    options: int
    cursor_id: int
    sql: str | None
    rows_wanted: int
    iterations: int
    wants_row_counts: bool = False
    is_scrollable: bool = False
    is_full: bool = True  # function 94; the short requests 4 and 78 get no describe
    binds: list[BindSpec] = field(default_factory=list)
    defines: list[BindSpec] = field(default_factory=list)
    bind_rows: list[list[RawValue]] = field(default_factory=list)

    def has(self, option: ExecuteOption) -> bool:
        return bool(self.options & option)


def read_execute(stream: RequestStream, field_version: int, sql_of: Callable[[int], str]) -> ExecuteRequest:
    """Function 94. `sql_of` gives the text of a cursor that is executed again by its number."""
    options, cursor_id = stream.ub(), stream.ub()
    stream.u8()
    sql_bytes = stream.ub()
    stream.u8()
    vector_length = stream.ub()
    stream.raw(2)
    stream.ub()
    rows_wanted = stream.ub()
    stream.ub()
    stream.u8()
    bind_count = bounded(stream.ub(), MAX_BINDS, "binds")
    stream.raw(6)
    define_count = bounded(stream.ub(), MAX_BINDS, "defines")
    wants_row_counts = _read_execute_tail(stream, field_version)
    sql = (stream.clr() or b"").decode(errors="replace") if sql_bytes else None
    vector = [stream.ub() for _ in range(bounded(vector_length, 64, "vector"))]
    vector += [0] * (13 - len(vector))
    request = ExecuteRequest(
        options, cursor_id, sql, rows_wanted, vector[1], wants_row_counts, bool(vector[9] & _SCROLLABLE)
    )
    if options & ExecuteOption.DEFINE:
        request.defines = [_read_spec(stream, field_version) for _ in range(define_count)]
    elif bind_count:
        request.binds = [_read_spec(stream, field_version) for _ in range(bind_count)]
        is_query = bool(vector[7])
        rows = 1 if is_query else vector[1]
        text = sql if sql is not None else sql_of(cursor_id)
        is_plsql = not options & ExecuteOption.NOT_PLSQL
        request.bind_rows = read_bind_rows(stream, request.binds, rows, text, is_plsql=is_plsql)
    return request


def _read_execute_tail(stream: RequestStream, field_version: int) -> bool:
    """The fields between the counts and the SQL text, nearly all unused; whether row counts are wanted."""
    stream.ub()
    stream.raw(3)
    stream.ub()
    stream.u8()
    stream.ub()
    stream.ub()
    wants_row_counts = bool(stream.u8())
    stream.ub()
    stream.u8()
    if field_version >= 8:
        stream.u8()
        stream.ub()
        stream.u8()
        stream.ub()
        stream.u8()
    if field_version >= 9:
        stream.u8()
        stream.ub()
    return wants_row_counts


def bounded(value: int, limit: int, what: str) -> int:
    """A number that the peer declared. Raises `ProtocolError` if it is too large to be meant."""
    if value > limit:
        raise ProtocolError(f"{value} {what}")
    return value


def _read_spec(stream: RequestStream, field_version: int) -> BindSpec:
    type_number, flags = stream.u8(), stream.u8()
    stream.raw(2)
    size, max_elements = stream.ub(), stream.ub()
    stream.ub()
    if stream.ub():
        stream.clr()
    stream.ub()
    stream.ub()
    charset_form = stream.u8()
    stream.ub()
    if field_version >= 8:
        stream.ub()
    return BindSpec(type_number, size, max_elements, charset_form, bool(flags & _ARRAY_FLAG))


def read_bind_rows(
    stream: RequestStream, binds: Sequence[BindSpec], rows: int, sql: str, *, is_plsql: bool
) -> list[list[RawValue]]:
    """The values of each row, in bind order; RETURNING binds carry none and are None."""
    bounded(rows, MAX_BIND_ROWS, "bind rows")
    sent = len(binds) if is_plsql else len(binds) - return_binds(sql)
    if sent <= 0:
        return [[None] * len(binds) for _ in range(rows)]
    for spec in binds[:sent]:
        if spec.type not in _READERS:
            stream.skip_request()
            raise OraError(3115, "unsupported network datatype or representation")
    order = sorted(range(sent), key=lambda at: not is_plsql and binds[at].is_late)
    result = []
    for _ in range(rows):
        if stream.u8() != 7:
            raise ProtocolError("bind row without its mark")
        row: list[RawValue] = [None] * len(binds)
        for at in order:
            row[at] = _read_value(stream, binds[at])
        result.append(row)
    return result


def _read_value(stream: RequestStream, spec: BindSpec) -> RawValue:
    if spec.is_array:
        return [_READERS[spec.type](stream) for _ in range(bounded(stream.ub(), MAX_BIND_ROWS, "elements"))]
    return _READERS[spec.type](stream)


def _read_cursor(stream: RequestStream) -> bytes | None:
    """A REF CURSOR bind: one for "a cursor", then its number or zero."""
    stream.u8()
    if stream.u8():
        stream.ub()
    return None


_READERS: dict[int, Callable[[RequestStream], bytes | None]] = dict.fromkeys(
    [number for number in OraType if number not in LOB_TYPES | {OraType.CURSOR}] + [BINARY_INTEGER], RequestStream.clr
)
_READERS |= dict.fromkeys(LOB_TYPES, lambda stream: stream.dalc() or None)
_READERS[OraType.CURSOR] = _read_cursor

_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ |
        n?q'(?:\[.*?\]|\{.*?\}|<.*?>|\(.*?\)|(?P<q>[^\s\[{<(]).*?(?P=q))' |
        '(?:[^']|'')*' | (?P<bind>:\s*(?:"[^"]+"|\w+)) | "[^"]*" | (?P<word>[a-z_]\w*)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def return_binds(sql: str) -> int:
    """How many binds follow RETURNING ... INTO; those are the last ones and carry no value."""
    state, count, first = "", 0, ""
    for token in _TOKEN.finditer(sql):
        word = (token.group("word") or "").upper()
        first = first or word
        if word in {"RETURNING", "RETURN"}:
            state = "RETURNING"
        elif word == "INTO" and state == "RETURNING":
            state = "INTO"
        elif token.group("bind") and state == "INTO":
            count += 1
    return count if first in {"INSERT", "UPDATE", "DELETE", "MERGE"} else 0


def read_end_to_end(stream: RequestStream) -> dict[str, str | None]:
    """Piggyback 135: the attributes that changed, by name; None clears one."""
    stream.raw(2)
    stream.ub()
    with_text: list[str] = []
    changed: dict[str, str | None] = {}
    for name in ("client_identifier", "module", "action", "", "", "client_info", "", "", "dbop"):
        pointer, size = stream.u8(), stream.ub()
        if pointer and name:
            changed[name] = None
            if size:
                with_text.append(name)
    for name in with_text:
        changed[name] = (stream.clr() or b"").decode(errors="replace")
    return changed
