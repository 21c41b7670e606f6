"""Sales: the header, its lines and payments by month, and four smaller tables.

Headers, lines and payments share the key columns of the sale; a line or payment adds SEQ and is loaded after its
month's headers. Column names of KPS_T_SALES_M and KPS_T_SALES_MD come from the source documents, and so does NUMBER
without precision; lengths and formats marked `assumed` are ours.
"""

from __future__ import annotations

from kpc.catalog.columns import (
    amount,
    choice,
    clock_text,
    code,
    day,
    key_day,
    key_number,
    key_text,
    moment,
    quantity,
    words,
)
from kpc.catalog.table import Table
from kpc.catalog.types import Calendar, DateFormat, Lookup, Measure, Phase, Pii, TooLong, char, varchar2

_SALE = (
    key_text("CON_CODE", char(2)),
    key_text("SHOP_CODE", varchar2(20)),
    key_text("BRANCH_CODE", varchar2(20)),
    key_text("POS_NO", varchar2(50)),
    key_text("SALE_NO", varchar2(50)),
    key_day("SALE_DATE"),
)
_SALE_KEY = ("CON_CODE", "SHOP_CODE", "BRANCH_CODE", "POS_NO", "SALE_NO", "SALE_DATE")
_TO_SALE = (Lookup("KPS_T_SALES_M", "Sale__c", _SALE_KEY),)

SALES_M = Table(
    name="KPS_T_SALES_M",
    target="KPS_SalesM__c",
    phase=Phase.SALES,
    rows_per_year=36_164_974,
    key=_SALE_KEY,
    month_column="SALE_DATE",
    day_field="Sale_Date__c",
    sessions=4,
    parallel_degree=4,
    columns=(
        *_SALE,
        quantity("SALE_TYPE", precision=9, scale=0),
        quantity("SHIFT_NO", precision=9, scale=0),
        clock_text("DOC_DATE"),
        clock_text("CREATE_DATE", date_format=DateFormat.DMY_TIME, calendar=Calendar.BUDDHIST),
        clock_text("TRANS_DATE"),
        quantity("VAT_TYPE", precision=9, scale=0),
        amount("VAT_AMT"),
        amount("AMT_EXC_VAT"),
        amount("AMT_INC_VAT"),
        amount("EXTRA_DISC_VAT_AMT"),
        amount("EXTRA_DISC_AMT_EXC_VAT"),
        amount("EXTRA_DISC_AMT_INC_VAT"),
        quantity("DISC_AVG_PERCENTAGE", precision=9),
        quantity("SERVICE_CHARGE_TYPE", precision=9, scale=0),
        amount("SERVICE_CHARGE_EXC_VAT"),
        amount("SERVICE_CHARGE_VAT"),
        amount("SERVICE_CHARGE_INC_VAT"),
        amount("NET_EXC_VAT"),
        amount("NET_VAT"),
        amount("NET_INC_VAT"),
        words("MEMBER_ID", 30, pii=Pii.AS_IS),
        words("SVC_ID", 30, pii=Pii.AS_IS),
        words("NAME", 200, pii=Pii.AS_IS),
        words("FLIGHT_NO", 20, pii=Pii.AS_IS),
        day("FLIGHT_DATE", date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST, pii=Pii.AS_IS),
        code("NATION_CODE", char(3), pii=Pii.AS_IS),
        words("PASSPORT_NO", 30, pii=Pii.HASH),
        day("BIRTH_DATE", pii=Pii.LEAVE_OUT),
        choice(
            "SEX",
            "Male",
            "Female",
            "Unknown",
            default="Unknown",
            mapping=(("M", "Male"), ("F", "Female")),
            pii=Pii.AS_IS,
        ),
        words("VOID_REASON", 300, field_length=255, too_long=TooLong.TRUNCATE, pii=Pii.AS_IS),
        words("CANCEL_TAX_INVOICE", 50),
        day("CANCEL_TAX_INVOICE_DATE"),
        words("RC_CODE", 20),
    ),
    measures=(
        Measure("AMT_EXC_VAT"),
        Measure("VAT_AMT"),
        Measure("AMT_INC_VAT"),
        Measure("NET_EXC_VAT"),
        Measure("NET_VAT"),
        Measure("NET_INC_VAT"),
    ),
)

_LINE_AMOUNTS = (
    "AOT_PRICE_EXC_VAT",
    "AOT_PRICE_INC_VAT",
    "UNIT_AMT_EXC_VAT",
    "UNIT_AMT_VAT",
    "UNIT_AMT_INC_VAT",
    "UNIT_DISC_AMT_EXC_VAT",
    "UNIT_DISC_VAT_AMT",
    "UNIT_DISC_INC_VAT_AMT",
    "UNIT_NET_AMT_EXC_VAT",
    "UNIT_NET_AMT_VAT",
    "UNIT_NET_AMT_INC_VAT",
    "TOTAL_AMT_EXC_VAT",
    "TOTAL_AMT_VAT",
    "TOTAL_AMT_INC_VAT",
    "TOTAL_DISC_AMT_EXC_VAT",
    "TOTAL_DISC_VAT_AMT",
    "TOTAL_DISC_AMT_INC_VAT",
    "TOTAL_NET_AMT_EXC_VAT",
    "TOTAL_NET_AMT_VAT",
    "TOTAL_NET_AMT_INC_VAT",
    "TOTAL_DISPLAY_AMT",
)

SALES_MD = Table(
    name="KPS_T_SALES_MD",
    target="KPS_Sales__c",
    phase=Phase.SALES,
    rows_per_year=86_957_568,
    key=(*_SALE_KEY, "SEQ"),
    month_column="SALE_DATE",
    day_field="Sale_Date__c",
    sessions=4,
    parallel_degree=4,
    columns=(
        *_SALE,
        key_number("SEQ"),
        words("PROD_SERV_CODE", 100, assumed=False),
        quantity("PROD_SERV_QTY"),
        amount("AMT_EXC_VAT"),
        amount("AMT_INC_VAT"),
        quantity("VAT_RATE", precision=9),
        amount("VAT_AMT"),
        quantity("SALE_TYPE", precision=9, scale=0),
        quantity("UNIT_DISC_PERCENTAGE", precision=9),
        *(amount(name) for name in _LINE_AMOUNTS),
        moment("CREATEDDATE", assumed=False),
        moment("UPDATEDDATE", assumed=False),
    ),
    lookups=_TO_SALE,
    measures=(
        Measure("PROD_SERV_QTY"),
        Measure("AMT_EXC_VAT"),
        Measure("AMT_INC_VAT"),
        Measure("VAT_AMT"),
        Measure("TOTAL_NET_AMT_EXC_VAT"),
        Measure("TOTAL_NET_AMT_VAT"),
        Measure("TOTAL_NET_AMT_INC_VAT"),
    ),
    update_column="UPDATEDDATE",
    created_column="CREATEDDATE",
)

SALESPAY_MD = Table(
    name="KPS_T_SALESPAY_MD",
    target="KPS_SalesPay__c",
    phase=Phase.SALES,
    rows_per_year=36_461_318,
    key=(*_SALE_KEY, "SEQ"),
    month_column="SALE_DATE",
    day_field="Sale_Date__c",
    sessions=4,
    parallel_degree=4,
    columns=(
        *_SALE,
        key_number("SEQ"),
        words("PAYMENT_METHOD", 30),
        amount("PAY_AMT", assumed=True),
        code("CURRENCY_CODE", char(3)),
        words("CARD_NO", 30, pii=Pii.MASK),
        moment("CREATEDDATE"),
    ),
    lookups=_TO_SALE,
    measures=(Measure("PAY_AMT"),),
)

SALESBANK_MD = Table(
    name="KPS_T_SALESBANK_MD",
    target="KPS_SalesBank__c",
    phase=Phase.SALES,
    rows_per_year=164_120,
    key=(*_SALE_KEY, "SEQ"),
    columns=(
        *_SALE,
        key_number("SEQ"),
        code("CURRENCY_CODE", char(3)),
        quantity("EXCHANGE_RATE", precision=18, scale=6, assumed=True),
        amount("FOREIGN_AMT", assumed=True),
        amount("BAHT_AMT", assumed=True),
        moment("CREATEDDATE"),
    ),
    measures=(Measure("FOREIGN_AMT"), Measure("BAHT_AMT")),
)

_APPROVAL_KEY = ("CON_CODE", "SHOP_CODE", "APPRV_NO")
_APPROVAL = (
    key_text("CON_CODE", char(2), assumed=True),
    key_text("SHOP_CODE", varchar2(20), assumed=True),
    key_text("APPRV_NO", varchar2(30), assumed=True),
)

SALES_APPRV = Table(
    name="KPS_T_SALES_APPRV",
    target="KPS_SalesApprv__c",
    phase=Phase.SALES,
    rows_per_year=44_560,
    key=_APPROVAL_KEY,
    columns=(
        *_APPROVAL,
        day("APPRV_DATE", date_format=DateFormat.DMY),
        choice(
            "STATUS",
            "Approved",
            "Rejected",
            "Pending",
            "Unknown",
            default="Unknown",
            mapping=(("A", "Approved"), ("R", "Rejected"), ("P", "Pending")),
        ),
        words("APPRV_BY", 100, pii=Pii.AS_IS),
        amount("TOTAL_AMT", assumed=True),
        moment("CREATEDDATE"),
    ),
    measures=(Measure("TOTAL_AMT"),),
)

SALES_APPRV_DETAIL = Table(
    name="KPS_T_SALES_APPRV_DETAIL",
    target="KPS_SalesApprvDetail__c",
    phase=Phase.SALES,
    rows_per_year=178_716,
    key=(*_APPROVAL_KEY, "SEQ"),
    columns=(
        *_APPROVAL,
        key_number("SEQ", assumed=True),
        words("PROD_SERV_CODE", 100),
        quantity("QTY", assumed=True),
        amount("AMT", assumed=True),
        moment("CREATEDDATE"),
    ),
    lookups=(Lookup("KPS_T_SALES_APPRV", "Sales_Apprv__c", _APPROVAL_KEY),),
    measures=(Measure("QTY"), Measure("AMT")),
)

WEB_SALES = Table(
    name="KPS_WEB_SALES",
    target="KPS_WebSales__c",
    phase=Phase.SALES,
    rows_per_year=13_882,
    key=("ORDER_NO",),
    columns=(
        key_text("ORDER_NO", varchar2(50), assumed=True),
        clock_text("ORDER_DATE", date_format=DateFormat.DMY_TIME, assumed=True),
        words("CUSTOMER_NAME", 200, pii=Pii.AS_IS),
        words("EMAIL", 100, field_length=100, pii=Pii.HASH),
        choice("CHANNEL", "Web", "Mobile", "Unknown", default="Unknown", mapping=(("W", "Web"), ("M", "Mobile"))),
        amount("TOTAL_AMT", assumed=True),
        amount("VAT_AMT", assumed=True),
        moment("CREATEDDATE"),
        moment("UPDATEDDATE"),
    ),
    measures=(Measure("TOTAL_AMT"), Measure("VAT_AMT")),
    update_column="UPDATEDDATE",
    created_column="CREATEDDATE",
)

SALES = (SALES_M, SALES_MD, SALESPAY_MD, SALESBANK_MD, SALES_APPRV, SALES_APPRV_DETAIL, WEB_SALES)
