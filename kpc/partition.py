"""What is migrated, one table and one key at a time, and between which two systems."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from kpc.catalog import TABLES, find_table
from kpc.catalog.table import Table
from kpc.catalog.types import ALL
from kpc.errors import ConfigError, KpcError
from kpc.local_time import naive_local

log = logging.getLogger(__name__)

FIRST_YEAR, LAST_YEAR = 1990, 2099  # of a month that a point-of-sale system can have; others are typing errors
BUDDHIST_YEARS = 543  # 2567 is 2024
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_DASHES = re.compile("[\u2010-\u2015\u2212\uff0d]")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_MONTHS_EXAMPLE = "for example --months 2024-01:3 for January to March 2024."
_SHOWN = 40  # characters of a wrong key that a message repeats


@dataclass(frozen=True, slots=True)
class Environment:
    """The two live systems: the schema of a pluggable database, and the org. Read from them, never configured."""

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


@dataclass(frozen=True, slots=True)
class Sibling:
    """The partitions of a table whose loads lock records that this load locks too; `key` None: all of the table."""

    table_name: str
    key: str | None

    def __str__(self) -> str:
        return f"{self.table_name} {self.key}" if self.key else self.table_name


def siblings(partition: Partition) -> tuple[Sibling, ...]:
    """Who shares locked parents with a partition: the other children of each parent that its rows lock.

    Children of a parent that is split by month meet in the same month only, children of another in any month.
    """
    found: dict[Sibling, None] = {}
    for lookup in partition.table.lookups:
        if lookup.locks_parent:
            is_monthly = find_table(lookup.parent).is_monthly
            for table in TABLES.values():
                if any(each.parent == lookup.parent and each.locks_parent for each in table.lookups):
                    found[Sibling(table.name, partition.key if is_monthly else None)] = None
    return tuple(found)


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
    try:
        return Partition(table, check_key(key, is_monthly=table.is_monthly))
    except ConfigError as error:
        raise ConfigError(f"{table.name} has no such partition: {error.what}", error.remedy) from None


def stored_partition(table_name: str, key: str) -> Partition | None:
    """A partition that the ledger names; None if an older version stored a key that is none, or a table is gone.

    Such an entry must not stop work on other partitions.
    """
    try:
        return find_partition(table_name, key)
    except KpcError as error:
        log.warning("Passing over an entry of the ledger that an older version wrote: %s", error.what)
        return None


def check_key(key: str, *, is_monthly: bool) -> str:
    """The key of a partition, unchanged: a month such as 2024-01, or `ALL` for a table that is one partition.

    The only parser of partition keys: the command line, Airflow's timetables and the ledger's readers use it.
    Raises `ConfigError`.
    """
    if not is_monthly:
        if key != ALL:
            raise ConfigError(f"{as_typed(key)} is no partition key.", f"The table has a single partition: give {ALL}.")
        return key
    if not _MONTH.fullmatch(key):
        raise ConfigError(f"{as_typed(key)} is no month.", _month_remedy(key))
    year = int(key[:4])
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ConfigError(f"{as_typed(key)} is no month between {FIRST_YEAR} and {LAST_YEAR}.", _year_remedy(key))
    return key


def parse_months(text: str) -> tuple[str, ...]:
    """The months that FIRST:COUNT means: `2024-01:3` is January to March 2024, `2024-01` that month alone.

    Raises `ConfigError`.
    """
    first, colon, count = text.partition(":")
    if not text.strip():
        raise ConfigError("The months are missing.", f"Give them as FIRST:COUNT, {_MONTHS_EXAMPLE}")
    try:
        check_key(first, is_monthly=True)
    except ConfigError as error:
        raise ConfigError(error.what, f"{error.remedy} Months are FIRST:COUNT, {_MONTHS_EXAMPLE}") from None
    if colon and not _COUNT.fullmatch(count):
        raise ConfigError(
            f"{as_typed(text)} is not FIRST:COUNT.", f"Give the first month and how many, {_MONTHS_EXAMPLE}"
        )
    keys = month_keys(first, int(count or 1))
    if int(keys[-1][:4]) > LAST_YEAR:
        most = (LAST_YEAR - int(first[:4])) * 12 + 13 - int(first[5:])
        raise ConfigError(
            f"{as_typed(text)} ends after {LAST_YEAR}.",
            f"Give at most {first}:{most}, or fewer months, {_MONTHS_EXAMPLE}",
        )
    return keys


def as_typed(text: str) -> str:
    """Typed text in a message: quoted, escaped where it is not ASCII, and cut where it is long."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return ascii(cut)


def _month_remedy(key: str) -> str:
    if any(letter.isdigit() and not letter.isascii() for letter in key):
        return "Type the digits 0 to 9, for example 2024-01."
    if _MONTH.fullmatch(key.strip()):
        return "Remove the blanks or line ends around it."
    if _MONTH.fullmatch(_DASHES.sub("-", key)):
        return "Type the hyphen of the keyboard (-) between year and month."
    if key.upper() == ALL:
        return "The table is split by month: give one such as 2024-01."
    return "Give a month such as 2024-01: four digits, a hyphen, two digits from 01 to 12."


def _year_remedy(key: str) -> str:
    year = int(key[:4]) - BUDDHIST_YEARS
    if FIRST_YEAR <= year <= LAST_YEAR:
        return f"If it is a year of the Buddhist calendar, type {year}{key[4:]}."
    return "Give a month such as 2024-01."


def month_key(day: date) -> str:
    """The key of the month in which a local day lies."""
    return f"{day.year:04d}-{day.month:02d}"


def this_month() -> str:
    """The key of the month that it is now at the source."""
    return month_key(naive_local(datetime.now(UTC)))


def refuse_future_month(key: str) -> None:
    """Raises `ConfigError` for a month that has not begun: it would count as done while it has no rows yet."""
    now = this_month()
    if key != ALL and key > now:
        raise ConfigError(
            f"{as_typed(key)} has not begun: it is {now} in Bangkok.",
            f"Give a month up to {now}, such as 2024-01.",
        )


def month_keys(first: str, months: int) -> tuple[str, ...]:
    """`months` consecutive keys starting with `first`, e.g. 2023-12, 2024-01, 2024-02."""
    year, month = int(first[:4]), int(first[5:])
    ordinals = range(year * 12 + month - 1, year * 12 + month - 1 + months)
    return tuple(f"{ordinal // 12:04d}-{ordinal % 12 + 1:02d}" for ordinal in ordinals)


def partitions_of(table: Table, months: tuple[str, ...]) -> tuple[Partition, ...]:
    """All partitions of a table for the given months; `ALL` alone for a table without months."""
    return tuple(Partition(table, key) for key in (months if table.is_monthly else (ALL,)))
