"""Arrow batches to wire bytes, whole columns at a time.

Each column becomes Arrow binary arrays whose elements, put side by side, are the column's bytes in a row; one
element-wise join over all of them gives a buffer that is the wire stream, and offsets that cut it at row ends. `codec`
is the slow reference that these encoders are tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kpc.emulators.oracle.interface import LobColumn, LobHome, OraColumn, OraType
from kpc.emulators.oracle.wire.rows.byte_columns import (
    binary_of_list,
    binary_of_matrix,
    long_values,
    nulls_of,
    numbers_of,
    prefixed_values,
    same_bytes,
    scalar_values,
)
from kpc.emulators.oracle.wire.rows.number_columns import encode_number_column
from kpc.emulators.oracle.wire.rows.time_columns import encode_duration_column, encode_time_column
from kpc.emulators.oracle.wire.values import codec

ROW_MARK = b"\x07"
_NOTHING = same_bytes(b"", 1)[0]
FIRST_SLICE_ROWS = 1024
SLICE_ROWS = 65536
LOCATOR_SLICE_ROWS = 1024
SLICE_BYTES = 64 * 1024 * 1024

LobDescriber = Callable[[str | bytes, LobHome | None], bytes]


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Consecutive rows, each with its mark; `offsets` has one entry more than there are rows."""

    data: memoryview
    offsets: np.ndarray
    rows: int

    def slice(self, start: int, end: int) -> memoryview:
        return self.data[int(self.offsets[start]) : int(self.offsets[end])]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How a column travels: its described type, or LONG / LONG RAW when the client wants a LOB's content in the row."""

    column: OraColumn
    wire_type: OraType
    is_empty: bool  # described with size 0: always NULL, and no value travels

    @property
    def is_locator(self) -> bool:
        return self.wire_type in {OraType.CLOB, OraType.BLOB}


class RowEncoder:
    """Encodes the batches of one query."""

    def __init__(
        self,
        plans: Sequence[ColumnPlan],
        describe_lob: LobDescriber,
        lob_columns: Mapping[int, LobColumn] | None = None,
    ) -> None:
        self._plans = plans
        self._describe_lob = describe_lob
        self._lob_columns = lob_columns or {}
        self._slice_rows = LOCATOR_SLICE_ROWS if any(plan.is_locator for plan in plans) else SLICE_ROWS

    def encode_all(self, batches: Iterator[pa.RecordBatch]) -> Iterator[EncodedRows]:
        """Lazily; the first slice is short, so that a first row comes soon."""
        limit = FIRST_SLICE_ROWS
        for batch in batches:
            start = 0
            while start < batch.num_rows:
                rows = min(limit, _rows_within(batch, start))
                yield self.encode(batch.slice(start, rows))
                start += rows
                limit = self._slice_rows

    def encode(self, batch: pa.RecordBatch) -> EncodedRows:
        pieces: list[pa.Array] = [same_bytes(ROW_MARK, batch.num_rows)]
        for at, plan in enumerate(self._plans):
            if plan.is_locator:
                pieces.append(self._locators(batch, at))
            elif not plan.is_empty:
                pieces += self._encode_column(plan, batch.column(at))
        joined = pc.binary_join_element_wise(*pieces, _NOTHING, null_handling="replace", null_replacement="")
        _, offsets, data = joined.buffers()
        ends = np.frombuffer(offsets, np.int32, batch.num_rows + 1, joined.offset * 4)
        return EncodedRows(memoryview(data) if data is not None else memoryview(b""), ends, batch.num_rows)

    def _locators(self, batch: pa.RecordBatch, at: int) -> pa.Array:
        column = self._lob_columns.get(at)
        rows = [None] * batch.num_rows if column is None else batch.column(column.rows_at).to_pylist()
        homes = [None if column is None or row is None else LobHome(column.table, row, column.column) for row in rows]
        contents = batch.column(at).to_pylist()
        return binary_of_list(
            [
                b"\x00" if content is None else self._describe_lob(content, home)
                for content, home in zip(contents, homes, strict=True)
            ]
        )

    def _encode_column(self, plan: ColumnPlan, values: pa.Array) -> list[pa.Array]:
        if plan.wire_type in {OraType.LONG, OraType.LONG_RAW}:
            return [*long_values(values, is_national=plan.column.is_national), same_bytes(b"\x00\x00", len(values))]
        return _ENCODERS[plan.wire_type](values, plan.column)


def _rows_within(batch: pa.RecordBatch, start: int) -> int:
    """How many rows from `start` on may be encoded together without growing past the slice's bytes."""
    rest = batch.slice(start)
    raw_bytes = max(rest.nbytes, 1)
    return max(1, rest.num_rows * SLICE_BYTES // raw_bytes) if raw_bytes > SLICE_BYTES else int(rest.num_rows)


def _text(values: pa.Array, column: OraColumn) -> list[pa.Array]:
    return prefixed_values(values, is_national=column.is_national)


def _raw(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return prefixed_values(values, is_national=False)


def _number(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    if pa.types.is_binary(values.type):
        return prefixed_values(values, is_national=False)
    return [encode_number_column(values)]


def _time(values: pa.Array, column: OraColumn) -> list[pa.Array]:
    return [encode_time_column(values, column.type)]


def _duration(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [encode_duration_column(values)]


def _double(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [_ieee(values.cast(pa.float64()), np.uint64)]


def _float(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [_ieee(values.cast(pa.float32()), np.uint32)]


def _ieee(values: pa.Array, word: type[np.unsignedinteger]) -> pa.Array:
    """IEEE bits, inverted when negative and with the sign set otherwise, big-endian after a length."""
    size = np.dtype(word).itemsize
    is_null = nulls_of(values)
    bits = np.where(is_null, word(0), numbers_of(values, word))
    sign = word(1 << (8 * size - 1))
    sortable = np.where(bits & sign, ~bits, bits | sign)
    matrix = np.empty((len(values), size + 1), np.uint8)
    matrix[:, 0] = np.where(is_null, 0, size)
    matrix[:, 1:] = sortable.astype(f">u{size}").view(np.uint8).reshape(-1, size)
    return binary_of_matrix(matrix, is_null)


def _bool(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [scalar_values(values, codec.encode_bool)]


def _months(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [scalar_values(values, codec.encode_months)]


def _rowid(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [scalar_values(values, lambda text: b"\x0d" + codec.encode_rowid(text), already_prefixed=True)]


def _urowid(values: pa.Array, _column: OraColumn) -> list[pa.Array]:
    return [
        scalar_values(values, lambda text: b"\x01\x0d" + codec.clr(codec.encode_urowid(text)), already_prefixed=True)
    ]


_ENCODERS: dict[OraType, Callable[[pa.Array, OraColumn], list[pa.Array]]] = {
    OraType.VARCHAR2: _text,
    OraType.CHAR: _text,
    OraType.RAW: _raw,
    OraType.NUMBER: _number,
    OraType.DATE: _time,
    OraType.TIMESTAMP: _time,
    OraType.TIMESTAMP_TZ: _time,
    OraType.TIMESTAMP_LTZ: _time,
    OraType.INTERVAL_DS: _duration,
    OraType.INTERVAL_YM: _months,
    OraType.BINARY_DOUBLE: _double,
    OraType.BINARY_FLOAT: _float,
    OraType.BOOLEAN: _bool,
    OraType.ROWID: _rowid,
    OraType.UROWID: _urowid,
}
