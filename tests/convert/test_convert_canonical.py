"""Both sides spell a row alike, so that equal rows have equal checksums and different ones do not."""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal

import polars as pl
import pytest
from checkout import PROJECT
from extracted_rows import converted, one_row, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kpc.catalog import TABLES, find_table
from kpc.catalog.table import Table
from kpc.convert.canonical import (
    FINGERPRINT_BUCKETS,
    canonical_from_salesforce,
    canonical_text,
    fingerprint,
    key_hash,
    merged,
    row_checksum,
    row_evidence,
)
from kpc.errors import SchemaDrift

DOCUMENT = PROJECT / "docs" / "checksums.md"
HEADER = find_table("KPS_T_SALES_M")
PAYMENT = find_table("KPS_T_SALESPAY_MD")
quick = settings(max_examples=60, deadline=None)
hashes = st.integers(min_value=0, max_value=2**64 - 1)


def as_salesforce_says(rows: pl.DataFrame, table: Table, *, variant: int) -> pl.DataFrame:
    """The rows in other spellings that a bulk query may use for the same values."""
    frame = rows.select(table.data_header)
    for column in table.sent_columns:
        name = column.field or ""
        kind = column.type.kind.value if column.type else ""
        if kind in {"double", "currency"} and variant:
            shortest = pl.col(name).str.strip_chars_end("0").str.strip_chars_end(".")
            has_point = pl.col(name).str.contains(".", literal=True)
            frame = frame.with_columns(pl.when(has_point).then(shortest).otherwise(pl.col(name)).alias(name))
        if kind == "datetime" and variant:
            frame = frame.with_columns(pl.col(name).str.replace("Z", "+0000" if variant == 1 else "+00:00"))
        if kind == "boolean" and variant == 2:
            frame = frame.with_columns(pl.col(name).str.to_titlecase())
        if kind == "textarea" and variant:
            frame = frame.with_columns(pl.col(name).str.replace_all("\n", "\r\n"))
    return frame


@pytest.mark.parametrize("variant", [0, 1, 2])
@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_row_that_came_back_has_the_same_checksum(table: Table, variant: int) -> None:
    """Numbers without idle zeros, `+0000` for `Z`, CRLF for LF: the same row, the same checksum."""
    sent = converted(table, rows_of(table, 20))
    back = canonical_from_salesforce(as_salesforce_says(sent, table, variant=variant), table)
    assert back.select(row_checksum(table)).collect().equals(sent.select(row_checksum(table)))
    assert back.select(key_hash()).collect().equals(sent.select(key_hash()))


money = st.decimals(min_value=Decimal(-9999999999999999), max_value=Decimal(9999999999999999), places=2)


@quick
@given(st.lists(st.tuples(money, st.sampled_from(["{}", "{:E}", "{:f}", "+{:f}"])), min_size=1, max_size=20))
def test_a_number_is_the_same_however_it_is_spelled(values: list[tuple[Decimal, str]]) -> None:
    """`1.5`, `1.50`, `+1.50` and `15E-1` are one number; the canonical text has the field's scale."""
    texts = [form.format(value).replace("+-", "-") for value, form in values]
    column = "Pay_Amt__c"
    frame = rows_of(PAYMENT, len(texts))
    back = converted(PAYMENT, frame).select(PAYMENT.data_header).with_columns(pl.Series(column, texts))
    assert canonical_from_salesforce(back, PAYMENT).collect()[column].to_list() == [
        f"{abs(value) if value == 0 else value:.2f}" for value, _ in values
    ]


@pytest.mark.parametrize("wrong", ["1.555", "abc", "1,000.00", "NaN", "0.001", "1e40"])
def test_a_number_that_the_scale_cannot_hold_stays_different(wrong: str) -> None:
    """It must not be rounded into agreement."""
    back = converted(PAYMENT, rows_of(PAYMENT, 1)).select(PAYMENT.data_header).with_columns(Pay_Amt__c=pl.lit(wrong))
    assert canonical_from_salesforce(back, PAYMENT).collect()["Pay_Amt__c"].item() == wrong


@pytest.mark.parametrize(
    ("given_text", "canonical"),
    [
        ("2024-01-01T00:00:00.000Z", "2024-01-01T00:00:00.000Z"),
        ("2024-01-01T00:00:00.000+0000", "2024-01-01T00:00:00.000Z"),
        ("2024-01-01T00:00:00.000+00:00", "2024-01-01T00:00:00.000Z"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z"),
        ("2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123Z"),
        ("2024-01-01T07:00:00.000+0700", "2024-01-01T07:00:00.000+0700"),
        ("2024-01-01T00:00:00.000", "2024-01-01T00:00:00.000"),
        ("", None),
    ],
)
def test_a_moment_is_the_same_however_utc_is_spelled(given_text: str, canonical: str | None) -> None:
    """Only UTC; another zone or a fraction of a second stays what it is, and so differs."""
    back = converted(PAYMENT, rows_of(PAYMENT, 1)).select(PAYMENT.data_header)
    back = back.with_columns(Createddate__c=pl.lit(given_text))
    assert canonical_from_salesforce(back, PAYMENT).collect()["Createddate__c"].item() == canonical


@pytest.mark.parametrize("column", [column.field for column in HEADER.sent_columns])
def test_one_changed_value_in_any_field_changes_the_checksum(column: str) -> None:
    """Level 3 finds a single planted wrong value, whichever field it is in; a lost value as well."""
    sent = converted(HEADER, rows_of(HEADER, 1)).select(HEADER.data_header)
    before = sent.select(row_checksum(HEADER)).item()
    kind = next(c.type.kind.value for c in HEADER.sent_columns if c.field == column and c.type)
    other = {"double": "8", "currency": "8.00", "date": "2001-01-01", "datetime": "2001-01-01T00:00:00.000Z"}
    for changed in (other.get(kind, "other"), None):
        back = canonical_from_salesforce(sent.with_columns(pl.lit(changed, dtype=pl.String).alias(column)), HEADER)
        assert back.select(row_checksum(HEADER)).collect().item() != before


def test_values_that_move_to_a_neighbouring_field_change_the_checksum() -> None:
    """Borders between values count, and so does a null between them."""
    row = converted(HEADER, one_row(HEADER, MEMBER_ID="ab", SVC_ID="c"))
    moved = row.with_columns(Member_Id__c=pl.lit("a"), Svc_Id__c=pl.lit("bc"))
    swapped = row.with_columns(Member_Id__c=pl.lit(None, dtype=pl.String), Svc_Id__c=pl.lit("abc"))
    assert len({frame.select(row_checksum(HEADER)).item() for frame in (row, moved, swapped)}) == 3


def test_a_missing_query_column_is_named() -> None:
    """Comparing without it would call every row different."""
    sent = converted(PAYMENT, rows_of(PAYMENT, 1)).select(PAYMENT.data_header).drop("Pay_Amt__c")
    with pytest.raises(SchemaDrift, match="Pay_Amt__c"):
        canonical_from_salesforce(sent, PAYMENT)


def test_keys_that_differ_only_in_case_have_one_hash() -> None:
    """As Salesforce compares external ids."""
    frame = pl.DataFrame({"External_ID__c": ["AbC|ก", "aBc|ก", "abd|ก"]})
    first, second, third = frame.select(key_hash()).to_series()
    assert first == second != third


@quick
@given(st.lists(st.tuples(hashes, hashes), max_size=50), st.randoms())
def test_a_fingerprint_does_not_depend_on_order_or_grouping(rows: list[tuple[int, int]], chance: object) -> None:
    """Any order and any split into parts give the plain sums and xors of each bucket."""
    frame = pl.DataFrame(rows, schema={"key_hash": pl.UInt64, "checksum": pl.UInt64}, orient="row")
    whole = fingerprint(frame)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=chance.randint(0, 99))  # type: ignore[attr-defined]
    parts = [fingerprint(part) for part in (shuffled.head(7), shuffled.slice(7))]
    assert merged(parts).equals(whole)
    expected: dict[int, list[int]] = {}
    for key, checksum in rows:
        bucket = expected.setdefault(key >> 54, [0, 0, 0])
        bucket[0], bucket[1], bucket[2] = bucket[0] + 1, (bucket[1] + checksum) % 2**64, bucket[2] ^ checksum
    assert whole.rows() == [(bucket, *sums) for bucket, sums in sorted(expected.items())]
    assert all(bucket < FINGERPRINT_BUCKETS for bucket in expected)


def test_the_checksum_is_the_published_xxh3() -> None:
    """Known values of XXH3 (64 bit, seed 0), and SHA-256 as Python computes it, over the same text."""
    table = find_table("KPS_R_POS_SUPPLIER")
    row = converted(table, rows_of(table, 1))
    text = row.select(canonical_text(table).alias("text"))["text"].item()
    assert row.select(row_evidence(table)).item() == hashlib.sha256(text.encode()).hexdigest()
    known = {"": 0x2D06800538D394C2, "a": 0xE6C632B61E964E1F, "abc": 0x78AF5F94892F3950}
    assert pl.DataFrame({"External_ID__c": list(known)}).select(key_hash()).to_series().to_list() == list(
        known.values()
    )


def test_the_documented_example_is_what_the_code_computes() -> None:
    """docs/checksums.md shows one row, its canonical text and its checksums."""
    table = find_table("KPS_R_EMAIL_SUPPLIER")
    frame = one_row(table, POS_SUPPLIER_CODE="S1 ", SEQ=Decimal(2), NAMES="ร้านค้า", EMAIL=None)
    row = converted(table, frame)
    text = row.select(canonical_text(table).alias("text"))["text"].item()
    document = DOCUMENT.read_text()
    shown = text.replace("\x1f", "<1F>").replace("\x1e", "<1E>")
    assert re.search(rf"^{re.escape(shown)}$", document, re.MULTILINE)
    assert f"{row.select(row_checksum(table)).item():016x}" in document
    assert f"{row.select(key_hash()).item():016x}" in document
    assert row.select(row_evidence(table)).item() in document
    assert f"bucket {row.select(key_hash()).item() >> 54}" in document
