"""Loads that would lock the same parent records: one of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, or_, select, true

from kpc.errors import SiblingLoading
from kpc.ledger import schema
from kpc.ledger.partition_filters import in_environment
from kpc.ledger.states import IN_FLIGHT
from kpc.partition import Environment, Partition, Sibling

_LOOK_AGAIN = timedelta(seconds=20)

_JOB = schema.job


def refuse_sibling(
    connection: Connection,
    environment: Environment,
    partition: Partition,
    siblings: Sequence[Sibling],
    followed_since: datetime,
) -> None:
    """Raise `SiblingLoading` while a sibling's job is in flight of which a worker has written since then.

    The partition's own jobs do not count: they share only the few parents whose children lie in two chunks.
    """
    if not siblings:
        return
    column = _JOB.c
    shared = [
        (column.table_name == each.table_name) & ((column.partition_key == each.key) if each.key else true())
        for each in siblings
    ]
    is_own = (column.table_name == partition.table.name) & (column.partition_key == partition.key)
    query = (
        select(column.table_name, column.partition_key)
        .where(in_environment(_JOB, environment), or_(*shared), ~is_own)
        .where(column.state.in_(IN_FLIGHT), column.touched_utc > followed_since)
        .limit(1)
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return
    parents = ", ".join(lookup.parent for lookup in partition.table.lookups if lookup.locks_parent)
    raise SiblingLoading(
        f"{partition} waits while a job of {found.table_name} {found.partition_key} is running: both lock the same "
        f"records of {parents}, and rows of two jobs at once would be refused with UNABLE_TO_LOCK_ROW.",
        "Nothing is to be done: Airflow and `kpc run TABLE KEY` look again by themselves (`kpc status` shows both).",
        again_utc=datetime.now(UTC) + _LOOK_AGAIN,
    )
