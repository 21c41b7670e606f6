"""CREATE VIEW, SEQUENCE and INDEX."""

from __future__ import annotations

from kpc.emulators.oracle.sql.ddl import sequences, table_definition
from kpc.emulators.oracle.sql.ddl.preconditions import check_create, check_free, query_of
from kpc.emulators.oracle.sql.ddl.table_constraints import check_existing
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import parse_statement, parse_tree
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.store import Constraint, Index, StoredSequence, StoredView
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def create_view(workspace: StatementWorkspace, reader: TokenReader, *, replace: bool) -> None:
    """CREATE VIEW. The query is compiled once, so that a wrong one is refused here."""
    owner, name = reader.object_name()
    owner = owner or workspace.schema.name
    check_create(workspace.store.grants, workspace.settings.user, owner, "CREATE VIEW")
    names = reader.names() if reader.peek("(") else None
    reader.expect("AS", 905)
    text = reader.rest()
    for suffix in ("WITH READ ONLY", "WITH CHECK OPTION"):
        if text.upper().rstrip().endswith(suffix):
            raise unsupported(suffix) if "CHECK" in suffix else unsupported("WITH READ ONLY")
    query = query_of(workspace, text)
    if names is not None and len(names) != len(query.columns):
        raise ora(1730)
    store = workspace.store
    existing = store.find(owner, name)
    if existing is not None and not (replace and isinstance(existing, StoredView)):
        raise ora(955)
    rewritten_text = parse_statement(text).text
    parse_tree(rewritten_text)
    store.objects[owner, name] = StoredView(
        owner, name, store.next_object_id(), rewritten_text, names, store.clock(), written=text
    )
    store.advance()


def create_sequence(workspace: StatementWorkspace, reader: TokenReader) -> None:
    """CREATE SEQUENCE."""
    owner, name = reader.object_name()
    owner = owner or workspace.schema.name
    check_create(workspace.store.grants, workspace.settings.user, owner, "CREATE SEQUENCE")
    check_free(workspace.store, owner, name)
    store = workspace.store
    made = StoredSequence(owner, name, store.next_object_id())
    sequences.read_options(reader, made)
    if not reader.is_done:
        raise ora(933)
    store.objects[owner, name] = made
    store.advance()


def create_index(workspace: StatementWorkspace, reader: TokenReader, *, unique: bool) -> None:
    """CREATE INDEX. Only a unique one has an effect: a constraint."""
    owner, name = reader.object_name()
    reader.expect("ON", 969)
    table = workspace.schema.table(*reader.object_name())
    owner = owner or table.owner
    store = workspace.store
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
        check_existing(workspace, table, constraint, 1452)
        table.constraints.append(constraint)
    table.indexes.append(Index(name, columns, unique))
    store.index_names[owner, name] = table
