"""The org's objects against the catalog: every difference is known before quota is spent."""

from __future__ import annotations

from kpc.catalog import TABLES, find_table
from kpc.load.target_schema import check_object, differences
from kpc.salesforce import connect
from kpc.settings import SalesforceSettings

KEY = "External_ID__c"


def test_catalog_fits_the_org(salesforce: SalesforceSettings) -> None:
    """All 16 objects are as the catalog declares them."""
    client = connect(salesforce)
    for table in TABLES.values():
        check_object(client, table)


def test_every_difference_of_an_object_is_listed(salesforce: SalesforceSettings) -> None:
    """A missing, narrow, mistyped, read-only or unserved field each gets its line."""
    table = find_table("KPS_R_POS_SUPPLIER")
    description = connect(salesforce).describe(table.target)
    fields = {field["name"]: field for field in description["fields"]}
    fields["Name_E__c"]["length"] = 10
    fields["City__c"]["type"] = "double"
    fields["Address1__c"]["updateable"] = False
    fields[KEY]["externalId"] = False
    fields["Name"] |= {"nillable": False, "defaultedOnCreate": False}
    description["fields"] = [field for name, field in fields.items() if name != "Fax__c"]
    assert sorted(differences(table, description)) == [
        "Address1__c: the integration user may not write it (updateable is false)",
        "City__c: is double, the catalog says string",
        "External_ID__c: is not an External ID",
        "Fax__c: missing (phone)",
        "Name: is required by the org and not sent",
        "Name_E__c: holds 10 characters, 100 are needed",
    ]


def test_an_org_with_several_currencies_is_refused_until_the_catalog_says_which(salesforce: SalesforceSettings) -> None:
    """Every record of such an org has a currency; amounts without one would be taken for the user's own."""
    table, without_amounts = find_table("KPS_T_SALESPAY_MD"), find_table("KPS_R_POS_SUPPLIER")
    client = connect(salesforce)
    currency = {"name": "CurrencyIsoCode", "type": "picklist", "createable": True, "updateable": True, "nillable": True}
    description = client.describe(table.target)
    description["fields"].append(currency)
    assert list(differences(table, description)) == [
        "CurrencyIsoCode: the org has several currencies, and the catalog does not say in which one Pay_Amt__c are"
    ]
    description = client.describe(without_amounts.target)
    description["fields"].append(currency)
    assert list(differences(without_amounts, description)) == []
