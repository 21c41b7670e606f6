"""Checks within one table's declaration; `kpc.catalog` checks the rules between tables."""

from __future__ import annotations

import re
from collections.abc import Callable

from kpc.catalog.character_sets import MOST_BYTES, STORED_AS
from kpc.catalog.declaration import TableDeclaration
from kpc.catalog.types import (
    CURRENCY_FIELD,
    EXTERNAL_ID,
    EXTERNAL_ID_LENGTH,
    GENERATION_FIELD,
    PARTITION_FIELD,
    Column,
    DateFormat,
    FieldKind,
    FieldType,
    NullRule,
    OnDelete,
    OracleKind,
    Pii,
    key_part_length,
)
from kpc.errors import CatalogError

# Longest value of each text field type, in characters (Salesforce object reference, field types).
_TEXT_LIMITS = {
    FieldKind.STRING: 255,
    FieldKind.TEXTAREA: 131_072,
    FieldKind.PICKLIST: 255,
    FieldKind.EMAIL: 80,
    FieldKind.PHONE: 40,
}

_ISO_CODE = re.compile("[A-Z]{3}")  # ISO 4217
_NEVER_NULL = (NullRule.DEFAULT, NullRule.REJECT)

_Wrong = Callable[[str, str], CatalogError]


def check_table(table: TableDeclaration) -> None:
    """Raises `CatalogError` naming table, column and remedy for the first contradiction in a declaration."""
    _check_columns(table)
    _check_key(table)
    _check_references(table)
    _check_lookups(table)
    _check_currency(table)


def _check_currency(table: TableDeclaration) -> None:
    """Either all rows are in one currency, or a column says which one; a row without gets the user's own."""
    columns = [column for column in table.columns if column.field == CURRENCY_FIELD]
    if table.currency is not None and (columns or not _ISO_CODE.fullmatch(table.currency)):
        raise CatalogError(
            f"Table {table.name}: currency {table.currency!r} "
            + ("is declared beside a column that says it." if columns else "is no ISO 4217 code."),
            f"Keep one of both: currency, or the column {columns[0].name}."
            if columns
            else "Write three capital letters, such as THB.",
        )
    for column in columns:
        codes = column.type.values if column.type and column.type.kind is FieldKind.PICKLIST else ()
        if not codes or not all(map(_ISO_CODE.fullmatch, codes)) or column.null not in _NEVER_NULL:
            raise CatalogError(
                f"Table {table.name}, column {column.name}: it becomes {CURRENCY_FIELD}, which takes ISO 4217 codes "
                "and is never null.",
                "Declare picklist(...) of the codes, with NullRule.DEFAULT and a default, or NullRule.REJECT.",
            )


def _check_lookups(table: TableDeclaration) -> None:
    for lookup in table.lookups:
        if lookup.required and lookup.on_delete is OnDelete.CLEAR:
            raise CatalogError(
                f"Table {table.name}, lookup {lookup.field}: a required lookup cannot be cleared with its parent.",
                "Declare required=False, or on_delete=OnDelete.RESTRICT as Salesforce does.",
            )


def _check_columns(table: TableDeclaration) -> None:
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


def _check_column(table: TableDeclaration, column: Column) -> None:
    def wrong(what: str, remedy: str) -> CatalogError:
        return CatalogError(f"Table {table.name}, column {column.name}: {what}.", f"{remedy}.")

    _check_stored_as(table, column, wrong)
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
            "Salesforce numbers have at most 18 digits, including the scale",
        )
    _check_conversion(column, target, wrong)
    _check_null(column, target, wrong)


def _check_stored_as(table: TableDeclaration, column: Column, wrong: _Wrong) -> None:
    """The column is read by UTL_RAW.CAST_TO_RAW, whose RAW ends at 2,000 bytes; ranges of keys compare text."""
    if column.stored_as is None:
        return
    if column.stored_as not in STORED_AS:
        raise wrong(f"{column.stored_as!r} is not a character set", f"Set stored_as to one of {', '.join(STORED_AS)}")
    is_readable = column.source.kind in (OracleKind.CHAR, OracleKind.VARCHAR2) and column.date_format is None
    if not is_readable or (column.source.size or 0) > MOST_BYTES:
        raise wrong(
            f"{column.source.ddl} cannot be read as bytes",
            f"Use stored_as only for CHAR and VARCHAR2 of at most {MOST_BYTES:,} characters that are no date",
        )
    if column.name in table.key and not table.has_rowid:
        raise wrong("a key that bounds ranges cannot be read as bytes", "Leave out stored_as, or read by ROWID")


def _check_conversion(column: Column, target: FieldType, wrong: _Wrong) -> None:
    if target.is_number and column.source.kind is not OracleKind.NUMBER:
        raise wrong(f"{column.source.ddl} cannot become a {target.kind}", "Declare a text field, or NUMBER as source")
    becomes_date = target.kind in (FieldKind.DATE, FieldKind.DATETIME)
    if becomes_date and column.source.is_text and column.date_format is None:
        raise wrong("a text date needs its format", "Set date_format to one of " + ", ".join(DateFormat))
    if becomes_date and column.source.kind is OracleKind.NUMBER:
        raise wrong("a NUMBER cannot become a date", "Declare a number field")
    if column.source.kind is OracleKind.RAW and not target.is_text:
        raise wrong(f"{column.source.ddl} cannot become a {target.kind}", "Declare a text field of twice its size")
    if column.date_format and target.kind is FieldKind.DATETIME and not column.date_format.has_time:
        raise wrong(f"{column.date_format} has no time for a DateTime field", "Use a Date field, or a format with time")
    if column.pii in (Pii.MASK, Pii.HASH) and not target.is_text:
        raise wrong(f"a {target.kind} field cannot be masked or hashed", "Use Pii.AS_IS or Pii.LEAVE_OUT")
    if column.pii is Pii.HASH and target.length < 64:
        raise wrong(f"a keyed hash needs 64 characters, the field has {target.length}", "Declare text(64)")


def _check_null(column: Column, target: FieldType, wrong: _Wrong) -> None:
    if (column.null is NullRule.DEFAULT) != (column.default is not None):
        raise wrong("null rule and default do not match", "Give a default with NullRule.DEFAULT, and only then")
    if target.kind is FieldKind.BOOLEAN and column.null in (NullRule.KEEP, NullRule.ZERO):
        raise wrong("a checkbox cannot be null", "Use NullRule.FALSE or NullRule.REJECT")
    if column.null is NullRule.ZERO and not target.is_number:
        raise wrong(f"a {target.kind} field cannot be zero", "Use NullRule.KEEP, DEFAULT or REJECT")


def _check_key(table: TableDeclaration) -> None:
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


def _check_references(table: TableDeclaration) -> None:
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
                    f"Table {table.name}, column {name}: {role} refers to it, but it is not declared.",
                    f"Declare {name}, or correct the {role}.",
                )
    for column in table.measured_columns:
        if column.type is None or not column.type.is_number or not column.is_sent:
            raise CatalogError(
                f"Table {table.name}, column {column.name}: a measure must be a number that is sent.",
                "Measure a number column, or drop the measure.",
            )
        if column.pii is not None:
            raise CatalogError(
                f"Table {table.name}, column {column.name}: reports and pages show the measures, so none is personal.",
                "Drop the measure: level 3 compares the column all the same.",
            )
    if table.month_column:
        month = table.by_name[table.month_column]
        if month.type is None or month.type.kind is not FieldKind.DATE or month.field != table.day_field:
            raise CatalogError(
                f"Table {table.name}, column {month.name}: month_column must become the Date field {table.day_field}.",
                "Declare its field as a Date and name that field in day_field.",
            )
    _check_source_types(table)


def _check_source_types(table: TableDeclaration) -> None:
    """The Oracle types allowed for the month column, the watermark and key ranges."""
    month, update = table.month_column, table.update_column
    if month and table.by_name[month].source.kind is OracleKind.TIMESTAMP_TZ:
        raise CatalogError(
            f"Table {table.name}, column {month}: a time with its own time zone has no fixed local month.",
            "Partition by a DATE, a TIMESTAMP or a text date.",
        )
    kinds = {column.source.kind for column in table.change_columns}
    if len(kinds) > 1 or not all(column.source.is_moment for column in table.change_columns):
        raise CatalogError(
            f"Table {table.name}, column {update}: update_column and created_column must be DATE, or TIMESTAMP of one "
            "kind.",
            "Drop them; the whole table is then read each time.",
        )
    if table.created_column and not update:
        raise CatalogError(
            f"Table {table.name}, column {table.created_column}: created_column has no effect without update_column.",
            "Name the update_column, or drop created_column.",
        )
    unordered = [c for c in table.key_columns if c.source.kind in (OracleKind.CLOB, OracleKind.TIMESTAMP_TZ)]
    if unordered and not table.has_rowid:
        raise CatalogError(
            f"Table {table.name}, column {unordered[0].name}: {unordered[0].source.ddl} cannot bound a range of keys.",
            "Without ROWIDs the key must consist of text, numbers, DATE, TIMESTAMP or RAW.",
        )
