"""The numbers that must agree for each partition of a table, by the catalog; does not import Great Expectations."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kpc.catalog.table import Table

ROWS = "rows"
CHECKSUMS = "records with equal checksum"
AGGREGATES = ("sum", "average", "minimum", "maximum", "non-null count")

# An average is a quotient: with exceptions subtracted, its last digits depend on how each division was rounded.
AVERAGE_ROUNDING = Decimal("0.000001")


def demands(table: Table) -> Iterator[tuple[int, str, str]]:
    """(level, measure, tolerance) of each expectation, in the order in which people read them."""
    yield 1, ROWS, "0"
    for measure in table.measures:
        for aggregate in AGGREGATES:
            yield 2, f"{measure.column} {aggregate}", _tolerance(Decimal(measure.tolerance), aggregate)
    yield 3, CHECKSUMS, "0"


def _tolerance(declared: Decimal, aggregate: str) -> str:
    """The catalog's tolerance applies to amounts; a count of values must be exact."""
    if aggregate == "non-null count":
        return "0"
    return format(max(declared, AVERAGE_ROUNDING) if aggregate == "average" else declared, "f")
