"""Levels 1 and 2: counts and aggregates, computed by Oracle and by Salesforce, compared as exact decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

from kpc.catalog.table import Table
from kpc.catalog.types import PARTITION_FIELD, Column
from kpc.errors import UnusableAnswer
from kpc.partition import Partition
from kpc.reconcile.comparison import Comparison
from kpc.retry_policy import retried
from kpc.salesforce import Salesforce
from kpc.storage.manifests import Aggregate, ControlTotals
from kpc.untrusted_text import shown

AVERAGE_SCALE = 10  # decimal places with which averages are shown and compared
_DIGITS = 100  # Python's default of 28 would silently round a sum of 38 digits


def totals_query(partition: Partition) -> str:
    """One SOQL query for the rows and every measure's aggregates; the marker field makes it selective."""
    table = partition.table
    wanted = ["COUNT(Id) n"]
    for position, column in enumerate(table.measured_columns):
        wanted += [
            f"{function}({column.field}) {alias}{position}"
            for function, alias in (("SUM", "s"), ("MIN", "l"), ("MAX", "h"), ("COUNT", "c"))
        ]
    return f"SELECT {', '.join(wanted)} FROM {table.target} WHERE {PARTITION_FIELD} = '{partition.key}'"


def read_target(salesforce: Salesforce, partition: Partition) -> ControlTotals:
    """The partition's control totals, computed by Salesforce."""
    return retried(lambda: _read(salesforce, partition))


def _read(salesforce: Salesforce, partition: Partition) -> ControlTotals:
    row = salesforce.aggregate(totals_query(partition))
    try:
        return _totals_of(row, partition)
    except (KeyError, ValueError) as error:
        raise UnusableAnswer(
            f"Salesforce's totals of {partition} cannot be used: {shown(error)} is missing or no number.",
            f"Compare again: `kpc reconcile {partition.table.name} {partition.key}`.",
        ) from None


def _totals_of(row: dict[str, object], partition: Partition) -> ControlTotals:
    measures = tuple(
        Aggregate(
            column=column.name,
            sum=_exact(row[f"s{position}"]),
            min=_exact(row[f"l{position}"]),
            max=_exact(row[f"h{position}"]),
            count=int(str(row[f"c{position}"])),
        )
        for position, column in enumerate(partition.table.measured_columns)
    )
    return ControlTotals(rows=int(str(row["n"])), measures=measures)


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
            min=min(value for value in (one.min, other.min) if value is not None),
            max=max(value for value in (one.max, other.max) if value is not None),
            count=one.count + other.count,
        )


def _exact(value: object) -> Decimal | None:
    if value is None:
        return None
    if not isinstance(value, int | Decimal):
        raise ValueError("a total")  # noqa: TRY004  as other unusable totals
    return Decimal(value)


def compare_totals(
    table: Table, *, oracle: ControlTotals, expected: ControlTotals, salesforce: ControlTotals
) -> list[Comparison]:
    """Levels 1 and 2. `expected` are Oracle's control totals without the listed exceptions, if there are any."""
    found = [_compare(1, "rows", Decimal(oracle.rows), Decimal(expected.rows), Decimal(salesforce.rows))]
    tolerances = {measure.column: Decimal(measure.tolerance) for measure in table.measures}
    for column, source, remaining, target in zip(
        table.measured_columns, oracle.measures, expected.measures, salesforce.measures, strict=True
    ):
        found += _compare_measure(column, source, remaining, target, tolerances[column.name])
    return found


def _compare_measure(
    column: Column, source: Aggregate, expected: Aggregate, target: Aggregate, tolerance: Decimal
) -> list[Comparison]:
    name = column.name
    return [
        _compare(2, f"{name} sum", source.sum, expected.sum, target.sum, tolerance),
        _compare(2, f"{name} average", average(source), average(expected), average(target), tolerance),
        _compare(2, f"{name} minimum", source.min, expected.min, target.min),
        _compare(2, f"{name} maximum", source.max, expected.max, target.max),
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
