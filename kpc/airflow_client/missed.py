"""Stages that Airflow should have started after an event and did not, and starting them.

An event that reaches a paused DAG starts no run, not even later. A run that a person deleted, or marked as successful
before it had worked, leaves its partition where it was. The ledger knows how far each partition is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from kpc.airflow_client.answers import RunExists
from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.obstacles import stopped_parts
from kpc.airflow_client.records import DagRun
from kpc.campaign.stopped import Gap
from kpc.errors import ConfigError
from kpc.partition import Partition
from kpc.stages.names import STAGED_CSV, asset_name

DRY_RUN = "dry_run"  # key of an event's content
BY_AIRFLOW = "airflow:"  # how the actor of a stage run begins that Airflow started


class MissedCause(StrEnum):
    """Why the next stage has not begun. Only the first two are started again without a person's decision."""

    NO_RUN = "no run"
    MARKED = "marked as successful by hand"
    FAILED = "failed"
    PAUSED = "paused"
    OUTSIDE = "run outside Airflow"
    DRY_RUN = "dry run"
    FORGOTTEN = "run before it deleted"


class Missed(Protocol):
    """What did not run, of a partition or above all partitions of a phase."""

    @property
    def dag_id(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def is_startable(self) -> bool: ...
    @property
    def cells(self) -> tuple[str, str, str, str, str]: ...
    @property
    def what(self) -> str: ...
    @property
    def remedy(self) -> str: ...


def missed_json(missed: Missed) -> dict[str, object]:
    """One of the objects that `kpc missed --json` lists."""
    names = ("table", "key", "after", "stage", "cause")
    return {**dict(zip(names, missed.cells, strict=True)), "what": missed.what, "remedy": missed.remedy}


_STARTABLE = (MissedCause.NO_RUN, MissedCause.MARKED)


@dataclass(frozen=True, slots=True)
class MissedStage:
    """A stage that has not begun. `after` is the finished stage before it, `run_id` the run to be made for it."""

    partition: Partition
    after: str
    stage: str
    cause: MissedCause
    what: str
    remedy: str
    run_id: str

    @property
    def is_startable(self) -> bool:
        return self.cause in _STARTABLE

    @property
    def dag_id(self) -> str:
        return asset_name(self.partition.table, self.stage)

    @property
    def key(self) -> str:
        return self.partition.key

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Table, key, the finished stage, the one that has not begun, and why."""
        return self.partition.table.name, self.key, self.after, self.stage, self.cause.value

    def __str__(self) -> str:
        return f"{self.partition} stopped after {self.after}. {self.what} {self.remedy}"


def missed_stages(api: AirflowApi, found: Iterable[Gap]) -> list[MissedStage]:
    """Those of the gaps for which Airflow has no run that waits or works."""
    return [missed for gap in found if (missed := _missed(api, gap)) is not None]


def start_missed(api: AirflowApi, missed: Sequence[Missed]) -> list[DagRun]:
    """Start what may be started; whoever else does it at the same moment makes the same run, once.

    Raises `ConfigError` if a part of Airflow does not run: what it has not done yet would look as if it were missing.
    """
    if stopped := list(stopped_parts(api)):
        raise ConfigError(
            "Nothing was started. " + " ".join(each.what for each in stopped), " ".join(each.remedy for each in stopped)
        )
    runs = []
    for each in missed:
        if each.is_startable:
            try:
                run_id = api.trigger(each.dag_id, each.key, run_id=each.run_id)
            except RunExists:
                continue
            runs.append(api.run(each.dag_id, run_id))
    return runs


def _missed(api: AirflowApi, gap: Gap) -> MissedStage | None:
    partition, stage, done = gap.partition, gap.following, gap.done
    dag_id, table, key = asset_name(partition.table, stage), partition.table.name, partition.key
    again = f"`kpc rerun {table} {key} --stage {stage}`"
    runs = api.runs(dag_id=dag_id, key=key)
    before = api.runs(dag_id=asset_name(partition.table, done.stage), key=key)
    if not all(run.is_final for run in (*runs, *before)):  # the event of the stage before comes when its run ends
        return None
    worked = next((run for run in before if run.run_id == done.run_id), None)
    since = [run for run in runs if max(run.queued, run.started or run.queued) >= done.started_utc]
    if not done.actor.startswith(BY_AIRFLOW):
        remedy = f"`kpc run {table} {key} --stage {stage}`, or in Airflow {again}."
        cause, what = MissedCause.OUTSIDE, f"{done.actor} ran {done.stage} outside Airflow, which makes no event."
    elif worked is None:
        cause, what = MissedCause.FORGOTTEN, f"The run that did {done.stage} was deleted, and what it was asked for."
        remedy = f"If it was no dry run: {again}."
    elif _is_dry_run(api, worked):
        cause, what = MissedCause.DRY_RUN, "It was a dry run, which sends nothing."
        remedy = f"To go on and send it: {again}."
    elif any(run.state == "failed" for run in since[-1:]):
        cause, what = MissedCause.FAILED, f"{stage} failed before it began to work: {api.failure(since[-1])}"
        remedy = f"Then clear that run, or {again}."
    elif api.dag_state(dag_id).is_paused:
        cause, what = MissedCause.PAUSED, f"{dag_id} is paused."
        remedy = f"`airflow dags unpause {dag_id}`, then `kpc missed --start`."
    elif since:
        cause, what = MissedCause.MARKED, f"A run of {stage} ended as successful without having worked."
        remedy = "`kpc missed --start` starts it."
    else:
        cause, what = MissedCause.NO_RUN, f"Airflow has no run of {stage} since."
        remedy = "`kpc missed --start` starts it."
    return MissedStage(partition, done.stage, stage, cause, what, remedy, f"missed__{done.id}__{len(runs)}")


def _is_dry_run(api: AirflowApi, run: DagRun) -> bool:
    """Stage 1 of a dry run says so in its event; stage 2 ends it as skipped, without an event."""
    if any(task.state == "skipped" for task in api.tasks(run) if task.task_id == STAGED_CSV):
        return True
    return any(event.extra.get(DRY_RUN) for event in api.events(run=run))
