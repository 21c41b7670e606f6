"""What is left of a decimal number after Salesforce's API, which adds and carries numbers as doubles."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

DOUBLE_DIGITS = 15  # decimal digits that survive conversion to a double and back
_DOUBLE_STEPS = Decimal(2**53)  # a double is off by at most one part in this
_DIGITS = 100  # Python's default of 28 would round a sum of 38 digits


def greatest_error(total: Decimal | None, low: Decimal | None, high: Decimal | None, rows: int) -> Decimal:
    """How far the sum of doubles, added one after the other, can be from the exact sum.

    Each value and each addition is off by at most 2^-53 of itself. A partial sum is no larger than the sum if all
    values have one sign, otherwise no larger than the number of rows times the largest value (Higham, Accuracy and
    Stability of Numerical Algorithms, section 4.2).
    """
    if total is None or low is None or high is None:
        return Decimal(0)
    with localcontext(prec=_DIGITS):
        largest = total.copy_abs() if low >= 0 or high <= 0 else rows * max(low.copy_abs(), high.copy_abs())
        return ((rows + 1) * largest / _DOUBLE_STEPS).quantize(Decimal("1e-9"))


def is_held(value: Decimal | None, scale: int) -> bool:
    """Whether a double distinguishes every value of this size with `scale` decimal places from its neighbours."""
    return value is None or value.copy_abs().scaleb(scale) < Decimal(10**DOUBLE_DIGITS)


def rounded(value: Decimal | None, scale: int) -> Decimal | None:
    """The value with `scale` decimal places that a double represents; a larger one is not changed."""
    if value is None or not is_held(value, scale):
        return value
    with localcontext(prec=_DIGITS):
        return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)


def error_of(value: Decimal | None, scale: int) -> Decimal:
    """How far a double can be from the number that it represents; 0 if that is exact."""
    if value is None or is_held(value, scale):
        return Decimal(0)
    with localcontext(prec=_DIGITS):
        return value.copy_abs() / _DOUBLE_STEPS


def gap_in_double(source: Decimal | None, target: Decimal | None, scale: int) -> Decimal:
    """The difference of two numbers that are the same double, of which the API gives the shortest text; otherwise 0.

    The text may be as far from the double as the number was: 731429379432626.30 comes back as 731429379432626.2.
    """
    if source is None or target is None or is_held(target, scale) or float(source) != float(target):
        return Decimal(0)
    with localcontext(prec=_DIGITS):
        return (source - target).copy_abs()


def same_as_doubles(source: object, target: object) -> bool:
    """Whether two different numbers, as canonical text, of more than 15 digits are the same double."""
    if source is None or target is None:
        return False
    digits = str(source).lstrip("-").replace(".", "").lstrip("0")
    if len(digits) <= DOUBLE_DIGITS:
        return False
    try:
        return float(str(source)) == float(str(target))
    except ValueError:
        return False
