"""Oracle's answer to a query of control totals, as `ControlTotals`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from kpc.catalog.table import Table
from kpc.catalog.types import Column
from kpc.extract.number_reading import aggregates_of_numbers, is_free, is_number
from kpc.storage.manifests import Aggregate, ControlTotals, NumberTotal

_AGGREGATES_PER_MEASURE = 4


def control_totals_of(table: Table, answer: Sequence[object]) -> ControlTotals:
    """Oracle's answer to `control_totals_query`: rows, four aggregates per measure, the NUMBER columns' own."""
    numbers = iter(answer)
    rows = int(str(next(numbers)))
    measures = tuple(_measure(column.name, numbers) for column in table.measured_columns)
    measured = {column.name for column in table.measured_columns}
    columns = [column for column in table.extracted_columns if is_number(column)]
    totals = tuple(_number_total(column, numbers, is_measured=column.name in measured) for column in columns)
    return ControlTotals(rows=rows, measures=measures, numbers=totals)


def numbers_in_totals(table: Table) -> int:
    """How many numbers the answer to `control_totals_query` has."""
    return 1 + _AGGREGATES_PER_MEASURE * len(table.measured_columns) + len(list(aggregates_of_numbers(table)))


def _measure(name: str, numbers: Iterator[object]) -> Aggregate:
    total, low, high, count = (next(numbers) for _ in range(_AGGREGATES_PER_MEASURE))
    exact = [_exact(value) if int(str(count)) else None for value in (total, low, high)]
    return Aggregate(column=name, sum=exact[0], min=exact[1], max=exact[2], count=int(str(count)))


def _number_total(column: Column, numbers: Iterator[object], *, is_measured: bool) -> NumberTotal:
    total, count = (None, None) if is_measured else (_exact(next(numbers)), int(str(next(numbers))))
    rounded, unreadable = (int(str(next(numbers))), int(str(next(numbers)))) if is_free(column) else (0, 0)
    return NumberTotal(
        column=column.name,
        sum=total if count else None,
        count=count,
        rounded=rounded,
        unreadable=unreadable,
    )


def _exact(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))
