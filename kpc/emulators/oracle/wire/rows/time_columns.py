"""Column encoders for DATE, TIMESTAMP and INTERVAL DAY TO SECOND."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa

from kpc.emulators.oracle.interface import OraError, OraType
from kpc.emulators.oracle.wire.rows.byte_columns import binary_of, binary_of_matrix, nulls_of, numbers_of

_DAY_S = 86400
_UNITS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TABLE_DAYS = 200_000
_INTERVAL_MIDDLE = 0x80000000
_FIRST_DAY, _LAST_DAY = -2_440_588, 2_932_896  # 24 November of 4714 BC, and 9999-12-31


def encode_time_column(values: pa.Array, column_type: OraType) -> pa.Array:
    """Seven bytes for DATE; nanoseconds follow in a TIMESTAMP unless zero; a time zone always has thirteen."""
    is_null = nulls_of(values)
    ticks, per_second = _ticks(values)
    seconds, fraction = np.divmod(ticks, per_second)
    days, second_of_day = np.divmod(seconds, _DAY_S)
    width = {OraType.DATE: 7, OraType.TIMESTAMP_TZ: 13}.get(column_type, 11)
    matrix = np.empty((len(values), width + 1), np.uint8)
    matrix[:, 0] = np.where(is_null, 0, width)
    matrix[:, 1:5] = _day_bytes(days)
    matrix[:, 5:8] = _second_table()[second_of_day]
    if width == 7:
        return binary_of_matrix(matrix, is_null)
    nanoseconds = fraction * (10**9 // per_second)
    matrix[:, 8:12] = nanoseconds.astype(">u4").view(np.uint8).reshape(-1, 4)
    if width == 13:
        matrix[:, 12], matrix[:, 13] = 20, 60
        return binary_of_matrix(matrix, is_null)
    return _without_zero_fraction(matrix, is_null, nanoseconds == 0)


def _without_zero_fraction(matrix: np.ndarray, is_null: np.ndarray, is_whole: np.ndarray) -> pa.Array:
    if not is_whole.any():
        return binary_of_matrix(matrix, is_null)
    mask = np.empty(matrix.shape, bool)
    mask[:, 0] = True
    mask[:, 1:8] = ~is_null[:, None]
    mask[:, 8:] = ~(is_null | is_whole)[:, None]
    lengths = mask.sum(axis=1)
    matrix[:, 0] = lengths - 1
    return binary_of(matrix[mask], lengths)


def _ticks(values: pa.Array) -> tuple[np.ndarray, int]:
    """Integers since 1970 (or lengths, for durations), NULL as 0, and how many of them are a second."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("s"))
    per_second = _UNITS_PER_S[values.type.unit]
    return np.where(nulls_of(values), 0, numbers_of(values.cast(pa.int64()), np.int64)), per_second


def _day_bytes(days: np.ndarray) -> np.ndarray:
    """Century, year, month and day of days since 1970: rows x 4. Few days apart come from a table.

    Raises ORA-01841 for a day that only arithmetic can reach.
    """
    low, high = (int(days.min()), int(days.max())) if len(days) else (0, 0)
    if high > _LAST_DAY or low < _FIRST_DAY:
        raise OraError(1841, "(full) year must be between -4713 and +9999, and not be 0")
    if high - low >= _TABLE_DAYS:
        return _civil(days)
    table = _civil(np.arange(low, high + 1))
    return np.take(table, days - low, axis=0)


def _civil(days: np.ndarray) -> np.ndarray:
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    month_number = months.astype(np.int64)
    years = month_number // 12 + 1970
    out = np.empty((len(days), 4), np.uint8)
    out[:, 0] = years // 100 + 100
    out[:, 1] = years % 100 + 100
    out[:, 2] = month_number % 12 + 1
    out[:, 3] = (dates - months).astype(np.int64) + 1
    return out


@functools.cache
def _second_table() -> np.ndarray:
    seconds = np.arange(_DAY_S)
    return np.stack([seconds // 3600 + 1, seconds // 60 % 60 + 1, seconds % 60 + 1], axis=1).astype(np.uint8)


def encode_duration_column(values: pa.Array) -> pa.Array:
    """INTERVAL DAY TO SECOND: eleven bytes, all fields with the sign of the whole."""
    is_null = nulls_of(values)
    ticks, per_second = _ticks(values)
    sign = np.where(ticks < 0, -1, 1)
    seconds, fraction = np.divmod(np.abs(ticks), per_second)
    matrix = np.empty((len(values), 12), np.uint8)
    matrix[:, 0] = np.where(is_null, 0, 11)
    matrix[:, 1:5] = _big_endian(_INTERVAL_MIDDLE + sign * (seconds // _DAY_S))
    for at, part in enumerate((seconds // 3600 % 24, seconds // 60 % 60, seconds % 60), 5):
        matrix[:, at] = 60 + sign * part
    matrix[:, 8:12] = _big_endian(_INTERVAL_MIDDLE + sign * fraction * (10**9 // per_second))
    return binary_of_matrix(matrix, is_null)


def _big_endian(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, ">u4").view(np.uint8).reshape(-1, 4)
