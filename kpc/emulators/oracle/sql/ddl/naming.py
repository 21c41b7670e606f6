"""COMMENT and RENAME."""

from __future__ import annotations

from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.store import StoredTable, StoredView, TableStore


def comment(schema: SessionSchema, reader: TokenReader) -> None:
    """COMMENT ON TABLE and COLUMN."""
    if reader.take("TABLE"):
        found = schema.find(*reader.object_name())
        if not isinstance(found, StoredTable | StoredView):
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
    table = schema.table(parts[0] if len(parts) == 3 else None, parts[-2])
    column = table.column(parts[-1])
    if column is None:
        raise ora(904, f'"{parts[-1]}"')
    reader.expect("IS", 905)
    column.comment = reader.next(1780).value or None


def rename(store: TableStore, owner: str, reader: TokenReader) -> None:
    """RENAME old TO new."""
    name = reader.identifier()
    reader.expect("TO", 946)
    rename_object(store, owner, name, reader.identifier())


def rename_object(store: TableStore, owner: str, name: str, new: str) -> None:
    """Give an object another name. Raises ORA-04043 or ORA-00955."""
    found = store.find(owner, name)
    if found is None:
        raise ora(4043, name)
    if store.find(owner, new) is not None:
        raise ora(955)
    del store.objects[owner, name]
    found.name = new
    store.objects[owner, new] = found
    store.advance()
