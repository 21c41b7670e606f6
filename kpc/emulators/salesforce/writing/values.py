"""Checking and converting one field's values, a column at a time.

A cell is text, None for "not given" (an empty CSV cell: no change) or `SET_NULL` (`#N/A` in CSV, null in JSON).
The texts of the errors are Salesforce's as far as they are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.org.ids import to_18
from kpc.emulators.salesforce.org.schema import SObjectField

SET_NULL = "\tnull"  # no cell can say it: cells are trimmed
_EMAIL = r"^[^@\s,;<>()\[\]]+@[^@\s,;<>()\[\]]+\.[^@\s.,;<>()\[\]]+$"
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")
FIRST_DAY, LAST_DAY = date(1700, 1, 1), date(4000, 12, 31)
MOMENT_FORMATS = ("%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.f")
_MOMENT_WITH_ZONE = "%Y-%m-%dT%H:%M:%S%.f%z"
LONGEST_FAST_NUMBER = 18  # characters: more may not fit 20 digits before and 18 after the point
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z")


@dataclass(slots=True)
class Converted:
    """A field's values as stored, with the error of each row that has one. `given` marks the rows that change it."""

    values: pl.Series
    given: pl.Series
    errors: dict[int, RowRefusal] = field(default_factory=dict)


def convert(spec: SObjectField, cells: pl.Series) -> Converted:
    """Check and convert all of a column's cells."""
    text = cells.replace(SET_NULL, None)
    values, wrong = _CONVERTERS[spec.type](spec, text)
    converted = Converted(values, cells.is_not_null())
    if spec.type == "boolean" and (nulled := cells == SET_NULL).any():
        wrong.append((nulled, _wrong_type(spec, null_text="null")))
    for bad, describe in wrong:
        if bad.any():
            for row in bad.arg_true():
                converted.errors.setdefault(row, describe(text[row]))
    return converted


def key_of(spec: SObjectField, values: pl.Series) -> pl.Series:
    """Values of an external id field as Salesforce compares them: without case, unless the field says otherwise."""
    text = values.cast(pl.String)
    if spec.is_number:
        return text.str.replace(r"\.0*$", "")
    return text if spec.case_sensitive or spec.type == "id" else text.str.to_lowercase()


_Describe = Callable[[str | None], RowRefusal]
_Checked = tuple[pl.Series, list[tuple[pl.Series, _Describe]]]


def _wrong_type(spec: SObjectField, null_text: str = "") -> _Describe:
    def describe(value: str | None) -> RowRefusal:
        shown = null_text if value is None else value
        return RowRefusal(
            "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{spec.name}: value not of required type: {shown}", (spec.name,)
        )

    return describe


def _text(spec: SObjectField, text: pl.Series) -> _Checked:
    def too_long(value: str | None) -> RowRefusal:
        shown = value if value is None or len(value) <= 255 else value[:255]
        message = f"{spec.name}: data value too large: {shown} (max length={spec.length})"
        return RowRefusal("STRING_TOO_LONG", message, (spec.name,))

    checks: list[tuple[pl.Series, _Describe]] = [
        ((text.str.len_chars() > spec.length).fill_null(value=False), too_long)
    ]
    if spec.type == "email":
        bad = ~text.str.contains(_EMAIL).fill_null(value=True)
        checks.append((bad, _describer("INVALID_EMAIL_ADDRESS", "{name}: invalid email address: {value}", spec)))
    if spec.restricted:
        known = text.str.to_lowercase().is_in([each.lower() for each in spec.picklist])
        message = "bad value for restricted picklist field: {value}"
        bad = ~known.fill_null(value=True)
        checks.append((bad, _describer("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, spec)))
        text = text.str.to_lowercase().replace({each.lower(): each for each in spec.picklist})
    return text, checks


def _describer(code: str, message: str, spec: SObjectField) -> _Describe:
    return lambda value: RowRefusal(code, message.format(name=spec.name, value=value), (spec.name,))


def _number(spec: SObjectField, text: pl.Series) -> _Checked:
    scale = 0 if spec.type == "int" else spec.scale
    if (text.str.len_chars() > LONGEST_FAST_NUMBER).any():
        parsed = pl.Series([_exact(value, scale) for value in text], dtype=pl.Decimal(38, scale))
    else:
        parsed = text.cast(pl.Decimal(38, 18), strict=False).round(scale, mode="half_away_from_zero")
    bad = parsed.is_null() & text.is_not_null()
    limit = 2**31 if spec.type == "int" else 10 ** ((spec.precision or 18) - spec.scale)
    outside = (parsed.abs() >= limit).fill_null(value=False)
    if bad.any():  # too many digits is a number as well, only not one that fits
        numeric = text.str.contains("^" + _NUMBER.pattern.replace(r"\Z", "$")).fill_null(value=False)
        outside |= bad & numeric
        bad &= ~numeric
    if outside.any():
        parsed = parsed.set(outside, None)
    stored = parsed.cast(pl.Int32) if spec.type == "int" else parsed.cast(pl.Decimal(18, scale))
    message = "{name}: value outside of valid range on numeric field: {value}"
    return stored, [(bad, _wrong_type(spec)), (outside, _describer("NUMBER_OUTSIDE_VALID_RANGE", message, spec))]


def _exact(value: str | None, scale: int) -> Decimal | None:
    """A number of any length, rounded half away from zero; None when it is none or has over 30 digits."""
    if value is None or not _NUMBER.match(value):
        return None
    try:
        number = Decimal(value)
        if number.adjusted() > 28 - scale:
            return None
        return number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    except InvalidOperation:
        return None


def _boolean(spec: SObjectField, text: pl.Series) -> _Checked:
    lower = text.str.to_lowercase()
    values = lower.replace_strict(
        [*_TRUE, *_FALSE], [True] * len(_TRUE) + [False] * len(_FALSE), default=None, return_dtype=pl.Boolean
    )
    return values, [(values.is_null() & text.is_not_null(), _wrong_type(spec))]


def _date(spec: SObjectField, text: pl.Series) -> _Checked:
    values = text.str.to_date("%Y-%m-%d", strict=False)
    if (values.is_null() & text.is_not_null()).any():  # a date with a time is taken for its day
        values = values.fill_null(_moments(text).cast(pl.Date))
    return _in_years(spec, text, values)


def _datetime(spec: SObjectField, text: pl.Series) -> _Checked:
    values = _moments(text)
    if (values.is_null() & text.is_not_null()).any():
        values = values.fill_null(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("ms")))
    return _in_years(spec, text, values)


def _in_years(spec: SObjectField, text: pl.Series, values: pl.Series) -> _Checked:
    inside = values.cast(pl.Date).is_between(FIRST_DAY, LAST_DAY)
    values = values.set(~inside.fill_null(value=True), None)
    return values, [(values.is_null() & text.is_not_null(), _wrong_type(spec))]


def _moments(text: pl.Series) -> pl.Series:
    """UTC times; the first format that fits each value."""
    values = pl.Series([None], dtype=pl.Datetime("ms")).new_from_index(0, len(text))
    for form in MOMENT_FORMATS:
        parsed = text.str.to_datetime(form, time_unit="ms", strict=False, exact=True)
        values = values.fill_null(parsed)
        if not (values.is_null() & text.is_not_null()).any():
            return values
    zoned = text.str.to_datetime(_MOMENT_WITH_ZONE, time_unit="ms", strict=False)
    return values.fill_null(zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None))


def _reference(spec: SObjectField, text: pl.Series) -> _Checked:
    known = {value: to_18(value) for value in text.drop_nulls().unique()}
    values = text.replace_strict(known, default=None, return_dtype=pl.String) if known else text
    bad = values.is_null() & text.is_not_null()
    return values, [(bad, _describer("MALFORMED_ID", "{name}: id value of incorrect type: {value}", spec))]


_CONVERTERS: dict[str, Callable[[SObjectField, pl.Series], _Checked]] = {
    "string": _text,
    "textarea": _text,
    "picklist": _text,
    "email": _text,
    "phone": _text,
    "url": _text,
    "double": _number,
    "currency": _number,
    "percent": _number,
    "int": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "reference": _reference,
    "id": _reference,
}
