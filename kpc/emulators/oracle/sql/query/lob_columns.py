"""LOB columns of tables in a query's result: their rows are known, so that their locators can be written."""

from __future__ import annotations

from kpc.emulators.oracle.interface import LobColumn, OraType
from kpc.emulators.oracle.sql.query.scope import Scope


def with_row_numbers(scope: Scope, listed: list[str], shown: str) -> tuple[dict[int, LobColumn], str]:
    """The LOB columns of tables among those of the outermost query, and its select list with their rows' numbers."""
    found: dict[int, LobColumn] = {}
    for source in scope.sources:
        if source.scan is None or source.rowid is None:
            continue
        lobs = {c.sql: n for n, c in source.columns.items() if c.type.ora in (OraType.CLOB, OraType.BLOB)}
        positions = [at for at, sql in enumerate(listed) if sql in lobs]
        if positions:
            rows_at = len(listed) + len({column.rows_at for column in found.values()})
            shown += f", {source.rowid} AS c{rows_at}"
            found |= {at: LobColumn(source.scan.table.object_id, lobs[listed[at]], rows_at) for at in positions}
    return found, shown
