"""Convert the catalog to the emulators' own schema; the only emulator module that imports the rest of `kpc`."""

from __future__ import annotations

from kpc import catalog
from kpc.catalog.table import Table
from kpc.catalog.types import (
    EXTERNAL_ID,
    EXTERNAL_ID_LENGTH,
    GENERATION_FIELD,
    PARTITION_FIELD,
    Column,
    FieldType,
    Lookup,
    OnDelete,
    OracleType,
    Phase,
    Pii,
    TooLong,
)
from kpc.emulators.schema import (
    ColumnSchema,
    DateText,
    LookupSchema,
    SourceKind,
    SourceType,
    TableSchema,
    TargetKind,
    TargetType,
)

__all__ = ["EXTERNAL_ID", "EXTERNAL_ID_LENGTH", "GENERATION_FIELD", "PARTITION_FIELD", "TABLES", "children"]


def _table(table: Table) -> TableSchema:
    return TableSchema(
        name=table.name,
        target=table.target,
        columns=tuple(_column(column) for column in table.columns),
        key=table.key,
        lookups=tuple(_lookup(lookup) for lookup in table.lookups),
        rows_per_year=table.rows_per_year,
        is_reference=table.phase is Phase.REFERENCE,
        month_column=table.month_column,
    )


def _column(column: Column) -> ColumnSchema:
    return ColumnSchema(
        name=column.name,
        source=_source_type(column.source),
        field=column.field,
        type=_target_type(column.type) if column.type is not None else None,
        nullable=column.nullable,
        is_sent=column.is_sent,
        is_required=column.is_required,
        is_truncated=column.too_long is TooLong.TRUNCATE,
        is_personal=column.pii is not None,
        is_hashed=column.pii is Pii.HASH,
        date_text=DateText(column.date_format.value) if column.date_format is not None else None,
        year_offset=column.calendar.year_offset,
        picklist_codes=tuple(code for code, _ in column.picklist_map),
    )


def _source_type(kind: OracleType) -> SourceType:
    return SourceType(SourceKind(kind.kind.value), kind.ddl, kind.size)


def _target_type(kind: FieldType) -> TargetType:
    return TargetType(TargetKind(kind.kind.value), kind.length, kind.precision, kind.scale, kind.values)


def _lookup(lookup: Lookup) -> LookupSchema:
    return LookupSchema(
        lookup.parent,
        lookup.field,
        lookup.relationship,
        lookup.columns,
        lookup.required,
        is_restricted=lookup.on_delete is OnDelete.RESTRICT,
        is_cascading=lookup.on_delete is OnDelete.CASCADE,
    )


TABLES = {name: _table(table) for name, table in catalog.TABLES.items()}


def children(name: str) -> tuple[TableSchema, ...]:
    """The tables with a lookup to table `name`, in the catalog's order."""
    return tuple(table for table in TABLES.values() if any(lookup.parent == name for lookup in table.lookups))
