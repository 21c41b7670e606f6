"""What tests do with a running Airflow: start, wait, ask it as a program would, and count what reached the org."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from typer.testing import CliRunner, Result

from kpc.airflow_client.api import AirflowApi, Mode
from kpc.airflow_client.records import DagRun
from kpc.airflow_client.rerun import RerunOutcome, follow
from kpc.catalog import TABLES
from kpc.cli import app
from kpc.demo.servers import World
from kpc.ledger.stage_runs import StageRun
from kpc.partition import Partition
from kpc.salesforce import Salesforce, connect
from kpc.stages.names import ORACLE_EXTRACT, SIGN_OFF_PREFIX, asset_name
from kpc.stages.workspace import Workspace, open_workspace

PATIENCE_S = 300.0
QUIET_LOOKS = 6  # three seconds; the scheduler looks twice in one

T = TypeVar("T")


def wait_for(ask: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    until = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.5)
    return answer


def start(world: World, partition: Partition, stage: str = ORACLE_EXTRACT, *, mode: Mode | None = None) -> DagRun:
    return world.api.run(asset_name(partition.table, stage), world.api.rerun(partition, stage, mode=mode))


def finish(world: World, partition: Partition, run: DagRun, stage: str = ORACLE_EXTRACT) -> RerunOutcome:
    outcome = follow(world.api, partition, run, stage=stage, longest_wait_s=PATIENCE_S)
    assert outcome.ended, f"{partition} did not end in time"
    return outcome


def ended(api: AirflowApi, dag_id: str, run_id: str) -> DagRun:
    wait_for(lambda: api.run(dag_id, run_id).is_final)
    return api.run(dag_id, run_id)


def runs_of(world: World, partition: Partition, stage: str) -> list[DagRun]:
    return world.api.runs(dag_id=asset_name(partition.table, stage), key=partition.key)


def task_states(world: World, run: DagRun) -> dict[str, str | None]:
    """The state of each task, by its id; of a mapped one, by `id[index]`."""
    tasks = world.api.tasks(run)
    return {t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]": t.state for t in tasks}


def rest(world: World) -> None:
    """Until nothing runs and nothing new has been started for a while: a hub starts a moment after its event."""
    quiet, seen = 0, -1
    until = time.monotonic() + PATIENCE_S
    while quiet < QUIET_LOOKS:
        assert time.monotonic() < until, "Airflow does not come to rest"
        runs = [run for run in world.api.runs() if not run.dag_id.startswith(SIGN_OFF_PREFIX)]  # these wait for people
        is_quiet = len(runs) == seen and all(run.is_final for run in runs)
        quiet, seen = (quiet + 1 if is_quiet else 0), len(runs)
        time.sleep(0.5)


def request(world: World, method: str, path: str, json: Any = None) -> tuple[int, Any]:
    """Status and JSON of one request to Airflow's REST API, as another program would send it."""
    world.api.dag_ids()  # logs in
    answer = world.api.session.send(method, f"/api/v2/{path}", json=json)
    return answer.status_code, answer.json() if answer.content else None


def asset_id(world: World, name: str) -> int:
    _, found = request(world, "GET", f"assets?limit=100&name_pattern={name}")
    return next(asset["id"] for asset in found["assets"] if asset["name"] == name)


@contextmanager
def workspace_in(world: World) -> Iterator[Workspace]:
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        yield workspace


def set_scope(world: World, months: Sequence[str], tables: Sequence[str] = tuple(TABLES)) -> None:
    with workspace_in(world) as workspace:
        workspace.ledger.scope.set(
            workspace.environment, months=months, tables=tables, mode="incremental", run_id="test", actor="test"
        )


def kpc(world: World, *arguments: str) -> Result:
    """`kpc` with the settings that the demo wrote for a second terminal."""
    return CliRunner().invoke(app, arguments, env={"KPC_CONFIG": str(world.config)})


def booked(world: World, partition: Partition, stage: str) -> StageRun | None:
    """The newest run of a stage in the ledger."""
    with workspace_in(world) as workspace:
        return workspace.ledger.stages.last(workspace.environment, partition, stage)


@contextmanager
def org(world: World) -> Iterator[Salesforce]:
    salesforce = connect(world.settings.salesforce)
    try:
        yield salesforce
    finally:
        salesforce.close()


def records(world: World, partition: Partition) -> int:
    with org(world) as salesforce:
        return salesforce.count(partition.table.target, f"Migration_Partition__c LIKE '{partition.key}/%'")


def jobs(world: World) -> Counter[str]:
    with org(world) as salesforce:
        return Counter(job.object_name for job in salesforce.list_jobs())


@contextmanager
def jobs_held(world: World) -> Iterator[None]:
    """The org accepts ingest jobs and does not process them."""
    _switch(world, processing="hold")
    try:
        yield
    finally:
        _switch(world, processing="run")


def _switch(world: World, **values: str) -> None:
    url = f"{world.settings.salesforce.base_url}/_emulator/switches"
    httpx.patch(url, json=values, timeout=10).raise_for_status()


def mark(world: World, run: DagRun, state: str) -> None:
    """As a person marks a run in the browser; its running tasks are ended."""
    status, answer = request(world, "PATCH", f"dags/{run.dag_id}/dagRuns/{run.run_id}", {"state": state})
    assert status == 200, answer


def clear(world: World, run: DagRun, *tasks: str, downstream: bool = False) -> None:
    """As a person clears tasks of a run in the browser, which runs them again; without tasks, all of them."""
    body = {"dry_run": False, "dag_run_id": run.run_id, "only_failed": False, "include_downstream": downstream}
    chosen = {"task_ids": list(tasks)} if tasks else {}
    status, answer = request(world, "POST", f"dags/{run.dag_id}/clearTaskInstances", {**body, **chosen})
    assert status == 200, answer
    assert answer["total_entries"] > 0
