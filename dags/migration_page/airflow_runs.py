"""What the ledger does not know, from Airflow's database: active runs, and queues without a worker."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState

from kpc.campaign.overview import ActiveRun
from kpc.catalog import TABLES
from kpc.stages.names import STAGES, asset_name

_PLACES = {asset_name(table, stage): (table.name, stage) for table in TABLES.values() for stage in STAGES}
_TAKEN_WITHIN = timedelta(seconds=60)  # by a worker; also how long a task's last heartbeat counts as its worker's


def active_runs() -> dict[tuple[str, str, str], ActiveRun]:
    """Active runs by table, key and stage; if there are several, the one that was queued last."""
    columns = (DagRun.dag_id, DagRun.partition_key, DagRun.run_id, DagRun.state, DagRun.queued_at, DagRun.start_date)
    found = {}
    with create_session() as session:
        rows = (
            session.query(*columns)
            .filter(DagRun.state.in_([DagRunState.QUEUED, DagRunState.RUNNING]), DagRun.dag_id.in_(_PLACES))
            .filter(DagRun.partition_key.is_not(None))
            .order_by(DagRun.id)
        )
        for dag_id, key, run_id, state, queued_at, started_at in rows:
            table, stage = _PLACES[dag_id]
            found[table, key, stage] = ActiveRun(run_id, str(state), started_at or queued_at)
    return found


def unserved_queues() -> list[dict[str, Any]]:
    """Queues whose tasks no worker takes: one has waited for a minute, and no running task has sent a heartbeat.

    `tasks` is how many wait in the `queue`, `since_utc` since when the first waits. Queues of busy workers are omitted.
    """
    task, now = TaskInstance, datetime.now(UTC)
    columns = (task.queue, task.state, task.queued_dttm, task.last_heartbeat_at, task.start_date)
    with create_session() as session:
        unended = session.query(*columns).filter(task.state.in_([TaskInstanceState.QUEUED, TaskInstanceState.RUNNING]))
        found = unended.all()
    limit = now - _TAKEN_WITHIN
    waiting: dict[str | None, list[datetime]] = defaultdict(list)
    served = set()
    for queue, state, queued_utc, seen_utc, started_utc in found:
        if state == TaskInstanceState.QUEUED:
            waiting[queue].append(queued_utc or now)
        elif (seen_utc or started_utc or now) > limit:
            served.add(queue)
    return [
        {"queue": queue, "tasks": len(since), "since_utc": min(since)}
        for queue, since in waiting.items()
        if min(since) < limit and queue not in served
    ]
