"""What the database holds: tables in DuckDB with their versions, and the dictionary of what they are.

Every table keeps, beside its columns (stored as c1, c2 ...), `rid` (the ROWID as a number, see `positions`) and `scn`
(the change that made this version). A commit moves replaced and deleted versions to the table's history with the
change that ended them. So `AS OF SCN n` is a plain query (`scn <= n` here, and `scn <= n < dead` in the history) that
any number of sessions run side by side, for any change number since the horizon.
"""

from __future__ import annotations

import datetime as dt
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb

from kpc.emulators.oracle.sql.functions import python_functions
from kpc.emulators.oracle.sql.instance_facts import InstanceFacts
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.storage.character_set import CharacterSet
from kpc.emulators.oracle.sql.storage.grants import Grants
from kpc.emulators.oracle.sql.storage.physical import RangePartitions, TableStatistics
from kpc.emulators.oracle.sql.types.datatypes import WIDE, SqlType

FIRST_SCN = 5_000_000
MAX_UNDO_ROWS = 5_000_000
FILE_MEMORY = "2GB"  # of a database in a file; what does not fit is spilled beside it
# How an identity column is generated.
ALWAYS, BY_DEFAULT = "ALWAYS", "BY DEFAULT"


@dataclass(slots=True)
class TableColumn:
    """`stored` is its DuckDB name, which a RENAME does not touch. `default` is the SQL text of DEFAULT."""

    name: str
    stored: str
    type: SqlType
    nullable: bool = True
    default: str | None = None
    comment: str | None = None
    default_on_null: bool = False  # the default also takes the place of a NULL that is inserted
    identity: str | None = None  # ALWAYS or BY DEFAULT
    sequence: StoredSequence | None = None  # of an identity column


@dataclass(slots=True)
class Constraint:
    """`kind`: P primary key, U unique, C check (also NOT NULL), R foreign key."""

    name: str
    kind: str
    columns: tuple[str, ...]
    condition: str | None = None
    generated: bool = False
    parent: str | None = None  # R: name of the parent's key constraint
    is_index: bool = False  # a unique index, not a constraint


@dataclass(slots=True)
class Index:
    name: str
    columns: tuple[str, ...]
    unique: bool


@dataclass(slots=True)
class StoredTable:
    owner: str
    name: str
    object_id: int
    columns: list[TableColumn]
    created: dt.datetime
    constraints: list[Constraint] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    comment: str | None = None
    ddl_scn: int = 0  # flashback before it is ORA-01466
    changed_scn: int = 0
    first_undo_scn: int | None = None  # the first change that moved a version to the history
    rows_ever: int = 0
    columns_ever: int = 0
    is_index_organized: bool = False
    partitions: RangePartitions | None = None
    statistics: TableStatistics | None = None

    @property
    def data(self) -> str:
        return f"t{self.object_id}"

    @property
    def history(self) -> str:
        return f"h{self.object_id}"

    def column(self, name: str) -> TableColumn | None:
        return next((c for c in self.columns if c.name == name), None)

    @property
    def keys(self) -> list[Constraint]:
        """What must be unique."""
        return [c for c in self.constraints if c.kind in "PU"]


@dataclass(slots=True)
class StoredView:
    owner: str
    name: str
    object_id: int
    text: str
    names: tuple[str, ...] | None
    created: dt.datetime
    comment: str | None = None
    written: str = ""  # as CREATE VIEW had it


@dataclass(slots=True)
class StoredSequence:
    owner: str
    name: str
    object_id: int
    increment: int = 1
    next_value: int = 1
    minimum: int = 1
    maximum: int = 10**28 - 1
    cycle: bool = False
    first_value: int = 1
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC).replace(tzinfo=None))


SchemaObject = StoredTable | StoredView | StoredSequence


class TableStore:
    """The DuckDB instance and the dictionary; one lock orders commits, DDL and the start of every read."""

    def __init__(self, path: str, clock: Callable[[], dt.datetime], character_set: CharacterSet) -> None:
        self.clock = clock
        self.character_set = character_set
        self.facts = InstanceFacts()
        config = {"python_enable_replacements": "false"}
        if path != ":memory:":
            config["memory_limit"] = FILE_MEMORY
        self.connection: duckdb.DuckDBPyConnection = duckdb.connect(path, config=dict(config))
        python_functions.register(self.connection, character_set)
        self.connection.execute("CREATE TABLE anchor AS SELECT 1 AS one")
        self.lock = threading.RLock()
        self.scn = FIRST_SCN
        self.horizon = FIRST_SCN
        self.objects: dict[tuple[str, str], SchemaObject] = {}
        self.constraint_names: dict[tuple[str, str], StoredTable] = {}
        self.index_names: dict[tuple[str, str], StoredTable] = {}
        self.public_synonyms: dict[str, tuple[str, str]] = {}
        self._moments: list[tuple[dt.datetime, int]] = [(clock(), FIRST_SCN)]
        self._object_ids = 70_000
        self._system_names = 8_000
        self._undo_rows = 0
        self.grants = Grants()
        self.undo_retention: int | None = None  # in SCNs; a fault switch

    # Names

    def next_object_id(self) -> int:
        self._object_ids += 1
        return self._object_ids

    def system_name(self) -> str:
        """A generated constraint name."""
        self._system_names += 1
        return f"SYS_C{self._system_names:06d}"

    def find(self, owner: str, name: str) -> SchemaObject | None:
        return self.objects.get((owner, name))

    def tables(self) -> Iterator[StoredTable]:
        return (o for o in list(self.objects.values()) if isinstance(o, StoredTable))

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own."""
        cursor = self.connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    # Tables

    def create(self, table: StoredTable) -> None:
        """Make the DuckDB tables behind a new table and enter it."""
        with self.lock:
            if (table.owner, table.name) in self.objects:
                raise ora(955)
            columns = "".join(f"{c.stored} {c.type.duckdb}, " for c in table.columns)
            self.connection.execute(f"CREATE TABLE {table.data} ({columns}rid BIGINT, scn BIGINT)")
            self.connection.execute(f"CREATE TABLE {table.history} ({columns}rid BIGINT, scn BIGINT, dead BIGINT)")
            table.columns_ever = len(table.columns)
            self.objects[table.owner, table.name] = table
            self.advance()
            table.ddl_scn = table.changed_scn = self.scn

    def drop(self, table: StoredTable) -> None:
        with self.lock:
            del self.objects[table.owner, table.name]
            for column in table.columns:
                if column.sequence is not None:
                    self.objects.pop((column.sequence.owner, column.sequence.name), None)
            self.grants.forget_object(table.owner, table.name)
            for names in (self.constraint_names, self.index_names):
                for key in [key for key, owner in names.items() if owner is table]:
                    del names[key]
            self.connection.execute(f"DROP TABLE {table.data}")
            self.connection.execute(f"DROP TABLE {table.history}")
            self.advance()

    def widen(self, table: StoredTable, column: TableColumn) -> None:
        """Hold a NUMBER column without precision in the wide form from now on: a value needs more digits."""
        with self.lock:
            if column.type.is_wide:
                return
            for name in (table.data, table.history):
                self.connection.execute(
                    f"ALTER TABLE {name} ALTER COLUMN {column.stored} TYPE BLOB USING "
                    f"ora_wide({column.stored}::VARCHAR)"
                )
            column.type = WIDE

    # Time

    def advance(self) -> int:
        """The next system change number, current from now on."""
        with self.lock:
            self.scn += 1
            self._moments.append((self.clock(), self.scn))
            if len(self._moments) > 200_000:
                self._moments = self._moments[:1] + self._moments[1::2]
            return self.scn

    def scn_at(self, moment: dt.datetime) -> int:
        at = bisect_right(self._moments, (moment, 2**62)) - 1
        if at < 0 or moment > self.clock():
            raise ora(8180)
        return self._moments[at][1]

    def moment_of(self, scn: int) -> dt.datetime:
        numbers = [number for _, number in self._moments]
        at = bisect_right(numbers, scn) - 1
        if at < 0 or scn > self.scn:
            raise ora(8181)
        return self._moments[at][0]

    def check_readable(self, scn: int) -> None:
        """Raises ORA-08181 for a future SCN and ORA-01555 for one whose versions may be gone."""
        if scn > self.scn or scn <= 0:
            raise ora(8181)
        retained = self.scn - self.undo_retention if self.undo_retention is not None else 0
        if scn < max(self.horizon, retained):
            raise ora(1555, 9, "_SYSSMU9_KPC$")

    def forget_undo(self) -> None:
        """Give up every version older than now: flashback to an older SCN is ORA-01555 from here on."""
        with self.lock:
            for table in self.tables():
                self.connection.execute(f"DELETE FROM {table.history}")
                table.first_undo_scn = None
            self.horizon = self.scn
            self._undo_rows = 0

    def count_undo(self, rows: int) -> None:
        """Keep the history bounded: beyond MAX_UNDO_ROWS all of it is given up."""
        self._undo_rows += rows
        if self._undo_rows > MAX_UNDO_ROWS:
            self.forget_undo()

    @contextmanager
    def snapshot(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Start a read on `cursor`: whatever is compiled and opened inside sees one committed state."""
        with self.lock:
            cursor.execute("BEGIN TRANSACTION")
            cursor.execute("SELECT one FROM anchor").fetchall()
            yield

    def relation_sql(self, table: StoredTable, scn: int | None, overlay: tuple[str, str] | None) -> str:
        """The rows of a table now, with a session's own changes over it, or as of an SCN."""
        columns = "".join(f"{c.stored}, " for c in table.columns)
        if scn is not None:
            self.check_readable(scn)
            if scn < table.ddl_scn:
                raise ora(1466)
            if scn >= table.changed_scn:
                return table.data
            live = f"SELECT {columns}rid FROM {table.data} WHERE scn <= {scn}"
            past = f"SELECT {columns}rid FROM {table.history} WHERE scn <= {scn} AND dead > {scn}"
            return f"({live} UNION ALL {past})" if table.first_undo_scn is not None else f"({live})"
        if overlay is None:
            return table.data
        rows, dead = overlay
        live = f"SELECT {columns}rid FROM {table.data} AS b ANTI JOIN {dead} AS d ON b.rid = d.rid"
        return f"({live} UNION ALL SELECT {columns}rid FROM {rows})"
