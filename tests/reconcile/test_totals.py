"""Sums that Salesforce adds as doubles: exact where that can be told, otherwise with the error that they may have."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from kpc.catalog import find_table
from kpc.catalog.types import PARTITION_FIELD
from kpc.errors import UnusableAnswer
from kpc.reconcile.double_numbers import gap_in_double, same_as_doubles
from kpc.reconcile.totals import compare_totals, target_totals
from kpc.storage.manifests import Aggregate, ControlTotals

TABLE = find_table("KPS_T_SALES_APPRV")
(COLUMN, *_) = TABLE.measured_columns


def _answer(values: list[Decimal]) -> dict[str, Any]:
    """What the org answers for one bucket of these values, added as doubles one after the other."""
    doubles = [float(value) for value in values]
    total = 0.0
    for value in doubles:
        total += value
    row: dict[str, Any] = {PARTITION_FIELD: "ALL/000", "n": len(doubles)}
    for position in range(len(TABLE.measured_columns)):
        facts = {"s": total, "l": min(doubles), "h": max(doubles)}
        row |= {f"{alias}{position}": Decimal(repr(value)) for alias, value in facts.items()}
        row[f"c{position}"] = len(doubles)
    return row


def _amounts(rows: int, most: int, seed: int, *, negative: bool = False) -> list[Decimal]:
    draw = random.Random(seed)  # noqa: S311  a test
    return [Decimal(draw.randint(-most if negative else 0, most)).scaleb(-2) for _ in range(rows)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("rows", "most"), [(1, 9), (30_000, 10**7), (3, 10**12), (100, 10**14), (2_000, 10**15)])
@pytest.mark.parametrize("negative", [False, True], ids=["one sign", "both signs"])
def test_a_sum_is_exact_or_within_its_error(rows: int, most: int, seed: int, negative: bool) -> None:
    """Also where the error of the doubles is a satang or more: the difference never exceeds what is stated."""
    values = _amounts(rows, most, seed, negative=negative)
    found = target_totals([_answer(values)], TABLE)
    total = found.total.measures[0].sum
    assert total is not None
    difference = abs(total - sum(values))
    assert difference <= found.inexact.get(COLUMN.name, Decimal(0))


def test_a_month_of_a_shop_is_exact() -> None:
    """36,000 amounts of up to 10,000.00, one bucket of the largest table: no tolerance at all."""
    values = _amounts(36_000, 10**6, 1)
    found = target_totals([_answer(values)], TABLE)
    assert found.inexact == {}
    assert found.total.measures[0].sum == sum(values)


def test_large_sums_have_a_tolerance() -> None:
    """Sixteen digits do not fit into a double: what may be off is stated, and is small."""
    values = _amounts(100, 10**16, 2)
    found = target_totals([_answer(values)], TABLE)
    assert 0 < found.inexact[COLUMN.name] < 1_000


def test_an_answer_without_its_numbers_is_no_total() -> None:
    with pytest.raises(UnusableAnswer, match="'n' is missing or not a number"):
        target_totals([{PARTITION_FIELD: "ALL/000"}], TABLE)


@pytest.mark.parametrize(
    ("oracle", "salesforce", "same"),
    [
        ("9999999999999999.00", "10000000000000000.00", True),
        ("70368744177664.01", "70368744177664.02", True),
        ("-70368744177664.01", "-70368744177664.02", True),
        ("70368744177664.01", "70368744177664.03", False),
        ("9999999999999999.00", "10000000000000004.00", False),
        ("1234567890123.45", "1234567890123.46", False),
        ("0.000000000000001", "0.000000000000002", False),
        ("9999999999999999.00", None, False),
        (None, "0", False),
        ("9999999999999999.00", "many", False),
    ],
)
def test_only_numbers_beyond_fifteen_digits_may_differ(oracle: str | None, salesforce: str | None, same: bool) -> None:
    """And only if they are one and the same double: the API cannot tell them apart."""
    assert same_as_doubles(oracle, salesforce) is same


def _oracle(values: list[Decimal]) -> ControlTotals:
    ends = {"sum": sum(values, Decimal(0)), "min": min(values), "max": max(values), "count": len(values)}
    return ControlTotals(
        rows=len(values),
        measures=tuple(Aggregate(column=column.name, **ends) for column in TABLE.measured_columns),
    )


@pytest.mark.parametrize("digits", [14, 15, 16, 17, 18])
def test_the_largest_and_the_smallest_number_arrive_as_doubles(digits: int) -> None:
    """Of any size: what Salesforce tells of them has the error of the number and that of its text."""
    draw = random.Random(digits)  # noqa: S311  a test
    for _ in range(3_000):
        values = [Decimal(draw.randrange(10**digits)).scaleb(-2) for _ in range(2)]
        oracle = _oracle(values)
        found = compare_totals(
            TABLE, oracle=oracle, expected=oracle, salesforce=target_totals([_answer(values)], TABLE)
        )
        assert [one.measure for one in found if not one.agrees] == [], values


@pytest.mark.parametrize(
    ("oracle", "salesforce", "gap"),
    [
        ("731429379432626.30", "731429379432626.2", "0.1"),  # as far apart as both errors together
        ("731429379432626.30", "731429379432626.4", "0"),  # the next double
        ("1234567890123.45", "1234567890123.46", "0"),  # told apart by doubles
        ("9999999999999999.00", "9999999999999998", "0"),
    ],
)
def test_only_the_same_double_has_a_tolerance(oracle: str, salesforce: str, gap: str) -> None:
    assert gap_in_double(Decimal(oracle), Decimal(salesforce), 2) == Decimal(gap)
