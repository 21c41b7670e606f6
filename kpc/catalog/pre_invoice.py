"""Pre-invoices: one head with its minimum guarantee, revenue guarantee, details and revenue by month and day.

The source documents give only names and row counts; every column here is an assumption that preflight compares with the
live dictionary.
"""

from __future__ import annotations

from kpc.catalog.columns import amount, choice, day, key_number, key_text, moment, quantity, words
from kpc.catalog.table import Table
from kpc.catalog.types import Calendar, DateFormat, Lookup, Measure, Phase, Pii, TooLong, char, varchar2

_HEAD = (key_text("CON_CODE", char(2), assumed=True), key_text("PREINV_NO", varchar2(30), assumed=True))
_HEAD_KEY = ("CON_CODE", "PREINV_NO")
_TO_PREINV = (Lookup("KPS_T_PREINV", "Preinv__c", _HEAD_KEY),)
_STATUS = choice(
    "STATUS",
    "Active",
    "Cancelled",
    "Unknown",
    default="Unknown",
    mapping=(("A", "Active"), ("C", "Cancelled"), ("U", "Unknown")),
)

PREINV = Table(
    name="KPS_T_PREINV",
    target="KPS_Preinv__c",
    phase=Phase.PRE_INVOICE,
    rows_per_year=6_118,
    key=_HEAD_KEY,
    columns=(
        *_HEAD,
        words("SHOP_CODE", 20),
        words("BRANCH_CODE", 20),
        day("PREINV_DATE"),
        day("DUE_DATE", date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST),
        _STATUS,
        amount("AMT_EXC_VAT", assumed=True),
        amount("VAT_AMT", assumed=True),
        amount("AMT_INC_VAT", assumed=True),
        words("REMARK", 500, field_length=255, too_long=TooLong.TRUNCATE, pii=Pii.AS_IS),
        moment("CREATEDDATE"),
        moment("UPDATEDDATE"),
    ),
    measures=(Measure("AMT_EXC_VAT"), Measure("VAT_AMT"), Measure("AMT_INC_VAT")),
    update_column="UPDATEDDATE",
)

PREINV_MIN = Table(
    name="KPS_T_PREINV_MIN",
    target="KPS_PreinvMin__c",
    phase=Phase.PRE_INVOICE,
    rows_per_year=3_098,
    key=(*_HEAD_KEY, "SEQ"),
    columns=(
        *_HEAD,
        key_number("SEQ", assumed=True),
        day("START_DATE"),
        day("END_DATE"),
        amount("MIN_GUARANTEE_AMT", assumed=True),
        quantity("RATE", precision=9, assumed=True),
        moment("CREATEDDATE"),
    ),
    lookups=_TO_PREINV,
    measures=(Measure("MIN_GUARANTEE_AMT"),),
)

PREINV_REVGUA = Table(
    name="KPS_T_PREINV_REVGUA",
    target="KPS_PreinvRevgua__c",
    phase=Phase.PRE_INVOICE,
    rows_per_year=3_020,
    key=(*_HEAD_KEY, "SEQ"),
    columns=(
        *_HEAD,
        key_number("SEQ", assumed=True),
        amount("REVENUE_AMT", assumed=True),
        amount("GUARANTEE_AMT", assumed=True),
        quantity("SHARE_PERCENTAGE", precision=9, assumed=True),
        moment("CREATEDDATE"),
    ),
    lookups=_TO_PREINV,
    measures=(Measure("REVENUE_AMT"), Measure("GUARANTEE_AMT")),
)

PREINV_DETAIL = Table(
    name="KPS_T_PREINV_DETAIL",
    target="KPS_PreinvDetail__c",
    phase=Phase.PRE_INVOICE,
    rows_per_year=6_118,
    key=(*_HEAD_KEY, "SEQ"),
    columns=(
        *_HEAD,
        key_number("SEQ", assumed=True),
        words("DESCRIPTION", 255),
        quantity("QTY", assumed=True),
        amount("UNIT_AMT", assumed=True),
        amount("TOTAL_AMT", assumed=True),
        moment("CREATEDDATE"),
    ),
    lookups=_TO_PREINV,
    measures=(Measure("UNIT_AMT"), Measure("TOTAL_AMT")),
)

PREINV_REVSALES_M = Table(
    name="KPS_T_PREINV_REVSALES_M",
    target="KPS_PreinvRevsalesM__c",
    phase=Phase.PRE_INVOICE,
    rows_per_year=3_093,
    key=(*_HEAD_KEY, "SALE_MONTH"),
    columns=(
        *_HEAD,
        key_text("SALE_MONTH", char(7), assumed=True),
        amount("SALES_AMT", assumed=True),
        amount("REVENUE_AMT", assumed=True),
        moment("CREATEDDATE"),
    ),
    lookups=_TO_PREINV,
    measures=(Measure("SALES_AMT"), Measure("REVENUE_AMT")),
)

PREINV_REVSALES_D = Table(
    name="KPS_T_PREINV_REVSALES_D",
    target="KPS_PreinvRevsalesD__c",
    phase=Phase.PRE_INVOICE,
    rows_per_year=155_830,
    key=(*_HEAD_KEY, "SALE_MONTH", "SEQ"),
    columns=(
        *_HEAD,
        key_text("SALE_MONTH", char(7), assumed=True),
        key_number("SEQ", assumed=True),
        day("SALE_DATE"),
        words("POS_NO", 50),
        amount("SALES_AMT", assumed=True),
        amount("REVENUE_AMT", assumed=True),
        moment("CREATEDDATE"),
    ),
    lookups=(Lookup("KPS_T_PREINV_REVSALES_M", "Preinv_Revsales_M__c", (*_HEAD_KEY, "SALE_MONTH")),),
    measures=(Measure("SALES_AMT"), Measure("REVENUE_AMT")),
)

PRE_INVOICE = (PREINV, PREINV_MIN, PREINV_REVGUA, PREINV_DETAIL, PREINV_REVSALES_M, PREINV_REVSALES_D)
