"""DROP and TRUNCATE."""

from __future__ import annotations

import duckdb

from kpc.emulators.oracle.sql.ddl import user_commands
from kpc.emulators.oracle.sql.ddl.preconditions import check_drop
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.messages import from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.store import StoredSequence, StoredTable, StoredView, TableStore
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def drop(workspace: StatementWorkspace, reader: TokenReader) -> None:
    """DROP of anything."""
    store = workspace.store
    kind = reader.next(950).value
    if kind == "USER":
        user_commands.drop_user(store, workspace.settings.user, reader)
        return
    owner, name = reader.object_name()
    owner = owner or workspace.schema.name
    check_drop(store, workspace.settings.user, owner, name)
    found = store.find(owner, name)
    if kind == "TABLE":
        cascade = reader.take("CASCADE", "CONSTRAINTS")
        reader.take("PURGE")
        if not isinstance(found, StoredTable):
            raise ora(942)
        _drop_table(store, found, cascade=cascade)
    elif kind == "VIEW":
        reader.take("CASCADE", "CONSTRAINTS")
        if not isinstance(found, StoredView):
            raise ora(942)
        del store.objects[owner, name]
    elif kind == "SEQUENCE":
        if not isinstance(found, StoredSequence):
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


def _drop_table(store: TableStore, table: StoredTable, *, cascade: bool) -> None:
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


def truncate(store: TableStore, schema: SessionSchema, reader: TokenReader) -> None:
    """TRUNCATE TABLE: rows and undo are gone at once."""
    reader.expect("TABLE", 3290)
    table = schema.table(*reader.object_name())
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
