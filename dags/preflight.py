"""Preflight as a DAG: all checks as a worker sees them, shown as a page of the Data Docs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from dags.connections import ORACLE, SALESFORCE, has_connection, settings_of_connections, workspace_of
from dags.failure_log import log_sentences
from kpc.errors import Terminal
from kpc.stages.names import DOCS_POOL, PREFLIGHT

_FIRST_DAY = datetime(2016, 1, 1, tzinfo=UTC)
_DRY_RUN = Param(
    False,
    type="boolean",
    description="Also write one made-up row per Salesforce object, read it back, compare and delete it.",
)
_EXECUTORS = ("CeleryExecutor", "LocalExecutor", "KubernetesExecutor")  # each runs tasks concurrently


def preflight_dag() -> DAG:
    """Runs when somebody triggers it. Both tasks run on a worker, with its connections, folders and network."""
    with DAG(
        PREFLIGHT,
        schedule=None,
        start_date=_FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        params={"dry_run": _DRY_RUN},
        tags=["hub"],
        description="Checks Oracle, Salesforce, staging and Airflow before a campaign; the Data Docs show the result.",
        default_args={"owner": "kpc", "retries": 0, "pre_execute": log_sentences},
    ) as dag:

        @task(task_id="check")
        def check(**context: Any) -> dict[str, int]:
            from expectations.preflight_page import keep_checks  # noqa: PLC0415  slow to import
            from kpc.airflow_client.dag_preflight import FINDINGS  # noqa: PLC0415  the same
            from kpc.campaign.preflight import check_systems  # noqa: PLC0415  the same
            from kpc.campaign.system_check import CheckState  # noqa: PLC0415  the same

            with workspace_of(context) as workspace:
                checks = check_systems(workspace, dry_run=context["params"]["dry_run"])
                checks += _airflow()
                keep_checks(workspace.settings.reconcile.docs_root, checks, datetime.now(UTC))
                found = [each for each in checks if each.state is not CheckState.OK]
            context["ti"].xcom_push(key=FINDINGS, value=[{**asdict(one), "state": one.state.value} for one in found])
            return {state.value: sum(each.state is state for each in checks) for state in CheckState}

        @task(task_id="show", pool=DOCS_POOL.name)
        def show(counts: dict[str, int]) -> str:
            from expectations import build_data_docs  # noqa: PLC0415  slow to import

            index = build_data_docs(settings_of_connections().reconcile.docs_root)
            if counts["failed"]:
                raise Terminal(
                    f"Preflight: {counts['failed']} checks failed, {counts['warning']} warnings.",
                    f"The page {index.with_name('preflight.html')} has each with its remedy; then run preflight again.",
                )
            return str(index.with_name("preflight.html"))

        show(check())  # type: ignore[arg-type]  # Airflow passes the result
    return dag


def _airflow() -> list[Any]:
    """Airflow's own checks, through its API, because a task has no other way to see pools and heartbeats."""
    from kpc.airflow_client.api import AirflowApi  # noqa: PLC0415  slow to import
    from kpc.airflow_client.setup_checks import check_airflow  # noqa: PLC0415  the same

    settings = settings_of_connections()
    with AirflowApi.of(settings) as api:
        return [*_installation(), *check_airflow(api, jobs_in_flight=settings.salesforce.jobs_in_flight)]


def _installation() -> list[Any]:
    """The version, executor and settings of this worker's Airflow, and where its connections come from."""
    from airflow.configuration import conf  # noqa: PLC0415  slow to import
    from airflow.sdk import __version__ as sdk_version  # noqa: PLC0415  the same

    from kpc.airflow_client.worker_settings import check_coordinators  # noqa: PLC0415  the same
    from kpc.campaign.system_check import CheckSubject  # noqa: PLC0415  the same

    about, executor = CheckSubject("Airflow", "worker"), conf.get("core", "executor")
    is_known = any(each in executor for each in _EXECUTORS)
    checks = [about.ok("version", f"Airflow's SDK {sdk_version}")]
    if is_known:
        checks.append(about.ok("executor", executor))
    else:
        what = f"The executor is {executor}; it cannot run loads and extracts of a campaign concurrently."
        checks.append(about.warning("executor", what, "Set AIRFLOW__CORE__EXECUTOR to CeleryExecutor."))
    coordinators: Any = conf.getjson("sdk", "coordinators", fallback={})
    by_queue: Any = conf.getjson("sdk", "queue_to_coordinator", fallback={})
    checks.append(check_coordinators(coordinators, by_queue))
    for name in (ORACLE, SALESFORCE):
        where = "Airflow" if has_connection(name) else "the environment or kpc.toml: Airflow has none of this name"
        checks.append(CheckSubject("Airflow", name).ok("connection", f"from {where}"))
    return checks
