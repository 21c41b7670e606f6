"""CREATE, ALTER, DROP, TRUNCATE, COMMENT and RENAME. Each commits before and after, as in Oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from kpc.emulators.oracle.interface import ExecutionOutcome, OraType, StatementKind
from kpc.emulators.oracle.sql.ddl import alter_table, sequences, table_definition, user_commands
from kpc.emulators.oracle.sql.ddl.table_definition import Definition
from kpc.emulators.oracle.sql.messages import from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement, parse_statement, parse_tree
from kpc.emulators.oracle.sql.parsing.lexer import Kind
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.query.compiler import CompiledQuery, QueryCompiler
from kpc.emulators.oracle.sql.storage.grants import DBA
from kpc.emulators.oracle.sql.storage.store import Constraint, Index, Sequence, StoredTable, TableColumn, View
from kpc.emulators.oracle.sql.types.datatypes import SqlType, free_number, varchar2

if TYPE_CHECKING:
    from kpc.emulators.oracle.sql.session import OracleSession


_STORED_CODE = ("PROCEDURE", "FUNCTION", "PACKAGE", "TRIGGER", "TYPE")


def execute(session: OracleSession, statement: ParsedStatement) -> ExecutionOutcome:
    session.transaction.commit()
    tokens = statement.tokens
    if any(token.is_word(*_STORED_CODE) for token in tokens[1:5]):
        raise unsupported(f"{tokens[0].value} of stored code")
    if tokens[-1].is_sign(";"):
        raise ora(922 if tokens[0].is_word("CREATE", "ALTER") else 933)
    reader = TokenReader(statement.sql, tokens)
    if statement.bind_names:
        raise ora(1027)
    rows = 0
    with session.database.store.lock:
        if reader.take("CREATE"):
            rows = _create(session, reader)
        elif reader.take("ALTER"):
            _alter(session, reader)
        elif reader.take("DROP"):
            _drop(session, reader)
        elif reader.take("TRUNCATE"):
            _truncate(session, reader)
        elif reader.take("COMMENT", "ON"):
            _comment(session, reader)
        elif reader.take("RENAME"):
            _rename(session, reader)
        elif not user_commands.execute(session, reader):
            raise unsupported(f"statement {tokens[0].value}")
    return ExecutionOutcome(StatementKind.DDL, row_count=rows)


def _alter(session: OracleSession, reader: TokenReader) -> None:
    if reader.take("USER"):
        user_commands.alter_user(session, reader)
        return
    reader.expect("TABLE", 940)
    alter_table.execute(session, reader)


def _create(session: OracleSession, reader: TokenReader) -> int:
    replace = reader.take("OR", "REPLACE")
    if reader.take("FORCE") or reader.take("NOFORCE"):
        pass
    if reader.take("TABLE"):
        return create_table(session, reader)
    if reader.take("VIEW"):
        _create_view(session, reader, replace=replace)
    elif reader.take("SEQUENCE"):
        _create_sequence(session, reader)
    elif reader.take("UNIQUE", "INDEX"):
        _create_index(session, reader, unique=True)
    elif reader.take("INDEX"):
        _create_index(session, reader, unique=False)
    elif reader.take("USER"):
        user_commands.create_user(session, reader)
    else:
        raise unsupported(f"CREATE {reader.next(901).value}")
    return 0


# Tables


def create_table(session: OracleSession, reader: TokenReader) -> int:
    """CREATE TABLE, also AS SELECT; how many rows it has."""
    owner, name = reader.object_name()
    owner = owner or session.schema.name
    _check_create(session, owner, "CREATE TABLE")
    _check_free(session, owner, name)
    has_list = reader.peek("(")
    definition = table_definition.read_definition(reader) if has_list and not _is_name_list(reader) else Definition()
    names = reader.names() if has_list and not definition.columns else None
    definition.is_index_organized = table_definition.read_organization(reader)
    text = None
    if reader.take("AS"):
        if definition.columns:
            raise unsupported("CREATE TABLE with types AS SELECT")
        text = reader.rest()
        query = _query_of(session, text)
        definition.columns = columns_of(query, names)
        reader.at = len(reader.tokens)
    if not reader.is_done:
        raise ora(922)
    if not definition.columns:
        raise ora(906)
    table = add_table(session, owner, name, definition)
    return _fill(session, table, text) if text is not None else 0


def _is_name_list(reader: TokenReader) -> bool:
    """(a, b, c) before AS SELECT: names without types."""
    tokens, at = reader.tokens, reader.at
    return (
        len(tokens) > at + 2
        and tokens[at + 1].kind in (Kind.WORD, Kind.QUOTED)
        and (tokens[at + 2].is_sign(",") or tokens[at + 2].is_sign(")"))
    )


def add_table(session: OracleSession, owner: str, name: str, definition: Definition) -> StoredTable:
    """Enter a table with its constraints; names are checked before anything is made."""
    store = session.database.store
    table_definition.check_column_types(definition.columns)
    for position, column in enumerate(definition.columns, 1):
        column.stored = f"c{position}"
    table = StoredTable(owner, name, store.next_object_id(), definition.columns, store.clock())
    table.is_index_organized = definition.is_index_organized
    if table.is_index_organized and not any(constraint.kind == "P" for constraint in definition.constraints):
        raise ora(25175)
    if sum(constraint.kind == "P" for constraint in definition.constraints) > 1:
        raise ora(2260)
    if sum(column.identity is not None for column in definition.columns) > 1:
        raise ora(30669)
    for constraint in definition.constraints:
        prepare_constraint(session, table, constraint)
    for constraint, parent_owner, parent, columns in definition.references:
        resolve_reference(session, table, constraint, parent_owner, parent, columns)
    store.create(table)
    for column in table.columns:
        if column.identity:
            sequences.enter_identity(store, owner, column)
    for constraint in definition.constraints:
        enter_constraint(session, table, constraint)
    return table


def prepare_constraint(session: OracleSession, table: StoredTable, constraint: Constraint) -> None:
    """Name it, check its columns, and make a primary key's columns NOT NULL."""
    store = session.database.store
    if not constraint.name:
        constraint.name, constraint.generated = store.system_name(), True
    if (table.owner, constraint.name) in store.constraint_names:
        raise ora(2264)
    if constraint.kind == "P" and any(c.kind == "P" and c is not constraint for c in table.constraints):
        raise ora(2260)
    for column_name in constraint.columns:
        column = table.column(column_name)
        if column is None:
            raise ora(904, f'"{column_name}"')
        if constraint.kind == "P":
            column.nullable = False
        if constraint.kind in "PU" and column.type.ora in (OraType.CLOB, OraType.BLOB, OraType.LONG):
            raise ora(2329, column.type.word)


def enter_constraint(session: OracleSession, table: StoredTable, constraint: Constraint) -> None:
    store = session.database.store
    store.constraint_names[table.owner, constraint.name] = table
    table.constraints.append(constraint)
    if constraint.kind in "PU" and (table.owner, constraint.name) not in store.index_names:
        table.indexes.append(Index(constraint.name, constraint.columns, unique=True))
        store.index_names[table.owner, constraint.name] = table


def resolve_reference(
    session: OracleSession,
    table: StoredTable,
    constraint: Constraint,
    owner: str | None,
    parent: str,
    columns: tuple[str, ...],
) -> None:
    """Find the parent's key that a foreign key points to."""
    if (owner or table.owner) != table.owner:
        raise unsupported("a foreign key to another schema")
    target = table if parent == table.name else session.schema.table(owner, parent)
    pool = list(target.constraints)
    keys = [
        c
        for c in pool
        if c.kind in "PU" and not c.is_index and (set(c.columns) == set(columns) if columns else c.kind == "P")
    ]
    if not keys:
        raise ora(2270)
    if columns and columns != keys[0].columns:
        raise unsupported("a foreign key in another column order")
    constraint.parent = keys[0].name


def columns_of(query: CompiledQuery, names: tuple[str, ...] | None) -> list[TableColumn]:
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


def _query_of(session: OracleSession, text: str) -> CompiledQuery:
    statement = parse_statement(text)
    if statement.tree is None:
        raise ora(928)
    return QueryCompiler(session.context({})).compile(statement.tree)


def _fill(session: OracleSession, table: StoredTable, text: str) -> int:
    """The rows of CREATE TABLE AS SELECT, through the same checks as INSERT ... SELECT."""
    from kpc.emulators.oracle.sql.dml import array_dml, bulk_load  # noqa: PLC0415  they know sessions, which know DDL

    statement = parse_statement(f'INSERT INTO "{table.owner}"."{table.name}" {text}')
    try:
        loaded = bulk_load.fill(session, table, statement)
        if loaded is not None:
            return loaded
        outcome = array_dml.execute(session, statement, [], batch_errors=False, row_counts=False)
    except BaseException:
        session.transaction.rollback()
        session.database.store.drop(table)
        raise
    session.transaction.commit()
    return outcome.row_count


# Views, sequences, indexes


def _create_view(session: OracleSession, reader: TokenReader, *, replace: bool) -> None:
    owner, name = reader.object_name()
    owner = owner or session.schema.name
    _check_create(session, owner, "CREATE VIEW")
    names = reader.names() if reader.peek("(") else None
    reader.expect("AS", 905)
    text = reader.rest()
    for suffix in ("WITH READ ONLY", "WITH CHECK OPTION"):
        if text.upper().rstrip().endswith(suffix):
            raise unsupported(suffix) if "CHECK" in suffix else unsupported("WITH READ ONLY")
    query = _query_of(session, text)
    if names is not None and len(names) != len(query.columns):
        raise ora(1730)
    existing = session.database.store.find(owner, name)
    if existing is not None and not (replace and isinstance(existing, View)):
        raise ora(955)
    store = session.database.store
    rewritten_text = parse_statement(text).text
    parse_tree(rewritten_text)
    store.objects[owner, name] = View(
        owner, name, store.next_object_id(), rewritten_text, names, store.clock(), written=text
    )
    store.advance()


def _create_sequence(session: OracleSession, reader: TokenReader) -> None:
    owner, name = reader.object_name()
    owner = owner or session.schema.name
    _check_create(session, owner, "CREATE SEQUENCE")
    _check_free(session, owner, name)
    store = session.database.store
    made = Sequence(owner, name, store.next_object_id())
    sequences.read_options(reader, made)
    if not reader.is_done:
        raise ora(933)
    store.objects[owner, name] = made
    store.advance()


def _create_index(session: OracleSession, reader: TokenReader, *, unique: bool) -> None:
    owner, name = reader.object_name()
    reader.expect("ON", 969)
    table = session.schema.table(*reader.object_name())
    owner = owner or table.owner
    store = session.database.store
    if (owner, name) in store.index_names or store.find(owner, name) is not None:
        raise ora(955)
    text = reader.parenthesised()
    columns = tuple(
        part.strip().strip('"') if part.strip().startswith('"') else part.strip().upper() for part in text.split(",")
    )
    columns = tuple(c.removesuffix(" ASC").removesuffix(" DESC").strip() for c in columns)
    table_definition.skip_storage(reader)
    if not reader.is_done and not reader.take("ONLINE") and not reader.take("REVERSE"):
        raise ora(2158)
    if any(table.column(c) is None for c in columns):
        if "(" not in text:
            raise ora(904, f'"{next(c for c in columns if table.column(c) is None)}"')
        if unique:
            raise unsupported("a unique index on an expression")
    elif any(index.columns == columns for index in table.indexes):
        raise ora(1408)
    if unique:
        constraint = Constraint(name, "U", columns, is_index=True)
        alter_table.check_existing(session, table, constraint, 1452)
        table.constraints.append(constraint)
    table.indexes.append(Index(name, columns, unique))
    store.index_names[owner, name] = table


# Dropping and the rest


def _check_free(session: OracleSession, owner: str, name: str) -> None:
    if not session.database.has_user(owner):
        raise ora(1918, owner)
    if session.database.store.find(owner, name) is not None:
        raise ora(955)


def _check_create(session: OracleSession, owner: str, privilege: str) -> None:
    """Raises ORA-01031 for a user without the privilege, or who is not the owner."""
    if session.user != DBA and (
        session.user != owner or not session.database.store.grants.has_system(owner, privilege)
    ):
        raise ora(1031)


def _check_drop(session: OracleSession, owner: str, name: str) -> None:
    """Raises ORA-01031 for an object of somebody else that the user knows of; what it may not see does not exist."""
    if session.database.store.find(owner, name) is not None:
        session.database.store.grants.check(session.user, owner, name, ())


def _drop(session: OracleSession, reader: TokenReader) -> None:
    store = session.database.store
    kind = reader.next(950).value
    if kind == "USER":
        user_commands.drop_user(session, reader)
        return
    owner, name = reader.object_name()
    owner = owner or session.schema.name
    _check_drop(session, owner, name)
    found = store.find(owner, name)
    if kind == "TABLE":
        cascade = reader.take("CASCADE", "CONSTRAINTS")
        reader.take("PURGE")
        if not isinstance(found, StoredTable):
            raise ora(942)
        _drop_table(session, found, cascade=cascade)
    elif kind == "VIEW":
        reader.take("CASCADE", "CONSTRAINTS")
        if not isinstance(found, View):
            raise ora(942)
        del store.objects[owner, name]
    elif kind == "SEQUENCE":
        if not isinstance(found, Sequence):
            raise ora(2289)
        del store.objects[owner, name]
    elif kind == "INDEX":
        table = store.index_names.pop((owner, name), None)
        if table is None:
            raise ora(1418)
        if any(c.name == name and not c.is_index for c in table.constraints):
            store.index_names[owner, name] = table
            raise ora(2429)
        table.indexes = [i for i in table.indexes if i.name != name]
        table.constraints = [c for c in table.constraints if not (c.is_index and c.name == name)]
    else:
        raise unsupported(f"DROP {kind}")
    if not reader.is_done:
        raise ora(933)
    store.advance()


def _drop_table(session: OracleSession, table: StoredTable, *, cascade: bool) -> None:
    store = session.database.store
    keys = {c.name for c in table.keys}
    for other in store.tables():
        pointing = [
            c
            for c in other.constraints
            if c.kind == "R" and c.parent in keys and other is not table and other.owner == table.owner
        ]
        if pointing and not cascade:
            raise ora(2449)
        for constraint in pointing:
            other.constraints.remove(constraint)
            store.constraint_names.pop((other.owner, constraint.name), None)
    store.drop(table)


def _truncate(session: OracleSession, reader: TokenReader) -> None:
    reader.expect("TABLE", 3290)
    table = session.schema.table(*reader.object_name())
    store = session.database.store
    keys = {c.name for c in table.keys}
    if any(c.kind == "R" and c.parent in keys for t in store.tables() if t is not table for c in t.constraints):
        raise ora(2266)
    try:
        store.connection.execute(f"DELETE FROM {table.data}")
        store.connection.execute(f"DELETE FROM {table.history}")
    except duckdb.Error as error:
        raise from_duckdb(error) from None
    store.advance()
    table.first_undo_scn = None
    table.ddl_scn = table.changed_scn = store.scn


def _comment(session: OracleSession, reader: TokenReader) -> None:
    if reader.take("TABLE"):
        found = session.schema.find(*reader.object_name())
        if not isinstance(found, StoredTable | View):
            raise ora(942)
        reader.expect("IS", 905)
        found.comment = reader.next(1780).value or None
        return
    reader.expect("COLUMN", 905)
    parts = [reader.identifier()]
    while reader.take("."):
        parts.append(reader.identifier())
    if not 2 <= len(parts) <= 3:
        raise ora(1747)
    table = session.schema.table(parts[0] if len(parts) == 3 else None, parts[-2])
    column = table.column(parts[-1])
    if column is None:
        raise ora(904, f'"{parts[-1]}"')
    reader.expect("IS", 905)
    column.comment = reader.next(1780).value or None


def _rename(session: OracleSession, reader: TokenReader) -> None:
    name = reader.identifier()
    reader.expect("TO", 946)
    rename_object(session, session.schema.name, name, reader.identifier())


def rename_object(session: OracleSession, owner: str, name: str, new: str) -> None:
    store = session.database.store
    found = store.find(owner, name)
    if found is None:
        raise ora(4043, name)
    if store.find(owner, new) is not None:
        raise ora(955)
    del store.objects[owner, name]
    found.name = new
    store.objects[owner, new] = found
    store.advance()
