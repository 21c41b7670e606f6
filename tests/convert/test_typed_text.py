"""Text that people typed is converted and checked by the rules of staging."""

from __future__ import annotations

import polars as pl
import pytest

from kpc.catalog import TABLES, find_table
from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, FieldKind, Pii
from kpc.convert.canonical import canonical_from_salesforce
from kpc.convert.typed_text import TypedRows, convert_typed

SALES, TENANTS, PREINV = (find_table(name) for name in ("KPS_T_SALES_M", "KPS_R_EMAIL_TENANT", "KPS_T_PREINV"))
_SAMPLES = {
    FieldKind.DATE: "2024-01-31",
    FieldKind.DATETIME: "2024-01-31T05:00:00.000Z",
    FieldKind.BOOLEAN: "true",
    FieldKind.DOUBLE: "1",
    FieldKind.CURRENCY: "1.50",
}


def _row(table: Table, **cells: str | None) -> dict[str, str | None]:
    row: dict[str, str | None] = dict.fromkeys(table.data_header, "x")
    for column in table.sent_columns:
        kind = column.type
        assert kind is not None
        row[column.field or ""] = kind.values[0] if kind.values else _SAMPLES.get(kind.kind, "x")
    return row | cells


def _convert(table: Table, **cells: str | None) -> TypedRows:
    row = _row(table, **cells)
    key = "2024-01" if table.is_monthly else "ALL"
    frame = pl.DataFrame([row], schema=dict.fromkeys(table.data_header, pl.String))
    return convert_typed(frame, table, key=key, hash_key="a key")


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_row_as_it_was_exported_passes_and_keeps_its_values(table: Table) -> None:
    """Every table: what staging wrote is valid text, and nothing of it changes but hashes and masks."""
    made = _convert(table)
    assert made.broken == ()
    hidden = {column.field for column in table.sent_columns if column.pii in (Pii.HASH, Pii.MASK)}
    names = [name for name in table.data_header if name != EXTERNAL_ID and name not in hidden]
    given = pl.DataFrame([_row(table)], schema=dict.fromkeys(table.data_header, pl.String))
    expected = canonical_from_salesforce(given, table).collect()
    assert made.rows.select(names).to_dicts() == expected.select(names).to_dicts()


GOOD: dict[str, tuple[Table, str, str | None, str | None]] = {
    "upper-case TRUE": (TENANTS, "Active__c", "TRUE", "true"),
    "yes": (TENANTS, "Active__c", "y", "true"),
    "no value of a checkbox": (TENANTS, "Active__c", None, "false"),
    "blanks": (TENANTS, "Email__c", " a@b.co ", "a@b.co"),
    "line breaks": (SALES, "Void_Reason__c", "a\r\nb", "a\nb"),
    "no amount": (SALES, "Vat_Amt__c", None, "0.00"),
    "short number": (SALES, "Vat_Amt__c", "1.5", "1.50"),
    "zeros after the scale": (SALES, "Vat_Amt__c", "12.500", "12.50"),
    "no choice": (PREINV, "Status__c", None, "Unknown"),
    "no text": (SALES, "Void_Reason__c", None, None),
}


@pytest.mark.parametrize(("table", "field", "cell", "value"), GOOD.values(), ids=list(GOOD))
def test_value_is_converted_as_by_staging(table: Table, field: str, cell: str | None, value: str | None) -> None:
    """Words, blanks and missing values as for a row of Oracle."""
    made = _convert(table, **{field: cell})
    assert made.broken == ()
    assert made.rows[field].to_list() == [value]


BAD: dict[str, tuple[Table, str, str | None, str]] = {
    "word for a checkbox": (TENANTS, "Active__c", "WAHR", "unknown_boolean"),
    "code instead of the label": (PREINV, "Status__c", "A", "unknown_code"),
    "no number": (SALES, "Vat_Amt__c", "NaN", "number_unreadable"),
    "exponent": (SALES, "Vat_Amt__c", "1e3", "number_unreadable"),
    "plus": (SALES, "Vat_Amt__c", "+5", "number_unreadable"),
    "decimals that would be rounded": (SALES, "Vat_Amt__c", "12.505", "too_long"),
    "too large": (SALES, "Vat_Amt__c", "9" * 17, "number_out_of_range"),
    "other order of a day": (SALES, "Flight_Date__c", "31/01/2024", "date_unreadable"),
    "no day": (SALES, "Flight_Date__c", "2024-02-30", "date_unreadable"),
    "Buddhist year": (SALES, "Flight_Date__c", "4567-01-31", "date_out_of_range"),
    "local time": (SALES, "Doc_Date__c", "2024-01-31 12:00:00", "date_unreadable"),
    "60 seconds": (SALES, "Doc_Date__c", "2024-01-31T12:00:60.000Z", "date_unreadable"),
    "day of another month": (SALES, "Sale_Date__c", "2024-02-01", "outside_partition"),
    "text that would be cut": (SALES, "Void_Reason__c", "x" * 256, "too_long"),
    "no key": (TENANTS, "Seq__c", None, "required_null"),
    "control character": (SALES, "Name__c", "a\x1fb", "control_character"),
    "no parent": (find_table("KPS_R_EMAIL_SUPPLIER"), "Pos_Supplier__r.External_ID__c", None, "required_null"),
}


@pytest.mark.parametrize(("table", "field", "cell", "rule"), BAD.values(), ids=list(BAD))
def test_rule_that_a_cell_breaks_is_named(table: Table, field: str, cell: str | None, rule: str) -> None:
    """The first rule of the field, as in the list of rejected rows."""
    broken = [one for one in _convert(table, **{field: cell}).broken if one.field == field]
    assert broken[0].rule == rule


def test_external_id_is_made_from_the_key_cells() -> None:
    """Of numbers their value counts, of codes every zero."""
    assert _convert(TENANTS, Shop_Code__c="00123", Seq__c="7").rows[EXTERNAL_ID].item() == "00123|7"
    assert _convert(TENANTS, Shop_Code__c="123", Seq__c="7").rows[EXTERNAL_ID].item() == "123|7"


def test_personal_value_is_hashed_again_as_by_staging() -> None:
    """Whoever types a passport number has it sent as its keyed hash."""
    made = _convert(SALES, Passport_No__c="AA1234567")
    hashed = made.rows["Passport_No__c"].item()
    assert (len(hashed), hashed != "AA1234567") == (64, True)
