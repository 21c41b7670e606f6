"""ROWIDs: a row's position as a BIGINT that sorts physically, and as Oracle's 18 characters.

The number is object (20 bits), block (28 bits), row in block (15 bits); the text spells object, file, block and row in
base 64 (6 + 3 + 6 + 3 characters).
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from kpc.emulators.oracle.sql.messages import ora

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ROWS_PER_BLOCK = 128
_FILE = "AAE"  # every segment lies in file 4
_ROW_BITS, _BLOCK_BITS = 15, 28
_FORM = re.compile(r"[A-Za-z0-9+/]{18}")
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_BYTES = np.frombuffer(ALPHABET.encode(), np.uint8)


def encode(object_id: int, sequence: int) -> int:
    """The position of the `sequence`-th row ever stored in the object."""
    block, row = divmod(sequence, ROWS_PER_BLOCK)
    return (object_id << (_BLOCK_BITS + _ROW_BITS)) | (block << _ROW_BITS) | row


def encode_sql(object_id: int, sequence: str) -> str:
    """The same in DuckDB SQL, for a column of sequence numbers."""
    base = object_id << (_BLOCK_BITS + _ROW_BITS)
    return f"({base} + ((({sequence}) // {ROWS_PER_BLOCK}) << {_ROW_BITS}) + (({sequence}) % {ROWS_PER_BLOCK}))"


def sequence_sql(position: str) -> str:
    """The inverse of `encode_sql`: which row of its table a position is, counted from 0."""
    block = f"(({position} >> {_ROW_BITS}) & {(1 << _BLOCK_BITS) - 1})"
    return f"({block} * {ROWS_PER_BLOCK} + ({position} & {(1 << _ROW_BITS) - 1}))"


def decode(text: str) -> int:
    """CHARTOROWID. Raises ORA-01410."""
    text = text.strip(" ")
    if not _FORM.fullmatch(text):
        raise ora(1410)
    object_id, block, row = (_number(part) for part in (text[:6], text[9:15], text[15:]))
    if object_id >= 1 << 20 or block >= 1 << _BLOCK_BITS or row >= 1 << _ROW_BITS:
        raise ora(1410)
    return (object_id << (_BLOCK_BITS + _ROW_BITS)) | (block << _ROW_BITS) | row


def _number(letters: str) -> int:
    value = 0
    for letter in letters:
        value = value * 64 + _VALUES[letter]
    return value


def texts(column: pa.Array) -> pa.Array:
    """The 18 characters of every position in a BIGINT column."""
    position = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    parts = (
        (position >> (_BLOCK_BITS + _ROW_BITS), 6),
        (np.full(len(position), 4, np.int64), 3),
        ((position >> _ROW_BITS) & ((1 << _BLOCK_BITS) - 1), 6),
        (position & ((1 << _ROW_BITS) - 1), 3),
    )
    letters = np.empty((len(position), 18), np.uint8)
    at = 0
    for value, width in parts:
        for digit in range(width):
            letters[:, at] = _BYTES[(value >> (6 * (width - 1 - digit))) & 63]
            at += 1
    offsets = np.arange(0, 18 * (len(position) + 1), 18, dtype=np.int32)
    made = pa.Array.from_buffers(
        pa.string(), len(position), [None, pa.py_buffer(offsets), pa.py_buffer(letters.tobytes())]
    )
    if not column.null_count:
        return made
    return pa.compute.if_else(column.is_valid(), made, pa.scalar(None, pa.string()))


def text_sql(position: str) -> str:
    """ROWIDTOCHAR in DuckDB SQL."""
    return f"rowid_text({position})"


def macro() -> str:
    """The DuckDB macro behind `text_sql`."""
    fields = (
        (f"(p >> {_BLOCK_BITS + _ROW_BITS})", 6),
        ("4", 3),
        (f"((p >> {_ROW_BITS}) & {(1 << _BLOCK_BITS) - 1})", 6),
        (f"(p & {(1 << _ROW_BITS) - 1})", 3),
    )
    letters = [
        f"'{ALPHABET}'[(({value} >> {6 * (width - 1 - digit)}) & 63) + 1]"
        for value, width in fields
        for digit in range(width)
    ]
    return f"CREATE OR REPLACE MACRO rowid_text(p) AS CASE WHEN p IS NULL THEN NULL ELSE {' || '.join(letters)} END"
