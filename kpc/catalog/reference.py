"""Reference tables: a handful of rows each, loaded first."""

from __future__ import annotations

from kpc.catalog.columns import code, email, flag, key_number, key_text, phone, words
from kpc.catalog.table import Table
from kpc.catalog.types import Lookup, Measure, Phase, Pii, TooLong, char, varchar2

POS_SUPPLIER = Table(
    name="KPS_R_POS_SUPPLIER",
    target="KPS_PosSupplier__c",
    phase=Phase.REFERENCE,
    rows_per_year=4,
    key=("POS_SUPPLIER_CODE",),
    columns=(
        key_text("POS_SUPPLIER_CODE", varchar2(3)),
        words("NAME_E", 100, assumed=False),
        words("SHORT_NAME", 60),
        phone("TEL"),
        phone("FAX"),
        words("ADDRESS1", 200, field_length=120, too_long=TooLong.TRUNCATE),
        words("ADDRESS2", 200, field_length=120, too_long=TooLong.TRUNCATE),
        words("CITY", 60, assumed=False),
        code("ZIP_CODE", char(5), assumed=False),
        flag("ACTIVE"),
    ),
    measures=(),
)

EMAIL_SUPPLIER = Table(
    name="KPS_R_EMAIL_SUPPLIER",
    target="KPS_EmailSupplier__c",
    phase=Phase.REFERENCE,
    rows_per_year=4,
    key=("POS_SUPPLIER_CODE", "SEQ"),
    columns=(
        key_text("POS_SUPPLIER_CODE", varchar2(3)),
        key_number("SEQ"),
        words("NAMES", 60, pii=Pii.AS_IS, assumed=False),
        email(),
    ),
    lookups=(Lookup("KPS_R_POS_SUPPLIER", "Pos_Supplier__c", ("POS_SUPPLIER_CODE",)),),
    measures=(Measure("SEQ"),),
)

EMAIL_TENANT = Table(
    name="KPS_R_EMAIL_TENANT",
    target="KPS_EmailTenant__c",
    phase=Phase.REFERENCE,
    rows_per_year=436,
    key=("SHOP_CODE", "SEQ"),
    columns=(
        key_text("SHOP_CODE", varchar2(20), assumed=True),
        key_number("SEQ"),
        email(),
        flag("ACTIVE"),
        flag("CONFFLAG", char(1)),
    ),
    measures=(Measure("SEQ"),),
)

REFERENCE = (POS_SUPPLIER, EMAIL_SUPPLIER, EMAIL_TENANT)
