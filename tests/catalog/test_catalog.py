"""The catalog's promises: it is whole, it is legal, and a mistake is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kpc.catalog import TABLES, check_catalog, children, find_table
from kpc.catalog.columns import amount, key_number, key_text, words
from kpc.catalog.table import Table
from kpc.catalog.types import (
    EXTERNAL_ID_LENGTH,
    Column,
    FieldKind,
    Lookup,
    Measure,
    NullRule,
    Phase,
    Pii,
    char,
    currency,
    decimal,
    key_part_length,
    number,
    text,
    varchar2,
)
from kpc.errors import CatalogError, ConfigError

TABLE_ROWS_PER_YEAR = 160_073_345  # the sum over the 16 tables in the source documents


def table(**changes: object) -> Table:
    """A small legal table, changed as the test wants it."""
    given: dict[str, object] = {
        "name": "KPS_X",
        "target": "KPS_X__c",
        "phase": Phase.REFERENCE,
        "rows_per_year": 1,
        "key": ("CODE",),
        "columns": (key_text("CODE", varchar2(20)), amount("AMT")),
        "measures": (Measure("AMT"),),
    }
    return Table(**{**given, **changes})  # type: ignore[arg-type]


def test_sixteen_tables_in_three_phases() -> None:
    """Every table of the migration is declared, with its target and its yearly rows."""
    assert len(TABLES) == 16
    assert sum(t.rows_per_year for t in TABLES.values()) == pytest.approx(TABLE_ROWS_PER_YEAR, rel=0.01)
    assert {t.phase for t in TABLES.values()} == set(Phase)
    assert len({t.target for t in TABLES.values()}) == 16


def test_only_the_three_large_tables_travel_by_month() -> None:
    """A month split of the small tables would be all overhead."""
    monthly = {name for name, t in TABLES.items() if t.is_monthly}
    assert monthly == {"KPS_T_SALES_M", "KPS_T_SALES_MD", "KPS_T_SALESPAY_MD"}


@pytest.mark.parametrize("name", TABLES)
def test_external_ids_fit_at_their_longest(name: str) -> None:
    """The longest possible key still fits the 255 characters of the external id field."""
    declared = TABLES[name]
    longest = sum(key_part_length(column) for column in declared.key_columns) + len(declared.key) - 1
    assert longest <= EXTERNAL_ID_LENGTH


@pytest.mark.parametrize("name", TABLES)
def test_parents_come_first_and_are_not_of_a_later_phase(name: str) -> None:
    """The declared order is a load order."""
    order = list(TABLES)
    for lookup in TABLES[name].lookups:
        parent = TABLES[lookup.parent]
        assert order.index(parent.name) < order.index(name)
        assert parent.phase.position <= TABLES[name].phase.position
        assert TABLES[name] in children(parent.name)


@pytest.mark.parametrize("name", TABLES)
def test_headers_name_every_sent_field_once(name: str) -> None:
    """The CSV header has no field twice and none that is to be left out."""
    header = TABLES[name].header
    assert len(set(header)) == len(header)
    left_out = {column.field for column in TABLES[name].columns if column.pii is Pii.LEAVE_OUT}
    assert not left_out & set(header)


def test_personal_columns_are_marked() -> None:
    """Names, passports, birth dates, e-mails and cards carry a PII mark wherever they occur."""
    personal = ("NAME", "PASSPORT_NO", "BIRTH_DATE", "EMAIL", "CARD_NO", "CUSTOMER_NAME")
    for declared in TABLES.values():
        for column in declared.columns:
            if column.name in personal:
                assert column.pii is not None, f"{declared.name}.{column.name}"


def test_mapping_version_follows_the_declaration() -> None:
    """The same declaration has the same version; any change of a rule has another."""
    first = table()
    assert first.mapping_version == table().mapping_version
    changed = replace(first.columns[1], null=NullRule.KEEP)
    assert table(columns=(first.columns[0], changed)).mapping_version != first.mapping_version


def test_unknown_table_names_the_nearest() -> None:
    """A typing mistake is answered with what was probably meant."""
    with pytest.raises(ConfigError, match="KPS_T_SALES_MD"):
        find_table("KPS_T_SALE_MD")


MISTAKES = {
    "key column not declared": ({"key": ("NOPE",)}, "NOPE"),
    "column twice": ({"columns": (key_text("CODE", varchar2(20)), amount("AMT"), amount("AMT"))}, "AMT"),
    "external id too long": ({"columns": (key_text("CODE", varchar2(255)), key_number("SEQ"), amount("AMT")),
                              "key": ("CODE", "SEQ")}, "299 characters"),
    "text too long for the field type": (
        {"columns": (key_text("CODE", varchar2(20)), amount("AMT"), words("W", 300))}, "1 to 255"),
    "illegal precision": (
        {"columns": (key_text("CODE", varchar2(20)), amount("AMT"),
                     Column("N", number(), "N__c", decimal(20, 2)))}, "18 digits"),
    "measure of a text": ({"measures": (Measure("CODE"),)}, "measure"),
    "measure not declared": ({"measures": (Measure("NOPE"),)}, "NOPE"),
    "lookup of an undeclared column": ({"lookups": (Lookup("P", "P__c", ("NOPE",)),)}, "NOPE"),
    "number from text": (
        {"columns": (key_text("CODE", varchar2(20)), amount("AMT"),
                     Column("N", char(5), "N__c", currency()))}, "NUMBER as source"),
    "default without a default": (
        {"columns": (key_text("CODE", varchar2(20)), amount("AMT"),
                     Column("T", char(5), "T__c", text(5), NullRule.DEFAULT))}, "default"),
    "hash into a short field": (
        {"columns": (key_text("CODE", varchar2(20)), amount("AMT"),
                     Column("T", char(5), "T__c", text(5), pii=Pii.HASH))}, "64 characters"),
    "month column without its day field": ({"month_column": "CODE"}, "month_column"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "named"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_names_table_and_remedy(changes: dict[str, object], named: str) -> None:
    """A wrong declaration is refused when it is made, with the table, the thing and what to do."""
    with pytest.raises(CatalogError) as caught:
        table(**changes)
    assert "KPS_X" in caught.value.what
    assert named in str(caught.value)
    assert caught.value.remedy


def test_a_missing_parent_is_named() -> None:
    """A lookup to a table that is not declared before it can never load."""
    child = table(lookups=(Lookup("KPS_GONE", "Gone__c", ("CODE",)),))
    with pytest.raises(CatalogError, match="KPS_GONE"):
        check_catalog((child,))


def test_a_cycle_cannot_be_declared() -> None:
    """Of two tables that look up each other one always comes first, without its parent."""
    one = table(name="KPS_1", target="A__c", lookups=(Lookup("KPS_2", "Two__c", ("CODE",)),))
    two = table(name="KPS_2", target="B__c", lookups=(Lookup("KPS_1", "One__c", ("CODE",)),))
    for order in ((one, two), (two, one)):
        with pytest.raises(CatalogError, match="not declared before it"):
            check_catalog(order)


def test_a_parent_of_a_later_phase_is_refused() -> None:
    """Phases follow one another, so a parent may not wait for a later one."""
    parent = table(name="KPS_P", phase=Phase.SALES)
    child = table(lookups=(Lookup("KPS_P", "P__c", ("CODE",)),))
    with pytest.raises(CatalogError, match="later phase"):
        check_catalog((parent, child))


def test_a_lookup_must_spell_the_whole_key() -> None:
    """A child that holds one of two key columns cannot name its parent."""
    parent = table(
        name="KPS_P", key=("CODE", "SEQ"), columns=(key_text("CODE", varchar2(20)), key_number("SEQ"), amount("AMT"))
    )
    child = table(lookups=(Lookup("KPS_P", "P__c", ("CODE",)),))
    with pytest.raises(CatalogError, match="cannot hold the key"):
        check_catalog((parent, child))


def test_field_kinds_are_salesforce_names() -> None:
    """What describe calls a type is what the catalog calls it."""
    assert {kind.value for kind in FieldKind} >= {"string", "double", "currency", "date", "datetime", "boolean"}
