"""Format numbers and times for the pages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_DOWN, Context, Decimal
from itertools import zip_longest

from markupsafe import Markup, escape

_SHOWN_DECIMALS = 6
_WIDE = Context(prec=200)  # the default context cannot quantize more than 28 digits
_MINUS = "\u2212"


def figure(value: Decimal | int | None) -> str:
    """All digits, in groups of three."""
    if value is None:
        return "null"
    return format(value, ",f" if isinstance(value, Decimal) else ",").replace("-", _MINUS)


def short_figure(value: Decimal | None) -> Markup:
    """At most six decimals; if there are more, an ellipsis, and all of them on hover."""
    return cut_figure(value, None)


def cut_figure(value: Decimal | None, difference: Decimal | None, *, signed: bool = False) -> Markup:
    """Enough decimals to show the first two digits of the difference, at least six; all of them on hover."""
    write = signed_figure if signed else figure
    shown = _cut(value, _decimals_for(difference))
    if value is None or shown == value:
        return Markup("{}").format(write(value))
    return Markup('<span title="{}">{}<span class="cut">&hellip;</span></span>').format(write(value), write(shown))


def differing_figure(value: Decimal | None, expected: Decimal | None, difference: Decimal | None) -> Markup:
    """The value cut to the same decimals, with the digits marked that differ from the expected value."""
    decimals = _decimals_for(difference)
    mine, theirs = figure(_cut(value, decimals)), figure(_cut(expected, decimals))
    first = next((i for i, (a, b) in enumerate(zip_longest(mine, theirs)) if a != b), len(mine))
    if len(mine.partition(".")[0]) != len(theirs.partition(".")[0]):
        first = 0
    rest = Markup('<span class="cut">&hellip;</span>') if value is not None and figure(value) != mine else ""
    return Markup('<span title="{}">{}<mark>{}</mark>{}</span>').format(figure(value), mine[:first], mine[first:], rest)


def _decimals_for(difference: Decimal | None) -> int:
    """The decimals needed to show two digits of the difference: eight for 0.00000012."""
    if difference is None or difference == 0:
        return _SHOWN_DECIMALS
    return max(_SHOWN_DECIMALS, 1 - difference.adjusted())


def _cut(value: Decimal | None, decimals: int) -> Decimal | None:
    if value is None or decimals >= -_exponent(value):
        return value
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN, context=_WIDE)


def signed_figure(value: Decimal | int | None) -> str:
    """The value with its sign, unless it is zero."""
    if value is None:
        return "\u2014"
    return "0" if value == 0 else ("+" if value > 0 else "") + figure(value)


def ticked(text: str) -> Markup:
    """The text of a message, with the parts between backticks as code."""
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if at % 2 else escape(part) for at, part in enumerate(text.split("`")))


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
