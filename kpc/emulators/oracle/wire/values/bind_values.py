"""Bind values as the SQL side sees them, from the bytes that a request brought."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

from kpc.emulators.oracle.interface import Bind, BindValue, OraError, OraType
from kpc.emulators.oracle.wire.values import codec
from kpc.emulators.oracle.wire.values.bind_spec import BINARY_INTEGER, LOB_TYPES, NATIONAL, BindSpec, RawValue

_TEXT_TYPES = frozenset({OraType.VARCHAR2, OraType.CHAR, OraType.LONG})
LobResolver = Callable[[bytes], str | bytes]


def decode_bind(spec: BindSpec, raw: RawValue, resolve_lob: LobResolver, *, is_out: bool = False) -> Bind:
    """A bind as the SQL side sees it. Raises ORA-03001 for what an emulated session cannot take."""
    if spec.is_array or spec.type == OraType.CURSOR:
        raise OraError(3001, "unimplemented feature: array and cursor binds")
    type_number = OraType.NUMBER if spec.type == BINARY_INTEGER else OraType(spec.type)
    value = None if raw is None else _decode_value(spec, type_number, raw, resolve_lob)
    return Bind(type_number, value, spec.size, is_out)


def _decode_value(spec: BindSpec, type_number: OraType, raw: RawValue, resolve_lob: LobResolver) -> BindValue:
    assert isinstance(raw, bytes)  # noqa: S101 - arrays were refused above
    if type_number in _TEXT_TYPES:
        return raw.decode("utf-16-be" if spec.charset_form == NATIONAL else "utf-8")
    if type_number in LOB_TYPES:
        return resolve_lob(raw)
    return _SCALARS[type_number](raw)


def _number(raw: bytes) -> int | Decimal:
    number = codec.decode_number(raw)
    exponent = number.as_tuple().exponent
    return int(number) if isinstance(exponent, int) and exponent >= 0 else number


def _datetime(raw: bytes) -> dt.datetime:
    return codec.decode_datetime(raw)


_SCALARS: dict[OraType, Callable[[bytes], BindValue]] = {
    OraType.NUMBER: _number,
    OraType.DATE: _datetime,
    OraType.TIMESTAMP: _datetime,
    OraType.TIMESTAMP_TZ: _datetime,
    OraType.TIMESTAMP_LTZ: _datetime,
    OraType.RAW: bytes,
    OraType.LONG_RAW: bytes,
    OraType.BINARY_DOUBLE: codec.decode_double,
    OraType.BINARY_FLOAT: codec.decode_float,
    OraType.INTERVAL_DS: codec.decode_interval,
    OraType.INTERVAL_YM: codec.decode_months,
    OraType.BOOLEAN: lambda raw: raw[-1] == 1,
    OraType.ROWID: bytes.decode,
    OraType.UROWID: bytes.decode,
}
