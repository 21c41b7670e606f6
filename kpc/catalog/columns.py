"""Shorthand for columns that recur in many tables; each function returns a plain `Column`."""

from __future__ import annotations

from kpc.catalog.types import (
    CHECKBOX,
    DATE,
    DAY,
    EMAIL,
    MOMENT,
    PHONE,
    Calendar,
    Column,
    DateFormat,
    NullRule,
    OracleType,
    Pii,
    TooLong,
    char,
    currency,
    decimal,
    number,
    picklist,
    text,
    varchar2,
)


def api_name(column: str) -> str:
    """The Salesforce field name of an Oracle column: `SHOP_CODE` becomes `Shop_Code__c`."""
    return "_".join(word.capitalize() for word in column.split("_")) + "__c"


def key_text(name: str, source: OracleType, *, assumed: bool = False) -> Column:
    """A text column of the natural key."""
    return Column(
        name, source, api_name(name), text(source.size or 255), NullRule.REJECT, nullable=False, assumed=assumed
    )


def key_number(name: str, *, assumed: bool = False) -> Column:
    """A whole number of the natural key; Oracle declares it NUMBER without precision."""
    return Column(name, number(), api_name(name), decimal(18, 0), NullRule.REJECT, nullable=False, assumed=assumed)


def key_day(name: str, date_format: DateFormat = DateFormat.ISO) -> Column:
    """The sale date of the natural key: CHAR(10) in Oracle, a Date field in Salesforce."""
    return Column(
        name, char(10), api_name(name), DAY, NullRule.REJECT, date_format=date_format, nullable=False, assumed=False
    )


def words(
    name: str,
    size: int,
    *,
    field_length: int | None = None,
    too_long: TooLong = TooLong.REJECT,
    pii: Pii | None = None,
    required: bool = False,
    assumed: bool = True,
) -> Column:
    """A VARCHAR2 column that becomes a text field."""
    length = 64 if pii is Pii.HASH else field_length or size
    null = NullRule.REJECT if required else NullRule.KEEP
    return Column(
        name,
        varchar2(size),
        api_name(name),
        text(length),
        null,
        too_long=too_long,
        pii=pii,
        nullable=not required,
        assumed=assumed,
    )


def code(name: str, source: OracleType, *, pii: Pii | None = None, assumed: bool = True) -> Column:
    """A short code kept as text; CHAR padding is trimmed."""
    return Column(name, source, api_name(name), text(source.size or 255), pii=pii, assumed=assumed)


def amount(name: str, *, scale: int = 2, assumed: bool = False) -> Column:
    """Money: NUMBER without precision in Oracle, a currency field that is zero where Oracle has NULL."""
    return Column(name, number(), api_name(name), currency(18, scale), NullRule.ZERO, assumed=assumed)


def quantity(name: str, *, precision: int = 18, scale: int = 4, assumed: bool = False) -> Column:
    """A number that is not money; NULL stays NULL."""
    return Column(name, number(), api_name(name), decimal(precision, scale), assumed=assumed)


def flag(name: str, source: OracleType | None = None, *, assumed: bool = False) -> Column:
    """1/Y/YES/TRUE is true; any other known word is false, and so is NULL, because a checkbox cannot be null."""
    return Column(name, source or number(), api_name(name), CHECKBOX, NullRule.FALSE, assumed=assumed)


def day(
    name: str,
    *,
    date_format: DateFormat = DateFormat.ISO,
    calendar: Calendar = Calendar.GREGORIAN,
    pii: Pii | None = None,
    assumed: bool = True,
) -> Column:
    """A calendar day in CHAR(10)."""
    return Column(
        name, char(10), api_name(name), DAY, date_format=date_format, calendar=calendar, pii=pii, assumed=assumed
    )


def clock_text(
    name: str,
    *,
    date_format: DateFormat = DateFormat.ISO_TIME,
    calendar: Calendar = Calendar.GREGORIAN,
    assumed: bool = False,
) -> Column:
    """A local date and time in CHAR(19); Salesforce holds it in UTC."""
    return Column(name, char(19), api_name(name), MOMENT, date_format=date_format, calendar=calendar, assumed=assumed)


def moment(name: str, *, assumed: bool = True) -> Column:
    """A local date and time in an Oracle DATE; Salesforce holds it in UTC."""
    return Column(name, DATE, api_name(name), MOMENT, assumed=assumed)


def choice(
    name: str, *values: str, default: str, mapping: tuple[tuple[str, str], ...] = (), pii: Pii | None = None
) -> Column:
    """A picklist: `mapping` turns Oracle's codes into labels, NULL becomes `default`."""
    return Column(
        name,
        varchar2(20),
        api_name(name),
        picklist(*values),
        NullRule.DEFAULT,
        default=default,
        picklist_map=mapping,
        pii=pii,
        assumed=True,
    )


def email(name: str = "EMAIL") -> Column:
    return Column(name, varchar2(100), api_name(name), EMAIL, pii=Pii.AS_IS)


def phone(name: str, size: int = 40) -> Column:
    return Column(name, varchar2(size), api_name(name), PHONE, pii=Pii.AS_IS, assumed=True)
