"""Comparing the live table with the catalog (columns, types, lengths) before a row is read."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from kpc.catalog.table import Table
from kpc.catalog.types import Column, OracleKind
from kpc.convert.numbers import WIDEST
from kpc.errors import SchemaDrift
from kpc.extract.number_reading import read_scale
from kpc.oracle.session import DictionaryColumn, Oracle, ReadSession
from kpc.reconcile.second_opinion.digest_layout import compared_columns
from kpc.reconcile.second_opinion.row_sql import OPINION

_ARROW = {
    OracleKind.CHAR: pa.string(),
    OracleKind.VARCHAR2: pa.string(),
    OracleKind.NVARCHAR2: pa.string(),
    OracleKind.CLOB: pa.large_string(),
    OracleKind.RAW: pa.binary(),
    OracleKind.DATE: pa.timestamp("s"),
    # Microseconds, whatever the declared digits: 64-bit nanoseconds end in 2262, and Salesforce holds whole seconds.
    OracleKind.TIMESTAMP: pa.timestamp("us"),
    OracleKind.TIMESTAMP_TZ: pa.timestamp("us"),  # in UTC, see `kpc.extract.statements.read_column`
}


def arrow_type(table: Table, column: Column) -> pa.DataType:
    """The exact Arrow type that a column is fetched as; see `kpc.extract.number_reading` for numbers."""
    if column.source.kind is OracleKind.NUMBER:
        return pa.decimal128(WIDEST, read_scale(table, column))
    return _ARROW[column.source.kind]


def arrow_schema(table: Table) -> pa.Schema:
    """One field per extracted column, in catalog order: the schema of an extracted Parquet file without opinions."""
    return pa.schema([pa.field(column.name, arrow_type(table, column)) for column in table.extracted_columns])


def extract_schema(table: Table, *, has_opinions: bool) -> pa.Schema:
    """`arrow_schema`, and Oracle's opinion of each row where it was asked for one."""
    schema = arrow_schema(table)
    return schema.append(pa.field(OPINION, pa.binary())) if has_opinions else schema


def opinion_schema(table: Table) -> pa.Schema:
    """Oracle's opinion of a row, after the columns that it is compared with."""
    fields = [pa.field(column.name, arrow_type(table, column)) for column in compared_columns(table)]
    return pa.schema([*fields, pa.field(OPINION, pa.binary())])


def key_schema(table: Table) -> pa.Schema:
    """The key columns only, in the order of the key."""
    return pa.schema([pa.field(column.name, arrow_type(table, column)) for column in table.key_columns])


def check_columns(session: ReadSession, oracle: Oracle, table: Table) -> None:
    """Compare the dictionary with the catalog. Raises `SchemaDrift` with one line per difference.

    A column that Oracle has and the catalog does not is not a difference: columns outside the mapping are not read.
    """
    live = {column.name: _live_type(column) for column in session.columns(table.name)}
    if not live:
        user = oracle.settings.user
        raise SchemaDrift(
            f"Oracle has no table {oracle.owner}.{table.name}, or user {user} may not read it.",
            f"Ask the DBA: GRANT SELECT, FLASHBACK ON {oracle.owner}.{table.name} TO {user}; "
            "or correct KPC__ORACLE__OWNER.",
        )
    differences = tuple(_differences(table.extracted_columns, live))
    if differences:
        raise SchemaDrift(
            f"{oracle.owner}.{table.name} differs from the catalog:",
            "Correct the table's declaration in kpc/catalog (the mapping version changes with it), then run again.",
            differences=differences,
        )


def _differences(columns: Iterable[Column], live: dict[str, str]) -> Iterable[str]:
    for column in columns:
        declared = _declared_type(column)
        if column.name not in live:
            yield f"{column.name}: declared as {declared}, missing in Oracle"
        elif live[column.name] != declared:
            yield f"{column.name}: declared as {declared}, in Oracle {live[column.name]}"


def _declared_type(column: Column) -> str:
    return column.source.ddl.replace(" CHAR)", ")")


def _live_type(column: DictionaryColumn) -> str:
    """The type as the catalog would write it. ALL_TAB_COLUMNS already includes the digits of TIMESTAMP types."""
    if column.data_type == "RAW":
        return f"RAW({int(column.data_length)})"
    if column.data_type in ("CHAR", "VARCHAR2", "NVARCHAR2", "NCHAR"):
        return f"{column.data_type}({int(column.char_length or column.data_length)})"
    if column.data_type == "NUMBER" and column.precision is not None:
        precision, scale = int(column.precision), int(column.scale or 0)
        return f"NUMBER({precision},{scale})" if scale else f"NUMBER({precision})"
    return column.data_type
