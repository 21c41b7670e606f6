"""The DAGs that join the 16 chains: a sign-off hub per phase, `migration` over them, and Data Docs."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any

from airflow.sdk import DAG, Asset, FixedKeyMapper, PartitionedAssetTimetable, task
from airflow.sdk.exceptions import AirflowSkipException

from assets.graph import HubSpec, find_asset, find_hub
from dags.connections import settings_of_connections, workspace_of
from dags.retrying import RETRIES, RetryWhatMayPass
from dags.stages import stage_asset
from kpc.catalog.types import ALL
from kpc.stages.names import DATA_DOCS, DOCS_POOL

FIRST_DAY = datetime(2016, 1, 1, tzinfo=UTC)
_TASK_DEFAULTS = {
    "owner": "kpc",
    "retries": RETRIES,
    "retry_policy": RetryWhatMayPass(),
    "priority_weight": 100,  # they take a second, and the sooner one looks, the fewer find everything complete
    "weight_rule": "absolute",
}
DOCS_EVERY = "*/5 * * * *"


def hub_asset(spec: HubSpec) -> Asset:
    return Asset(name=spec.name, uri=spec.uri, group="sign_off", extra={"phase": spec.phase or "all"})


def hub_dag(spec: HubSpec) -> DAG:
    """Runs after every event below it, under the one key `ALL`, and makes its asset only when nothing is missing.

    A condition with `&` would wait for all its assets again after one partition was repeated; with `|` the ledger
    decides, which knows what belongs to the campaign.
    """
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

        @task(task_id="sign_off", outlets=[hub_asset(spec)], inlets=below)
        def sign_off(**context: Any) -> dict[str, object]:
            from kpc.campaign.completeness import completeness  # noqa: PLC0415  heavy, and a DAG file must parse in a moment

            with workspace_of(context) as workspace:
                found = completeness(spec.phase, workspace)
            if found is None:
                raise AirflowSkipException("No campaign has said what it covers.")
            if not found.is_complete:
                raise AirflowSkipException(f"Not yet: {found.summary}")
            context["outlet_events"][hub_asset(spec)].extra = found.as_json()
            return found.as_json()

        sign_off()
    return dag


def data_docs_dag() -> DAG:
    """Builds Data Docs from the stored results; only what is new is rendered.

    By the clock and not by event: a mismatch has no event and must be seen too, and one build serves all results since
    the last one. The end of a campaign and of a re-run start it at once.
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
        def build() -> str:
            from expectations import build_data_docs  # noqa: PLC0415  heavy

            return str(build_data_docs(settings_of_connections().reconcile.docs_root))

        build()
    return dag


def _instructions(spec: HubSpec) -> str:
    return f"""\
**{spec.description}**

Runs by itself after every event of {len(spec.upstream)} assets; a skipped run means that something is still missing,
and its log says what. `kpc status` shows the same from the command line.
"""
