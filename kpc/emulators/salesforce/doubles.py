"""Numbers as the API carries them: doubles, in the spelling of Java, in which Salesforce is written."""

from __future__ import annotations

import math

import polars as pl

_FIRST_WITH_EXPONENT, _LAST_WITH_EXPONENT = 1e7, 1e-3  # Java's Double.toString: from here on, and below this


def double_text(value: float) -> str:
    """The shortest digits that mean this double, `12.5` or `3.0`; outside of [0.001, 10,000,000) as in `1.25E7`."""
    if value == 0 or _LAST_WITH_EXPONENT <= abs(value) < _FIRST_WITH_EXPONENT:
        return repr(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} has no spelling in JSON")
    mantissa, _, power = f"{value!r}".partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    shift = len(whole) - 1 + int(power or 0)
    digits = (whole + fraction).rstrip("0")
    if whole == "0":
        digits = fraction.lstrip("0")
        shift = len(digits) - len(fraction) - 1 + int(power or 0)
    return f"{'-' * (value < 0)}{digits[:1]}.{digits[1:].rstrip('0') or '0'}E{shift}"


def doubles_as_text(numbers: pl.Series) -> pl.Series:
    """`double_text` of each; null stays null. Most numbers need no exponent, and are spelled all at once."""
    text = numbers.cast(pl.String)
    size = numbers.abs()
    odd = ((size >= _FIRST_WITH_EXPONENT) | ((size < _LAST_WITH_EXPONENT) & (size > 0))).fill_null(value=False)
    places = odd.arg_true()
    if len(places):
        text = text.scatter(places, [double_text(each) for each in numbers.gather(places)])
    return text
