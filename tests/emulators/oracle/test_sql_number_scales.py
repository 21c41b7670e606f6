"""Numbers of different scales: compared, and bounded by constants, as exact numbers, whatever holds them inside."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from oracle_sql_client import Client, empty_database

D = Decimal
# In a NUMBER, held with ten decimal places, and in a NUMBER(38,2), which has more digits before the point.
FREE = (None, D(0), D("1.005"), D("-1.005"), D("0.0000000001"), D(10**28 - 1), D(1 - 10**28))
SCALED = (None, D(0), D("1.01"), D("-1.01"), D(10**28), D(-(10**28)), D("999999999999999999999999999999999999.99"))
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NINES = D("999999999999999999999999999999999999.99")
BOUNDS = (NINES, -NINES, D(10**28), D(-(10**28)), D(10**28 - 1), D("1.004"), D("-0.5"))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    database = empty_database()
    made = Client(database)
    made.execute("create table pair (id number(6), n number, m number(38,2))")
    pairs = [(n, m) for n in FREE for m in SCALED]
    made.execute("insert into pair values (:1, :2, :3)", *[(i, n, m) for i, (n, m) in enumerate(pairs)])
    made.session.commit()
    yield made
    database.close()


@pytest.mark.parametrize("word", OPERATORS)
def test_both_ways_of_a_comparison_are_exact(client: Client, word: str) -> None:
    holds = OPERATORS[word]
    found = client.rows(f"select n, m, case when n {word} m then 1 end, case when m {word} n then 1 end from pair")
    wrong = [(n, m) for n, m, *said in found if said != [_said(holds, n, m), _said(holds, m, n)]]
    assert len(found) == len(FREE) * len(SCALED)
    assert wrong == []


def _said(holds: Callable[[Any, Any], bool], left: Decimal | None, right: Decimal | None) -> int | None:
    """What `case when left ... right then 1 end` gives."""
    return 1 if None not in (left, right) and holds(left, right) else None


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("column", ["n", "m", "round(n, 2)"])
def test_the_lesser_and_the_greater_of_a_column_and_a_constant(client: Client, column: str, bound: Decimal) -> None:
    found = client.rows(
        f"select {column}, least({column}, {bound:f}), greatest({bound:f}, {column}, {column}) from pair"
    )
    wrong = [
        row
        for row in found
        if row[1:] != ((None, None) if row[0] is None else (min(row[0], bound), max(row[0], bound)))
    ]
    assert wrong == []
    assert len(found) == len(FREE) * len(SCALED)


def test_a_constant_that_decides_nothing_does_not_change_what_is_described(client: Client) -> None:
    bare, bounded = (client.describe(f"select {sql} from pair")[0] for sql in ("n", f"least(n, {NINES:f})"))
    assert (bounded.type, bounded.precision, bounded.scale) == (bare.type, bare.precision, bare.scale)
