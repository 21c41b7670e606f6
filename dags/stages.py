"""One table at one stage as a DAG: its schedule, and the tasks that materialize its asset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

from airflow.sdk import DAG, Asset, Param, task
from airflow.serialization.encoders import ensure_serialized_asset

from assets.graph import AssetSpec, find_asset
from dags.alerts.callbacks import report_failed_try, report_failure_for_good
from dags.connections import partition_context_of
from dags.events import DRY_RUN_PARAM
from dags.events import publish as publish_event
from dags.extraction import ExtractPartition
from dags.failure_log import log_sentences
from dags.materialization import MaterializeStage
from dags.operators import CHUNK, IngestChunk, LoadedChunk, PlanLoad
from dags.partition_keys import FollowingPartitions, PartitionKeyMapper, RequestedPartitions
from dags.retrying import RETRIES, RetryWhatMayPass
from kpc.catalog import Phase
from kpc.catalog.types import ALL
from kpc.partition import FIRST_YEAR
from kpc.stages.names import (
    EXTRACT_POOL,
    LOAD_POOL,
    ORACLE_EXTRACT,
    QUERY_POOL,
    RECONCILED,
    SF_LOADED,
    STAGED_CSV,
    STAGES,
    queue_of,
)

FIRST_DAY = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)

LONGEST_STAGE = timedelta(hours=24)
PARENT_POLL = timedelta(seconds=2)
PAUSE_POLL = timedelta(seconds=5)
PLAN_WAIT = timedelta(days=7)  # a campaign may load parents days before their last child
JOB_PATIENCE = timedelta(seconds=5)
JOB_WAIT = timedelta(hours=24)
MODE = Param(
    "incremental",
    enum=["incremental", "full"],
    description="incremental: new and changed rows only; full: all rows.",
)
DRY_RUN = Param(
    False,
    type="boolean",
    description="Extract and stage only: nothing is sent, and no later stage starts.",
)
# The only choice: the extract's mode decides what its later stages send. So the form says where to choose it, and a
# `mode` given to a later stage is refused before a run is created, instead of being ignored.
_CHOSEN_BEFORE = "of the extract; choose it at stage oracle_extract"
MODE_OF_EXTRACT = Param(
    _CHOSEN_BEFORE,
    enum=[_CHOSEN_BEFORE],
    description="To send all rows again, start at oracle_extract with mode full.",
)
SAME_SCN = Param(
    False,
    type="boolean",
    description="Read at the SCN of the last read of a parent or child with this key.",
)
DEFAULT_POOL = "default_pool"  # Airflow's own
PARTITIONS_AT_ONCE = 64  # active runs of one DAG; pools and executor limit how many tasks run at once

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "kpc",
    "retries": RETRIES,
    "retry_policy": RetryWhatMayPass(),
    "on_retry_callback": report_failed_try,
    "on_failure_callback": report_failure_for_good,
    "pre_execute": log_sentences,
    "retry_exponential_backoff": True,
    "execution_timeout": LONGEST_STAGE,
    "weight_rule": "absolute",
}


def stage_asset(spec: AssetSpec) -> Asset:
    extra = {"table": spec.table.name, "object": spec.table.target, "phase": spec.table.phase.value}
    return Asset(name=spec.name, uri=spec.uri, group=spec.stage, extra=dict(extra))


def stage_dag(spec: AssetSpec) -> DAG:
    """The DAG that materializes one asset; one run materializes one partition."""
    first = spec.upstream is None
    with DAG(
        spec.name,
        schedule=_schedule(spec),
        start_date=FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,  # a paused DAG loses its events permanently
        max_active_runs=PARTITIONS_AT_ONCE,
        tags=list(spec.tags),
        description=spec.description,
        doc_md=_instructions(spec),
        default_args={**TASK_DEFAULTS, "queue": queue_of(spec.stage), "priority_weight": _priority(spec)},
        params={"mode": MODE, "same_scn": SAME_SCN, DRY_RUN_PARAM: DRY_RUN} if first else {"mode": MODE_OF_EXTRACT},
    ) as dag:
        _TASKS[spec.stage](spec)
    return dag


def _priority(spec: AssetSpec) -> int:
    """Later stages first, so that started partitions are finished; then earlier phases, for which children wait."""
    return 10 * (1 + STAGES.index(spec.stage)) + len(Phase) - spec.table.phase.position


def _schedule(spec: AssetSpec) -> RequestedPartitions | FollowingPartitions:
    """People start stage 1 by key; the event of the previous stage starts each other stage, with the same key."""
    if spec.upstream is None:
        return RequestedPartitions(is_monthly=spec.table.is_monthly)
    mapper = PartitionKeyMapper(is_monthly=spec.table.is_monthly)
    before = ensure_serialized_asset(stage_asset(find_asset(spec.upstream)))  # a custom timetable is the server's class
    return FollowingPartitions(assets=before, default_partition_mapper=mapper)


def _extract(spec: AssetSpec) -> None:
    ExtractPartition(
        task_id=ORACLE_EXTRACT,
        table=spec.table.name,
        asset=stage_asset(spec),
        pool=EXTRACT_POOL.name,
        pool_slots=spec.table.sessions,
    )


def _materialize(spec: AssetSpec) -> None:
    MaterializeStage(
        task_id=spec.stage,
        spec=spec,
        asset=stage_asset(spec),
        upstream=_upstream(spec),
        pool=QUERY_POOL.name if spec.stage == RECONCILED else DEFAULT_POOL,
    )


def _load(spec: AssetSpec) -> None:
    """plan -> one task per chunk -> publish."""

    # A mapped task with an outlet would emit one event per index, so this task has the outlet. With an empty plan the
    # chunk tasks are skipped, but the event must still be emitted.
    # One XCom, not one per key of the result: each is a request to the API server.
    @task(
        task_id="publish",
        trigger_rule="none_failed",
        multiple_outputs=False,
        outlets=[stage_asset(spec)],
        inlets=[
            *_upstream(spec),
            *(stage_asset(find_asset(name)) for name in spec.parents),
        ],  # shown as graph edges
    )
    def publish(chunks: Iterable[dict[str, Any]] | None, **context: Any) -> dict[str, object]:
        from kpc.load.chunk_result import ChunkResult  # noqa: PLC0415  slow to import

        began_s = process_time()
        loaded = [LoadedChunk.of(chunk) for chunk in chunks or ()]
        results = [ChunkResult.model_validate(chunk.result) for chunk in loaded]
        with partition_context_of(spec.table.name, context) as partition:
            result = spec.asset.materialize(partition, chunks=results)
        cpu_s = process_time() - began_s + sum(chunk.cpu_s for chunk in loaded)
        return publish_event(stage_asset(spec), context, result, cpu_s)

    plan = PlanLoad(
        task_id="plan",
        table=spec.table.name,
        parent_poll=PARENT_POLL,
        pause_poll=PAUSE_POLL,
        longest_wait=PLAN_WAIT,
    )
    chunks = IngestChunk.partial(
        task_id="ingest",
        patience=JOB_PATIENCE,
        longest_wait=JOB_WAIT,
        pool=LOAD_POOL.name,
        map_index_template=CHUNK,
    ).expand(spec=plan.output)
    publish(chunks.output)  # type: ignore[arg-type]  # Airflow passes the chunks' results at run time


_TASKS: dict[str, Callable[[AssetSpec], None]] = {
    ORACLE_EXTRACT: _extract,
    STAGED_CSV: _materialize,
    SF_LOADED: _load,
    RECONCILED: _materialize,
}


def _upstream(spec: AssetSpec) -> list[Asset]:
    return [stage_asset(find_asset(spec.upstream))] if spec.upstream else []


def _instructions(spec: AssetSpec) -> str:
    key = "2024-01" if spec.table.is_monthly else ALL
    return f"""\
**{spec.description}**

A partition is {"a local calendar month, such as `2024-01`" if spec.table.is_monthly else "the whole table, key `ALL`"}.

Run one partition again; what is already in Salesforce is not sent a second time:

    kpc rerun {spec.table.name} {key}                          # all four stages
    kpc rerun {spec.table.name} {key} --stage {spec.stage}

In the browser: **Trigger**, then *Advanced Options*, then *Partition Key*: `{key}`. A run without a key fails.
The stages after this one start automatically.
"""
