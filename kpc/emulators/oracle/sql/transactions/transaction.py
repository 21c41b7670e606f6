"""An open transaction: the session's own rows laid over the committed ones, applied at once by COMMIT.

Each touched table has an overlay of two DuckDB tables: the rows as the session sees them, and the positions of
committed rows they hide. A statement changes an overlay only after all of it has been computed, so a failing
statement changes nothing; ROLLBACK forgets the overlay; a savepoint is a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableStore
from kpc.emulators.oracle.sql.transactions.locks import LockTable


@dataclass(slots=True)
class Overlay:
    table: StoredTable
    rows: str
    dead: str
    types: dict[str, str]


@dataclass(slots=True)
class Savepoint:
    name: str
    copies: dict[int, tuple[pa.Table, pa.Table]] = field(default_factory=dict)


class Transaction:
    """The changes of one session since its last COMMIT or ROLLBACK."""

    def __init__(self, session_id: int, store: TableStore, locks: LockTable, check: Callable[[], None]) -> None:
        self._session_id = session_id
        self.store = store
        self._locks = locks
        self._check = check
        self._cursor = store.cursor()
        self._overlays: dict[int, Overlay] = {}
        self._savepoints: list[Savepoint] = []
        self.is_open = False
        self.changes = 0  # grows with everything that changes what the session sees

    # Reading

    def overlay(self, table: StoredTable) -> tuple[str, str] | None:
        """The names of the overlay's tables, if this transaction changed the table."""
        made = self._overlays.get(table.object_id)
        return (made.rows, made.dead) if made else None

    # Changing

    def lock(self, wanted: list[object], wait_s: float | None = None) -> bool:
        """Lock rows or keys; True if it had to wait, so that the statement must be computed again."""
        self.is_open = True
        return self._locks.acquire(self._session_id, wanted, self._check, wait_s)

    def holds(self, table: StoredTable, rid: int) -> bool:
        """Whether nobody else can change the row: it is locked, or this transaction has made it."""
        if self._locks.holds(self._session_id, (table.object_id, rid)):
            return True
        made = self._overlays.get(table.object_id)
        return made is not None and bool(
            self._cursor.execute(f"SELECT 1 FROM {made.rows} WHERE rid = ?", [rid]).fetchall()
        )

    def apply(self, table: StoredTable, new: pa.Table | None, gone: pa.Array | None) -> None:
        """Lay `new` rows (stored columns and rid) over the table and hide the positions in `gone`."""
        self.is_open = True
        self.changes += 1
        overlay = self._open_overlay(table)
        cursor = self._cursor
        cursor.execute("BEGIN TRANSACTION")
        try:
            if gone is not None and len(gone):
                cursor.register("gone_rows", pa.table({"rid": gone}))
                cursor.execute(
                    f"INSERT INTO {overlay.dead} SELECT rid FROM gone_rows ANTI JOIN {overlay.dead} USING (rid)"
                )
                cursor.execute(f"DELETE FROM {overlay.rows} WHERE rid IN (SELECT rid FROM gone_rows)")
            if new is not None and new.num_rows:
                cursor.register("new_rows", new)
                listed = ", ".join(new.column_names)
                cursor.execute(f"INSERT INTO {overlay.rows} ({listed}) SELECT {listed} FROM new_rows")
            cursor.execute("COMMIT")
        except duckdb.Error:
            cursor.execute("ROLLBACK")
            raise
        finally:
            for name in ("gone_rows", "new_rows"):
                cursor.unregister(name)

    def _open_overlay(self, table: StoredTable) -> Overlay:
        made = self._overlays.get(table.object_id)
        if made is None:
            rows, dead = f"o{self._session_id}_{table.object_id}", f"d{self._session_id}_{table.object_id}"
            columns = "".join(f"{c.stored} {c.type.duckdb}, " for c in table.columns)
            self._cursor.execute(f"CREATE TABLE {rows} ({columns}rid BIGINT)")
            self._cursor.execute(f"CREATE TABLE {dead} (rid BIGINT)")
            made = self._overlays[table.object_id] = Overlay(
                table, rows, dead, {c.stored: c.type.duckdb for c in table.columns}
            )
        return made

    def refit(self, table: StoredTable) -> None:
        """Follow a column that the store made wide."""
        made = self._overlays.get(table.object_id)
        if made is None:
            return
        for column in table.columns:
            if made.types.get(column.stored) != column.type.duckdb:
                self._cursor.execute(
                    f"ALTER TABLE {made.rows} ALTER COLUMN {column.stored} TYPE BLOB "
                    f"USING ora_wide({column.stored}::VARCHAR)"
                )
                made.types[column.stored] = column.type.duckdb

    # Ending

    def commit(self) -> None:
        """Make the changes the next SCN, for everybody at once."""
        if self._overlays:
            with self.store.lock:
                self._write()
        self._end()

    def _write(self) -> None:
        store = self.store
        scn = store.scn + 1
        writer = store.connection
        undone = 0
        writer.execute("BEGIN TRANSACTION")
        try:
            for overlay in self._overlays.values():
                self.refit(overlay.table)
                undone += _write_overlay(writer, overlay, scn)
            writer.execute("COMMIT")
        except duckdb.Error:
            writer.execute("ROLLBACK")
            raise
        for overlay in self._overlays.values():
            overlay.table.changed_scn = scn
            if overlay.table.first_undo_scn is None and undone:
                overlay.table.first_undo_scn = scn
        store.advance()
        store.count_undo(undone)

    def rollback(self) -> None:
        self._end()

    def _end(self) -> None:
        self.changes += 1
        for overlay in self._overlays.values():
            self._cursor.execute(f"DROP TABLE {overlay.rows}")
            self._cursor.execute(f"DROP TABLE {overlay.dead}")
        self._overlays.clear()
        self._savepoints.clear()
        self.is_open = False
        self._locks.release(self._session_id)

    def savepoint(self, name: str) -> None:
        """Remember the state of the overlays under `name`; an older savepoint of that name moves."""
        self._savepoints = [s for s in self._savepoints if s.name != name]
        point = Savepoint(name)
        for object_id, overlay in self._overlays.items():
            rows = self._cursor.sql(f"SELECT * FROM {overlay.rows}").to_arrow_table()
            dead = self._cursor.sql(f"SELECT * FROM {overlay.dead}").to_arrow_table()
            point.copies[object_id] = (rows, dead)
        self._savepoints.append(point)

    def has_savepoint(self, name: str) -> bool:
        return any(point.name == name for point in self._savepoints)

    def forget_savepoint(self, name: str) -> None:
        self._savepoints = [point for point in self._savepoints if point.name != name]

    def rollback_to(self, name: str) -> None:
        """Raises ORA-01086 if there is no such savepoint. Locks taken since stay, which Oracle would release."""
        index = next((i for i, s in enumerate(self._savepoints) if s.name == name), None)
        if index is None:
            raise ora(1086, name)
        self.changes += 1
        point = self._savepoints[index]
        del self._savepoints[index + 1 :]
        for object_id, overlay in self._overlays.items():
            self._cursor.execute(f"DELETE FROM {overlay.rows}")
            self._cursor.execute(f"DELETE FROM {overlay.dead}")
            for name_, copy in zip((overlay.rows, overlay.dead), point.copies.get(object_id, ()), strict=False):
                self._cursor.register("old_rows", copy)
                self._cursor.execute(f"INSERT INTO {name_} SELECT * FROM old_rows")
                self._cursor.unregister("old_rows")

    def close(self) -> None:
        self.rollback()
        self._cursor.close()


def _write_overlay(writer: duckdb.DuckDBPyConnection, overlay: Overlay, scn: int) -> int:
    """Apply one overlay; how many versions went to the history."""
    table = overlay.table
    listed = "".join(f"{c.stored}, " for c in table.columns)
    moved = writer.execute(
        f"INSERT INTO {table.history} ({listed}rid, scn, dead) SELECT {listed}rid, scn, {scn} FROM {table.data} AS t "
        f"SEMI JOIN {overlay.dead} AS d ON t.rid = d.rid"
    ).fetchall()[0][0]
    if moved:
        writer.execute(f"DELETE FROM {table.data} WHERE rid IN (SELECT rid FROM {overlay.dead})")
    writer.execute(f"INSERT INTO {table.data} ({listed}rid, scn) SELECT {listed}rid, {scn} FROM {overlay.rows}")
    return int(moved)
