"""Digests of the ledger's rows, which audit entries hold, so that a row that was changed afterwards is found.

The rows of a table are vouched for in groups: those of one partition, of one run, or a single row. A digest covers the
number of rows and every column of each. A column that is empty counts as absent, so that a column which a later version
adds changes no digest.

Not vouched for, because they only steer the work: campaigns and what they started, leases, quota and query jobs,
limits and facts of the org, pauses, booked SCNs (an extract's own is vouched for), addresses. The adoption of a
database is an audit entry itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, and_, select

from kpc.ledger import schema
from kpc.ledger.schema import canonical_json
from kpc.partition import Environment, Partition

_PARTITION = ("source_id", "target_id", "table_name", "partition_key")
_SEPARATOR = "/"

GROUPED_BY: dict[str, tuple[str, ...]] = {
    "stage_run": ("id",),
    "generation": _PARTITION,
    "attempt": _PARTITION,
    "chunk": _PARTITION,
    "job": _PARTITION,
    "migration_failed_records": _PARTITION,
    "reconciliation": ("stage_run",),
    "sign_off": ("id",),
    "scope": ("id",),
    "object_check": ("id",),
    "source_check": ("run_id",),
    "mapping_version": ("version",),
    "campaign_constant": ("source_id", "target_id", "name"),
}
# The stages that may write a partition's rows; while one of them is under way, these rows are in flux.
WRITERS: dict[str, frozenset[str]] = {
    "generation": frozenset({"oracle_extract", "sf_loaded"}),
    "attempt": frozenset({"staged_csv", "sf_loaded"}),
    "chunk": frozenset({"staged_csv", "sf_loaded"}),
    "job": frozenset({"staged_csv", "sf_loaded"}),
    "migration_failed_records": frozenset({"staged_csv", "sf_loaded"}),
}

VOUCHED = "vouched"  # its place in the detail of an entry

Digest = tuple[int, str]  # rows, and sha256 over them
Digests = dict[str, dict[str, Digest]]  # by table and group
Group = tuple[str, str]  # table and group


class WorkMark(StrEnum):
    """Whether work on a partition's stage begins or ends with an entry; between them its rows are in flux."""

    BEGUN = "begun"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an entry vouches for.

    `files`: size in bytes and sha256 by name (`kpc.stages.vouched_files`), None if there is no such file. `removed`:
    sha256 and reason of files that were removed on purpose.
    """

    groups: tuple[Group, ...] = ()
    files: Mapping[str, tuple[int, str] | None] = field(default_factory=dict)
    removed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    moment: WorkMark | None = None

    def as_json(self, digests: Digests) -> dict[str, Any]:
        """The form in which it is stored and hashed; `digests` are those of the groups."""
        rows = {table: {group: list(digest) for group, digest in of.items()} for table, of in digests.items()}
        files = {name: list(fact) if fact else None for name, fact in self.files.items()}
        removed = {name: list(fact) for name, fact in self.removed.items()}
        found: dict[str, Any] = {"rows": rows, "files": files, "removed": removed}
        if self.moment is not None:
            found["moment"] = self.moment.value
        return {name: value for name, value in found.items() if value}


def label(*values: object) -> str:
    """The name of a group, from the values of the columns that a table is grouped by."""
    return _SEPARATOR.join(map(str, values))


def partition_label(environment: Environment, partition: Partition) -> str:
    return label(environment.source_id, environment.target_id, partition.table.name, partition.key)


def constant_group(environment: Environment, name: str) -> Group:
    """The group of one campaign constant."""
    return "campaign_constant", label(environment.source_id, environment.target_id, name)


def tables_of(stage: str) -> list[str]:
    """The tables whose rows of a partition a stage may write."""
    return [table for table, writers in WRITERS.items() if stage in writers]


def digests_of(connection: Connection, groups: Collection[Group]) -> Digests:
    """The present digests of some groups; a group without rows is (0, "")."""
    found: Digests = {}
    for table, group in groups:
        digest = dict(_digests(connection, table, group)).get(group, (0, ""))
        found.setdefault(table, {})[group] = digest
    return found


def all_digests(connection: Connection) -> Digests:
    """The present digests of all groups that have rows."""
    return {table: dict(_digests(connection, table)) for table in GROUPED_BY}


def _digests(connection: Connection, name: str, group: str | None = None) -> Iterator[tuple[str, Digest]]:
    table: Table = schema.metadata.tables[name]
    columns = [table.c[column] for column in GROUPED_BY[name]]
    query = select(table).order_by(*columns, *table.primary_key.columns)
    if group is not None:
        query = query.where(and_(*_conditions(columns, group)))
    # As options of this statement: those of a connection would stay, and PostgreSQL has no cursor for an INSERT.
    rows = connection.execute(query, execution_options={"yield_per": 5000}).mappings()
    names = GROUPED_BY[name]
    for found, members in groupby(rows, lambda row: label(*(row[column] for column in names))):
        yield found, _digest(members)


def _conditions(columns: list[Any], group: str) -> Iterator[Any]:
    values = [group] if len(columns) == 1 else group.split(_SEPARATOR, len(columns) - 1)
    for column, value in zip(columns, values, strict=True):
        yield column == (int(value) if column.type.python_type is int else value)


def _digest(rows: Iterable[RowMapping]) -> Digest:
    count, digest = 0, hashlib.sha256()
    for row in rows:
        digest.update(canonical_json(_content(row)).encode())
        digest.update(b"\n")
        count += 1
    return count, digest.hexdigest()


def _content(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value not in (None, "", {}, [])}
