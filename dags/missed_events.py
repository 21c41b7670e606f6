"""The DAG that starts stages whose event was lost, for example while their DAG was paused."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from dags.connections import workspace_of
from dags.failure_log import log_sentences
from dags.retrying import RETRIES, RetryWhatMayPass
from kpc.stages.names import MISSED_EVENTS

log = logging.getLogger(__name__)

_FIRST_DAY = datetime(2016, 1, 1, tzinfo=UTC)
_EVERY = "*/10 * * * *"
_MINUTES = Param(
    2,
    type="integer",
    minimum=0,
    description="Minutes since the end of the previous stage, at least; Airflow itself needs some seconds.",
)


def missed_events_dag() -> DAG:
    """Checks every ten minutes, and starts each lost stage once; pause this DAG to decide with `kpc missed` instead."""
    with DAG(
        MISSED_EVENTS,
        schedule=_EVERY,
        start_date=_FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        params={"minutes": _MINUTES},
        tags=["hub"],
        description="Starts stages whose event was lost, for example because their DAG was paused when it came.",
        default_args={
            "owner": "kpc",
            "retries": RETRIES,
            "retry_policy": RetryWhatMayPass(),
            "pre_execute": log_sentences,
        },
    ) as dag:

        @task(task_id="start")
        def start(**context: Any) -> list[str]:
            from kpc.airflow_client.api import AirflowApi  # noqa: PLC0415  slow to import
            from kpc.airflow_client.missed import Missed, missed_stages, start_missed  # noqa: PLC0415  the same
            from kpc.airflow_client.missed_hubs import missed_hubs  # noqa: PLC0415  the same
            from kpc.campaign.stopped import stopped_partitions  # noqa: PLC0415  the same

            after = timedelta(minutes=context["params"]["minutes"])
            with workspace_of(context) as workspace:
                stopped = stopped_partitions(workspace.ledger, workspace.environment, after=after)
                with AirflowApi.of(workspace.settings) as api:
                    missed: list[Missed] = [
                        *missed_stages(api, stopped),
                        *missed_hubs(api, workspace, after=after),
                    ]
                    if not missed:
                        return []
                    for each in missed:
                        log.info("%s", each)
                    return [f"{run.dag_id} {run.key}" for run in start_missed(api, missed)]

        start()
    return dag
