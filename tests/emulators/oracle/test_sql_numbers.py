"""Oracle's NUMBER: the internal format, its order, and arithmetic to 20 base-100 digits."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as st

from kpc.emulators.oracle.sql.types import decimals

numbers = st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(map(int, str(digits))), exponent)),
    st.integers(0, 1),
    st.integers(0, 10**39 - 1),
    st.integers(-100, 80),
)


@given(numbers)
def test_a_number_survives_its_internal_format(value: Decimal) -> None:
    """39 digits always fit, at any exponent and sign."""
    assert decimals.decode(decimals.encode(value)) == value


@given(numbers, numbers)
def test_the_internal_format_sorts_like_the_numbers(a: Decimal, b: Decimal) -> None:
    """DuckDB compares the bytes, so their order must be the numbers'."""
    assert (decimals.encode(a) < decimals.encode(b)) == (a < b)


@given(numbers, numbers)
@settings(max_examples=60)
def test_quotients_are_right_to_39_digits(a: Decimal, b: Decimal) -> None:
    """A quotient differs from the true one by at most half a unit of its last kept digit."""
    if not b or not a or not -120 < a.adjusted() - b.adjusted() < 120:
        return
    with localcontext() as context:
        context.prec = 120
        exact = a / b
        error = abs(decimals.divide(a, b) - exact)
        assert error <= Decimal((0, (5,), exact.adjusted() - 39))


@given(numbers)
def test_the_plain_text_of_a_number_reads_back(value: Decimal) -> None:
    """No exponent, nothing lost."""
    text = decimals.canonical(value)
    assert "E" not in text
    assert Decimal(text) == value


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=6), st.integers(-6, 6))
def test_rounding_goes_half_away_from_zero(value: Decimal, places: int) -> None:
    """ROUND(x, n) and -ROUND(-x, n) agree, and a tie moves away from zero."""
    rounded = decimals.round_to(value, Decimal(places))
    assert rounded == -decimals.round_to(-value, Decimal(places))
    assert abs(rounded - value) <= Decimal((0, (5,), -places - 1))
    assert abs(rounded) >= abs(value) or abs(rounded - value) < Decimal((0, (5,), -places - 1))
