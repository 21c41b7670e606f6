"""The words in which a table is declared: what it is called, what its columns become, and what proves it arrived.

One `Table` is the only place that knows a table. From it follow the SELECT, the chunk plan, the CSV header, the
expectation suite, the upsert target, the load order, the four assets, the DAGs and the emulators' schemas.
Declarations are checked when they are made; a mistake is a `CatalogError` that names table, column and remedy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property

from kpc.errors import CatalogError

EXTERNAL_ID = "External_ID__c"
PARTITION_FIELD = "Migration_Partition__c"
GENERATION_FIELD = "Migration_Generation__c"
EXTERNAL_ID_LENGTH = 255
_WITHOUT_EFFECT_ON_ROWS = frozenset({"rows_per_year", "sessions", "parallel_degree", "chunk_degree"})
KEY_SEPARATOR = "|"
ALL = "ALL"


class Phase(StrEnum):
    """The order of the campaign; a table's parents are never in a later phase."""

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
    """Bytes; they travel as upper-case hexadecimal text."""
    return OracleType(OracleKind.RAW, size)


def number(precision: int | None = None, scale: int | None = None) -> OracleType:
    return OracleType(OracleKind.NUMBER, precision, scale)


def timestamp(digits: int = 6) -> OracleType:
    return OracleType(OracleKind.TIMESTAMP, digits)


def timestamp_tz(digits: int = 6) -> OracleType:
    """A moment with its own offset; it is read as the UTC moment that it names."""
    return OracleType(OracleKind.TIMESTAMP_TZ, digits)


DATE = OracleType(OracleKind.DATE)
CLOB = OracleType(OracleKind.CLOB)


class FieldKind(StrEnum):
    """Salesforce field types, by the name that `describe` gives them."""

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

# Longest value of each text field type, in characters (Salesforce object reference, field types).
_TEXT_LIMITS = {
    FieldKind.STRING: 255,
    FieldKind.TEXTAREA: 131_072,
    FieldKind.PICKLIST: 255,
    FieldKind.EMAIL: 80,
    FieldKind.PHONE: 40,
}


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
    """How a CHAR column spells a date, in Oracle's own format words (TO_DATE of the SQL Language Reference)."""

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
    """Whose years a CHAR date counts; a Buddhist year is the Gregorian one plus 543."""

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
    FALSE = "false"  # a checkbox has no null
    REJECT = "reject"


class TooLong(StrEnum):
    """What happens to a text longer than the target field; both are counted."""

    REJECT = "reject"
    TRUNCATE = "truncate"


class Pii(StrEnum):
    """How a personal value travels. Every marked column is masked in logs, reject files and Data Docs."""

    AS_IS = "as_is"
    MASK = "mask"  # all but the last four characters become `*`
    HASH = "hash"  # HMAC-SHA256 with the campaign's key, hexadecimal
    LEAVE_OUT = "leave_out"


@dataclass(frozen=True, slots=True)
class Column:
    """One Oracle column and the Salesforce field it becomes.

    `field` is None for a column that is read only as part of a key or lookup. `date_format` and `calendar` are needed
    where a text column becomes a date. `assumed` marks what the source documents do not say and preflight confirms.
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

    @property
    def is_sent(self) -> bool:
        return self.field is not None and self.pii is not Pii.LEAVE_OUT

    @property
    def is_required(self) -> bool:
        return self.null is NullRule.REJECT


@dataclass(frozen=True, slots=True)
class Lookup:
    """A child's reference to its parent, sent as `relationship.External_ID__c`.

    `columns` are the child's columns that spell the parent's external id, in the order of the parent's key.
    """

    parent: str  # Oracle table name
    field: str  # e.g. Sale__c
    columns: tuple[str, ...]
    required: bool = True

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


@dataclass(frozen=True, eq=False)
class Table:
    """One Oracle table, the Salesforce object it becomes, and how it travels."""

    name: str
    target: str
    phase: Phase
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows_per_year: int
    measures: tuple[Measure, ...]
    lookups: tuple[Lookup, ...] = ()
    month_column: str | None = None  # partitioned by the local calendar month of this column; None: one partition, ALL
    day_field: str | None = None  # the target Date field of month_column
    update_column: str | None = None  # set by the source whenever a row changes; incremental reads go by it
    created_column: str | None = None  # counts where update_column is NULL: a row that never changed
    chunk_rows: int = 500_000
    sessions: int = 1  # that read one partition at the same time; each takes a slot of the extract pool
    parallel_degree: int = 1  # of the statements that pass over the whole table: truth, plan, keys
    chunk_degree: int = 1  # of the scans of single chunks, which run side by side already
    has_rowid: bool = True  # False for a view or an index-organized table: chunks are ranges of the key instead

    def __post_init__(self) -> None:
        _check(self)

    @property
    def slug(self) -> str:
        """The table's name in assets, DAG ids and paths."""
        return self.name.lower()

    @property
    def is_monthly(self) -> bool:
        return self.month_column is not None

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def sent_columns(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_sent)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_name[name] for name in self.key)

    @cached_property
    def change_columns(self) -> tuple[Column, ...]:
        """The columns that tell when a row last changed; the first that is not NULL counts. Empty: nothing tells."""
        return tuple(self.by_name[name] for name in (self.update_column, self.created_column) if name)

    @cached_property
    def measured_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_name[measure.column] for measure in self.measures)

    @cached_property
    def data_header(self) -> tuple[str, ...]:
        """The CSV columns that carry data, in order: external id, lookups, fields. Checksums cover exactly these."""
        lookups = (lookup.header for lookup in self.lookups)
        return (EXTERNAL_ID, *lookups, *(column.field or "" for column in self.sent_columns))

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The whole CSV header: the data and the two markers."""
        return (*self.data_header, PARTITION_FIELD, GENERATION_FIELD)

    @cached_property
    def declaration(self) -> dict[str, object]:
        """The table as plain JSON data, complete enough to know later how a row was mapped.

        How hard Oracle is worked is left out: it changes no row.
        """
        return {name: value for name, value in asdict(self).items() if name not in _WITHOUT_EFFECT_ON_ROWS}

    @cached_property
    def mapping_version(self) -> str:
        """sha256 of the declaration, hexadecimal: what was staged under one version is staged alike."""
        canonical = json.dumps(self.declaration, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def external_id_version(self) -> str:
        """Hash of how the external id is composed; it may not change while the target holds rows of the old one."""
        parts = [(c.name, c.source.ddl, c.date_format, c.calendar) for c in self.key_columns]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def key_part_length(column: Column) -> int:
    """The longest text that a key column can contribute to an external id, in characters."""
    if column.date_format is not None:
        return column.date_format.length
    if column.source.kind is OracleKind.NUMBER:
        # NUMBER holds 38 digits (40 in the odd exponent); with sign, point and a leading zero.
        return (column.source.size or 40) + 3
    if column.source.is_moment:
        return 19
    if column.source.kind is OracleKind.RAW:
        return 2 * (column.source.size or 0)
    return column.source.size or 0


_Wrong = Callable[[str, str], CatalogError]


def _check(table: Table) -> None:
    _check_columns(table)
    _check_key(table)
    _check_references(table)


def _check_columns(table: Table) -> None:
    names = [column.name for column in table.columns]
    fields = [column.field for column in table.columns if column.field]
    fields += [lookup.field for lookup in table.lookups]
    fields += [EXTERNAL_ID, PARTITION_FIELD, GENERATION_FIELD]
    for kind, values in (("column", names), ("field", fields)):
        twice = {value for value in values if values.count(value) > 1}
        if twice:
            raise CatalogError(
                f"Table {table.name} declares {kind} {', '.join(sorted(twice))} more than once.",
                f"Keep one declaration of it in kpc/catalog ({table.phase}).",
            )
    for column in table.columns:
        _check_column(table, column)


def _check_column(table: Table, column: Column) -> None:
    def wrong(what: str, remedy: str) -> CatalogError:
        return CatalogError(f"Table {table.name}, column {column.name}: {what}.", f"{remedy}.")

    target = column.type
    if (column.field is None) != (target is None):
        raise wrong("field and type must be given together", "Give both, or neither for a column used only in a key")
    if target is None:
        return
    if target.is_text and not 0 < target.length <= _TEXT_LIMITS[target.kind]:
        limit = _TEXT_LIMITS[target.kind]
        raise wrong(f"a {target.kind} field of {target.length} characters is not legal", f"Choose 1 to {limit}")
    if target.is_number and not (0 < target.precision <= 18 and 0 <= target.scale <= target.precision):
        raise wrong(
            f"a {target.kind} field with precision {target.precision} and scale {target.scale} is not legal",
            "Salesforce numbers have at most 18 digits, the scale among them",
        )
    _check_conversion(column, target, wrong)
    _check_null(column, target, wrong)


def _check_conversion(column: Column, target: FieldType, wrong: _Wrong) -> None:
    if target.is_number and column.source.kind is not OracleKind.NUMBER:
        raise wrong(f"{column.source.ddl} does not become a {target.kind}", "Declare a text field, or NUMBER as source")
    becomes_date = target.kind in (FieldKind.DATE, FieldKind.DATETIME)
    if becomes_date and column.source.is_text and column.date_format is None:
        raise wrong("a text date needs its format", "Set date_format to one of " + ", ".join(DateFormat))
    if becomes_date and column.source.kind is OracleKind.NUMBER:
        raise wrong("a NUMBER does not become a date", "Declare a number field")
    if column.source.kind is OracleKind.RAW and not target.is_text:
        raise wrong(f"{column.source.ddl} does not become a {target.kind}", "Declare a text field of twice its size")
    if column.date_format and target.kind is FieldKind.DATETIME and not column.date_format.has_time:
        raise wrong(f"{column.date_format} has no time for a DateTime field", "Use a Date field, or a format with time")
    if column.pii in (Pii.MASK, Pii.HASH) and not target.is_text:
        raise wrong(f"a {target.kind} field cannot be masked or hashed", "Use Pii.AS_IS or Pii.LEAVE_OUT")
    if column.pii is Pii.HASH and target.length < 64:
        raise wrong(f"a keyed hash needs 64 characters, the field has {target.length}", "Declare text(64)")


def _check_null(column: Column, target: FieldType, wrong: _Wrong) -> None:
    if (column.null is NullRule.DEFAULT) != (column.default is not None):
        raise wrong("null rule and default do not match", "A default goes with NullRule.DEFAULT, and only with it")
    if target.kind is FieldKind.BOOLEAN and column.null in (NullRule.KEEP, NullRule.ZERO):
        raise wrong("a checkbox has no null", "Use NullRule.FALSE or NullRule.REJECT")
    if column.null is NullRule.ZERO and not target.is_number:
        raise wrong(f"a {target.kind} field has no zero", "Use NullRule.KEEP, DEFAULT or REJECT")


def _check_key(table: Table) -> None:
    if not table.key:
        raise CatalogError(f"Table {table.name} has no key.", "Name the columns that identify a row.")
    for name in table.key:
        if name not in table.by_name:
            raise CatalogError(
                f"Table {table.name}, column {name}: it is in the key but not declared.",
                "Declare the column, or take it out of the key.",
            )
    length = sum(key_part_length(column) for column in table.key_columns) + len(table.key) - 1
    if length > EXTERNAL_ID_LENGTH:
        raise CatalogError(
            f"Table {table.name}, columns {', '.join(table.key)}: the external id can be {length} characters long.",
            f"Salesforce allows {EXTERNAL_ID_LENGTH}; declare shorter sources or a shorter key.",
        )


def _check_references(table: Table) -> None:
    used = {
        "measure": [measure.column for measure in table.measures],
        "month_column": [table.month_column] if table.month_column else [],
        "update_column": [table.update_column] if table.update_column else [],
        "created_column": [table.created_column] if table.created_column else [],
        **{f"lookup {lookup.field}": list(lookup.columns) for lookup in table.lookups},
    }
    for role, names in used.items():
        for name in names:
            if name not in table.by_name:
                raise CatalogError(
                    f"Table {table.name}, column {name}: {role} names it, but it is not declared.",
                    f"Declare {name}, or correct the {role}.",
                )
    for column in table.measured_columns:
        if column.type is None or not column.type.is_number or not column.is_sent:
            raise CatalogError(
                f"Table {table.name}, column {column.name}: a measure must be a number that is sent.",
                "Measure a number column, or drop the measure.",
            )
    if table.month_column:
        month = table.by_name[table.month_column]
        if month.type is None or month.type.kind is not FieldKind.DATE or month.field != table.day_field:
            raise CatalogError(
                f"Table {table.name}, column {month.name}: month_column must become the Date field {table.day_field}.",
                "Declare its field as a Date and name that field in day_field.",
            )
    _check_source_types(table)


def _check_source_types(table: Table) -> None:
    """What a column must be in Oracle to serve as month, watermark or range of keys."""
    month, update = table.month_column, table.update_column
    if month and table.by_name[month].source.kind is OracleKind.TIMESTAMP_TZ:
        raise CatalogError(
            f"Table {table.name}, column {month}: a moment with a time zone names no local month by itself.",
            "Partition by a DATE, a TIMESTAMP or a text date.",
        )
    kinds = {column.source.kind for column in table.change_columns}
    if len(kinds) > 1 or not all(column.source.is_moment for column in table.change_columns):
        raise CatalogError(
            f"Table {table.name}, column {update}: update_column and created_column must be DATE, or TIMESTAMP of one "
            "kind.",
            "Drop them; the table is then read whole each time.",
        )
    if table.created_column and not update:
        raise CatalogError(
            f"Table {table.name}, column {table.created_column}: created_column counts only beside an update_column.",
            "Name the update_column, or drop created_column.",
        )
    unordered = [c for c in table.key_columns if c.source.kind in (OracleKind.CLOB, OracleKind.TIMESTAMP_TZ)]
    if unordered and not table.has_rowid:
        raise CatalogError(
            f"Table {table.name}, column {unordered[0].name}: {unordered[0].source.ddl} cannot bound a range of keys.",
            "Without ROWIDs the key must consist of text, numbers, DATE, TIMESTAMP or RAW.",
        )
