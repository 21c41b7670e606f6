"""Made-up sales lines, as Oracle holds them and as Salesforce must hold them, both spelled without `kpc.convert`.

Every value follows from the number of its row, so that any range of rows can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa

from kpc.catalog.sales import SALES_MD
from kpc.catalog.types import EXTERNAL_ID, Column, NullRule
from kpc.extract.live_schema import arrow_type

TABLE = SALES_MD
MONTH = "2024-01"
LINES_PER_SALE = 3
ROW, SALE = "row", "sale"
_DAYS = 31
_SPREAD, _PRIME = 2_654_435_761, 4_294_967_291  # Knuth's multiplicative hash, and the greatest prime of 32 bits
_HOURS_AHEAD = 7  # Bangkok is always seven hours before UTC
_NEW_YEAR = datetime(2024, 1, 1)  # noqa: DTZ001  local time, as an Oracle DATE holds it

_sale = pl.col(SALE)
_line = pl.col(ROW) % LINES_PER_SALE + 1


def _varied(place: int, most: int) -> pl.Expr:
    """A number from 0 to `most` - 1 that differs between rows and columns."""
    return ((pl.col(ROW) + 1 + place * 40_503) * _SPREAD) % _PRIME % most


def _padded(number: pl.Expr, digits: int) -> pl.Expr:
    return number.cast(pl.String).str.zfill(digits)


_TEXTS: Mapping[str, pl.Expr] = {
    "CON_CODE": pl.lit("01"),
    "SHOP_CODE": pl.concat_str(pl.lit("SHOP"), _sale % 7),
    "BRANCH_CODE": pl.concat_str(pl.lit("BR"), _sale % 11),
    "POS_NO": pl.concat_str(pl.lit("POS"), _sale % 40),
    "SALE_NO": pl.concat_str(pl.lit("S"), _padded(_sale, 9)),
    "SALE_DATE": pl.concat_str(pl.lit(f"{MONTH}-"), _padded(_sale % _DAYS + 1, 2)),
    "PROD_SERV_CODE": pl.concat_str(pl.lit("สินค้า "), _varied(3, 20_000)),
}
_SALE_KEY = pl.concat_str([_TEXTS[name] for name in TABLE.lookups[0].columns], separator="|")


@dataclass(frozen=True, slots=True)
class Lines:
    """The same rows twice: `oracle` in the schema of the extract, `salesforce` with the typed fields of the object.

    `salesforce` also has the external id, and in `sale` the number of the parent.
    """

    oracle: pa.Table
    salesforce: pl.DataFrame


def lines(first: int, rows: int) -> Lines:
    """The rows number `first` and the `rows` - 1 after it."""
    made = pl.select(pl.int_range(first, first + rows).alias(ROW))
    made = made.with_columns((pl.col(ROW) // LINES_PER_SALE).alias(SALE))
    made = made.with_columns(_value(column, place).alias(column.name) for place, column in enumerate(TABLE.columns))
    key = pl.concat_str(_SALE_KEY, _line, separator="|").alias(EXTERNAL_ID)
    fields = [_in_salesforce(column, made) for column in TABLE.sent_columns]
    return Lines(
        pa.table({column.name: _in_oracle(column, made) for column in TABLE.columns}),
        made.select(key, SALE).with_columns(fields),
    )


def sale_keys(first: int, sales: int) -> pl.Series:
    """The external ids of the parents number `first` and the `sales` - 1 after it."""
    return pl.select(pl.int_range(first, first + sales).alias(SALE)).select(_SALE_KEY.alias(EXTERNAL_ID))[EXTERNAL_ID]


def _value(column: Column, place: int) -> pl.Expr:
    """Text; a number in units of its field's last decimal place; or seconds since the new year.

    Of the amounts some are NULL, many zero, few negative or large.
    """
    if column.name in _TEXTS:
        return _TEXTS[column.name]
    assert column.type is not None  # noqa: S101  every column of this table is sent
    if not column.type.is_number:
        return _varied(place, 28 * 86_400)
    if column.name == "SEQ":
        return _line
    size = _varied(place, min(3_000_000, 10**column.type.precision) if column.type.scale else 9)
    factor = 1_000 if column.type.precision > 10 else 1
    kind = _varied(place + 50, 20)
    return (
        pl.when(kind < 8)
        .then(0)
        .when(kind == 8)
        .then(-size)
        .when(kind == 9)
        .then(size * factor)
        .when(kind > 10)
        .then(size)
    )


def _in_oracle(column: Column, made: pl.DataFrame) -> pa.Array:
    values, kind = made[column.name], arrow_type(TABLE, column)
    if pa.types.is_decimal(kind):
        scale = column.type.scale if column.type else 0
        return _decimals(values * 10 ** (kind.scale - scale), kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        return _moments(values).to_arrow().cast(kind)
    return values.to_arrow().cast(kind)


def _in_salesforce(column: Column, made: pl.DataFrame) -> pl.Series:
    values, name = made[column.name], column.field or ""
    assert column.type is not None  # noqa: S101  as above
    if column.type.is_number:
        known = values.fill_null(0) if column.null is NullRule.ZERO else values
        return pl.Series(name, _decimals(known, 18, column.type.scale))
    if column.name == "SALE_DATE":
        return values.str.to_date("%Y-%m-%d").alias(name)
    if values.dtype == pl.String:
        return values.alias(name)
    return _moments(values - _HOURS_AHEAD * 3_600).alias(name)


def _moments(seconds: pl.Series) -> pl.Series:
    """Seconds since the new year as times."""
    frame = seconds.to_frame("seconds")
    return frame.select(pl.lit(_NEW_YEAR).cast(pl.Datetime("ms")) + pl.duration(seconds="seconds")).to_series()


def _decimals(units: pl.Series, precision: int, scale: int) -> pa.Array:
    """Units of the last decimal place as decimals."""
    whole = units.cast(pl.Decimal(38, 0)).to_arrow()
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(whole), whole.buffers(), whole.null_count)
