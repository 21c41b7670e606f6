"""Starting a run as the user who asked for it, with entries in the audit log before and after."""

from __future__ import annotations

from typing import Any, Literal

from dags.migration_page.access import Visitor
from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.in_process import InProcessTransport
from kpc.airflow_client.obstacles import refuse_fatal
from kpc.errors import KpcError
from kpc.ledger import Ledger
from kpc.partition import Environment, Partition
from kpc.stages.names import ORACLE_EXTRACT, STAGES, asset_name, find_stage


def start_run(
    airflow_app: Any,
    ledger: Ledger,
    environment: Environment,
    visitor: Visitor,
    partition: Partition,
    *,
    stage: str,
    mode: Literal["incremental", "full"] | None,
) -> dict[str, str]:
    """Start a partition at a stage through Airflow's own API, with the user's token.

    The request is audited before Airflow is asked, and the refusal or the run's id afterwards. Raises `ConfigError` if
    Airflow refuses, or if the run would never start, as `kpc rerun` does.
    """
    stage = find_stage(stage)
    detail = {"mode": mode or ("incremental" if stage == ORACLE_EXTRACT else "")}
    audited = {"actor": visitor.actor, "environment": environment, "partition": partition, "stage": stage}
    ledger.audit.append("run requested", run_id="migration page", detail=detail, **audited)  # type: ignore[arg-type]
    try:
        with AirflowApi.as_user(InProcessTransport(airflow_app), visitor.token) as api:
            refuse_fatal(api, partition, STAGES[STAGES.index(stage) :])
            run_id = api.rerun(partition, stage, mode=mode)
    except KpcError as error:
        refusal = {**detail, "reason": error.what}
        ledger.audit.append("run refused", run_id="migration page", detail=refusal, **audited)  # type: ignore[arg-type]
        raise
    ledger.audit.append("run started", run_id=run_id, detail=detail, **audited)  # type: ignore[arg-type]
    return {"dag_id": asset_name(partition.table, stage), "run_id": run_id}
