"""Values that come back in binds: PL/SQL OUT parameters and RETURNING INTO."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

from kpc.emulators.oracle.interface import BindValue, OraError, OraType
from kpc.emulators.oracle.wire.values import codec
from kpc.emulators.oracle.wire.values.bind_spec import BINARY_INTEGER, NATIONAL, BindSpec
from kpc.emulators.oracle.wire.values.codec import clr, sb

_FITS = b"\x00"  # the length before truncation: not truncated
_MISMATCH = (6502, "PL/SQL: numeric or value error")


def encode_out(
    spec: BindSpec, value: BindValue, out_lob: Callable[[str | bytes], bytes], *, may_cut: bool = False
) -> bytes:
    """One value as the client declared it. Raises ORA-06502 when it is of another kind or does not fit.

    With `may_cut`, as RETURNING has it, text that does not fit is cut, and its true length follows.
    """
    is_lob = spec.type in {OraType.CLOB, OraType.BLOB}
    if value is None or (value in ("", b"") and not is_lob):
        return b"\x00" + _FITS
    if is_lob:
        return out_lob(_lob_content(spec, value)) + _FITS
    if may_cut and spec.type in _TEXTS:
        data = _encoded(spec, value)
        cut = _whole_characters(spec, data)
        return clr(cut) + (_FITS if len(cut) == len(data) else sb(len(data)))
    return clr(_content(spec, value)) + _FITS


def _lob_content(spec: BindSpec, value: BindValue) -> str | bytes:
    wanted = bytes if spec.type == OraType.BLOB else str
    if not isinstance(value, wanted):
        raise OraError(*_MISMATCH)
    return value


_TEXTS = frozenset({OraType.VARCHAR2, OraType.CHAR, OraType.LONG})


def _encoded(spec: BindSpec, value: BindValue) -> bytes:
    return _text(value).encode("utf-16-be" if spec.charset_form == NATIONAL else "utf-8")


def _whole_characters(spec: BindSpec, data: bytes) -> bytes:
    """As many characters as the client has room for."""
    if not spec.size or len(data) <= spec.size:
        return data
    form = "utf-16-be" if spec.charset_form == NATIONAL else "utf-8"
    return data[: spec.size].decode(form, errors="ignore").encode(form)


def _content(spec: BindSpec, value: BindValue) -> bytes:
    try:
        if spec.type in {OraType.VARCHAR2, OraType.CHAR, OraType.LONG, OraType.ROWID, OraType.UROWID}:
            return _bounded(spec, _encoded(spec, value))
        return _ENCODERS[spec.type](value)
    except (KeyError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
        raise OraError(*_MISMATCH) from error


def _text(value: BindValue) -> str:
    if isinstance(value, bytes):
        return value.hex().upper()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _bounded(spec: BindSpec, data: bytes) -> bytes:
    if spec.size and len(data) > spec.size:
        raise OraError(6502, "PL/SQL: numeric or value error: character string buffer too small")
    return data


def _number(value: BindValue) -> bytes:
    if isinstance(value, int | Decimal):
        return codec.encode_number(value)
    if isinstance(value, float | str):
        return codec.encode_number(Decimal(str(value)))
    raise TypeError


def _moment(encode: Callable[[dt.datetime], bytes]) -> Callable[[BindValue], bytes]:
    def encode_moment(value: BindValue) -> bytes:
        if not isinstance(value, dt.datetime):
            raise TypeError
        return encode(value)

    return encode_moment


def _raw(value: BindValue) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _interval(value: BindValue) -> bytes:
    if not isinstance(value, dt.timedelta):
        raise TypeError
    return codec.encode_interval(value)


def _float(encode: Callable[[float], bytes]) -> Callable[[BindValue], bytes]:
    def encode_float(value: BindValue) -> bytes:
        if not isinstance(value, int | float | Decimal):
            raise TypeError
        return encode(float(value))

    return encode_float


_ENCODERS: dict[int, Callable[[BindValue], bytes]] = {
    OraType.NUMBER: _number,
    BINARY_INTEGER: _number,
    OraType.DATE: _moment(codec.encode_date),
    OraType.TIMESTAMP: _moment(codec.encode_timestamp),
    OraType.TIMESTAMP_LTZ: _moment(codec.encode_timestamp),
    OraType.TIMESTAMP_TZ: _moment(codec.encode_timestamp_tz),
    OraType.RAW: _raw,
    OraType.LONG_RAW: _raw,
    OraType.BINARY_DOUBLE: _float(codec.encode_double),
    OraType.BINARY_FLOAT: _float(codec.encode_float),
    OraType.INTERVAL_DS: _interval,
    OraType.BOOLEAN: lambda value: codec.encode_bool(bool(value)),
}
