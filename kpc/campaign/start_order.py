"""The order in which a campaign starts its partitions.

Phases in order; within a phase the smallest table first, so that small tables do not wait for large ones, and every
parent before its children. Tables that refer to each other and are split alike (headers, lines and payments) go month
by month: their partitions of a month then share an SCN, and a month is complete long before the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from kpc.catalog import Table, family
from kpc.partition import Partition

Rows = Mapping[str, Mapping[str, int]]  # counted rows by table and key

T = TypeVar("T")


def start_order(partitions: Iterable[Partition], rows: Rows) -> tuple[Partition, ...]:
    """The partitions in the order in which they are started. A table that was not counted is treated as the largest."""
    by_table: dict[Table, list[Partition]] = {}
    for partition in partitions:
        by_table.setdefault(partition.table, []).append(partition)
    groups = list(dict.fromkeys(_group(table, by_table) for table in by_table))
    ordered = _smallest_first(groups, lambda group: _size_of_group(group, by_table, rows), _needs)
    return tuple(partition for group in ordered for partition in _by_month(group, by_table, rows))


def _group(table: Table, by_table: Mapping[Table, object]) -> tuple[Table, ...]:
    if not table.is_monthly:
        return (table,)
    return tuple(other for other in family(table) if other in by_table)


def _by_month(group: Sequence[Table], by_table: Mapping[Table, Sequence[Partition]], rows: Rows) -> Iterable[Partition]:
    keys = sorted({partition.key for table in group for partition in by_table[table]})
    for key in keys:
        members = [partition for table in group for partition in by_table[table] if partition.key == key]
        yield from _smallest_first(members, lambda one: (0, _rows(one, rows)), _is_child)


def _smallest_first(
    items: Sequence[T], size: Callable[[T], tuple[int, float]], needs: Callable[[T, T], bool]
) -> list[T]:
    """By size, but no table before those that it refers to."""
    left, ordered = sorted(items, key=size), []
    while left:
        chosen = next(one for one in left if not any(needs(one, other) for other in left if other is not one))
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _size_of_group(
    group: Sequence[Table], by_table: Mapping[Table, Sequence[Partition]], rows: Rows
) -> tuple[int, float]:
    phase = max(table.phase.position for table in group)
    return phase, sum(_rows(partition, rows) for table in group for partition in by_table[table])


def _rows(partition: Partition, rows: Rows) -> float:
    return rows.get(partition.table.name, {}).get(partition.key, float("inf"))


def _needs(group: Sequence[Table], other: Sequence[Table]) -> bool:
    names = {table.name for table in other}
    return any(lookup.parent in names for table in group for lookup in table.lookups)


def _is_child(one: Partition, other: Partition) -> bool:
    return other in one.parents()


def earlier_phases(partition: Partition, tables: Iterable[Table]) -> list[str]:
    """The phases among `tables` that come before the partition's own, in their order."""
    position = partition.table.phase.position
    found = {table.phase for table in tables if table.phase.position < position}
    return [phase.value for phase in sorted(found, key=lambda phase: phase.position)]
