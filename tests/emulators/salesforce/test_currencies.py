"""An org with several currencies: how a client sees it, and in which currency sums are answered."""

from __future__ import annotations

import pytest
from salesforce_emulator_process import EmulatorProcess, switch

pytestmark = pytest.mark.emulator_only

SALE = "KPS_Preinv__c"
AMOUNT = "Amt_Inc_Vat__c"
CURRENCIES = "SELECT IsoCode, ConversionRate, IsCorporate FROM CurrencyType WHERE IsActive = true ORDER BY IsoCode"


def test_an_org_with_one_currency_has_neither_object_nor_field(emulator: EmulatorProcess) -> None:
    """So a client can tell."""
    assert emulator.get("query", q=CURRENCIES).json()[0]["errorCode"] == "INVALID_TYPE"
    assert emulator.get("query", q=f"SELECT CurrencyIsoCode FROM {SALE}").json()[0]["errorCode"] == "INVALID_FIELD"
    fields = emulator.get(f"sobjects/{SALE}/describe").json()["fields"]
    assert "CurrencyIsoCode" not in [each["name"] for each in fields]


def test_several_currencies_are_seen(switched: EmulatorProcess) -> None:
    """The object that lists them, and the field of every object."""
    switch(switched, multi_currency=True)
    found = {each["IsoCode"]: each["IsCorporate"] for each in switched.query(CURRENCIES)}
    assert found == {"JPY": False, "THB": True, "USD": False}
    for sobject in (SALE, "Account", "User"):
        fields = switched.get(f"sobjects/{sobject}/describe").json()["fields"]
        assert "CurrencyIsoCode" in [each["name"] for each in fields]
    assert "CurrencyType" in [each["name"] for each in switched.get("sobjects").json()["sobjects"]]


def test_sums_are_answered_in_the_corporate_currency(switched: EmulatorProcess) -> None:
    """28 dollars are 1,000 baht in a sum, and 28 in their record; without a code it is the user's."""
    switch(switched, multi_currency=True)
    header = f"External_ID__c,Con_Code__c,Preinv_No__c,{AMOUNT},CurrencyIsoCode"
    rows = f"{header}\na,01,a,28,USD\nb,01,b,5,THB\nc,01,c,14,\n"
    assert switched.load(SALE, rows)["numberRecordsFailed"] == 0
    [total] = switched.query(f"SELECT SUM({AMOUNT}) s, MAX({AMOUNT}) m, COUNT(Id) n FROM {SALE}")
    assert (round(total["s"], 6), round(total["m"], 6), total["n"]) == (1505, 1000, 3)
    found = switched.query(f"SELECT {AMOUNT}, CurrencyIsoCode FROM {SALE} ORDER BY External_ID__c")
    assert [(each[AMOUNT], each["CurrencyIsoCode"]) for each in found] == [(28, "USD"), (5, "THB"), (14, "USD")]


def test_unknown_and_inactive_currencies_are_refused(switched: EmulatorProcess) -> None:
    """The codes of active currencies are a restricted picklist."""
    switch(switched, multi_currency=True)
    header = "External_ID__c,Con_Code__c,Preinv_No__c,CurrencyIsoCode"
    job = switched.load(SALE, f"{header}\nx,01,x,XXX\ny,01,y,EUR\n")
    assert job["numberRecordsFailed"] == 2
    assert {"IsoCode": "EUR", "IsActive": False}.items() <= switched.query(
        "SELECT IsoCode, IsActive FROM CurrencyType WHERE IsActive = false"
    )[0].items()
    assert "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST" in switched.result(job, "failedResults")
