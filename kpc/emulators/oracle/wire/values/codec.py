"""The primitives of the TTC wire format and the scalar codecs of single values.

One value at a time and easy to check: `rows` encodes whole Arrow columns and is tested against this module.
"""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal

from kpc.emulators.oracle.interface import OraError

SHORT_MAX = 252  # longest value with a one-byte length
LONG_MARK = 254  # a chunked value follows
ESCAPE_MARK = 253
NULL_MARK = 255
CHUNK_BYTES = 32767
NUMBER_MAX_PAIRS = 20
ZERO = b"\x80"
_NEGATIVE_END = 102
_INTERVAL_MIDDLE = 0x80000000
_INTERVAL_OFFSET = 60
_TZ_HOUR_OFFSET = 20
_TZ_MINUTE_OFFSET = 60


def ub(value: int) -> bytes:
    """An unsigned integer: one length byte (0 means the value 0), then big-endian bytes."""
    if value == 0:
        return b"\x00"
    if value < 0x100:
        return bytes((1, value))
    if value < 0x10000:
        return b"\x02" + value.to_bytes(2, "big")
    if value < 0x100000000:
        return b"\x04" + value.to_bytes(4, "big")
    return b"\x08" + value.to_bytes(8, "big")


def sb(value: int) -> bytes:
    """A signed integer: as `ub`, the high bit of the length byte is the sign."""
    encoded = ub(abs(value))
    return encoded if value >= 0 else bytes((encoded[0] | 0x80,)) + encoded[1:]


def clr(data: bytes) -> bytes:
    """Bytes after their length; empty is NULL. More than 252 bytes travel in chunks."""
    if len(data) <= SHORT_MAX:
        return bytes((len(data),)) + data
    chunks = [b"\xfe"]
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        chunks += [ub(len(chunk)), chunk]
    chunks.append(b"\x00")
    return b"".join(chunks)


def dalc(data: bytes) -> bytes:
    """Bytes with their length written twice; empty is a single zero."""
    return ub(len(data)) + clr(data) if data else b"\x00"


def encode_number(value: int | Decimal) -> bytes:
    """NUMBER without its length byte. Raises ORA-01426 outside of 1e-130 .. 1e126; rounds to 20 digit pairs."""
    number = Decimal(value)
    if not number.is_finite():
        raise OraError(1426, "numeric overflow")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - only NaN and infinity have a letter, refused above
    magnitude = int("".join(map(str, digits)))
    if magnitude == 0:
        return ZERO
    return encode_scaled(magnitude, exponent, is_negative=bool(sign))


def encode_scaled(magnitude: int, exponent: int, *, is_negative: bool) -> bytes:
    """NUMBER `magnitude * 10**exponent`, magnitude above zero."""
    if exponent % 2:
        magnitude, exponent = magnitude * 10, exponent - 1
    text = str(magnitude)
    text = text.zfill(len(text) + len(text) % 2)
    pairs = [int(text[at : at + 2]) for at in range(0, len(text), 2)]
    first = exponent // 2 + len(pairs) - 1
    if len(pairs) > NUMBER_MAX_PAIRS:
        pairs, first = _rounded(pairs, first)
    while pairs[-1] == 0:
        pairs.pop()
    if first > 62:
        raise OraError(1426, "numeric overflow")
    if first < -65:
        return ZERO
    if not is_negative:
        return bytes((first + 193, *(pair + 1 for pair in pairs)))
    tail = (_NEGATIVE_END,) if len(pairs) < NUMBER_MAX_PAIRS else ()
    return bytes((~(first + 193) & 0xFF, *(101 - pair for pair in pairs), *tail))


def _rounded(pairs: list[int], first: int) -> tuple[list[int], int]:
    """Twenty pairs, half away from zero; a carry may lengthen the number by a pair."""
    kept = int("".join(f"{pair:02d}" for pair in pairs[:NUMBER_MAX_PAIRS])) + (pairs[NUMBER_MAX_PAIRS] >= 50)
    text = str(kept)
    text = text.zfill(len(text) + len(text) % 2)
    rounded = [int(text[at : at + 2]) for at in range(0, len(text), 2)]
    return rounded, first + len(rounded) - NUMBER_MAX_PAIRS


def decode_number(data: bytes) -> Decimal:
    """The exact value; never rounded to the decimal context."""
    if data == ZERO:
        return Decimal(0)
    is_negative = data[0] < 0x80
    if is_negative:
        first = (~data[0] & 0xFF) - 193
        body = data[1:-1] if data[-1] == _NEGATIVE_END else data[1:]
        pairs = [101 - byte for byte in body]
    else:
        first = data[0] - 193
        pairs = [byte - 1 for byte in data[1:]]
    digits = tuple(digit for pair in pairs for digit in divmod(pair, 10))
    return Decimal((int(is_negative), digits or (0,), 2 * (first - len(pairs) + 1)))


def encode_date(value: dt.datetime) -> bytes:
    """DATE: seven bytes, century and year in excess of 100, time of day in excess of 1."""
    century, year = divmod(value.year, 100)
    return bytes(
        (century + 100, year + 100, value.month, value.day, value.hour + 1, value.minute + 1, value.second + 1)
    )


def encode_timestamp(value: dt.datetime) -> bytes:
    """TIMESTAMP: the date and four bytes of nanoseconds, omitted when they are zero."""
    if not value.microsecond:
        return encode_date(value)
    return encode_date(value) + struct.pack(">I", value.microsecond * 1000)


def encode_timestamp_tz(value: dt.datetime) -> bytes:
    """TIMESTAMP WITH TIME ZONE: fields in UTC, then the offset (always +00:00 here)."""
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC)
    return encode_date(value) + struct.pack(">IBB", value.microsecond * 1000, _TZ_HOUR_OFFSET, _TZ_MINUTE_OFFSET)


def decode_datetime(data: bytes) -> dt.datetime:
    """DATE, TIMESTAMP or TIMESTAMP WITH TIME ZONE, naive; fields stay as they travel (UTC for the last)."""
    year = (data[0] - 100) * 100 + data[1] - 100
    nanoseconds = struct.unpack_from(">I", data, 7)[0] if len(data) >= 11 else 0
    try:
        return dt.datetime(  # noqa: DTZ001 - the wire's DATE has no time zone
            year, data[2], data[3], data[4] - 1, data[5] - 1, data[6] - 1, nanoseconds // 1000
        )
    except ValueError as error:
        raise OraError(1841, "(full) year must be between -4713 and +9999, and not be 0") from error


def encode_interval(value: dt.timedelta) -> bytes:
    """INTERVAL DAY TO SECOND: every field has the interval's sign."""
    sign = -1 if value < dt.timedelta(0) else 1
    value = abs(value)
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return struct.pack(
        ">I3BI",
        _INTERVAL_MIDDLE + sign * value.days,
        *(_INTERVAL_OFFSET + sign * part for part in (hours, minutes, seconds)),
        _INTERVAL_MIDDLE + sign * value.microseconds * 1000,
    )


def decode_interval(data: bytes) -> dt.timedelta:
    days, hours, minutes, seconds, nanoseconds = struct.unpack(">I3BI", data)
    return dt.timedelta(
        days=days - _INTERVAL_MIDDLE,
        hours=hours - _INTERVAL_OFFSET,
        minutes=minutes - _INTERVAL_OFFSET,
        seconds=seconds - _INTERVAL_OFFSET,
        microseconds=(nanoseconds - _INTERVAL_MIDDLE) // 1000,
    )


def encode_months(months: int) -> bytes:
    """INTERVAL YEAR TO MONTH."""
    sign = -1 if months < 0 else 1
    years, rest = divmod(abs(months), 12)
    return struct.pack(">IB", _INTERVAL_MIDDLE + sign * years, _INTERVAL_OFFSET + sign * rest)


def decode_months(data: bytes) -> int:
    years, months = struct.unpack(">IB", data)
    return int((years - _INTERVAL_MIDDLE) * 12 + months - _INTERVAL_OFFSET)


def encode_double(value: float) -> bytes:
    """BINARY_DOUBLE: IEEE bytes changed so that they sort as the numbers do."""
    return _sortable(struct.pack(">d", value))


def encode_float(value: float) -> bytes:
    return _sortable(struct.pack(">f", value))


def decode_double(data: bytes) -> float:
    return float(struct.unpack(">d", _unsortable(data))[0])


def decode_float(data: bytes) -> float:
    return float(struct.unpack(">f", _unsortable(data))[0])


def _sortable(ieee: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in ieee) if ieee[0] & 0x80 else bytes((ieee[0] | 0x80,)) + ieee[1:]


def _unsortable(data: bytes) -> bytes:
    return bytes((data[0] & 0x7F,)) + data[1:] if data[0] & 0x80 else bytes(byte ^ 0xFF for byte in data)


def encode_bool(value: bool) -> bytes:
    return b"\x01\x01" if value else b"\x00"


ROWID_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def rowid_parts(text: str) -> tuple[int, int, int, int]:
    """Data object, relative file, block and row of an extended ROWID such as AAAR3sAAEAAAACXAAA."""
    encoded = text.encode("ascii", "replace")
    if len(encoded) != 18 or any(byte not in ROWID_ALPHABET for byte in encoded):
        raise OraError(1410, "invalid ROWID")
    parts = []
    for start, end in ((0, 6), (6, 9), (9, 15), (15, 18)):
        number = 0
        for byte in encoded[start:end]:
            number = number * 64 + ROWID_ALPHABET.index(byte)
        parts.append(number)
    return parts[0] & 0xFFFFFFFF, parts[1] & 0xFFFF, parts[2] & 0xFFFFFFFF, parts[3] & 0xFFFF


def encode_rowid(text: str) -> bytes:
    """ROWID as it follows a non-zero marker byte: fixed-width integers, each after its length."""
    data_object, file, block, row = rowid_parts(text)
    return struct.pack(">BIBHBBIBH", 4, data_object, 2, file, 0, 4, block, 2, row)


def encode_urowid(text: str) -> bytes:
    """UROWID of a table row: thirteen bytes, the first of which says that it is a physical address."""
    return struct.pack(">BIHIH", 1, *rowid_parts(text))
