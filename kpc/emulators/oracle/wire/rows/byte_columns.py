"""Column encoders for text and bytes, and the ways of building Arrow binary arrays that all encoders share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kpc.emulators.oracle.wire.values.codec import CHUNK_BYTES, LONG_MARK, SHORT_MAX, clr


def nulls_of(values: pa.Array) -> np.ndarray:
    """Which values are NULL. Read from Arrow's buffers: `to_numpy` would import pandas into the server."""
    if not values.null_count:
        return np.zeros(len(values), bool)
    return numbers_of(values.is_null().cast(pa.uint8()), np.uint8).view(bool)


def numbers_of(values: pa.Array, kind: type[np.generic]) -> np.ndarray:
    """The fixed-width values themselves; what lies under a NULL is undefined."""
    width = np.dtype(kind).itemsize
    buffer = values.buffers()[1]
    if buffer is None:
        return np.zeros(len(values), kind)
    return np.frombuffer(buffer, kind, len(values), values.offset * width)


def same_bytes(data: bytes, rows: int) -> pa.Array:
    """A binary array with `data` in every row."""
    offsets = np.arange(rows + 1, dtype=np.int32) * len(data)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data * rows)])


def binary_of(data: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """A binary array of consecutive pieces of `data`."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def binary_of_list(items: list[bytes]) -> pa.Array:
    """As `pa.array` makes it, which would import pandas into the server."""
    data = np.frombuffer(b"".join(items), np.uint8)
    return binary_of(data, np.fromiter(map(len, items), np.int64, len(items)))


def binary_of_matrix(matrix: np.ndarray, is_null: np.ndarray) -> pa.Array:
    """Whole rows of a byte matrix; of a NULL row only its first byte, the length zero."""
    rows, width = matrix.shape
    if not is_null.any():
        offsets = np.arange(rows + 1, dtype=np.int32) * width
        data = pa.py_buffer(np.ascontiguousarray(matrix))
        return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), data])
    mask = np.empty((rows, width), bool)
    mask[:, 0] = True
    mask[:, 1:] = ~is_null[:, None]
    return binary_of(matrix[mask], np.where(is_null, 1, width))


def scalar_values(values: pa.Array, encode: Callable[[Any], bytes], *, already_prefixed: bool = False) -> pa.Array:
    """Value by value, for types that are rare; NULL is a length of zero."""
    finish = encode if already_prefixed else lambda value: clr(encode(value))
    return binary_of_list([b"\x00" if value is None else finish(value) for value in values.to_pylist()])


def prefixed_values(values: pa.Array, *, is_national: bool) -> list[pa.Array]:
    """Text or bytes after their length: the length column, the data itself, and an end mark where chunks are used.

    The data may keep its NULLs: the join puts nothing in their place.
    """
    if is_national:
        return [scalar_values(values, lambda text: text.encode("utf-16-be"))]
    data = values.cast(pa.large_binary() if pa.types.is_large_string(values.type) else values.type)
    data = _as_binary(data)
    lengths = np.where(nulls_of(data), 0, numbers_of(pc.binary_length(data), np.int32))
    longest = int(lengths.max()) if len(lengths) else 0
    if longest <= SHORT_MAX:
        return [_bytes_column(lengths.astype(np.uint8)), data]
    if longest <= CHUNK_BYTES:
        return [_long_prefix(lengths), data, _long_suffix(lengths)]
    return [binary_of_list([clr(item or b"") for item in data.to_pylist()])]


def long_values(values: pa.Array, *, is_national: bool) -> list[pa.Array]:
    """The content of a LOB inside its row; text of either character set travels as the client declared it."""
    return prefixed_values(values, is_national=is_national)


def _as_binary(values: pa.Array) -> pa.Array:
    """As a binary array with 32-bit offsets; strings are only looked at differently, not copied."""
    if pa.types.is_binary(values.type):
        return values
    if pa.types.is_string(values.type):
        return values.view(pa.binary())
    return values.cast(pa.binary())


def _bytes_column(content: np.ndarray) -> pa.Array:
    offsets = np.arange(len(content) + 1, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(content), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content))]
    )


def _long_prefix(lengths: np.ndarray) -> pa.Array:
    """The length byte; for values in a chunk its mark, and the chunk's length in one or two bytes."""
    is_long, is_wide = lengths > SHORT_MAX, lengths > 255
    matrix = np.zeros((len(lengths), 4), np.uint8)
    matrix[:, 0] = np.where(is_long, LONG_MARK, lengths)
    matrix[:, 1] = np.where(is_wide, 2, 1)
    matrix[:, 2] = np.where(is_wide, lengths >> 8, lengths & 0xFF)
    matrix[:, 3] = lengths & 0xFF
    mask = np.empty(matrix.shape, bool)
    mask[:, 0] = True
    mask[:, 1] = mask[:, 2] = is_long
    mask[:, 3] = is_wide
    return binary_of(matrix[mask], mask.sum(axis=1))


def _long_suffix(lengths: np.ndarray) -> pa.Array:
    is_long = lengths > SHORT_MAX
    return binary_of(np.zeros(int(is_long.sum()), np.uint8), is_long)
