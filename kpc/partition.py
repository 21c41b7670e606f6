"""What is migrated, one table and one key at a time, and between which two systems."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from kpc.catalog import find_table
from kpc.catalog.table import Table
from kpc.catalog.types import ALL
from kpc.errors import ConfigError

_MONTH = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Environment:
    """The two live systems: the database and its incarnation, and the org. Read from them, never configured."""

    source_id: str
    target_id: str


@dataclass(frozen=True)
class Partition:
    """`key` is a local calendar month (`2024-01`) or `ALL`."""

    table: Table
    key: str

    def __str__(self) -> str:
        return f"{self.table.name} {self.key}"

    @property
    def bounds(self) -> tuple[date, date] | None:
        """First day of the month and of the next one; None for `ALL`."""
        if self.key == ALL:
            return None
        year, month = int(self.key[:4]), int(self.key[5:])
        return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)

    def parents(self) -> tuple[Partition, ...]:
        """The partitions that must be loaded first: for each lookup, the parent table's same month or its `ALL`."""
        tables = (find_table(lookup.parent) for lookup in self.table.lookups)
        return tuple(Partition(table, self.key if table.is_monthly else ALL) for table in tables)


def find_partition(table_name: str, key: str | None) -> Partition:
    """The partition with this table name and key.

    Raises `ConfigError` for an unknown table and for a missing or malformed key.
    """
    table = find_table(table_name)
    if not key:
        example = "2024-01" if table.is_monthly else ALL
        raise ConfigError(
            f"A partition key is missing for {table.name}.",
            f"Give one, for example `kpc rerun {table.name} {example}` "
            "(in Airflow's trigger form: the field Partition Key under Advanced Options).",
        )
    if table.is_monthly and not _MONTH.fullmatch(key):
        raise ConfigError(
            f"{key!r} is not a partition key of {table.name}.",
            "This table is split by month: give one such as 2024-01.",
        )
    if not table.is_monthly and key != ALL:
        raise ConfigError(
            f"{key!r} is not a partition key of {table.name}.", "This table has a single partition: give ALL."
        )
    return Partition(table, key)


def month_keys(first: str, months: int) -> tuple[str, ...]:
    """`months` consecutive keys starting with `first`, e.g. 2023-12, 2024-01, 2024-02."""
    year, month = int(first[:4]), int(first[5:])
    ordinals = range(year * 12 + month - 1, year * 12 + month - 1 + months)
    return tuple(f"{ordinal // 12:04d}-{ordinal % 12 + 1:02d}" for ordinal in ordinals)


def partitions_of(table: Table, months: tuple[str, ...]) -> tuple[Partition, ...]:
    """All partitions of a table for the given months; `ALL` alone for a table without months."""
    return tuple(Partition(table, key) for key in (months if table.is_monthly else (ALL,)))
