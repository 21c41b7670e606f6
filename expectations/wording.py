"""How numbers and times are written on the pages: exact where it matters, short where it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from itertools import zip_longest

from markupsafe import Markup

_SHOWN_DECIMALS = 6
_MINUS = "\u2212"


def figure(value: Decimal | int | None) -> str:
    """All digits, in groups of three."""
    if value is None:
        return "null"
    return format(value, ",f" if isinstance(value, Decimal) else ",").replace("-", _MINUS)


def short_figure(value: Decimal | None) -> Markup:
    """At most six decimals; where more are known, an ellipsis and all of them on hover."""
    exact = figure(value)
    if value is None or -_exponent(value) <= _SHOWN_DECIMALS:
        return Markup("{}").format(exact)
    cut = value.quantize(Decimal(1).scaleb(-_SHOWN_DECIMALS), rounding=ROUND_DOWN) if value.is_finite() else value
    return Markup('<span title="{}">{}<span class="cut">&hellip;</span></span>').format(exact, figure(cut))


def differing_figure(value: Decimal | None, other: Decimal | None) -> Markup:
    """All digits, those marked that differ from `other`."""
    mine, theirs = figure(value), figure(other)
    if value is None or other is None or mine == theirs:
        return Markup("{}").format(mine)
    if len(mine) != len(theirs):
        return Markup("<mark>{}</mark>").format(mine)
    first = next(i for i, (a, b) in enumerate(zip_longest(mine, theirs)) if a != b)
    return Markup("{}<mark>{}</mark>").format(mine[:first], mine[first:])


def signed_figure(value: Decimal | int | None) -> str:
    """With its sign, unless it is zero."""
    if value is None:
        return "\u2014"
    return "0" if value == 0 else ("+" if value > 0 else "") + figure(value)


def moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def percent(part: int, whole: int) -> str:
    """Rounded down, so that 100 % means all of it."""
    if whole == 0:
        return "\u2014"
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10}".removesuffix(".0") + "\u202f%"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
