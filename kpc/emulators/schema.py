"""The tables and objects that the emulators hold, as plain types that `catalog_schema` fills in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class SourceKind(StrEnum):
    """Oracle's data types, as CREATE TABLE spells them."""

    CHAR = "CHAR"
    VARCHAR2 = "VARCHAR2"
    NVARCHAR2 = "NVARCHAR2"
    NUMBER = "NUMBER"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    TIMESTAMP_TZ = "TIMESTAMP WITH TIME ZONE"
    RAW = "RAW"
    CLOB = "CLOB"


class TargetKind(StrEnum):
    """Salesforce's field types, as `describe` spells them."""

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


class DateText(StrEnum):
    """The date format of a CHAR column, as an Oracle format model."""

    ISO = "YYYY-MM-DD"
    ISO_TIME = "YYYY-MM-DD HH24:MI:SS"
    DMY = "DD/MM/YYYY"
    DMY_TIME = "DD/MM/YYYY HH24:MI:SS"

    @property
    def length(self) -> int:
        return 19 if self.has_time else 10

    @property
    def has_time(self) -> bool:
        return self in (DateText.ISO_TIME, DateText.DMY_TIME)


@dataclass(frozen=True, slots=True)
class SourceType:
    """`size` is characters for text, bytes for RAW, precision for NUMBER; `ddl` the type as CREATE TABLE takes it."""

    kind: SourceKind
    ddl: str
    size: int | None = None

    @property
    def is_text(self) -> bool:
        return self.kind in (SourceKind.CHAR, SourceKind.VARCHAR2, SourceKind.NVARCHAR2, SourceKind.CLOB)


@dataclass(frozen=True, slots=True)
class TargetType:
    """`length` in characters for text; `precision` counts all digits, `scale` those after the point."""

    kind: TargetKind
    length: int = 0
    precision: int = 0
    scale: int = 0
    values: tuple[str, ...] = ()  # of a picklist

    @property
    def is_text(self) -> bool:
        return self.kind in (
            TargetKind.STRING,
            TargetKind.TEXTAREA,
            TargetKind.PICKLIST,
            TargetKind.EMAIL,
            TargetKind.PHONE,
        )

    @property
    def is_number(self) -> bool:
        return self.kind in (TargetKind.DOUBLE, TargetKind.CURRENCY)


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """One Oracle column, and the Salesforce field that it is migrated to.

    `field` is None for a column without a field. `is_sent` tells whether its values reach the org, `is_required`
    whether a row without a value is rejected, `is_truncated` whether a text that is too long is cut instead of
    rejected. `date_text` is the spelling of a date in a CHAR column, and `year_offset` what its years count above the
    Gregorian ones.
    """

    name: str
    source: SourceType
    field: str | None
    type: TargetType | None
    nullable: bool
    is_sent: bool
    is_required: bool
    is_truncated: bool
    is_personal: bool
    is_hashed: bool
    date_text: DateText | None
    year_offset: int
    picklist_codes: tuple[str, ...]  # in Oracle


@dataclass(frozen=True, slots=True)
class LookupSchema:
    """A child's reference: `columns` hold the key of `parent` (a table's name), `field` refers to its object.

    Deleting a parent is refused (`is_restricted`), deletes its children (`is_cascading`), or clears the field.
    """

    parent: str
    field: str
    relationship: str
    columns: tuple[str, ...]
    is_required: bool
    is_restricted: bool
    is_cascading: bool


@dataclass(frozen=True, eq=False)
class TableSchema:
    """One Oracle table and the Salesforce object that it is migrated to (`target`)."""

    name: str
    target: str
    columns: tuple[ColumnSchema, ...]
    key: tuple[str, ...]
    lookups: tuple[LookupSchema, ...]
    rows_per_year: int
    is_reference: bool
    month_column: str | None  # the table is split by the month of this column

    @property
    def is_monthly(self) -> bool:
        return self.month_column is not None

    @cached_property
    def by_name(self) -> dict[str, ColumnSchema]:
        return {column.name: column for column in self.columns}

    @cached_property
    def sent_columns(self) -> tuple[ColumnSchema, ...]:
        return tuple(column for column in self.columns if column.is_sent)

    @cached_property
    def key_columns(self) -> tuple[ColumnSchema, ...]:
        return tuple(self.by_name[name] for name in self.key)
