"""The DAGs of the migration: one per table and stage, the hubs above them, and the DAGs shared by all tables.

Airflow reads this file. It is a loop over `assets.graph`; the DAGs are defined in `dags/stages.py` and `dags/hubs.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from airflow.sdk import DAG, get_parsing_context

from assets.graph import asset_specs, hub_specs
from dags.alerts.watch import alerts_dag
from dags.campaign import campaign_dag, incremental_dag
from dags.hubs import data_docs_dag, hub_dag
from dags.missed_events import missed_events_dag
from dags.preflight import preflight_dag
from dags.sign_off import sign_off_dag_of, subject_of
from dags.stages import stage_dag
from kpc.stages.names import (
    ALERTS,
    CAMPAIGN,
    DATA_DOCS,
    INCREMENTAL_CAMPAIGN,
    MISSED_EVENTS,
    PREFLIGHT,
    sign_off_dag,
)


def dag_makers() -> dict[str, Callable[[], DAG]]:
    """A function that builds each DAG, by DAG id."""
    return {
        **{spec.name: partial(stage_dag, spec) for spec in asset_specs()},
        **{spec.name: partial(hub_dag, spec) for spec in hub_specs()},
        **{sign_off_dag(subject_of(spec)): partial(sign_off_dag_of, spec) for spec in hub_specs()},
        DATA_DOCS: data_docs_dag,
        PREFLIGHT: preflight_dag,
        CAMPAIGN: campaign_dag,
        INCREMENTAL_CAMPAIGN: incremental_dag,
        ALERTS: alerts_dag,
        MISSED_EVENTS: missed_events_dag,
    }


# A task's process also reads this file, but needs only its own DAG.
_wanted = get_parsing_context().dag_id
globals().update({name: make() for name, make in dag_makers().items() if _wanted in (None, name)})
