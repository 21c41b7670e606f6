"""CSV rows as records of a composite collection: what a bulk job would read of them, with exact numbers."""

from __future__ import annotations

from decimal import Decimal

from kpc.catalog import find_table
from kpc.load.record_bodies import record_bodies


def test_cells_become_typed_values() -> None:
    """Numbers keep their digits, flags are booleans, `#N/A` is null, an empty cell is left out, the rest is text."""
    table = find_table("KPS_T_SALES_MD")
    (lookup,) = (each for each in table.lookups if each.header.startswith("Sale__r"))
    number = next(column.field or "" for column in table.sent_columns if column.type and column.type.is_number)
    text = next(column.field or "" for column in table.sent_columns if column.type and column.type.is_text)
    rows = [
        {lookup.header: "a|b", number: "-12345678901234.50", text: "true"},
        {lookup.header: "#N/A", number: "#N/A", text: ""},
        {lookup.header: "", number: "1e5", text: "7"},
    ]
    assert record_bodies(table, rows) == [
        {"Sale__r": {"External_ID__c": "a|b"}, number: Decimal("-12345678901234.50"), text: "true"},
        {"Sale__c": None, number: None},
        {number: "1e5", text: "7"},
    ]


def test_flags_are_booleans() -> None:
    """Only the two words that a checkbox knows; what else a person typed goes as text, for the org to refuse."""
    table = find_table("KPS_R_POS_SUPPLIER")
    bodies = record_bodies(table, [{"Active__c": word} for word in ("true", "false", "yes")])
    assert [body["Active__c"] for body in bodies] == [True, False, "yes"]
