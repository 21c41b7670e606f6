"""What a statement is compiled against: the session's settings, the schema, the binds and the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from kpc.emulators.oracle.sql.instance_facts import InstanceFacts
from kpc.emulators.oracle.sql.query.late_rows import LateQuery
from kpc.emulators.oracle.sql.storage.costs import Work
from kpc.emulators.oracle.sql.storage.scans import Scan
from kpc.emulators.oracle.sql.storage.store import StoredTable
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.time_zone import UTC, TimeZone
from kpc.emulators.oracle.sql.types.values import Expr


@dataclass(slots=True)
class SessionSettings:
    """What ALTER SESSION and the client's attributes change."""

    user: str
    schema: str
    session_id: int
    serial: int
    service: str
    database: str
    program: str = ""
    machine: str = ""
    date_format: str = "DD-MON-RR"
    timestamp_format: str = "DD-MON-RR HH.MI.SSXFF AM"
    timestamp_tz_format: str = "DD-MON-RR HH.MI.SSXFF AM TZR"
    zone: TimeZone = UTC
    attributes: dict[str, str | None] = field(default_factory=dict)
    character_set: str = "AL32UTF8"  # of the database
    facts: InstanceFacts = field(default_factory=InstanceFacts)
    container: str = ""


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column as a query sees it: its name in Oracle, its name in the DuckDB relation, and its type."""

    name: str
    stored: str
    type: SqlType
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class RelationView:
    """Something that can stand in FROM:

    DuckDB SQL and the columns it has. `rowid` is the stored name of its position.
    """

    sql: str
    columns: tuple[ColumnView, ...]
    rowid: str | None = None
    table: StoredTable | None = None  # the base table, to account for its rows
    late: LateQuery | None = None
    rowid_error: int = 1446  # why it has no ROWID


class NameLookup(Protocol):
    """Where names are looked up."""

    def relation(self, owner: str | None, name: str, context: Context, *, scn: int | None) -> RelationView:
        """Raises ORA-00942, and ORA-01555, 08181 or 01466 when `scn` cannot be read."""
        ...

    def sequence_value(self, owner: str | None, name: str, pseudo: str, context: Context) -> Expr | None:
        """NEXTVAL or CURRVAL, or None if there is no such sequence."""
        ...

    def scn_at(self, moment: dt.datetime) -> int:
        """The change number that was current at `moment` (UTC). Raises ORA-08180."""
        ...

    def moment_of(self, scn: int) -> dt.datetime: ...


@dataclass(slots=True)
class Context:
    """One compilation. `arrow` collects tables that the executing connection must register first."""

    settings: SessionSettings
    schema: NameLookup
    binds: Mapping[str, Expr]
    now: dt.datetime  # UTC, the same for the whole statement
    scn: int
    is_describe: bool = False
    many_rows: bool = False  # NEXTVAL counts rows (INSERT ... SELECT)
    arrow: dict[str, pa.Table] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)  # values taken by this statement
    on_sequence: Callable[[str, int], None] | None = None
    aliases: int = 0
    as_of: int | None = None  # the SCN at which a view's tables are read
    scans: list[Scan] = field(default_factory=list)  # the base tables that the statement reads
    works: list[Work] = field(default_factory=list)  # what it does with their rows

    def alias(self) -> str:
        """A fresh relation name."""
        self.aliases += 1
        return f"s{self.aliases}"
