"""`python -m dags.start COMMAND` is `airflow COMMAND` with the modules that tasks need already imported.

That is `scheduler` with the LocalExecutor, and `celery worker`: both fork their workers, and these fork a process per
task. Tasks inherit the modules that the parent has imported; importing great_expectations alone would cost each task
five seconds, and the ledger and the clients a tenth of one. Only modules that start no thread may be listed here,
because threads do not survive a fork: polars starts one, so modules that import it are left to the tasks.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

from expectations.loading import import_great_expectations
from kpc.stages.names import STAGES

FOR_TASKS = (
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "alembic.command",
    "httpx",
    "oracledb",
    "psycopg2",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql",
    "dags.campaign",
    "dags.hubs",
    "dags.stages",
    "kpc.airflow_client.campaign_runs",
    "kpc.campaign.completeness",
    "kpc.campaign.lifecycle",
    "kpc.campaign.scope_check",
    "kpc.campaign.sign_off_evidence",
    "kpc.ledger.migrate",
    "kpc.oracle.session",
    "kpc.stages.context",
    "kpc.stages.stage_run",
    "kpc.storage.manifests",
)


def main() -> None:
    if _runs_tasks(sys.argv[1:], os.environ.get("AIRFLOW__CORE__EXECUTOR", "")):
        prepare_for_tasks()
        gc.freeze()  # otherwise the first collection in each child would copy all this memory
    from airflow.__main__ import main as airflow  # noqa: PLC0415  must come after the imports above

    airflow()  # type: ignore[no-untyped-call]  # Airflow's own


def prepare_for_tasks() -> None:
    """Import what tasks need, and build one table's DAGs, which loads the parts of Airflow that a DAG needs."""
    import_great_expectations()
    for name in FOR_TASKS:
        importlib.import_module(name)
    from assets.graph import asset_specs  # noqa: PLC0415  not needed by processes that run no tasks
    from dags.stages import stage_dag  # noqa: PLC0415  the same

    for spec in asset_specs()[: len(STAGES)]:
        stage_dag(spec)


def _runs_tasks(arguments: list[str], executor: str) -> bool:
    if arguments[:1] == ["scheduler"]:
        return "CeleryExecutor" not in executor
    return arguments[:2] == ["celery", "worker"]


if __name__ == "__main__":
    main()
