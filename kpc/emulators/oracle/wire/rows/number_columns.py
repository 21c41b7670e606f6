"""Column encoder for NUMBER: integers, decimals, doubles and decimal texts to base-100 digit pairs."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa

from kpc.emulators.oracle.wire.rows.byte_columns import binary_of, binary_of_list, nulls_of, numbers_of
from kpc.emulators.oracle.wire.values.codec import NUMBER_MAX_PAIRS, ZERO, encode_number, encode_scaled

_NEGATIVE_END = 102
_CHUNK = 10**8  # eight digits, four pairs
_LIMB_BITS = np.uint64(32)
_LIMB_MASK = np.uint64(0xFFFFFFFF)
_DOUBLE_EXACT = 2.0**53
_DOUBLE_SCALES = (0, 2, 4, 6)


def encode_number_column(values: pa.Array) -> pa.Array:
    """Each value after its length byte; NULL is a zero byte."""
    kind = values.type
    is_null = nulls_of(values)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        integers = np.where(is_null, 0, numbers_of(values.cast(pa.int64()), np.int64))
        return _encode_integers(integers, 0, is_null)
    if pa.types.is_decimal(kind):
        return _encode_decimals(values, is_null)
    if pa.types.is_floating(kind):
        return _encode_doubles(values.cast(pa.float64()), is_null)
    return binary_of_list([b"\x00" if item is None else _scalar(item) for item in values.to_pylist()])


def _scalar(value: object) -> bytes:
    data = encode_number(Decimal(str(value)))
    return bytes((len(data),)) + data


def _encode_integers(values: np.ndarray, scale: int, is_null: np.ndarray) -> pa.Array:
    """`values * 10**-scale`. An odd scale is made even, so that pairs lie where the decimal point is."""
    is_negative = values < 0
    magnitude = np.where(is_negative, -values, values).view(np.uint64)  # -(-2**63) wraps to the right bits
    largest = int(magnitude.max()) if len(magnitude) else 0
    if scale % 2:
        if largest >= 2**64 // 10:
            return _encode_limbs([magnitude & _LIMB_MASK, magnitude >> _LIMB_BITS], scale, is_negative, is_null)
        magnitude, scale, largest = magnitude * np.uint64(10), scale + 1, largest * 10
    chunks = []
    while largest >= _CHUNK:
        high = magnitude // np.uint64(_CHUNK)
        chunks.append((magnitude - high * np.uint64(_CHUNK)).astype(np.uint32))
        magnitude, largest = high, largest // _CHUNK
    chunks.append(magnitude.astype(np.uint32))
    return _encode_pairs(_pairs_of(chunks, largest), -scale // 2, is_negative, is_null)


def _encode_decimals(values: pa.Array, is_null: np.ndarray) -> pa.Array:
    """Unscaled integers of 32 to 256 bits, little-endian in Arrow's buffer."""
    scale = values.type.scale
    words = values.type.byte_width // 8
    if words == 0:  # decimal32
        values, words = values.cast(pa.decimal128(38, scale)), 2
    raw = np.frombuffer(values.buffers()[1], np.uint64, len(values) * words, values.offset * words * 8)
    matrix = raw.reshape(-1, words)
    if values.null_count:
        matrix = np.where(is_null[:, None], np.uint64(0), matrix)  # what lies under a NULL is undefined
    low = matrix[:, 0].view(np.int64)
    if words == 1 or _fits(matrix, low):
        return _encode_integers(np.ascontiguousarray(low), scale, is_null)
    is_negative = matrix[:, -1].view(np.int64) < 0
    return _encode_limbs(_limbs(matrix, is_negative), scale, is_negative, is_null)


def _fits(matrix: np.ndarray, low: np.ndarray) -> bool:
    """Do all values fit into 64 bits: are all higher words just the sign?"""
    sign = (low >> 63).view(np.uint64)
    return all(bool((matrix[:, word] == sign).all()) for word in range(1, matrix.shape[1]))


def _limbs(matrix: np.ndarray, is_negative: np.ndarray) -> list[np.ndarray]:
    """Magnitudes as 32-bit limbs in 64-bit arrays, least significant first."""
    limbs = []
    carry = is_negative.astype(np.uint64)
    flip = np.where(is_negative, _LIMB_MASK, np.uint64(0))
    for word in range(matrix.shape[1]):
        for part in (matrix[:, word] & _LIMB_MASK, matrix[:, word] >> _LIMB_BITS):
            total = (part ^ flip) + carry  # two's complement: invert and add one
            limbs.append(total & _LIMB_MASK)
            carry = total >> _LIMB_BITS
    return limbs


def _encode_limbs(limbs: list[np.ndarray], scale: int, is_negative: np.ndarray, is_null: np.ndarray) -> pa.Array:
    """Long division by 10**8, limb by limb, until nothing is left."""
    if scale % 2:
        limbs, scale = _times_ten(limbs), scale + 1
    chunks: list[np.ndarray] = []
    while limbs:
        rest = np.zeros_like(limbs[0])
        for at in reversed(range(len(limbs))):
            part = (rest << _LIMB_BITS) | limbs[at]
            limbs[at] = part // np.uint64(_CHUNK)
            rest = part - limbs[at] * np.uint64(_CHUNK)
        chunks.append(rest.astype(np.uint32))
        while limbs and not limbs[-1].any():
            limbs.pop()
    return _encode_pairs(_pairs_of(chunks, _CHUNK - 1), -scale // 2, is_negative, is_null)


def _times_ten(limbs: list[np.ndarray]) -> list[np.ndarray]:
    carry = np.zeros_like(limbs[0])
    result = []
    for limb in limbs:
        total = limb * np.uint64(10) + carry
        result.append(total & _LIMB_MASK)
        carry = total >> _LIMB_BITS
    return [*result, carry]


def _pairs_of(chunks: list[np.ndarray], largest_top: int) -> np.ndarray:
    """Digit pairs, most significant first: rows x pairs. The top chunk is cut to what its largest value needs."""
    columns: list[np.ndarray] = []
    for chunk in chunks:
        high, low = np.divmod(chunk, np.uint32(10000))
        for half in (low.astype(np.uint16), high.astype(np.uint16)):
            tens = half // np.uint16(100)
            columns += [(half - tens * np.uint16(100)).astype(np.uint8), tens.astype(np.uint8)]
    needed = 4 * (len(chunks) - 1) + max(1, (len(str(largest_top)) + 1) // 2)
    return np.stack(columns[:needed][::-1], axis=1)


def _encode_pairs(pairs: np.ndarray, shift: int, is_negative: np.ndarray, is_null: np.ndarray) -> pa.Array:
    """Length, exponent, significant pairs, 102 after a negative value. `shift`: base-100 exponent of the last pair."""
    rows, width = pairs.shape
    present = pairs != 0
    first = present.argmax(axis=1)
    last = width - 1 - present[:, ::-1].argmax(axis=1)
    has_digits = present[np.arange(rows), first] & ~is_null
    significant = np.where(has_digits, last - first + 1, 0)
    has_tail = is_negative & has_digits & (significant < NUMBER_MAX_PAIRS)
    exponent = width - 1 - first + shift + 193
    lengths = np.where(is_null, 0, 1 + significant + has_tail)
    out = np.empty((rows, width + 3), np.uint8)
    out[:, 0] = lengths
    out[:, 1] = np.where(has_digits, np.where(is_negative, ~exponent, exponent) & 0xFF, ZERO[0])
    out[:, 2:-1] = np.where(is_negative[:, None], 101 - pairs, pairs + 1)
    out[:, -1] = _NEGATIVE_END
    at = np.arange(width)
    mask = np.empty(out.shape, bool)
    mask[:, 0], mask[:, 1], mask[:, -1] = True, ~is_null, has_tail
    mask[:, 2:-1] = (at >= first[:, None]) & (at <= last[:, None]) & has_digits[:, None]
    outside = has_digits & ((significant > NUMBER_MAX_PAIRS) | (exponent > 255) | (exponent < 128))
    if outside.any():
        return _with_scalars(out, mask, outside, pairs, shift, is_negative)
    return binary_of(out[mask], lengths + 1)


def _with_scalars(
    out: np.ndarray, mask: np.ndarray, outside: np.ndarray, pairs: np.ndarray, shift: int, is_negative: np.ndarray
) -> pa.Array:
    """Rows with more digits than NUMBER holds are rounded one by one, the rest stays as it is."""
    encoded = []
    for row in range(len(out)):
        if not outside[row]:
            encoded.append(out[row][mask[row]].tobytes())
            continue
        magnitude = int("".join(f"{pair:02d}" for pair in pairs[row]))
        data = encode_scaled(magnitude, 2 * shift, is_negative=bool(is_negative[row]))
        encoded.append(bytes((len(data),)) + data)
    return binary_of_list(encoded)


def _encode_doubles(values: pa.Array, is_null: np.ndarray) -> pa.Array:
    """The shortest decimal of each double. Whole numbers and few decimals are found by scaling, the rest one by one."""
    doubles = np.where(is_null, 0.0, numbers_of(values, np.float64))
    for scale in _DOUBLE_SCALES:
        scaled = np.rint(doubles * 10.0**scale)
        with np.errstate(invalid="ignore"):
            is_exact = (np.abs(scaled) < _DOUBLE_EXACT) & (scaled / 10.0**scale == doubles)
        if is_exact.all():
            return _encode_integers(scaled.astype(np.int64), scale, is_null)
    texts = [None if null else repr(value) for value, null in zip(doubles.tolist(), is_null, strict=True)]
    return binary_of_list([b"\x00" if text is None else _scalar(text) for text in texts])
