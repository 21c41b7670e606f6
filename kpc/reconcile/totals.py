"""Levels 1 and 2: counts and aggregates, computed by Oracle and by Salesforce, compared as exact decimals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import reduce
from typing import Any

from kpc.catalog.table import Table
from kpc.catalog.types import PARTITION_FIELD, Column
from kpc.errors import UnusableAnswer
from kpc.reconcile.comparison import Comparison
from kpc.reconcile.double_numbers import gap_in_double, greatest_error, is_held, rounded
from kpc.salesforce import Salesforce
from kpc.storage.manifests import Aggregate, ControlTotals
from kpc.untrusted_text import shown

AVERAGE_SCALE = 10  # decimal places of averages, as shown and compared
_DIGITS = 100  # Python's default of 28 would silently round a sum of 38 digits


@dataclass(frozen=True)
class TargetTotals:
    """The partition's control totals as Salesforce computed them, by marker and in total.

    The API adds and carries numbers as doubles. `inexact` names the measures for which a bucket's sum may therefore be
    off by half of its last place or more, with the greatest possible error of the sum over all buckets.

    For measures in `converted` only the count is known: see `converted_measures`.
    """

    by_marker: dict[str, ControlTotals]
    total: ControlTotals
    inexact: dict[str, Decimal]
    converted: frozenset[str] = frozenset()


def converted_measures(table: Table, salesforce: Salesforce) -> frozenset[str]:
    """The measures whose aggregates the org gives in its corporate currency, although records are in another one.

    "If a query includes a GROUP BY or HAVING clause, any currency data returned by using an aggregate function [...] is
    in the org's default currency" (SOQL reference, convertCurrency()). Only the records verify their sums.
    """
    amounts = {column.name for column in table.amounts}.intersection(one.column for one in table.measures)
    if not (amounts and table.currencies):
        return frozenset()
    corporate = {one.IsoCode for one in salesforce.currencies() if one.IsCorporate}
    return frozenset() if set(table.currencies) == corporate else frozenset(amounts)


def aggregates_soql(table: Table, converted: frozenset[str] = frozenset()) -> str:
    """The columns of a SOQL query for the rows and every measure's aggregates; of converted ones only the count."""
    wanted = ["COUNT(Id) n"]
    for position, column in enumerate(table.measured_columns):
        wanted += [
            f"{function}({column.field}) {alias}{position}"
            for function, alias in (("SUM", "s"), ("MIN", "l"), ("MAX", "h"), ("COUNT", "c"))
            if function == "COUNT" or column.name not in converted
        ]
    return ", ".join(wanted)


def target_totals(
    answers: Iterable[Mapping[str, Any]], table: Table, converted: frozenset[str] = frozenset()
) -> TargetTotals:
    """The partition's control totals, from Salesforce's answer to `aggregates_soql`. Raises `UnusableAnswer`."""
    by_marker: dict[str, ControlTotals] = {}
    errors: dict[str, Decimal] = {}
    for row in answers:
        try:
            name = str(row[PARTITION_FIELD])
            by_marker[name] = _totals_of(row, table, errors, converted)
        except (KeyError, ValueError) as error:
            raise UnusableAnswer(
                f"Salesforce's totals of {table.target} cannot be used: {shown(error)} is missing or not a number.",
                "Compare again with `kpc reconcile`.",
            ) from None
    nothing = ControlTotals(rows=0, measures=tuple(_nothing(column) for column in table.measured_columns))
    return TargetTotals(by_marker, reduce(added, by_marker.values(), nothing), errors, converted)


def _nothing(column: Column) -> Aggregate:
    return Aggregate(column=column.name, sum=None, min=None, max=None, count=0)


def _totals_of(
    row: Mapping[str, object], table: Table, errors: dict[str, Decimal], converted: frozenset[str]
) -> ControlTotals:
    measures = []
    rows = int(str(row["n"]))
    for position, column in enumerate(table.measured_columns):
        scale = column.type.scale if column.type else 0
        is_known = column.name not in converted
        total, low, high = (_exact(row[f"{alias}{position}"]) if is_known else None for alias in "slh")
        error = greatest_error(total, low, high, rows)
        if error >= Decimal(5).scaleb(-scale - 1) or not is_held(total, scale):
            errors[column.name] = errors.get(column.name, Decimal(0)) + error
        else:
            total = rounded(total, scale)
        measures.append(
            Aggregate(
                column=column.name,
                sum=total,
                min=rounded(low, scale),
                max=rounded(high, scale),
                count=int(str(row[f"c{position}"])),
            )
        )
    return ControlTotals(rows=rows, measures=tuple(measures))


def added(one: ControlTotals, other: ControlTotals) -> ControlTotals:
    """The control totals of two disjoint sets of rows together."""
    measures = tuple(_added(*pair) for pair in zip(one.measures, other.measures, strict=True))
    return ControlTotals(rows=one.rows + other.rows, measures=measures)


def _added(one: Aggregate, other: Aggregate) -> Aggregate:
    if not (one.count and other.count):
        return one if one.count else other
    with localcontext(prec=_DIGITS):
        return Aggregate(
            column=one.column,
            sum=sum((value for value in (one.sum, other.sum) if value is not None), Decimal(0)),
            min=min((value for value in (one.min, other.min) if value is not None), default=None),
            max=max((value for value in (one.max, other.max) if value is not None), default=None),
            count=one.count + other.count,
        )


def _exact(value: object) -> Decimal | None:
    if value is None:
        return None
    if not isinstance(value, int | Decimal):
        raise ValueError("a total")  # noqa: TRY004  handled like other unusable totals
    return Decimal(value)


def compare_totals(
    table: Table, *, oracle: ControlTotals, expected: ControlTotals, salesforce: TargetTotals
) -> list[Comparison]:
    """Levels 1 and 2. `expected` are Oracle's control totals without the listed exceptions, if there are any."""
    target_rows = Decimal(salesforce.total.rows)
    found = [_compare(1, "rows", Decimal(oracle.rows), Decimal(expected.rows), target_rows)]
    tolerances = {measure.column: Decimal(measure.tolerance) for measure in table.measures}
    for column, source, remaining, target in zip(
        table.measured_columns, oracle.measures, expected.measures, salesforce.total.measures, strict=True
    ):
        tolerance = tolerances[column.name] + salesforce.inexact.get(column.name, Decimal(0))
        compared = _compare_measure(column, source, remaining, target, tolerance)
        found += compared[-1:] if column.name in salesforce.converted else compared
    return found


def _compare_measure(
    column: Column, source: Aggregate, expected: Aggregate, target: Aggregate, tolerance: Decimal
) -> list[Comparison]:
    """Compare one measure's aggregates; the last comparison is of the count."""
    name, scale = column.name, column.type.scale if column.type else 0
    return [
        _compare(2, f"{name} sum", source.sum, expected.sum, target.sum, tolerance),
        _compare(2, f"{name} average", average(source), average(expected), average(target), tolerance),
        _compare(
            2, f"{name} minimum", source.min, expected.min, target.min, gap_in_double(expected.min, target.min, scale)
        ),
        _compare(
            2, f"{name} maximum", source.max, expected.max, target.max, gap_in_double(expected.max, target.max, scale)
        ),
        _compare(2, f"{name} non-null count", Decimal(source.count), Decimal(expected.count), Decimal(target.count)),
    ]


def average(values: Aggregate) -> Decimal | None:
    """Exact sum divided by the count, rounded half up to `AVERAGE_SCALE`; Salesforce's own AVG is a binary float."""
    if values.sum is None or values.count == 0:
        return None
    with localcontext(prec=_DIGITS):
        return (values.sum / values.count).quantize(Decimal(1).scaleb(-AVERAGE_SCALE), ROUND_HALF_UP)


def _compare(
    level: int,
    measure: str,
    source: Decimal | None,
    expected: Decimal | None,
    target: Decimal | None,
    tolerance: Decimal = Decimal(0),
) -> Comparison:
    with localcontext(prec=_DIGITS):
        excepted = Decimal(0) if source is None or expected is None else source - expected
    has_only_exceptions = expected is None and source is not None
    return Comparison(level, measure, None if has_only_exceptions else source, target, excepted, tolerance)
