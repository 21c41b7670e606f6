"""The vectorised row encoder against the scalar codec, value by value."""

from __future__ import annotations

import datetime as dt
import struct
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpc.emulators.oracle.interface import OraColumn, OraError, OraType
from kpc.emulators.oracle.wire.rows.encoder import ColumnPlan, RowEncoder
from kpc.emulators.oracle.wire.rows.number_columns import encode_number_column
from kpc.emulators.oracle.wire.values import codec

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def encoded(
    values: pa.Array, column_type: OraType, *, wire_type: OraType | None = None, national: bool = False
) -> list[bytes]:
    """Each value's bytes in its row, without the row mark."""
    column = OraColumn("C", column_type, size=4000, is_national=national)
    encoder = RowEncoder([ColumnPlan(column, wire_type or column_type, False)], lambda *_: b"?")
    rows = encoder.encode(pa.record_batch([values], names=["C"]))
    assert rows.rows == len(values)
    parts = [bytes(rows.slice(at, at + 1)) for at in range(rows.rows)]
    assert all(part[:1] == b"\x07" for part in parts)
    return [part[1:] for part in parts]


def scalar(value: Any, encode: Callable[[Any], bytes]) -> bytes:
    return b"\x00" if value is None else codec.clr(encode(value))


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | strategy, min_size=1, max_size=40)


@quick
@given(optional(st.integers(-(2**63), 2**63 - 1)))
def test_integers_of_every_size_are_encoded_as_the_scalar_codec_does(values: list[int | None]) -> None:
    """All of int64, either sign, among NULLs."""
    assert encoded(pa.array(values, pa.int64()), OraType.NUMBER) == [scalar(v, codec.encode_number) for v in values]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.int64()])
def test_powers_and_borders_of_every_integer_width_are_exact(kind: pa.DataType) -> None:
    """Where the number of digit pairs changes, and at both ends of the type."""
    top = 2 ** (kind.bit_width - 1) - 1
    borders = {sign * (10**power + step) for power in range(20) for step in (-1, 0, 1) for sign in (-1, 1)}
    values = sorted({value for value in borders if -top - 1 <= value <= top} | {0, top, -top - 1})
    assert encoded(pa.array(values, kind), OraType.NUMBER) == [scalar(v, codec.encode_number) for v in values]


@st.composite
def decimal_columns(draw: st.DrawFn) -> pa.Array:
    bits, digits = draw(st.sampled_from([(32, 9), (64, 18), (128, 38), (256, 76)]))
    scale = draw(st.integers(0, min(digits, 40)))
    widest = draw(st.integers(1, min(digits, 40)))
    unscaled = draw(optional(st.integers(-(10**widest) + 1, 10**widest - 1)))
    kind = {32: pa.decimal32, 64: pa.decimal64, 128: pa.decimal128, 256: pa.decimal256}[bits](digits, scale)
    return pa.array(
        [None if u is None else Decimal((int(u < 0), tuple(map(int, str(abs(u)))), -scale)) for u in unscaled], kind
    )


@quick
@given(decimal_columns())
def test_decimals_of_every_width_and_scale_are_encoded_as_the_scalar_codec_does(values: pa.Array) -> None:
    """Odd and even scales, 32 to 256 bits, up to forty digits."""
    assert encoded(values, OraType.NUMBER) == [scalar(v, codec.encode_number) for v in values.to_pylist()]


@quick
@given(optional(st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: abs(v) < 1e120)))
def test_doubles_become_their_shortest_decimal(values: list[float | None]) -> None:
    """The decimal text that Python prints, exactly."""
    expected = [scalar(v, lambda item: codec.encode_number(Decimal(repr(item)))) for v in values]
    assert encoded(pa.array(values, pa.float64()), OraType.NUMBER) == expected


@quick
@given(optional(st.integers(-(10**8), 10**8)), st.integers(0, 6))
def test_doubles_with_few_decimals_take_the_fast_way_to_the_same_bytes(cents: list[int | None], scale: int) -> None:
    """Amounts, which are the common case."""
    values = [None if c is None else c / 10**scale for c in cents]
    expected = [scalar(v, lambda item: codec.encode_number(Decimal(repr(item)))) for v in values]
    assert encoded(pa.array(values, pa.float64()), OraType.NUMBER) == expected


@quick
@given(st.integers(-(10**40) + 1, 10**40 - 1), st.integers(-125, 80))
def test_numbers_survive_encoding_and_decoding(digits: int, exponent: int) -> None:
    """Up to forty digits (39 where they straddle pairs) from 1e-125 to beyond 1e120."""
    value = Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), exponent))
    data = codec.encode_number(value)
    decoded = codec.decode_number(data)
    assert len(data) <= 22
    if len(str(abs(digits)).rstrip("0")) <= 39:
        assert decoded == value
    else:
        assert abs(decoded - value) <= Decimal(1).scaleb(exponent + 1)


@pytest.mark.parametrize(
    "text",
    ["1e125", "-1e125", "9.999e125", "1e-130", "1", "-1", "0.1", "-0.01", "12345678901234567890123456789012345678.9"],
)
def test_numbers_as_text_are_exact(text: str) -> None:
    """What no decimal type holds travels as text from the SQL side."""
    [data] = encoded(pa.array([text]), OraType.NUMBER)
    assert codec.decode_number(data[1:]) == Decimal(text)


def test_a_number_beyond_the_range_is_an_oracle_error() -> None:
    """1e126 has no representation; too small a number is zero."""
    with pytest.raises(OraError, match="ORA-01426"):
        codec.encode_number(Decimal("1e126"))
    assert codec.encode_number(Decimal("1e-131")) == codec.ZERO


def test_more_digits_than_a_number_holds_are_rounded_away_from_zero() -> None:
    """Only the rows that need it, with their neighbours untouched."""
    wide = Decimal("1" * 38 + "." + "5" * 38)
    values = pa.array([Decimal(1), -wide, None, wide], pa.decimal256(76, 38))
    first, second, null, last = encode_number_column(values).to_pylist()
    assert (first, null) == (b"\x02\xc1\x02", b"\x00")
    assert abs(codec.decode_number(last[1:]) - wide) <= Decimal("0.005")
    assert codec.decode_number(second[1:]) == -codec.decode_number(last[1:])


@quick
@given(optional(st.datetimes()))
def test_dates_are_encoded_as_the_scalar_codec_does(values: list[dt.datetime | None]) -> None:
    """Every century, to the second."""
    whole = [v and v.replace(microsecond=0) for v in values]
    assert encoded(pa.array(whole, pa.timestamp("s")), OraType.DATE) == [scalar(v, codec.encode_date) for v in whole]


@quick
@given(optional(st.datetimes().filter(lambda moment: 1700 < moment.year < 2250)), st.sampled_from(["us", "ns"]))
def test_timestamps_are_encoded_as_the_scalar_codec_does(values: list[dt.datetime | None], unit: str) -> None:
    """With and without fraction, local and with time zone."""
    array = pa.array(values, pa.timestamp("us")).cast(pa.timestamp(unit))
    assert encoded(array, OraType.TIMESTAMP) == [scalar(v, codec.encode_timestamp) for v in values]
    assert encoded(array, OraType.TIMESTAMP_TZ) == [scalar(v, codec.encode_timestamp_tz) for v in values]
    for value in filter(None, values):
        assert codec.decode_datetime(codec.encode_timestamp(value)) == value


@quick
@given(optional(st.timedeltas(dt.timedelta(days=-100_000), dt.timedelta(days=100_000))))
def test_intervals_are_encoded_as_the_scalar_codec_does(values: list[dt.timedelta | None]) -> None:
    """Negative ones in every field."""
    assert encoded(pa.array(values, pa.duration("us")), OraType.INTERVAL_DS) == [
        scalar(v, codec.encode_interval) for v in values
    ]
    assert [codec.decode_interval(codec.encode_interval(v)) for v in values if v is not None] == [
        v for v in values if v is not None
    ]


@quick
@given(optional(st.floats(width=32)))
def test_floating_point_types_keep_their_bits(values: list[float | None]) -> None:
    """Infinities, NaN, minus zero and subnormals among NULLs."""
    assert encoded(pa.array(values, pa.float64()), OraType.BINARY_DOUBLE) == [
        scalar(v, codec.encode_double) for v in values
    ]
    assert encoded(pa.array(values, pa.float32()), OraType.BINARY_FLOAT) == [
        scalar(v, codec.encode_float) for v in values
    ]
    for value in (v for v in values if v is not None):
        assert struct.pack(">d", codec.decode_double(codec.encode_double(value))) == struct.pack(">d", value)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.builds(
    lambda size, unit: unit * size,
    st.sampled_from([0, 1, 251, 252, 253, 255, 256, 32767, 32768, 70_000]),
    st.sampled_from(["x", "ก"]),
)


@quick
@given(optional(texts), st.sampled_from([pa.string(), pa.large_string()]), st.booleans())
def test_text_of_every_length_is_encoded_as_the_scalar_codec_does(
    values: list[str | None], kind: pa.DataType, national: bool
) -> None:
    """Short, chunked and several chunks; '' is NULL; both character sets."""
    charset = "utf-16-be" if national else "utf-8"
    expected = [scalar(v, lambda item: item.encode(charset)) for v in values]
    array = pa.array(values, kind)
    assert encoded(array, OraType.VARCHAR2, national=national) == expected
    long = encoded(array, OraType.CLOB, wire_type=OraType.LONG, national=national)
    assert long == [item + b"\x00\x00" for item in expected]


@quick
@given(optional(st.binary(max_size=600)), st.integers(0, 5), st.integers(0, 5))
def test_slices_of_larger_arrays_are_encoded_from_their_own_rows(
    values: list[bytes | None], before: int, after: int
) -> None:
    """An offset into shared buffers must not shift values."""
    padded = pa.array([b"x" * 9] * before + values + [b"y"] * after, pa.binary()).slice(before, len(values))
    assert encoded(padded, OraType.RAW) == [scalar(v, bytes) for v in values]
    numbers = pa.array([7] * before + [len(v or b"") for v in values] + [9] * after, pa.decimal128(20, 3)).slice(
        before, len(values)
    )
    assert encoded(numbers, OraType.NUMBER) == [scalar(len(v or b""), codec.encode_number) for v in values]


def test_a_row_is_its_columns_in_order_and_empty_columns_send_nothing() -> None:
    """The offsets cut the stream at row ends; a column described with size 0 has no value."""
    plans = [
        ColumnPlan(OraColumn("A", OraType.NUMBER), OraType.NUMBER, False),
        ColumnPlan(OraColumn("B", OraType.VARCHAR2), OraType.VARCHAR2, True),
        ColumnPlan(OraColumn("C", OraType.BOOLEAN), OraType.BOOLEAN, False),
        ColumnPlan(OraColumn("D", OraType.ROWID), OraType.ROWID, False),
    ]
    batch = pa.record_batch(
        [
            pa.array([1, None]),
            pa.array([None, None], pa.string()),
            pa.array([True, None]),
            pa.array(["AAAR3sAAEAAAACXAAB", None]),
        ],
        names=list("ABCD"),
    )
    rows = RowEncoder(plans, lambda *_: b"").encode(batch)
    assert bytes(rows.slice(0, 1)) == b"\x07\x02\xc1\x02" + b"\x02\x01\x01" + b"\x0d" + codec.encode_rowid(
        "AAAR3sAAEAAAACXAAB"
    )
    assert bytes(rows.slice(1, 2)) == b"\x07\x00\x00\x00"
    assert codec.rowid_parts("AAAR3sAAEAAAACXAAB") == (73196, 4, 151, 1)


def test_encoding_does_not_import_pandas() -> None:
    """It would cost every emulator half a second and 50 MB; pyarrow does it behind some innocent calls."""
    program = """if True:
        import sys
        import pyarrow as pa
        from kpc.emulators.oracle.interface import OraColumn, OraType
        from kpc.emulators.oracle.wire.rows.encoder import ColumnPlan, RowEncoder
        kinds = {OraType.NUMBER: pa.nulls(2, pa.int64()), OraType.DATE: pa.nulls(2, pa.timestamp("s")),
                 OraType.VARCHAR2: pa.nulls(2, pa.string()), OraType.BINARY_DOUBLE: pa.nulls(2, pa.float64())}
        plans = [ColumnPlan(OraColumn("C", kind, size=9), kind, False) for kind in kinds]
        RowEncoder(plans, bytes).encode(pa.record_batch(list(kinds.values()), names=list("ABCD")))
        sys.exit("pandas" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0  # noqa: S603 - ours


def test_a_batch_of_wide_rows_is_encoded_in_several_pieces() -> None:
    """Memory and 32-bit offsets stay bounded however wide the values are."""
    text = "x" * 1_000_000
    batch = pa.record_batch([pa.array([text] * 200)], names=["C"])
    plan = ColumnPlan(OraColumn("C", OraType.CLOB), OraType.LONG, False)
    pieces = list(RowEncoder([plan], lambda *_: b"").encode_all(iter([batch])))
    assert sum(piece.rows for piece in pieces) == 200
    assert max(len(piece.data) for piece in pieces) < 80_000_000


def test_the_first_piece_is_short_and_no_row_is_lost() -> None:
    """A client that wants one row does not wait for 65,536."""
    batch = pa.record_batch([pa.array(np.arange(100_000))], names=["C"])
    plan = ColumnPlan(OraColumn("C", OraType.NUMBER), OraType.NUMBER, False)
    pieces = list(RowEncoder([plan], lambda *_: b"").encode_all(iter([batch, batch])))
    assert [piece.rows for piece in pieces] == [1024, 65536, 33440, 65536, 34464]
