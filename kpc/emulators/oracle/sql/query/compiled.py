"""A compiled query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kpc.emulators.oracle.interface import LobColumn, OraColumn
from kpc.emulators.oracle.sql.query.late_rows import LateQuery
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.values import Expr


@dataclass(frozen=True, slots=True)
class QueryColumn:
    """A result column."""

    name: str
    type: SqlType
    nullable: bool = True

    @property
    def described(self) -> OraColumn:
        return self.type.column(self.name, nullable=self.nullable)


@dataclass(frozen=True, slots=True)
class Locks:
    """FOR UPDATE: SQL that yields the ROWIDs of (table, rows) to lock. `wait_s` None waits without end."""

    tables: tuple[tuple[str, str], ...]  # (owner.table, DuckDB SQL of the positions)
    wait_s: float | None
    skip_locked: bool = False


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """DuckDB SQL whose columns are named c0, c1, ..."""

    sql: str
    columns: tuple[QueryColumn, ...]
    locks: Locks | None = None
    late: LateQuery | None = None  # for the rows before one that fails
    rowid: str | None = None  # the column with the ROWIDs of its only table, for a view
    rowid_error: int = 1446  # or why it has none
    lob_columns: Mapping[int, LobColumn] = field(
        default_factory=dict
    )  # those of tables; row numbers follow the columns

    @property
    def expressions(self) -> list[Expr]:
        return [Expr(f"c{i}", c.type, nullable=c.nullable) for i, c in enumerate(self.columns)]
