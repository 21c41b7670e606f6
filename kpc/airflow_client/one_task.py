"""Running a DAG whose first task answers a question, and waiting for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.obstacles import waiting_for
from kpc.airflow_client.records import DagRun
from kpc.answer_shapes import fitted
from kpc.errors import ConfigError, Terminal, UnusableAnswer

_POLL_S = 1.0
_LOOK_S = 8.0
_LONGEST_S = 1800.0

T = TypeVar("T")


def run_task(api: AirflowApi, dag_id: str, task_id: str, conf: dict[str, object], say: Callable[[str], None]) -> DagRun:
    """Start the DAG and wait until the task has succeeded. What it waits for is said.

    Raises `ConfigError` if the DAG is paused, `Terminal` with the task's error if it failed.
    """
    if api.dag_state(dag_id).is_paused:
        raise ConfigError(f"The DAG {dag_id} is paused.", f"`airflow dags unpause {dag_id}`, then repeat.")
    run = api.run(dag_id, api.trigger(dag_id, conf=conf))
    say(f"Started {dag_id} on a worker: {api.run_page(run)}")
    if _wait(api, run, task_id, say) != "success":
        raise Terminal(f"{dag_id} failed on the worker. {api.failure(run)}", f"Its log: {api.run_page(run)}")
    return run


def answer_of(api: AirflowApi, run: DagRun, task_id: str, shape: Any, key: str = "return_value") -> Any:
    """What the task left under a key, as `shape`."""
    try:
        return fitted(shape, api.result(run, task_id, key))
    except ValueError as error:
        what = f"The answer of {run.dag_id} cannot be used: {error}."
        raise UnusableAnswer(what, "Install the same version here and on the workers.") from None


def _wait(api: AirflowApi, run: DagRun, task_id: str, say: Callable[[str], None]) -> str:
    """The state in which the task ended."""
    until, looked_s, said = time.monotonic() + _LONGEST_S, time.monotonic(), ""
    while time.monotonic() < until:
        state = {task.task_id: task.state for task in api.tasks(run)}.get(task_id)
        if state in ("success", "failed", "upstream_failed", "skipped"):
            return state
        if time.monotonic() - looked_s > _LOOK_S:
            looked_s = time.monotonic()
            now = waiting_for(api, api.run(run.dag_id, run.run_id))
            if now != said:
                say(f"Waiting: {now}")
            said = now
        time.sleep(_POLL_S)
    raise Terminal(f"{run.dag_id} did not end within {_LONGEST_S:.0f} s.", f"Look at {api.run_page(run)}")
