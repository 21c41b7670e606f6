"""What the ledger does not know, from Airflow's database: active runs, and queues without a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import func

from kpc.campaign.overview import ActiveRun
from kpc.catalog import TABLES
from kpc.stages.names import STAGES, asset_name

_PLACES = {asset_name(table, stage): (table.name, stage) for table in TABLES.values() for stage in STAGES}

_TAKEN_WITHIN = timedelta(seconds=60)  # by a worker; also how long a task's last sign of life speaks for its worker


def active_runs() -> dict[tuple[str, str, str], ActiveRun]:
    """By table, key and stage; of several, the one that was queued last."""
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
    """Queues whose tasks no worker takes: one has waited for a minute, and none that runs has given a sign of life.

    `tasks` is how many wait in the `queue`, `since_utc` since when the first does. A queue of busy workers is not one.
    """
    sign_of_life = func.max(func.coalesce(TaskInstance.last_heartbeat_at, TaskInstance.start_date))
    columns = (TaskInstance.queue, func.count(), func.min(TaskInstance.queued_dttm), sign_of_life)
    with create_session() as session:
        waiting, running = (
            session.query(*columns).filter(TaskInstance.state == state).group_by(TaskInstance.queue).all()
            for state in (TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)
        )
    limit = datetime.now(UTC) - _TAKEN_WITHIN
    served = {queue for queue, _, _, seen_utc in running if seen_utc is not None and seen_utc > limit}
    return [
        {"queue": queue, "tasks": tasks, "since_utc": since_utc}
        for queue, tasks, since_utc, _ in waiting
        if since_utc is not None and since_utc < limit and queue not in served
    ]
