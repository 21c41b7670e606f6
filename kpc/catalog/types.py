"""What a column's declaration is made of: Oracle's types, Salesforce's field types, and the rules between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

EXTERNAL_ID = "External_ID__c"
PARTITION_FIELD = "Migration_Partition__c"
GENERATION_FIELD = "Migration_Generation__c"
CURRENCY_FIELD = "CurrencyIsoCode"  # of every record, in an org with several currencies
EXTERNAL_ID_LENGTH = 255
BUCKETS = 256  # of a monthly partition (`kpc.convert.buckets`); another number would change every record's marker
MARKERS = f"partition/bucket, {BUCKETS} by the first byte of SHA-256"  # part of the mapping version
KEY_SEPARATOR = "|"
ALL = "ALL"


class Phase(StrEnum):
    """The phases of the migration, in order; a table's parents are never in a later phase."""

    REFERENCE = "reference"
    PRE_INVOICE = "pre-invoice"
    SALES = "sales"

    @property
    def position(self) -> int:
        return list(Phase).index(self)


class OracleKind(StrEnum):
    CHAR = "CHAR"
    VARCHAR2 = "VARCHAR2"
    NVARCHAR2 = "NVARCHAR2"
    NUMBER = "NUMBER"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    TIMESTAMP_TZ = "TIMESTAMP WITH TIME ZONE"
    RAW = "RAW"
    CLOB = "CLOB"


@dataclass(frozen=True, slots=True)
class OracleType:
    """A column's type as Oracle's dictionary describes it.

    `size` is characters for text, bytes for RAW, precision for NUMBER (None: unconstrained), fractional digits for
    the TIMESTAMPs.
    """

    kind: OracleKind
    size: int | None = None
    scale: int | None = None

    @property
    def ddl(self) -> str:
        """The type as CREATE TABLE takes it, e.g. `NUMBER(15,2)` or `VARCHAR2(60 CHAR)`."""
        if self.kind in (OracleKind.DATE, OracleKind.CLOB) or self.size is None:
            return self.kind.value
        if self.kind in (OracleKind.CHAR, OracleKind.VARCHAR2):
            return f"{self.kind.value}({self.size} CHAR)"
        if self.kind is OracleKind.NUMBER and self.scale is not None:
            return f"{self.kind.value}({self.size},{self.scale})"
        if self.kind is OracleKind.TIMESTAMP_TZ:
            return f"TIMESTAMP({self.size}) WITH TIME ZONE"
        return f"{self.kind.value}({self.size})"

    @property
    def is_text(self) -> bool:
        return self.kind in (OracleKind.CHAR, OracleKind.VARCHAR2, OracleKind.NVARCHAR2, OracleKind.CLOB)

    @property
    def is_moment(self) -> bool:
        return self.kind in (OracleKind.DATE, OracleKind.TIMESTAMP, OracleKind.TIMESTAMP_TZ)


def char(size: int) -> OracleType:
    return OracleType(OracleKind.CHAR, size)


def varchar2(size: int) -> OracleType:
    return OracleType(OracleKind.VARCHAR2, size)


def nvarchar2(size: int) -> OracleType:
    return OracleType(OracleKind.NVARCHAR2, size)


def raw(size: int) -> OracleType:
    """Bytes; they are sent as upper-case hexadecimal text."""
    return OracleType(OracleKind.RAW, size)


def number(precision: int | None = None, scale: int | None = None) -> OracleType:
    return OracleType(OracleKind.NUMBER, precision, scale)


def timestamp(digits: int = 6) -> OracleType:
    return OracleType(OracleKind.TIMESTAMP, digits)


def timestamp_tz(digits: int = 6) -> OracleType:
    """A time with its own offset; it is read in UTC."""
    return OracleType(OracleKind.TIMESTAMP_TZ, digits)


DATE = OracleType(OracleKind.DATE)
CLOB = OracleType(OracleKind.CLOB)


class FieldKind(StrEnum):
    """Salesforce field types, by their names in `describe`."""

    STRING = "string"
    TEXTAREA = "textarea"
    PICKLIST = "picklist"
    EMAIL = "email"
    PHONE = "phone"
    DOUBLE = "double"
    CURRENCY = "currency"
    DATE = "date"
    DATETIME = "datetime"
    BOOLEAN = "boolean"


TEXT_KINDS = frozenset(
    {FieldKind.STRING, FieldKind.TEXTAREA, FieldKind.PICKLIST, FieldKind.EMAIL, FieldKind.PHONE},
)
NUMBER_KINDS = frozenset({FieldKind.DOUBLE, FieldKind.CURRENCY})


@dataclass(frozen=True, slots=True)
class FieldType:
    """A target field's type.

    `length` in characters for text; `precision` counts all digits, `scale` those after the point.
    """

    kind: FieldKind
    length: int = 0
    precision: int = 0
    scale: int = 0
    values: tuple[str, ...] = ()  # picklist values

    @property
    def is_text(self) -> bool:
        return self.kind in TEXT_KINDS

    @property
    def is_number(self) -> bool:
        return self.kind in NUMBER_KINDS


def text(length: int) -> FieldType:
    return FieldType(FieldKind.STRING, length=length)


def long_text(length: int = 32_768) -> FieldType:
    return FieldType(FieldKind.TEXTAREA, length=length)


def picklist(*values: str) -> FieldType:
    return FieldType(FieldKind.PICKLIST, length=255, values=values)


def decimal(precision: int = 18, scale: int = 0) -> FieldType:
    return FieldType(FieldKind.DOUBLE, precision=precision, scale=scale)


def currency(precision: int = 18, scale: int = 2) -> FieldType:
    return FieldType(FieldKind.CURRENCY, precision=precision, scale=scale)


EMAIL = FieldType(FieldKind.EMAIL, length=80)
PHONE = FieldType(FieldKind.PHONE, length=40)
DAY = FieldType(FieldKind.DATE)
MOMENT = FieldType(FieldKind.DATETIME)
CHECKBOX = FieldType(FieldKind.BOOLEAN)


class DateFormat(StrEnum):
    """The format of a date in a CHAR column, as an Oracle format model (TO_DATE in the SQL Language Reference)."""

    ISO = "YYYY-MM-DD"
    ISO_TIME = "YYYY-MM-DD HH24:MI:SS"
    DMY = "DD/MM/YYYY"
    DMY_TIME = "DD/MM/YYYY HH24:MI:SS"

    @property
    def length(self) -> int:
        return 19 if self.has_time else 10

    @property
    def has_time(self) -> bool:
        return self in (DateFormat.ISO_TIME, DateFormat.DMY_TIME)

    @property
    def is_day_first(self) -> bool:
        return self in (DateFormat.DMY, DateFormat.DMY_TIME)


class Calendar(StrEnum):
    """The calendar of a CHAR date's year; a Buddhist year is the Gregorian year plus 543."""

    GREGORIAN = "gregorian"
    BUDDHIST = "buddhist"

    @property
    def year_offset(self) -> int:
        return 543 if self is Calendar.BUDDHIST else 0


class NullRule(StrEnum):
    """What a NULL in Oracle becomes."""

    KEEP = "keep"  # `#N/A` in the CSV: an empty cell would leave an older value in place on upsert
    ZERO = "zero"
    DEFAULT = "default"  # Column.default
    FALSE = "false"  # a checkbox cannot be null
    REJECT = "reject"


class TooLong(StrEnum):
    """What happens to a text longer than the target field; both are counted."""

    REJECT = "reject"
    TRUNCATE = "truncate"


class Pii(StrEnum):
    """How a personal value is sent. Every marked column is masked in logs, reject files and Data Docs."""

    AS_IS = "as_is"
    MASK = "mask"  # all but the last four characters become `*`
    HASH = "hash"  # HMAC-SHA256 with the campaign's key, hexadecimal
    LEAVE_OUT = "leave_out"


@dataclass(frozen=True, slots=True)
class Column:
    """One Oracle column and the Salesforce field it becomes.

    `field` is None for a column that is read only as part of a key or lookup. `date_format` and `calendar` are needed
    where a text column becomes a date. `stored_as`: see `kpc.catalog.character_sets`. `assumed` marks what the source
    documents do not state and preflight confirms.
    """

    name: str
    source: OracleType
    field: str | None
    type: FieldType | None
    null: NullRule = NullRule.KEEP
    default: str | None = None
    too_long: TooLong = TooLong.REJECT
    date_format: DateFormat | None = None
    calendar: Calendar = Calendar.GREGORIAN
    pii: Pii | None = None
    picklist_map: tuple[tuple[str, str], ...] = ()
    nullable: bool = True  # in Oracle
    assumed: bool = False
    stored_as: str | None = None

    @property
    def is_sent(self) -> bool:
        return self.field is not None and self.pii is not Pii.LEAVE_OUT

    @property
    def is_required(self) -> bool:
        return self.null is NullRule.REJECT


class OnDelete(StrEnum):
    """What happens to the children of a parent that is deleted, as Setup calls it in the lookup's options."""

    CLEAR = "clear the value of this field"
    RESTRICT = "don't allow deletion"  # the only one of a lookup that is required
    CASCADE = "delete the children"  # a master-detail relationship


@dataclass(frozen=True, slots=True)
class Lookup:
    """A child's reference to its parent, sent as `relationship.External_ID__c`.

    `columns` are the child's columns that form the parent's external id, in the order of the parent's key.
    """

    parent: str  # Oracle table name
    field: str  # e.g. Sale__c
    columns: tuple[str, ...]
    required: bool = True
    on_delete: OnDelete = OnDelete.RESTRICT

    @property
    def locks_parent(self) -> bool:
        """Whether writing a child locks its parent's record, so that two jobs get into each other's way.

        Salesforce locks it unless a deleted parent would only clear the field ("Lookup Field Locking Behavior" in the
        Record Locking Cheat Sheet).
        """
        return self.on_delete is not OnDelete.CLEAR

    @property
    def relationship(self) -> str:
        return self.field.removesuffix("__c") + "__r"

    @property
    def header(self) -> str:
        return f"{self.relationship}.{EXTERNAL_ID}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number column whose sum, average, minimum, maximum and non-null count must agree in source and target.

    `tolerance` is the allowed absolute difference of the sums, as a decimal text; "0" for exact.
    """

    column: str
    tolerance: str = "0"


def key_part_length(column: Column) -> int:
    """The longest text that a key column can contribute to an external id, in characters."""
    if column.date_format is not None:
        return column.date_format.length
    if column.source.kind is OracleKind.NUMBER:
        # NUMBER holds 38 digits (40 with an odd exponent), plus sign, decimal point and a leading zero.
        return (column.source.size or 40) + 3
    if column.source.is_moment:
        return 19
    if column.source.kind is OracleKind.RAW:
        return 2 * (column.source.size or 0)
    return column.source.size or 0
