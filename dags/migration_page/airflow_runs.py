"""Airflow's runs that have not ended, by partition and stage: one query of its database, in the api-server."""

from __future__ import annotations

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState

from kpc.campaign.overview import ActiveRun
from kpc.catalog import TABLES
from kpc.stages.names import STAGES, asset_name

_PLACES = {asset_name(table, stage): (table.name, stage) for table in TABLES.values() for stage in STAGES}


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
