"""What keeps a partition from moving in Airflow, each thing with the command that helps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.records import DagRun
from kpc.errors import ConfigError
from kpc.partition import Partition
from kpc.stages.names import EXTRACT_POOL, LOAD_POOL, ORACLE_EXTRACT, SF_LOADED, Pool, asset_name

_COMMANDS = {"scheduler": "scheduler", "triggerer": "triggerer", "dag_processor": "dag-processor"}
_ENDED = ("success", "failed", "skipped", "removed", "upstream_failed", None)
_POOL_OF_STAGE = {ORACLE_EXTRACT: EXTRACT_POOL, SF_LOADED: LOAD_POOL}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that keeps runs from starting or ending. `is_fatal`: waiting alone will not remove it."""

    what: str
    remedy: str
    is_fatal: bool = True

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


def obstacles(api: AirflowApi, partition: Partition, stages: Sequence[str]) -> list[Obstacle]:
    """Everything that keeps these stages of the partition from running now; empty if nothing does."""
    return [*stopped_parts(api), *_paused(api, partition, stages), *_pools(api, stages)]


def refuse_fatal(api: AirflowApi, partition: Partition, stages: Sequence[str]) -> None:
    """Raises `ConfigError` naming each thing for which the partition would wait in vain; nothing was started."""
    fatal = [each for each in obstacles(api, partition, stages) if each.is_fatal]
    if fatal:
        what = " ".join(each.what for each in fatal)
        remedies = " ".join(dict.fromkeys(each.remedy for each in fatal))
        raise ConfigError(f"{partition} was not started. {what}", remedies)


def unpause(api: AirflowApi, partition: Partition, stages: Sequence[str]) -> tuple[str, ...]:
    """Unpause the DAGs of these stages; returns those that were paused."""
    paused = [dag for dag in _dags(partition, stages) if api.dag_state(dag).is_paused]
    for dag in paused:
        api.pause(dag, is_paused=False)
    return tuple(paused)


def waiting_for(api: AirflowApi, run: DagRun) -> str:
    """What a run that does not end is waiting for, in a few words."""
    if run.state == "queued":
        dag = api.dag_state(run.dag_id)
        if dag.is_paused:
            return f"{run.dag_id} is paused: `airflow dags unpause {run.dag_id}`"
        if dag.most_active_runs and dag.active_runs >= dag.most_active_runs:
            return f"{dag.active_runs} runs of {run.dag_id} are active, as many as may be"
        return "queued"
    unfinished = [task for task in api.tasks(run) if task.state not in _ENDED]
    by_state: dict[str, list[str]] = {}
    for task in unfinished:
        by_state.setdefault(str(task.state), []).append(task.task_id)
    if not by_state:
        return run.state
    return ", ".join(f"{', '.join(dict.fromkeys(names))} {state}" for state, names in sorted(by_state.items()))


def _dags(partition: Partition, stages: Sequence[str]) -> Iterator[str]:
    return (asset_name(partition.table, stage) for stage in stages)


def stopped_parts(api: AirflowApi) -> Iterator[Obstacle]:
    """Each part of Airflow that does not run."""
    for part, heartbeat in api.stopped_parts().items():
        seen = f"its last sign of life was at {heartbeat}" if heartbeat else "it has never been seen"
        command = _COMMANDS.get(part)
        remedy = f"Start it: `airflow {command}`." if command else "Check Airflow's database and its api-server's log."
        yield Obstacle(f"Airflow's {part.replace('_', ' ')} is not running: {seen}.", remedy)


def _paused(api: AirflowApi, partition: Partition, stages: Sequence[str]) -> Iterator[Obstacle]:
    for dag in _dags(partition, stages):
        if api.dag_state(dag).is_paused:
            yield Obstacle(
                f"{dag} is paused; an event that reaches it meanwhile starts no run, not even later.",
                f"Unpause it with `airflow dags unpause {dag}`, or give --unpause.",
            )


def _pools(api: AirflowApi, stages: Sequence[str]) -> Iterator[Obstacle]:
    found = api.pool_use()
    for pool in (_POOL_OF_STAGE[stage] for stage in stages if stage in _POOL_OF_STAGE):
        use = found.get(pool.name)
        if use is None or not use.slots:
            state = "does not exist" if use is None else "has no slots"
            yield Obstacle(f"The pool {pool.name} {state}, so no task of it ever starts.", how_to_make(pool))
        elif not use.free:
            held = "; ".join(api.holders(pool.name))
            yield Obstacle(
                f"All {use.slots} slots of the pool {pool.name} are taken ({held}).",
                "The run starts when one of them is free.",
                is_fatal=False,
            )


def how_to_make(pool: Pool) -> str:
    """The command that makes or corrects a pool, as a remedy."""
    deferred = " --include-deferred" if pool.includes_deferred else ""
    return f'Make it: `airflow pools set {pool.name} {pool.slots} "{pool.description}"{deferred}`.'
