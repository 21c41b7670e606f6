"""The DAGs that join the 16 chains: a sign-off hub per phase, `migration` over them, and Data Docs."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, FixedKeyMapper, PartitionedAssetTimetable, task
from airflow.sdk.exceptions import AirflowSkipException

from assets.graph import HubSpec, find_asset, find_hub
from dags.connections import workspace_of
from dags.failure_log import log_sentences
from dags.retrying import RETRIES, RetryWhatMayPass
from dags.sign_off import subject_of
from dags.stages import stage_asset
from kpc.catalog.types import ALL
from kpc.stages.names import DATA_DOCS, DOCS_POOL, sign_off_dag, sign_off_run

FIRST_DAY = datetime(2016, 1, 1, tzinfo=UTC)
_TASK_DEFAULTS = {
    "owner": "kpc",
    "retries": RETRIES,
    "retry_policy": RetryWhatMayPass(),
    "pre_execute": log_sentences,
    "priority_weight": 100,  # they take a second; if they run early, fewer find the phase complete and emit an event
    "weight_rule": "absolute",
}
REQUEST = "sign_off_run"  # in the hub's result: the run that asks for the sign-off
DOCS_EVERY = "*/5 * * * *"


def hub_asset(spec: HubSpec) -> Asset:
    return Asset(name=spec.name, uri=spec.uri, group="sign_off", extra={"phase": spec.phase or "all"})


def hub_dag(spec: HubSpec) -> DAG:
    """Runs after every event of its upstream assets, with the key `ALL`; emits its own event only if all is complete.

    With `&`, repeating one partition would make the hub wait for all its assets again. With `|` the hub runs each time,
    and the ledger, which holds the campaign's scope, decides.
    """
    subject = subject_of(spec)
    below = [hub_asset(hub) if (hub := find_hub(name)) else stage_asset(find_asset(name)) for name in spec.upstream]
    with DAG(
        spec.name,
        schedule=PartitionedAssetTimetable(assets=reduce(or_, below), default_partition_mapper=FixedKeyMapper(ALL)),
        start_date=FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        tags=["hub", *([spec.phase.value] if spec.phase else [])],
        description=spec.description,
        doc_md=_instructions(spec),
        default_args=_TASK_DEFAULTS,
    ) as dag:

        @task(task_id="complete", outlets=[hub_asset(spec)], inlets=below, multiple_outputs=False)
        def complete(**context: Any) -> dict[str, object]:
            # Slow to import; DAG files must parse quickly.
            from kpc.campaign.completeness import counted_completeness  # noqa: PLC0415
            from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates  # noqa: PLC0415

            with workspace_of(context) as workspace:
                found = counted_completeness(spec.phase, workspace)
                standing = standing_certificates(subject, workspace.ledger, workspace.environment)
            if found is None:
                raise AirflowSkipException("No scope is recorded; `kpc plan` records one.")
            if not found.is_complete:
                raise AirflowSkipException(f"Not complete yet: {found.summary}")
            context["outlet_events"][hub_asset(spec)].extra = found.as_json()
            return found.as_json() | {REQUEST: sign_off_run(certificates_digest(standing))}

        # Many hub runs may find the same certificates; Airflow creates only one run with this id.
        complete() >> TriggerDagRunOperator(
            task_id="ask_for_sign_off",
            trigger_dag_id=sign_off_dag(subject),
            trigger_run_id=f"{{{{ ti.xcom_pull(task_ids='complete')['{REQUEST}'] }}}}",
            logical_date=None,
            skip_when_already_exists=True,
        )
    return dag


def data_docs_dag() -> DAG:
    """Builds the Data Docs from the stored results, the plan and the ledger; renders only what is new.

    It runs on a schedule, not on events: a mismatch emits no event but must be shown too, and one build covers
    all results since the last build. It can also be triggered, as the demo does at the end of its campaign.
    """
    with DAG(
        DATA_DOCS,
        schedule=DOCS_EVERY,
        start_date=FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=["hub"],
        description="Builds Great Expectations' Data Docs from the stored results of all reconciled partitions.",
        default_args=_TASK_DEFAULTS,
    ) as dag:

        @task(task_id=DATA_DOCS, pool=DOCS_POOL.name)
        def build(**context: Any) -> str:
            from expectations import build_data_docs  # noqa: PLC0415  slow to import

            with workspace_of(context) as workspace:
                return str(build_data_docs(workspace.settings.reconcile.docs_root, workspace))

        build()
    return dag


def _instructions(spec: HubSpec) -> str:
    return f"""\
**{spec.description}**

Runs automatically after every event of {len(spec.upstream)} assets. A skipped run means that something is still
missing; its log says what. `kpc status` shows the same on the command line.
"""
