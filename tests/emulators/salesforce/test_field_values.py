"""Conversions, ids, dates and the SOQL parser of the Salesforce emulator, for any input."""

from __future__ import annotations

import string
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpc.emulators.salesforce.bulk.csv_input import cells_of
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import plain_number, to_json
from kpc.emulators.salesforce.org.clock import Clock
from kpc.emulators.salesforce.org.ids import to_18
from kpc.emulators.salesforce.org.limits import Rolling
from kpc.emulators.salesforce.org.org_schema import org_schema
from kpc.emulators.salesforce.org.record_ids import record_ids
from kpc.emulators.salesforce.org.schema import SObjectField
from kpc.emulators.salesforce.soql.compiler import compile_query
from kpc.emulators.salesforce.soql.dates import days_of
from kpc.emulators.salesforce.soql.parser import parse
from kpc.emulators.salesforce.writing.values import SET_NULL, Converted, convert

NOW = datetime(2024, 2, 29, 20, 0, tzinfo=UTC)  # already 1 March in Bangkok


def converted(spec: SObjectField, *cells: str | None) -> Converted:
    return convert(spec, from_csv(*cells))


def from_csv(*cells: str | None) -> pl.Series:
    return cells_of(pa.RecordBatch.from_arrays([pa.array(cells, pa.string())], ["c0"])).to_series()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=8))
@settings(max_examples=300)
def test_a_number_is_rounded_half_away_from_zero_and_exact(number: Decimal) -> None:
    """As decimal arithmetic does it, at any scale."""
    for scale in (0, 2, 4):
        spec = SObjectField("N", "double", precision=18, scale=scale)
        expected = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
        result = converted(spec, f"{number:f}")
        if abs(expected) >= 10 ** (18 - scale):
            assert result.errors[0].code == "NUMBER_OUTSIDE_VALID_RANGE"
        else:
            assert result.values.to_list() == [expected]


@given(st.text(max_size=30))
@example(SET_NULL)
@example("\x00null")
@settings(max_examples=300)
def test_any_text_is_a_value_or_an_error_of_its_row(text: str) -> None:
    """No type's conversion fails as a whole, and no wrong value becomes null in silence."""
    cell = None if text.strip() in ("", "#N/A") else text
    for kind in ("string", "email", "picklist", "double", "int", "boolean", "date", "datetime", "reference"):
        spec = SObjectField("F", kind, 20, 18, 2, picklist=("A",), restricted=kind == "picklist")
        result = converted(spec, text, "")
        assert len(result.values) == 2
        assert result.values[1] is None
        assert set(result.errors) <= {0}
        if cell is not None and kind != "string":
            assert (result.values[0] is None) <= (0 in result.errors)


@given(st.datetimes(datetime(1700, 1, 2), datetime(3999, 12, 30)), st.integers(-14, 14))  # noqa: DTZ001  local times
def test_a_moment_of_any_zone_becomes_utc(local: datetime, hours: int) -> None:
    """To the millisecond."""
    local = local.replace(microsecond=local.microsecond // 1000 * 1000)
    moment = local.replace(tzinfo=timezone(timedelta(hours=hours)))
    result = converted(SObjectField("M", "datetime"), moment.isoformat(timespec="milliseconds"))
    assert result.values.to_list() == [moment.astimezone(UTC).replace(tzinfo=None)]


@pytest.mark.parametrize("text", ["2024-02-30", "31/01/2024", "2024-13-01", "0001-01-01", "today", "20240101"])
def test_a_date_that_is_none_is_refused(text: str) -> None:
    """Never guessed."""
    assert converted(SObjectField("D", "date"), text).errors[0].code == "INVALID_TYPE_ON_FIELD_IN_RECORD"


def test_null_and_nothing_are_told_apart() -> None:
    """An empty cell is not given; the null token is given and null; a checkbox has no null."""
    result = converted(SObjectField("T", "string", 10), "", "  ", "#N/A", " x ")
    assert result.values.to_list() == [None, None, None, "x"]
    assert result.given.to_list() == [False, False, True, True]
    assert set(converted(SObjectField("B", "boolean"), "#N/A", "").errors) == {0}
    assert from_csv("#N/A").to_list() == [SET_NULL]


@given(st.integers(0, 10**11), st.integers(1, 700), st.integers(0, 5))
def test_ids_of_records_are_unique_and_valid(first: int, count: int, seed: int) -> None:
    """18 characters, known again from 15; a batch has the ids that its records would get one by one."""
    ids = record_ids("a0B", first, count, seed).to_list()
    assert ids[-1] == record_ids("a0B", first + count - 1, 1, seed)[0]
    assert len(set(ids)) == count
    assert all(to_18(each[:15]) == to_18(each) == each for each in ids)


@pytest.mark.parametrize("text", ["", "001", "0015g0000000001AAB", "0015g00000000-1AAA", "x" * 40])
def test_what_is_no_id_is_told(text: str) -> None:
    """Also a wrong check suffix."""
    assert to_18(text) is None


@pytest.mark.parametrize(
    ("name", "count", "first", "after"),
    [
        ("TODAY", None, date(2024, 3, 1), date(2024, 3, 2)),
        ("YESTERDAY", None, date(2024, 2, 29), date(2024, 3, 1)),
        ("LAST_N_DAYS", 7, date(2024, 2, 23), date(2024, 3, 2)),
        ("NEXT_N_DAYS", 2, date(2024, 3, 2), date(2024, 3, 4)),
        ("LAST_MONTH", None, date(2024, 2, 1), date(2024, 3, 1)),
        ("THIS_QUARTER", None, date(2024, 1, 1), date(2024, 4, 1)),
        ("LAST_YEAR", None, date(2023, 1, 1), date(2024, 1, 1)),
        ("THIS_WEEK", None, date(2024, 2, 25), date(2024, 3, 3)),
        ("LAST_N_MONTHS", 3, date(2023, 12, 1), date(2024, 3, 1)),
        ("N_YEARS_AGO", 2, date(2022, 1, 1), date(2023, 1, 1)),
    ],
)
def test_relative_dates(name: str, count: int | None, first: date, after: date) -> None:
    """Half-open ranges of local days."""
    assert days_of(name, count, date(2024, 3, 1)) == (first, after)


WORDS = st.sampled_from(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "Account",
        "Id",
        "Name",
        "COUNT()",
        "SUM(",
        "(",
        ")",
        ",",
        "=",
        "'x'",
        "AND",
        "NOT",
        "IN",
        "LIKE",
        "GROUP BY",
        "ORDER BY",
        "LIMIT",
        "1",
        "NULL",
        "TODAY",
        "LAST_N_DAYS:3",
        "2024-01-01",
        "Owner.Name",
        "HAVING",
        "c",
        "OFFSET",
        "FIELDS(ALL)",
    ]
)


@given(st.lists(WORDS, max_size=14).map(" ".join) | st.text(string.printable, max_size=60))
@settings(max_examples=500)
def test_any_text_is_a_query_or_a_refusal(soql: str) -> None:
    """Nothing but a 400 comes out of the parser and compiler."""
    for text in (soql, "SELECT Id FROM Account WHERE " + soql):
        try:
            compile_query(parse(text), SCHEMA, NOW)
        except ApiError as error:
            assert error.status == 400


SCHEMA = org_schema()


def test_today_is_the_local_day() -> None:
    """At 20:00 UTC it is already tomorrow in Bangkok."""
    compiled = compile_query(parse("SELECT Id FROM Account WHERE CreatedDate = TODAY"), SCHEMA, NOW)
    assert compiled.parameters == [datetime(2024, 2, 29, 17, 0), datetime(2024, 3, 1, 17, 0)]  # noqa: DTZ001  UTC


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**16), max_value=10**16))
def test_json_numbers_keep_all_digits(number: Decimal) -> None:
    """No exponent, no drift, always a point."""
    text = to_json({"n": number})
    assert Decimal(text[5:-1]) == number
    assert "." in plain_number(number)
    assert "E" not in text


def test_an_allowance_comes_back_after_24_hours() -> None:
    """Rolling, to the minute, not by calendar day."""
    clock = Clock(NOW, speed=0.0)
    used = Rolling(clock.now)
    used.add(10)
    clock.advance(3600)
    used.add(5)
    clock.advance(23 * 3600 - 61)
    assert used.used == 15
    clock.advance(62)
    assert used.used == 5
    clock.advance(3600)
    assert used.used == 0
