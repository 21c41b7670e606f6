"""What Oracle's dictionary says about the source, read once for all checks; what the user may not see is noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kpc.errors import ConfigError
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement

BLOCK_BYTES = 8192  # the usual size


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Facts about one table or view; sizes are None without statistics."""

    object_type: str
    rows: int | None = None
    blocks: int | None = None
    is_index_organized: bool = False
    is_temporary: bool = False
    partition_column: str | None = None
    unique_keys: tuple[frozenset[str], ...] = ()
    leading_columns: frozenset[str] = frozenset()  # the first column of each index

    @property
    def raw_bytes(self) -> int | None:
        return None if self.blocks is None else self.blocks * BLOCK_BYTES


@dataclass(slots=True)
class SourceFacts:
    """`hidden` are the views that the user may not read."""

    tables: dict[str, TableFacts] = field(default_factory=dict)
    character_set: str = ""
    national_set: str = ""
    role: str = ""
    open_mode: str = ""
    limits: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    privileges: frozenset[str] = frozenset()
    row_policies: frozenset[str] = frozenset()
    redacted: dict[str, list[str]] = field(default_factory=dict)
    expires: Any = None  # naive, in the server's time
    hidden: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Dictionary:
    """Queries of views; one that the user may not read gives no rows and is noted."""

    session: ReadSession
    owner: str
    hidden: list[str]

    def rows(self, view: str, columns: str, where: str = "", *, of_owner: str = "") -> list[tuple[Any, ...]]:
        conditions = [part for part in (where, f"{of_owner} = :owner" if of_owner else "") if part]
        text = f"SELECT {columns} FROM {view}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        try:
            return self.session.read(Statement(text, {"owner": self.owner} if of_owner else {}), view)
        except ConfigError:
            self.hidden.append(view)
            return []


def read_facts(session: ReadSession, oracle: Oracle) -> SourceFacts:
    """The facts. Raises the driver's errors, translated, except for views that the user may not read."""
    facts = SourceFacts()
    views = _Dictionary(session, oracle.owner, facts.hidden)
    sets = dict(views.rows("NLS_DATABASE_PARAMETERS", "PARAMETER, VALUE", "PARAMETER LIKE 'NLS%CHARACTERSET'"))
    facts.character_set, facts.national_set = sets.get("NLS_CHARACTERSET", ""), sets.get("NLS_NCHAR_CHARACTERSET", "")
    for facts.role, facts.open_mode in views.rows("V$DATABASE", "DATABASE_ROLE, OPEN_MODE"):
        pass
    facts.limits = dict(views.rows("USER_RESOURCE_LIMITS", "RESOURCE_NAME, LIMIT"))
    facts.parameters = dict(views.rows("V$PARAMETER", "NAME, VALUE", "NAME IN ('undo_retention', 'resource_limit')"))
    facts.privileges = frozenset(name for (name,) in views.rows("SESSION_PRIVS", "PRIVILEGE"))
    enabled = views.rows("ALL_POLICIES", "OBJECT_NAME", "ENABLE = 'YES' AND SEL = 'YES'", of_owner="OBJECT_OWNER")
    facts.row_policies = frozenset(name for (name,) in enabled)
    redacting = {
        name
        for (name,) in views.rows("REDACTION_POLICIES", "OBJECT_NAME", "ENABLE LIKE 'YES%'", of_owner="OBJECT_OWNER")
    }
    for table, column in views.rows("REDACTION_COLUMNS", "OBJECT_NAME, COLUMN_NAME", of_owner="OBJECT_OWNER"):
        if table in redacting:
            facts.redacted.setdefault(table, []).append(column)
    for (facts.expires,) in views.rows("USER_USERS", "EXPIRY_DATE"):
        pass
    facts.tables = _tables(views)
    return facts


def _tables(views: _Dictionary) -> dict[str, TableFacts]:
    found: dict[str, dict[str, Any]] = {
        name: {"object_type": kind}
        for name, kind in views.rows(
            "ALL_OBJECTS", "OBJECT_NAME, OBJECT_TYPE", "OBJECT_TYPE IN ('TABLE', 'VIEW')", of_owner="OWNER"
        )
    }
    sizes = views.rows("ALL_TABLES", "TABLE_NAME, NUM_ROWS, BLOCKS, IOT_TYPE, TEMPORARY", of_owner="OWNER")
    for name, rows, blocks, organization, temporary in sizes:
        found.setdefault(name, {"object_type": "TABLE"}).update(
            rows=None if rows is None else int(rows),
            blocks=None if blocks is None else int(blocks),
            is_index_organized=organization is not None,
            is_temporary=temporary == "Y",
        )
    partitioned = views.rows("ALL_PART_KEY_COLUMNS", "NAME, COLUMN_NAME", "COLUMN_POSITION = 1", of_owner="OWNER")
    for name, column in partitioned:
        if name in found:
            found[name]["partition_column"] = column
    columns = views.rows(
        "ALL_IND_COLUMNS", "INDEX_NAME, TABLE_NAME, COLUMN_NAME, COLUMN_POSITION", of_owner="TABLE_OWNER"
    )
    unique = {name for (name,) in views.rows("ALL_INDEXES", "INDEX_NAME", "UNIQUENESS = 'UNIQUE'", of_owner="OWNER")}
    for name, facts in found.items():
        mine = [(index, column, position) for index, table, column, position in columns if table == name]
        facts["leading_columns"] = frozenset(column for _, column, position in mine if position == 1)
        facts["unique_keys"] = tuple(_columns_of(index, mine) for index in {index for index, *_ in mine} & unique)
    return {name: TableFacts(**facts) for name, facts in found.items()}


def _columns_of(index: str, columns: Iterable[tuple[str, str, int]]) -> frozenset[str]:
    return frozenset(column for name, column, _ in columns if name == index)
