"""Create the 16 tables in a database and fill them, a table and month at a time, inside DuckDB."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from kpc.emulators.catalog_schema import TABLES
from kpc.emulators.oracle.seed import plan, values
from kpc.emulators.oracle.seed.faults import BadRow, planted_bad_rows
from kpc.emulators.oracle.sql.storage.physical import RangePartitions
from kpc.emulators.oracle.sql.storage.store import Constraint, Index, StoredTable, TableColumn, TableStore
from kpc.emulators.oracle.sql.types import datatypes, positions
from kpc.emulators.schema import SourceKind, TableSchema


class Layout(StrEnum):
    """How the monthly tables are stored: as a heap without help, with an index on the date, or partitioned by it."""

    HEAP = "heap"
    INDEX = "index"
    PARTITIONS = "partitions"


class SeedOptions(Protocol):
    """What `engine.SeedPlan` says."""

    @property
    def rows(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def bad_rows(self) -> int: ...
    @property
    def months(self) -> tuple[str, ...]: ...
    @property
    def layout(self) -> str: ...
    @property
    def stored_through(self) -> str | None: ...


def fill(store: TableStore, owner: str, options: SeedOptions) -> tuple[BadRow, ...]:
    """Make and fill every table of the catalog; the bad rows that were planted."""
    rows, seed, months = options.rows, options.seed, options.months
    counts = plan.rows_by_table(rows, months)
    planted = planted_bad_rows(rows=rows, bad_rows=options.bad_rows, months=months, seed=seed)
    for declared in TABLES.values():
        table = create(store, owner, declared)
        _fill_table(store, table, declared, counts, months, seed)
        _respell(store, table, options.stored_through)
        _lay_out(store, table, declared, months, Layout(options.layout))
        _plant(store, table, [bad for bad in planted if bad.table == declared.name], options.stored_through)
    store.horizon = store.advance()
    for held in store.tables():
        held.ddl_scn = held.changed_scn = store.horizon
    return planted


def create(store: TableStore, owner: str, declared: TableSchema) -> StoredTable:
    """The table as the catalog declares it, with its natural key as primary key."""
    columns = [
        TableColumn(
            c.name, f"c{i}", datatypes.parse_type(c.source.ddl), nullable=c.nullable and c.name not in declared.key
        )
        for i, c in enumerate(declared.columns, 1)
    ]
    table = StoredTable(owner, declared.name, store.next_object_id(), columns, store.clock())
    key = f"PK_{declared.name.removeprefix('KPS_')}"
    table.constraints.append(Constraint(key, "P", declared.key))
    table.indexes.append(Index(key, declared.key, unique=True))
    for column in columns:
        if not column.nullable:
            table.constraints.append(
                Constraint(store.system_name(), "C", (column.name,), f'"{column.name}" IS NOT NULL', generated=True)
            )
    store.create(table)
    for constraint in table.constraints:
        store.constraint_names[owner, constraint.name] = table
    store.index_names[owner, key] = table
    return table


def _lay_out(
    store: TableStore, table: StoredTable, declared: TableSchema, months: tuple[str, ...], layout: Layout
) -> None:
    """Give a monthly table an index on its date column, or partitions by month."""
    if not declared.is_monthly or declared.month_column is None or layout is Layout.HEAP:
        return
    if layout is Layout.INDEX:
        name = f"IX_{declared.name.removeprefix('KPS_')}_DATE"
        table.indexes.append(Index(name, (declared.month_column,), unique=False))
        store.index_names[table.owner, name] = table
        return
    text = declared.by_name[declared.month_column].source.is_text
    written = tuple(f"'{month}-01'" if text else f"DATE '{month}-01'" for month in months[1:])
    names = tuple(f"P_{month.replace('-', '_')}" for month in months)
    table.partitions = RangePartitions(declared.month_column, names, written, written)


def _fill_table(
    store: TableStore,
    table: StoredTable,
    declared: TableSchema,
    counts: dict[str, int],
    months: tuple[str, ...],
    seed: int,
) -> None:
    total = counts[declared.name]
    if not declared.is_monthly:
        _insert(store, table, declared, values.Row("i", None, months, seed, counts, {}), total)
        return
    monthly = [t.name for t in TABLES.values() if t.is_monthly]
    for index, month in enumerate(months):
        in_month = {name: plan.rows_in_month(counts[name], months, index) for name in monthly}
        # Row numbers start anew each month, so the salt of a month is its number.
        row = values.Row("i", month, months, seed + 1_000 * (index + 1), counts, in_month)
        _insert(store, table, declared, row, in_month[declared.name])


def _insert(store: TableStore, table: StoredTable, declared: TableSchema, row: values.Row, count: int) -> None:
    columns = ", ".join(
        f"CAST({values.column_sql(declared, c, row)} AS {mine.type.duckdb}) AS {mine.stored}"
        for c, mine in zip(declared.columns, table.columns, strict=True)
    )
    rid = positions.encode_sql(table.object_id, f"({table.rows_ever} + i)")
    store.connection.execute(
        f"INSERT INTO {table.data} SELECT {columns}, {rid} AS rid, {store.scn} AS scn FROM range({count}) AS r(i)"
    )
    table.rows_ever += count


def _spelled(store: TableStore, sql: str, client: str | None) -> str:
    """DuckDB SQL of a seeded text as the database holds it: converted, or bytes of `client` that nobody converted."""
    if client is not None:
        return f"ora_stored_through({sql}, '{client}')"
    return sql if store.character_set.is_unicode else f"ora_received({sql})"


def _respell(store: TableStore, table: StoredTable, client: str | None) -> None:
    """The seed is Unicode; NVARCHAR2 stays so."""
    columns = [c.stored for c in table.columns if c.type.is_text and not c.type.national]
    if columns and (client is not None or not store.character_set.is_unicode):
        store.connection.execute(
            f"UPDATE {table.data} SET {', '.join(f'{c} = {_spelled(store, c, client)}' for c in columns)}"
        )


def _plant(store: TableStore, table: StoredTable, planted: list[BadRow], client: str | None) -> None:
    for bad in planted:
        column = table.column(bad.column)
        assert column is not None
        declared = TABLES[bad.table].by_name[bad.column]
        value: str | Decimal = bad.value
        if isinstance(value, str) and declared.source.kind is SourceKind.CHAR:
            value = value.ljust(declared.source.size or 0)
        new = _spelled(store, "?::VARCHAR", client) if column.type.is_text and not column.type.national else "?"
        store.connection.execute(
            f"UPDATE {table.data} SET {column.stored} = {new} WHERE rid = ?",
            [value, positions.encode(table.object_id, bad.row)],
        )
