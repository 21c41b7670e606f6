"""Partitions that have stopped between two stages, as far as the ledger knows.

Only Airflow knows why: the next run may wait for a parent or a slot, or there is none (`kpc.airflow_client.missed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from kpc.catalog import TABLES
from kpc.ledger import Ledger
from kpc.ledger.stage_runs import StageRun
from kpc.ledger.states import StageState
from kpc.partition import Environment, Partition, stored_partition
from kpc.stages.names import STAGES

STARTS_WITHIN = timedelta(minutes=2)  # in Airflow the next stage starts some seconds after the event
_AT_WORK = (StageState.RUNNING, StageState.WAITING, StageState.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Gap:
    """`done` is the last finished stage of the partition, `following` the one that should have begun since."""

    partition: Partition
    done: StageRun
    following: str


def stopped_partitions(ledger: Ledger, environment: Environment, *, after: timedelta = STARTS_WITHIN) -> list[Gap]:
    """The first gap of each partition whose last stage was done at least `after` ago, in load order.

    A stage that somebody holds the lease of is at work: a load in Airflow is recorded only when it is published.
    """
    before, held = ledger.clock() - after, ledger.leases.held(environment)
    newest = ledger.stages.newest(environment)
    by_partition: dict[tuple[str, str], dict[str, StageRun]] = {}
    for row in newest:
        by_partition.setdefault((row.table_name, row.partition_key), {})[row.stage] = row
    found = []
    for (table, key), stages in by_partition.items():
        partition = stored_partition(table, key)
        between = _gap(stages, before)
        if partition is not None and between is not None and (table, key, between[1]) not in held:
            found.append(Gap(partition, *between))
    order = list(TABLES)
    return sorted(found, key=lambda gap: (order.index(gap.partition.table.name), gap.partition.key))


def _gap(stages: Mapping[str, StageRun], before: datetime) -> tuple[StageRun, str] | None:
    if any(row.state in _AT_WORK for row in stages.values()):
        return None
    for name, following in pairwise(STAGES):
        done, later = stages.get(name), stages.get(following)
        if done is None or done.state != StageState.DONE or done.finished_utc is None or done.finished_utc > before:
            continue
        if later is None or later.started_utc < done.started_utc:
            return done, following
    return None
