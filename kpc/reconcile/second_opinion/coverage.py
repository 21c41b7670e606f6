"""For which rows Oracle is asked for its opinion: all, or those of a few buckets, which differ by partition."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from kpc.catalog.table import Table
from kpc.catalog.types import ALL, BUCKETS
from kpc.partition import Partition
from kpc.reconcile.second_opinion.digest_layout import has_opinion
from kpc.reconcile.second_opinion.row_sql import Chosen, key_texts, with_opinions

Extent = Literal["some", "full", "off"]
EVERY_BUCKET = tuple(range(BUCKETS))
SOME_BUCKETS = 4  # of the 256 of a monthly partition


def has_opinions(table: Table, extent: Extent) -> bool:
    """Whether an extract of the table has opinions."""
    return extent != "off" and has_opinion(table)


def asked_buckets(partition: Partition, extent: Extent) -> tuple[int, ...]:
    """The buckets whose rows are asked for, ascending; a bucket is the first byte of SHA-256 over an external id.

    A table with a single partition is always asked for completely, except with `off`.
    """
    if not has_opinions(partition.table, extent):
        return ()
    return drawn_buckets(partition, BUCKETS if extent == "full" else SOME_BUCKETS)


def drawn_buckets(partition: Partition, count: int) -> tuple[int, ...]:
    """`count` buckets, ascending, which differ by partition; all buckets for a table with a single partition.

    A larger count includes the buckets of a smaller one.
    """
    if partition.key == ALL:
        return EVERY_BUCKET
    name = f"{partition.table.name}/{partition.key}"
    drawn = dict.fromkeys(hashlib.sha256(name.encode()).digest())
    rest = sorted(set(EVERY_BUCKET) - drawn.keys(), key=lambda each: hashlib.sha256(f"{name}/{each}".encode()).digest())
    return tuple(sorted([*drawn, *rest][:count]))


def asks_for(buckets: Sequence[int]) -> Chosen | None:
    """The condition on a row's bucket; None: all rows."""
    if tuple(buckets) == EVERY_BUCKET:
        return None
    listed = ",".join(f"'{bucket:02X}'" for bucket in buckets)
    return lambda bucket: f"{bucket} IN ({listed})"


def asks_for_months(partitions: Sequence[Partition], extent: Extent, month: str) -> Chosen | None:
    """The condition for rows of many months; `month` is SQL for the month that a row belongs to."""
    of_month = {partition.key: asked_buckets(partition, extent) for partition in partitions}
    if all(buckets == EVERY_BUCKET for buckets in of_month.values()):
        return None
    pairs = ",".join(f"'{key}/{bucket:02X}'" for key, buckets in of_month.items() for bucket in buckets)
    return lambda bucket: f"{month}||'/'||{bucket} IN ({pairs})"


def opinion_spec(table: Table, extent: Extent) -> list[str]:
    """What determines the opinions in an extract, for the hash of its specification; empty without opinions."""
    if not has_opinions(table, extent):
        return []
    query = key_texts(table) + with_opinions(table, "", None)
    return ["second opinion", extent, hashlib.sha256(query.encode()).hexdigest()]
