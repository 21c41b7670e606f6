"""The control totals of an extract, computed from its Parquet files and compared with Oracle's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import Column, NullRule
from kpc.convert import numbers
from kpc.errors import DataUnreadable
from kpc.extract.live_schema import arrow_schema
from kpc.extract.number_reading import SUMMED, is_number
from kpc.partition import Partition
from kpc.storage.manifests import Aggregate, ControlTotals, NumberTotal
from kpc.storage.parquet_file import read_slices
from kpc.storage.store import FileEntry

# Read at a time. Scanning whole files, polars holds many row groups of several files at once, so that memory grew with
# their number (by 210 MB for three million rows of KPS_T_SALES_MD); slices cost 0.1 s of CPU per million rows more.
_SLICE_ROWS = 50_000
_REMEDY = "Extract the partition again: `kpc run TABLE KEY --mode full`."


def scan_chunks(folder: Path, chunks: Sequence[FileEntry], table: Table) -> pl.LazyFrame:
    """The rows of an extract, lazily: the table's columns in catalog order, with the values Oracle returned."""
    if not chunks:
        empty = pl.DataFrame(arrow_schema(table).empty_table())
        return empty.lazy()
    return pl.scan_parquet([folder / chunk.name for chunk in chunks])


def measure_extract(folder: Path, chunks: Sequence[FileEntry], table: Table) -> ControlTotals:
    """`measure_rows` of an extract's files, a slice at a time: memory does not grow with the partition.

    Raises `DamagedFile` if one of them cannot be read.
    """
    parts = [measure_rows(rows, table) for rows in _measured_slices(folder, chunks, table)]
    return added_up(parts) if parts else measure_rows(scan_chunks(folder, (), table), table)


def measure_days(folder: Path, chunks: Sequence[FileEntry], table: Table) -> dict[str | None, ControlTotals]:
    """`measure_extract` for each day of a table with months, named as `day_text` names it; None: rows without a day."""
    day = _day(table.by_name[table.month_column or ""]).alias("day")
    found: dict[str | None, list[ControlTotals]] = {}
    for rows in _measured_slices(folder, chunks, table):
        schema = dict(rows.schema)
        for row in rows.group_by(day).agg(_aggregates(table, schema)).iter_rows(named=True):
            found.setdefault(row["day"], []).append(_control_totals(table, schema, row))
    return {each: added_up(parts) for each, parts in found.items()}


def measure_rows(rows: pl.DataFrame | pl.LazyFrame, table: Table) -> ControlTotals:
    """Row count, per measure the exact decimal aggregates of the values as the target will hold them, per NUMBER column
    of the frame sum and count of its values. How many values Oracle rounded cannot be seen here.
    """
    lazy = rows.lazy()
    schema = dict(lazy.collect_schema())
    (found,) = lazy.select(_aggregates(table, schema)).collect().to_dicts()
    return _control_totals(table, schema, found)


def _measured_slices(folder: Path, chunks: Sequence[FileEntry], table: Table) -> Iterator[pl.DataFrame]:
    """The columns that are measured, and that of the day, of all rows."""
    wanted = [
        column.name
        for column in table.extracted_columns
        if is_number(column) or column in table.measured_columns or column.name == table.month_column
    ] or list(table.key[:1])
    for chunk in chunks:
        yield from read_slices(folder / chunk.name, wanted, _SLICE_ROWS, remedy=_REMEDY)


def _day(column: Column) -> pl.Expr:
    """`day_text` as a polars expression."""
    value = pl.col(column.name)
    if not column.source.is_text:
        return value.dt.strftime("%Y-%m-%d")
    if column.date_format is not None and column.date_format.is_day_first:
        parts = [value.str.slice(6, 4), value.str.slice(3, 2), value.str.slice(0, 2)]
        return pl.concat_str(parts, separator="-")
    return value.str.slice(0, 10) if column.date_format and column.date_format.has_time else value


def _aggregates(table: Table, schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    wanted = [pl.len().alias("rows")]
    for column in table.measured_columns:
        value = _target_value(column, schema[column.name])
        wanted += [
            value.sum().alias(f"{column.name} sum"),
            value.min().alias(f"{column.name} min"),
            value.max().alias(f"{column.name} max"),
            value.count().alias(f"{column.name} count"),
        ]
    for column in _other_numbers(table, schema):
        value = _summed(column, schema[column.name])
        wanted += [value.sum().alias(f"{column.name} sum"), value.count().alias(f"{column.name} count")]
    return wanted


def _other_numbers(table: Table, schema: Mapping[str, pl.DataType]) -> list[Column]:
    others = [each for each in table.extracted_columns if is_number(each) and each not in table.measured_columns]
    return [each for each in others if each.name in schema]


def _control_totals(table: Table, schema: Mapping[str, pl.DataType], found: dict[str, Any]) -> ControlTotals:
    measures = tuple(_aggregate(column.name, found) for column in table.measured_columns)
    totals = tuple(_number_total(column.name, found) for column in _other_numbers(table, schema))
    return ControlTotals(rows=found["rows"], measures=measures, numbers=totals)


def _target_value(column: Column, dtype: pl.DataType) -> pl.Expr:
    """The value as the target will hold it, null if its field cannot: `target_value_sql` as a polars expression."""
    value = pl.col(column.name)
    if column.null is NullRule.ZERO:
        value = value.fill_null(Decimal(0))
    elif column.default is not None:
        value = value.fill_null(Decimal(column.default))
    assert column.type is not None  # noqa: S101  the catalog lets only number fields be measured
    return numbers.rounded(value, numbers.scale_of(dtype), column.type.precision, column.type.scale)


def _summed(column: Column, dtype: pl.DataType) -> pl.Expr:
    """The values of a column without measure that `aggregates_of_numbers` sums."""
    bound = pl.lit(SUMMED, dtype=pl.Decimal(numbers.WIDEST, numbers.scale_of(dtype)))
    return pl.when(pl.col(column.name).abs() < bound).then(pl.col(column.name))


def _number_total(name: str, found: dict[str, Decimal | int | None]) -> NumberTotal:
    count = int(found[f"{name} count"] or 0)
    return NumberTotal(column=name, sum=found[f"{name} sum"] if count else None, count=count)


def _aggregate(name: str, found: dict[str, Decimal | int | None]) -> Aggregate:
    count = int(found[f"{name} count"] or 0)
    # SQL's SUM over no values is NULL, polars' is zero.
    low, high, total = (found[f"{name} {what}"] if count else None for what in ("min", "max", "sum"))
    return Aggregate(column=name, sum=total, min=low, max=high, count=count)


def added_up(totals: Sequence[ControlTotals]) -> ControlTotals:
    """The totals of several parts of a partition as one. `totals` must not be empty."""
    measures = tuple(_added_measures(parts) for parts in zip(*(one.measures for one in totals), strict=True))
    numbers_ = tuple(_added_numbers(parts) for parts in zip(*(one.numbers for one in totals), strict=True))
    return ControlTotals(rows=sum(one.rows for one in totals), measures=measures, numbers=numbers_)


def _added_measures(parts: Sequence[Aggregate]) -> Aggregate:
    return Aggregate(
        column=parts[0].column,
        sum=_exact_sum(part.sum for part in parts),
        min=min((part.min for part in parts if part.min is not None), default=None),
        max=max((part.max for part in parts if part.max is not None), default=None),
        count=sum(part.count for part in parts),
    )


def _added_numbers(parts: Sequence[NumberTotal]) -> NumberTotal:
    counts = [part.count for part in parts if part.count is not None]
    return NumberTotal(
        column=parts[0].column,
        sum=_exact_sum(part.sum for part in parts),
        count=sum(counts) if counts else None,
        rounded=sum(part.rounded for part in parts),
        unreadable=sum(part.unreadable for part in parts),
    )


def _exact_sum(values: Iterable[Decimal | None]) -> Decimal | None:
    known = [value for value in values if value is not None]
    with localcontext(prec=2 * numbers.WIDEST):  # the default of 28 digits would round
        return sum(known, Decimal(0)) if known else None


def control_total_differences(*, oracle: ControlTotals, extract: ControlTotals) -> list[str]:
    """One line per number in which the Parquet files differ from Oracle's control totals."""
    differences = [f"rows: Oracle {oracle.rows:,}, extract {extract.rows:,}"] if oracle.rows != extract.rows else []
    for theirs, ours in zip(oracle.measures, extract.measures, strict=True):
        differences += [
            f"{theirs.column} {name}: Oracle {getattr(theirs, name)}, extract {getattr(ours, name)}"
            for name in ("sum", "min", "max", "count")
            if getattr(theirs, name) != getattr(ours, name)
        ]
    return differences + list(_number_differences(oracle, extract))


def _number_differences(oracle: ControlTotals, extract: ControlTotals) -> Iterator[str]:
    for ours in extract.numbers:
        for theirs in oracle.numbers_of(ours.column):
            if (theirs.sum, theirs.count) != (ours.sum, ours.count):
                yield (
                    f"{ours.column}: Oracle {theirs.sum} in {theirs.count} values, extract {ours.sum} in {ours.count}"
                )


def check_control_totals(partition: Partition, *, oracle: ControlTotals, extract: ControlTotals) -> None:
    """Raises `DataUnreadable` listing every number in which the Parquet files differ from Oracle's control totals."""
    differences = control_total_differences(oracle=oracle, extract=extract)
    if differences:
        raise DataUnreadable(
            f"The extract of {partition} differs from Oracle's control totals at the same SCN:\n  "
            + "\n  ".join(differences),
            f"Nothing was sealed. Extract it again with `kpc rerun {partition.table.name} {partition.key}`; "
            "if it recurs, report it with this message.",
        )
