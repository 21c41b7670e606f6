"""Salesforce's own aggregates of a bucket against those of the records that were read back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import polars as pl
import pytest

from kpc.catalog import find_table
from kpc.convert.buckets import BUCKET
from kpc.reconcile.read_totals import ReadTotals
from kpc.reconcile.totals import TargetTotals
from kpc.storage.manifests import Aggregate, ControlTotals

TABLE = find_table("KPS_T_SALES_MD")
KEY, MARKER = "2024-01", "2024-01/003"
FIELD = next(column for column in TABLE.measured_columns if column.name == "AMT_INC_VAT")


def _read(*values: float | None, bucket: int | None = 3) -> ReadTotals:
    names = {column.field or "": [None] * len(values) for column in TABLE.measured_columns}
    frame = pl.DataFrame(names | {FIELD.field or "": values}, schema=dict.fromkeys(names, pl.Float64))
    totals = ReadTotals()
    totals.add(frame.with_columns(pl.lit(bucket, pl.UInt8).alias(BUCKET)), TABLE)
    return totals


def _server(rows: int, *values: str, marker: str = MARKER, inexact: bool = False) -> TargetTotals:
    numbers = [Decimal(value) for value in values]
    filled = Aggregate(column=FIELD.name, sum=sum(numbers), min=min(numbers), max=max(numbers), count=len(numbers))
    empty = (Aggregate(column=column.name, sum=None, min=None, max=None, count=0) for column in TABLE.measured_columns)
    measures = tuple(filled if one.column == FIELD.name else one for one in empty)
    totals = ControlTotals(rows=rows, measures=measures)
    return TargetTotals({marker: totals}, totals, {FIELD.name: Decimal(1)} if inexact else {})


def test_the_same_records_agree() -> None:
    """Also with nulls, and when they were read in several frames."""
    read = _read(0.1, None)
    read.merge(_read(0.2, -5.55).by_bucket)
    assert read.disagreements(_server(4, "0.1", "0.2", "-5.55"), TABLE, KEY) == ()


@pytest.mark.parametrize(
    ("read", "server"),
    [
        (_read(0.1, 0.2), _server(2, "0.1", "0.21")),
        (_read(0.1, 0.2), _server(3, "0.1", "0.2")),
        (_read(0.1, None), _server(2, "0.1", "0")),
        (_read(0.1, 0.3), _server(2, "0.2", "0.2")),
        (_read(0.1), _server(1, "0.1", marker="2024-01/004")),
        (_read(0.1, bucket=None), _server(1, "0.1")),
        (ReadTotals(), _server(1, "0.1")),
    ],
    ids=["sum", "rows", "null for zero", "same sum", "other bucket", "no bucket", "nothing read"],
)
def test_a_difference_of_the_least_amount_is_found(read: ReadTotals, server: TargetTotals) -> None:
    assert MARKER in read.disagreements(server, TABLE, KEY) or "2024-01/004" in read.disagreements(server, TABLE, KEY)


def test_a_sum_that_doubles_cannot_hold_has_a_tolerance() -> None:
    """Its error is that of the additions; more than that is a difference."""
    values = ("9999999999999.98", "9999999999999.99")
    server = _server(2, *values, inexact=True)
    read = _read(*map(float, values))
    assert read.disagreements(server, TABLE, KEY) == ()
    measure = server.total.measures[TABLE.measured_columns.index(FIELD)]
    off = measure.model_copy(update={"sum": measure.sum + 1})
    wrong = server.total.model_copy(
        update={"measures": tuple(off if one.column == FIELD.name else one for one in server.total.measures)}
    )
    assert read.disagreements(replace(server, by_marker={MARKER: wrong}), TABLE, KEY) == (MARKER,)
