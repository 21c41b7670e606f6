"""Into an org with several currencies: every record is in the declared one, and sums are proven without its rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from kpc.campaign.system_check import CheckState
from kpc.campaign.target_facts import read_target
from kpc.campaign.target_objects import check_target_object
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, Column, NullRule, char, picklist
from kpc.errors import CatalogError, Mismatch, SchemaDrift
from kpc.partition import Partition
from kpc.reconcile.report import last_report
from kpc.salesforce import connect
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

WEB = TABLES["KPS_WEB_SALES"]
BANK = TABLES["KPS_T_SALESBANK_MD"]
AMOUNT = "Total_Amt__c"
SEVERAL, ONE = "multi_currency=true", "multi_currency=false"
Road = Callable[[Table, str], PartitionContext]


@pytest.fixture
def road(oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]) -> Road:
    """A partition of a table, and an org with several currencies (its corporate one is THB) or with one."""
    return lambda table, kind: PartitionContext(workspaces(oracle, emulated(kind).settings), Partition(table, "ALL"))


def by_currency() -> Table:
    """The bank's rows, each in the currency that its own column names."""
    codes = ("THB", "USD", "JPY")
    column = Column(
        "CURRENCY_CODE", char(3), CURRENCY_FIELD, picklist(*codes), NullRule.DEFAULT, default="THB",
        picklist_map=(*((code, code) for code in codes), ("CNY", "USD"), ("EUR", "USD")),
    )  # fmt: skip
    return replace(BANK, columns=tuple(column if each.name == "CURRENCY_CODE" else each for each in BANK.columns))


def records(context: PartitionContext, fields: str) -> list[dict[str, object]]:
    soql = f"SELECT {fields} FROM {context.table.target} ORDER BY External_ID__c"
    return list(context.workspace.salesforce.query(soql))


def test_every_record_is_in_the_declared_currency(road: Road) -> None:
    """A row without a code would be in dollars, the user's own; sums agree, because baht are what the org sums in."""
    context = road(replace(WEB, currency="THB"), SEVERAL)
    proof = results_by_stage(context)["reconciled"]
    assert (proof.state, proof.detail["level2"], proof.detail["level3"]) == ("reconciled", "pass", "pass")
    assert {each[CURRENCY_FIELD] for each in records(context, CURRENCY_FIELD)} == {"THB"}
    assert "sums_by_records_only" not in proof.detail


def test_another_currency_in_one_record_is_found(road: Road) -> None:
    """The number is the same, but it means another amount."""
    from assets.reconciled import reconciled

    context = road(replace(WEB, currency="THB"), SEVERAL)
    results_by_stage(context)
    first = records(context, "Id, External_ID__c")[0]
    path = f"/sobjects/{WEB.target}/{first['Id']}"
    context.workspace.salesforce.tell("PATCH", path, {CURRENCY_FIELD: "USD"})
    with pytest.raises(Mismatch):
        reconciled.materialize(context)
    found = last_report(context).records
    assert found is not None
    assert found.changed_fields == ((first["External_ID__c"], (CURRENCY_FIELD,)),)


def test_sums_that_the_org_converts_are_proven_by_the_records(road: Road) -> None:
    """The corporate currency is not the declared one: the org's sums are others by its rate, and are not asked for."""
    context = road(replace(WEB, currency="USD"), SEVERAL)
    proof = results_by_stage(context)["reconciled"]
    assert (proof.state, proof.detail["level2"], proof.detail["level3"]) == ("reconciled", "pass", "pass")
    assert proof.detail["sums_by_records_only"] == "TOTAL_AMT, VAT_AMT"
    measures = [each.measure for each in last_report(context).comparisons if "_AMT" in each.measure]
    assert measures == ["TOTAL_AMT non-null count", "VAT_AMT non-null count"]


def test_each_record_is_in_the_currency_that_its_column_names(road: Road) -> None:
    """Without a declared one for all; an amount changed in the org is still found, by its record."""
    from assets.reconciled import reconciled

    context = road(by_currency(), SEVERAL)
    proof = results_by_stage(context)["reconciled"]
    assert (proof.state, proof.detail["sums_by_records_only"]) == ("reconciled", "BAHT_AMT, FOREIGN_AMT")
    found = records(context, f"Id, {CURRENCY_FIELD}")
    assert len({each[CURRENCY_FIELD] for each in found}) > 1
    context.workspace.salesforce.tell("PATCH", f"/sobjects/{BANK.target}/{found[0]['Id']}", {"Baht_Amt__c": 0.01})
    with pytest.raises(Mismatch):
        reconciled.materialize(context)


@pytest.mark.parametrize(
    ("table", "kind", "told"),
    [
        (WEB, SEVERAL, "does not say in which one Total_Amt__c, Vat_Amt__c are"),
        (replace(WEB, currency="EUR"), SEVERAL, "no active currency 'EUR'"),
        (replace(WEB, currency="THB"), ONE, "the org has one currency, and the catalog declares THB"),
        (by_currency(), ONE, "CurrencyIsoCode: missing"),
    ],
    ids=["undeclared", "inactive", "declared for one currency", "a column for one currency"],
)
def test_what_does_not_fit_the_org_sends_nothing(road: Road, table: Table, kind: str, told: str) -> None:
    context = road(table, kind)
    with pytest.raises(SchemaDrift, match="differs from the catalog") as refused:
        results_by_stage(context)
    assert told in str(refused.value)
    assert context.workspace.salesforce.record_counts([table.target]).get(table.target, 0) == 0


@pytest.mark.parametrize(
    ("currency", "kind", "state", "told"),
    [
        ("THB", SEVERAL, CheckState.OK, "THB"),
        (None, SEVERAL, CheckState.FAILED, 'currency="THB"'),
        ("EUR", SEVERAL, CheckState.FAILED, "Manage Currencies"),
        ("USD", SEVERAL, CheckState.WARNING, "sums computed by the org are converted"),
        (None, ONE, CheckState.OK, "one currency"),
        ("THB", ONE, CheckState.FAILED, "but the org has one currency"),
    ],
)
def test_preflight_says_what_the_currency_needs(
    emulated: Callable[..., Emulator], currency: str | None, kind: str, state: CheckState, told: str
) -> None:
    client = connect(emulated(kind).settings)
    table = replace(WEB, currency=currency)
    facts = read_target(client, [table.target])
    client.close()
    (found,) = [each for each in check_target_object(table, facts, was_loaded=False) if each.name == "currency"]
    assert found.state is state
    assert told in f"{found.message} {found.remedy}"


def test_a_declaration_that_contradicts_itself_is_refused() -> None:
    """No code, a code beside a column, and a column that may be null or hold other words."""
    for wrong in ({"currency": "Baht"}, {"currency": ""}):
        with pytest.raises(CatalogError, match="no ISO 4217 code"):
            replace(WEB, **wrong)
    with pytest.raises(CatalogError, match="beside a column"):
        replace(by_currency(), currency="THB")
    for column in by_currency().columns:
        if column.field == CURRENCY_FIELD:
            for worse in (replace(column, null=NullRule.KEEP, default=None), replace(column, type=picklist("Baht"))):
                with pytest.raises(CatalogError, match="never null"):
                    replace(BANK, columns=(worse, *(each for each in BANK.columns if each.name != column.name)))


def test_a_table_without_currency_keeps_its_mapping_version() -> None:
    """Rows staged before the declaration knew currencies are mapped as before; a currency is another mapping."""
    assert "currency" not in WEB.declaration
    assert replace(WEB, currency="THB").mapping_version != WEB.mapping_version
