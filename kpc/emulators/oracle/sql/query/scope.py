"""Which column a name means: the sources of a FROM clause, nested as subqueries are."""

from __future__ import annotations

from dataclasses import dataclass, field

from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.query.late_rows import LateQuery
from kpc.emulators.oracle.sql.storage.scans import Scan
from kpc.emulators.oracle.sql.types.datatypes import ROWID, UROWID, SqlType
from kpc.emulators.oracle.sql.types.values import Expr, name


@dataclass(slots=True)
class FromSource:
    """One relation in FROM. `columns` maps to DuckDB SQL; a name that stands twice in a subquery is in `doubled`."""

    alias: str
    columns: dict[str, Expr]
    rowid: str | None = None
    table: str | None = None  # the base table's name, for FOR UPDATE
    owner: str | None = None
    scan: Scan | None = None
    doubled: frozenset[str] = frozenset()
    hidden: set[str] = field(default_factory=set)  # merged away by USING
    relation: str = ""  # its name in DuckDB's SQL
    late: LateQuery | None = None
    rowid_error: int = 1446


@dataclass(slots=True)
class Scope:
    """The sources a query block sees; then its parents'."""

    sources: list[FromSource] = field(default_factory=list)
    parent: Scope | None = None
    merged: dict[str, Expr] = field(default_factory=dict)  # the columns of USING and NATURAL
    aliases: dict[str, Expr] = field(default_factory=dict)  # select aliases, for ORDER BY
    rownum: str | None = None
    numbered: str | None = None  # the derived table that all sources have moved into, for ROWNUM
    pseudo: dict[str, Expr] = field(default_factory=dict)

    def find(self, column: str, qualifier: str | None = None) -> Expr | None:
        """The column, or None. Raises ORA-00918 if more than one source has it."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.here(column, qualifier)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def here(self, column: str, qualifier: str | None) -> Expr | None:
        """The same in this query block alone."""
        if qualifier is None and column in self.merged:
            return self.merged[column]
        hits = [
            source
            for source in self.sources
            if (qualifier is None or source.alias == qualifier)
            and (column in source.columns or column in source.doubled)
        ]
        if len(hits) > 1:
            raise ora(918)
        if hits:
            if column in hits[0].doubled:
                raise ora(918)
            return hits[0].columns[column]
        if qualifier is None and column in self.aliases:
            return self.aliases[column]
        return None

    def rowid(self, qualifier: str | None) -> Expr | None:
        """The ROWID pseudo-column."""
        scope: Scope | None = self
        while scope is not None:
            hits = [s for s in scope.sources if qualifier is None or s.alias == qualifier]
            if hits:
                with_rowid = [s for s in hits if s.rowid is not None]
                if len(hits) > 1:
                    raise ora(918)
                if not with_rowid:
                    raise ora(hits[0].rowid_error)
                table = with_rowid[0].scan.table if with_rowid[0].scan else None
                kind = UROWID if table is not None and table.is_index_organized else ROWID
                return Expr(with_rowid[0].rowid or "", kind, nullable=False)
            scope = scope.parent
        return None

    def source(self, alias: str) -> FromSource | None:
        return next((s for s in self.sources if s.alias == alias), None)


def column_expr(relation: str, stored: str, kind: SqlType, *, nullable: bool) -> Expr:
    return Expr(f"{relation}.{name(stored)}", kind, nullable=nullable)
