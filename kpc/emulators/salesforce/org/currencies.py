"""Currencies of an org with more than one: which there are, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kpc.emulators.salesforce.org.fields import system_fields
from kpc.emulators.salesforce.org.schema import SObject, SObjectField

CURRENCY_FIELD = "CurrencyIsoCode"


@dataclass(frozen=True, slots=True)
class Currency:
    """`rate` is how much of it one unit of the corporate currency buys; records take only what `is_active`."""

    code: str
    rate: Decimal
    places: int = 2
    is_active: bool = True


CORPORATE = Currency("THB", Decimal(1))
USERS_OWN = Currency("USD", Decimal("0.028"))  # of a new record that names none
CURRENCIES = (
    CORPORATE,
    USERS_OWN,
    Currency("JPY", Decimal("4.2"), 0),
    Currency("EUR", Decimal("0.026"), is_active=False),
)


def currency_field() -> SObjectField:
    """What every record of such an org has: the currency of its amounts."""
    codes = tuple(each.code for each in CURRENCIES if each.is_active)
    return SObjectField(CURRENCY_FIELD, "picklist", 3, defaulted=True, picklist=codes, restricted=True)


def currency_type() -> SObject:
    """The object in which such an org lists its currencies; in another org there is none."""
    fields = [
        SObjectField("IsoCode", "picklist", 255, nillable=False, picklist=tuple(each.code for each in CURRENCIES)),
        SObjectField("ConversionRate", "double", precision=18, scale=6, nillable=False),
        SObjectField("DecimalPlaces", "int", nillable=False),
        SObjectField("IsActive", "boolean", nillable=False, defaulted=True),
        SObjectField("IsCorporate", "boolean", nillable=False, defaulted=True),
    ]
    return SObject("CurrencyType", "01L", (*system_fields(owner=False), *fields), "Currency Type", createable=False)


def corporate_sql(amount_sql: str, code_sql: str) -> str:
    """SQL of an amount in the corporate currency; a record without a currency is in that already."""
    rates = " ".join(f"WHEN '{each.code}' THEN {each.rate}" for each in CURRENCIES if each is not CORPORATE)
    return f"({amount_sql} / CASE {code_sql} {rates} ELSE 1 END)"
