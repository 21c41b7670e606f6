"""Numbers: exact decimals from Oracle to the field's scale, never through a binary float.

Rounding is half away from zero, like Oracle's ROUND of a NUMBER; `kpc.extract.target_value_sql` is the same rule in
SQL. Polars' own casts round half to even and are therefore only used where no digit can be lost.
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from kpc.errors import ConfigError

WIDEST = 38  # digits of a polars Decimal, and of Oracle's NUMBER
# Text is read with as many fraction digits as leave room for the 18 integer digits of any Salesforce number.
READ_SCALE = 18


def out_of_reach(scale: int) -> Decimal:
    """38 nines: what an extract holds in place of a number that no exact decimal can hold."""
    return Decimal((0, (9,) * WIDEST, -scale))  # not `scaleb`, which rounds to 28 digits


def is_out_of_reach(value: pl.Expr, scale: int) -> pl.Expr:
    """True where the extract holds `out_of_reach`."""
    return value == pl.lit(out_of_reach(scale), dtype=pl.Decimal(WIDEST, scale))


def exact(value: pl.Expr, dtype: pl.DataType, column: str) -> pl.Expr:
    """The column as a Decimal, from any exact type. Text that is not a number becomes null.

    Raises `ConfigError` for a binary float: its digits are already wrong.
    """
    if isinstance(dtype, pl.Decimal):
        return value
    if dtype.is_integer():
        return value.cast(pl.Decimal(WIDEST, 0))
    if dtype == pl.String:
        return value.str.strip_chars().cast(pl.Decimal(WIDEST, READ_SCALE), strict=False)
    if dtype == pl.Null:
        return value.cast(pl.Decimal(WIDEST, 0))
    raise ConfigError(
        f"Column {column} was extracted as {dtype}, which is not exact.",
        "Extract it again as a decimal: fetch NUMBER columns as Decimal(38, s).",
    )


def scale_of(dtype: pl.DataType) -> int:
    """Fraction digits that `exact` keeps for a column of this type."""
    if isinstance(dtype, pl.Decimal):
        return dtype.scale
    return READ_SCALE if dtype == pl.String else 0


def limit(precision: int, scale: int) -> Decimal:
    """The smallest absolute value that does not fit: 10^16 for a number of 18 digits, 2 of them fraction digits."""
    return Decimal(10) ** (precision - scale)


def rounded(value: pl.Expr, source_scale: int, precision: int, scale: int) -> pl.Expr:
    """The value at the field's scale, half away from zero; null where it cannot fit the field's precision.

    Values that cannot fit become null before rounding, so that nothing overflows: a value within half a unit of the
    last place below the limit would round up to it.
    """
    bound = limit(precision, scale)
    if source_scale > scale:
        bound -= Decimal(5).scaleb(-scale - 1)
    if bound < Decimal(10) ** (WIDEST - source_scale):
        edge = pl.Decimal(WIDEST, source_scale)
        value = pl.when((value < pl.lit(bound, dtype=edge)) & (value > pl.lit(-bound, dtype=edge))).then(value)
    if source_scale > scale:
        value = value.round(scale, mode="half_away_from_zero")
    return value.cast(pl.Decimal(WIDEST, scale))


def loses_digits(value: pl.Expr, source_scale: int, scale: int) -> pl.Expr:
    """True where rounding to the field's scale changes the value; `source_scale` must be larger than `scale`."""
    lost: pl.Expr = value.to_physical() % 10 ** (source_scale - scale)
    return lost != 0


def spelled(value: pl.Expr) -> pl.Expr:
    """A number at a fixed scale as text: `1234.50`, never an exponent, never a negative zero."""
    return value.cast(pl.String)


def plain(value: pl.Expr, source_scale: int) -> pl.Expr:
    """A number as the shortest exact text, for keys and text fields: `1`, `0.5`, `-3`; no exponent."""
    digits = value.cast(pl.String)
    if source_scale == 0:
        return digits
    return digits.str.strip_chars_end("0").str.strip_chars_end(".")


def spelled_default(text: str, scale: int) -> str:
    """A declared default as the field will hold it, e.g. `0` at scale 2 is `0.00`."""
    return f"{Decimal(text):.{scale}f}"
