"""CREATE TABLE, also AS SELECT."""

from __future__ import annotations

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.ddl import partitioning, sequences, table_definition
from kpc.emulators.oracle.sql.ddl.preconditions import check_create, check_free, query_of
from kpc.emulators.oracle.sql.ddl.table_constraints import enter_constraint, prepare_constraint, resolve_reference
from kpc.emulators.oracle.sql.ddl.table_definition import Definition
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.dml import array_dml, bulk_load
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import parse_statement
from kpc.emulators.oracle.sql.parsing.lexer import Kind
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableColumn, TableStore
from kpc.emulators.oracle.sql.types.datatypes import SqlType, free_number, varchar2
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def create_table(workspace: StatementWorkspace, reader: TokenReader) -> int:
    """CREATE TABLE, also AS SELECT; returns the number of rows."""
    owner, name = reader.object_name()
    owner = owner or workspace.schema.name
    check_create(workspace.store.grants, workspace.settings.user, owner, "CREATE TABLE")
    check_free(workspace.store, owner, name)
    has_list = reader.peek("(")
    definition = table_definition.read_definition(reader) if has_list and not _is_name_list(reader) else Definition()
    names = reader.names() if has_list and not definition.columns else None
    definition.is_index_organized = table_definition.read_organization(reader)
    definition.partitions = partitioning.read_partitions(workspace, reader)
    table_definition.skip_storage(reader)
    text = None
    if reader.take("AS"):
        if definition.columns:
            raise unsupported("CREATE TABLE with types AS SELECT")
        text = reader.rest()
        query = query_of(workspace, text)
        definition.columns = _columns_of(query, names)
        reader.at = len(reader.tokens)
    if not reader.is_done:
        raise ora(922)
    if not definition.columns:
        raise ora(906)
    table = _add_table(workspace.store, workspace.schema, owner, name, definition)
    if text is None:
        return 0
    rows = _fill(workspace, table, text)
    workspace.gather_statistics(table)  # a direct-path load into an empty table gathers them
    return rows


def _is_name_list(reader: TokenReader) -> bool:
    """(a, b, c) before AS SELECT: names without types."""
    tokens, at = reader.tokens, reader.at
    return (
        len(tokens) > at + 2
        and tokens[at + 1].kind in (Kind.WORD, Kind.QUOTED)
        and (tokens[at + 2].is_sign(",") or tokens[at + 2].is_sign(")"))
    )


def _add_table(store: TableStore, schema: SessionSchema, owner: str, name: str, definition: Definition) -> StoredTable:
    """Enter a table with its constraints; names are checked before anything is made."""
    table_definition.check_column_types(definition.columns)
    for position, column in enumerate(definition.columns, 1):
        column.stored = f"c{position}"
    table = StoredTable(owner, name, store.next_object_id(), definition.columns, store.clock())
    table.is_index_organized, table.partitions = definition.is_index_organized, definition.partitions
    partitioning.check_column(table.partitions, {column.name for column in table.columns})
    if table.is_index_organized and not any(constraint.kind == "P" for constraint in definition.constraints):
        raise ora(25175)
    if sum(constraint.kind == "P" for constraint in definition.constraints) > 1:
        raise ora(2260)
    if sum(column.identity is not None for column in definition.columns) > 1:
        raise ora(30669)
    for constraint in definition.constraints:
        prepare_constraint(store, table, constraint)
    for constraint, parent_owner, parent, columns in definition.references:
        resolve_reference(schema, table, constraint, parent_owner, parent, columns)
    store.create(table)
    for column in table.columns:
        if column.identity:
            sequences.enter_identity(store, owner, column)
    for constraint in definition.constraints:
        enter_constraint(store, table, constraint)
    return table


def _columns_of(query: CompiledQuery, names: tuple[str, ...] | None) -> list[TableColumn]:
    """The columns that CREATE TABLE AS SELECT gets."""
    if names is not None and len(names) != len(query.columns):
        raise ora(1730)
    made = []
    for i, output in enumerate(query.columns):
        name = names[i] if names else output.name
        if names is None and not _is_plain(name):
            raise ora(998)
        made.append(TableColumn(name, "", _stored_type(output.type)))
    if len({c.name for c in made}) < len(made):
        raise ora(957)
    return made


def _is_plain(name: str) -> bool:
    return bool(name) and (name[0].isalpha() or name[0] == "_") and all(c.isalnum() or c in "_$# " for c in name)


def _stored_type(kind: SqlType) -> SqlType:
    if kind.is_null or (kind.is_text and kind.size == 0 and kind.ora is not OraType.CLOB):
        raise ora(1723)
    if kind.is_number and kind.precision == 0:
        return free_number()
    if kind.ora is OraType.VARCHAR2:
        return varchar2(kind.chars or kind.size, size=kind.size, national=kind.national) if not kind.by_chars else kind
    return kind


def _fill(workspace: StatementWorkspace, table: StoredTable, text: str) -> int:
    """The rows of CREATE TABLE AS SELECT, through the same checks as INSERT ... SELECT."""
    statement = parse_statement(f'INSERT INTO "{table.owner}"."{table.name}" {text}')
    try:
        loaded = bulk_load.fill(workspace, table, statement)
        if loaded is not None:
            return loaded
        outcome = array_dml.execute(workspace, statement, [], batch_errors=False, row_counts=False)
    except BaseException:
        workspace.transaction.rollback()
        workspace.store.drop(table)
        raise
    workspace.transaction.commit()
    return outcome.row_count
