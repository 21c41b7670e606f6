"""Partitions that have stopped between two stages, as far as the ledger knows.

Only Airflow knows why: the next run may wait for a parent or a slot, or may not exist (`kpc.airflow_client.missed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from kpc.campaign.overview.stopped import STARTS_WITHIN, stopped_between
from kpc.catalog import TABLES
from kpc.ledger import Ledger
from kpc.ledger.stage_runs import StageRun
from kpc.partition import Environment, Partition, stored_partition


@dataclass(frozen=True, slots=True)
class Gap:
    """`done` is the last finished stage of the partition, `following` the one that should have begun since."""

    partition: Partition
    done: StageRun
    following: str


def stopped_partitions(ledger: Ledger, environment: Environment, *, after: timedelta = STARTS_WITHIN) -> list[Gap]:
    """The first gap of each partition whose last stage was done at least `after` ago, in load order.

    A stage whose lease is held is running: a load in Airflow is recorded only when it is published.
    """
    now, held = ledger.clock(), ledger.leases.held(environment)
    newest = ledger.stages.newest(environment)
    by_partition: dict[tuple[str, str], dict[str, StageRun]] = {}
    for row in newest:
        by_partition.setdefault((row.table_name, row.partition_key), {})[row.stage] = row
    found = []
    for (table, key), stages in by_partition.items():
        partition = stored_partition(table, key)
        between = stopped_between(stages, now, after=after)
        if partition is not None and between is not None and (table, key, between[1]) not in held:
            found.append(Gap(partition, stages[between[0]], between[1]))
    order = list(TABLES)
    return sorted(found, key=lambda gap: (order.index(gap.partition.table.name), gap.partition.key))
