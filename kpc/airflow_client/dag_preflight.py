"""Preflight as Airflow's workers see it: the DAG `preflight` is run, and its findings are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.obstacles import waiting_for
from kpc.airflow_client.records import DagRun
from kpc.answer_shapes import Shape, fitted
from kpc.campaign.system_check import CheckState, SystemCheck
from kpc.errors import ConfigError, Terminal, UnusableAnswer
from kpc.settings import Settings
from kpc.stages.names import PREFLIGHT

CHECK_TASK = "check"
FINDINGS = "findings"  # XCom key: the checks that found something, without values of rows
_POLL_S = 1.0
_LOOK_S = 8.0
_LONGEST_S = 1800.0


class _Finding(Shape):
    system: str
    subject: str
    name: str
    state: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class WorkerPreflight:
    """How many checks came to each state, those that failed or warn, and the page of the run."""

    counts: dict[str, int]
    findings: tuple[SystemCheck, ...]
    page: str


def run_preflight(
    settings: Settings, *, dry_run: bool = False, say: Callable[[str], None] = lambda _text: None
) -> WorkerPreflight:
    """Run the DAG and wait for its checks. Raises `ConfigError` if Airflow refuses, `Terminal` if they cannot be made.

    The worker reads its connections itself; nothing of this process's settings but Airflow's address is used.
    """
    with AirflowApi.of(settings) as api:
        if api.dag_state(PREFLIGHT).is_paused:
            raise ConfigError(f"The DAG {PREFLIGHT} is paused.", f"`airflow dags unpause {PREFLIGHT}`, then repeat.")
        run = api.run(PREFLIGHT, api.trigger(PREFLIGHT, conf={"dry_run": dry_run}))
        say(f"Started {PREFLIGHT} on a worker: {api.run_page(run)}")
        state = _wait(api, run, say)
        if state != "success":
            raise Terminal(f"The worker could not make the checks: {api.failure(api.run(PREFLIGHT, run.run_id))}", "")
        counts = fitted_or_refused(dict[str, int], api.result(run, CHECK_TASK))
        found = fitted_or_refused(list[_Finding], api.result(run, CHECK_TASK, FINDINGS))
        checks = (
            SystemCheck(one.system, one.subject, one.name, CheckState(one.state), one.message, one.remedy)
            for one in found
        )
        return WorkerPreflight(counts, tuple(checks), api.run_page(run))


def _wait(api: AirflowApi, run: DagRun, say: Callable[[str], None]) -> str:
    """The state in which the task with the checks ended."""
    until, looked_s, said = time.monotonic() + _LONGEST_S, time.monotonic(), ""
    while time.monotonic() < until:
        states = {task.task_id: task.state for task in api.tasks(run)}
        state = states.get(CHECK_TASK)
        if state in ("success", "failed", "upstream_failed", "skipped"):
            return state
        if time.monotonic() - looked_s > _LOOK_S:
            looked_s = time.monotonic()
            now = waiting_for(api, api.run(run.dag_id, run.run_id))
            if now != said:
                say(f"Waiting: {now}")
            said = now
        time.sleep(_POLL_S)
    raise Terminal(f"{PREFLIGHT} did not end within {_LONGEST_S:.0f} s.", f"Look at {api.run_page(run)}")


def fitted_or_refused(shape: Any, value: object) -> Any:
    try:
        return fitted(shape, value)
    except ValueError as error:
        raise UnusableAnswer(f"The result of {PREFLIGHT} cannot be used: {error}.", "Install one version.") from None
