"""One column's conversion: its target value, the rules it may break, and the text that goes into the CSV."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from kpc.catalog.types import Column, FieldKind, FieldType, NullRule, Pii, TooLong
from kpc.convert import dates, numbers, picklists, text
from kpc.convert.rules import Rule, RuleCheck
from kpc.convert.source import Source
from kpc.errors import ConfigError
from kpc.salesforce.constants import NULL_TOKEN


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a sent column is converted to its field.

    `value` is `NAME:value`, the target's typed value; `spelled` is its text, after the null rule, `double` that of a
    number as a double; `cut` and `rounded` are true where a value lost characters or digits by a declared rule.
    """

    value: pl.Expr
    spelled: pl.Expr
    checks: list[RuleCheck] = field(default_factory=list)
    cut: pl.Expr | None = None
    rounded: pl.Expr | None = None
    double: pl.Expr | None = None


def conversion(source: Source, hash_key: str) -> Conversion:
    """The conversion of a sent column. Raises `ConfigError` if it needs a hash key and there is none."""
    column, target = source.column, _target(source.column)
    make = _CONVERSIONS[target.kind]
    made = make(source, target, hash_key)
    null = _null_text(column, target)
    spelled = made.spelled if null is None else made.spelled.fill_null(null)
    checks = list(made.checks)
    if column.null is NullRule.REJECT:
        checks.insert(0, _check(source, Rule.REQUIRED_NULL, source.clean.is_null()))
    return Conversion(
        value=made.value.alias(f"{column.name}:value"),
        spelled=spelled.alias(column.field or ""),
        checks=checks,
        cut=made.cut,
        rounded=made.rounded,
        double=_double(source, null) if target.is_number else None,
    )


def _double(source: Source, null: str | None) -> pl.Expr:
    """The value as Salesforce's API carries it, far cheaper than by its text."""
    value = source.value.cast(pl.Float64)
    return (value if null is None else value.fill_null(float(null))).alias(source.column.field or "")


def _target(column: Column) -> FieldType:
    if column.type is None:
        raise ConfigError(f"Column {column.name} is not sent.", "Convert sent columns only.")
    return column.type


def _check(source: Source, rule: Rule, violated: pl.Expr) -> RuleCheck:
    return RuleCheck(rule, source.column.field or source.name, source.name, violated)


def _null_text(column: Column, target: FieldType) -> str | None:
    """The text for a NULL; None if it stays null (or its row is rejected)."""
    match column.null:
        case NullRule.ZERO:
            return numbers.spelled_default("0", target.scale)
        case NullRule.DEFAULT:
            default = column.default or ""
            return numbers.spelled_default(default, target.scale) if target.is_number else default
        case NullRule.FALSE:
            return "false"
        case _:
            return None


def _text(source: Source, target: FieldType, hash_key: str) -> Conversion:
    whole = source.as_text()
    checks = [
        _check(source, Rule.LITERAL_NULL_TOKEN, source.clean == NULL_TOKEN),
        _check(source, Rule.CONTROL_CHARACTER, text.has_refused_character(source.clean)),
    ]
    if not source.is_text:
        checks = []
    elif source.is_plain:
        checks = checks[:1]
    if source.column.pii is Pii.HASH:
        if not hash_key:
            raise ConfigError(
                f"Column {source.name} is sent as a keyed hash, but there is no hash key.",
                "Set KPC__HASH_KEY to the campaign's key (the same for every run) and start again.",
            )
        return Conversion(text.keyed_hash(whole, hash_key), source.value, checks)
    too_long = text.is_longer_than(whole, target.length)
    if source.column.too_long is TooLong.REJECT:
        checks.append(_check(source, Rule.TOO_LONG, too_long))
        kept, cut = whole, None
    else:
        kept, cut = text.cut(whole, target.length), too_long
    return Conversion(text.masked(kept) if source.column.pii is Pii.MASK else kept, source.value, checks, cut=cut)


def _picklist(source: Source, _target: FieldType, _hash_key: str) -> Conversion:
    unknown = source.clean.is_not_null() & source.value.is_null()
    return Conversion(
        picklists.label(source.as_text(), source.column), source.value, [_check(source, Rule.UNKNOWN_CODE, unknown)]
    )


def _checkbox(source: Source, _target: FieldType, _hash_key: str) -> Conversion:
    unknown = source.clean.is_not_null() & source.value.is_null()
    return Conversion(
        picklists.checkbox(source.as_text()), source.value, [_check(source, Rule.UNKNOWN_BOOLEAN, unknown)]
    )


def _number(source: Source, target: FieldType, _hash_key: str) -> Conversion:
    value = numbers.rounded(source.clean, source.scale, target.precision, target.scale)
    checks = [_check(source, Rule.NUMBER_OUT_OF_RANGE, source.clean.is_not_null() & source.value.is_null())]
    if source.dtype == pl.String:
        checks.insert(0, _check(source, Rule.NUMBER_UNREADABLE, source.raw.is_not_null() & source.clean.is_null()))
    rounded = numbers.loses_digits(source.clean, source.scale, target.scale) if source.scale > target.scale else None
    return Conversion(value, numbers.spelled(source.value), checks, rounded=rounded)


def _date_checks(source: Source, outside: pl.Expr) -> list[RuleCheck]:
    checks = [_check(source, Rule.DATE_OUT_OF_RANGE, outside)]
    if source.is_text:
        checks.insert(0, _check(source, Rule.DATE_UNREADABLE, source.clean.is_not_null() & source.local.is_null()))
    return checks


def _day(source: Source, _target: FieldType, _hash_key: str) -> Conversion:
    return Conversion(
        source.local.cast(pl.Date),  # the local day: no shift to UTC
        source.spelled_day(source.value),
        _date_checks(source, dates.is_outside_days(source.value)),
    )


def _datetime(source: Source, _target: FieldType, _hash_key: str) -> Conversion:
    return Conversion(
        dates.to_utc(source.local),
        dates.spelled_utc(source.value),
        _date_checks(source, dates.is_outside_moments(source.value)),
    )


_CONVERSIONS: dict[FieldKind, Callable[[Source, FieldType, str], Conversion]] = {
    FieldKind.STRING: _text,
    FieldKind.TEXTAREA: _text,
    FieldKind.EMAIL: _text,
    FieldKind.PHONE: _text,
    FieldKind.PICKLIST: _picklist,
    FieldKind.BOOLEAN: _checkbox,
    FieldKind.DOUBLE: _number,
    FieldKind.CURRENCY: _number,
    FieldKind.DATE: _day,
    FieldKind.DATETIME: _datetime,
}
