"""A migration on two Celery workers: what is lost, restarted or paused on the way changes nothing in the result."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cluster_checks import (
    assert_exactly_once,
    assert_no_other_job,
    delay_uploads,
    has_open_job,
    is_reconciled,
    log_of,
    not_loaded,
    task_processes,
    wait_for,
)
from fresh_installation import build_wheel, install_worker

from kpc.catalog import TABLES
from kpc.demo.airflow import Worker
from kpc.demo.airflow_config import ClusterTimes, TaskExecutor
from kpc.demo.cluster_control import RunningCluster
from kpc.demo.postgres import POSTGRES
from kpc.demo.redis import REDIS
from kpc.demo.servers import Data, World, started
from kpc.errors import KpcError
from kpc.partition import Partition, find_partition, month_keys, partitions_of
from kpc.processes import python_env
from kpc.stages.names import DEFAULT_QUEUE, EXTRACT_QUEUE, MIGRATION, ORACLE_EXTRACT, SF_LOADED, STAGES, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

PATIENCE_S = 400.0
TIMES = ClusterTimes(heartbeat=2, lost_task=30, queued=90, visibility=20, sweep=5)
LEASE_S = 10.0
MONTHS = month_keys("2024-01", 3)
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
APPROVALS = find_partition("KPS_T_SALES_APPRV", "ALL")
JANUARY, FEBRUARY, MARCH = (find_partition("KPS_T_SALES_M", month) for month in MONTHS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two workers; losses are noticed soon, and a lease ends before a lost task is tried again."""
    folder = tmp_path_factory.mktemp("cluster")
    settings = {"lease_s": LEASE_S, "lease_wait_s": 120.0}
    with started(folder, Data(3000, MONTHS), executor=TaskExecutor.CELERY, times=TIMES, settings=settings) as world:
        world.api.ensure_pools()
        wait_for(lambda: MIGRATION in world.api.dag_ids(), PATIENCE_S, "reading the DAGs")
        yield world


def begin(world: World, partitions: Sequence[Partition]) -> datetime:
    """Start the partitions at their first stage; returns since when."""
    runs = [world.api.run(asset_name(each.table, ORACLE_EXTRACT), world.api.rerun(each)) for each in partitions]
    return min(run.queued for run in runs)


def finish(world: World, partitions: Sequence[Partition], since: datetime, seconds: float = PATIENCE_S) -> None:
    """Wait until all are reconciled, and look whether each was moved exactly once."""

    def is_over() -> bool:
        world.keeper.check()
        return all(is_reconciled(world, partition, since) for partition in partitions)

    wait_for(is_over, seconds, "the campaign's end")
    assert_exactly_once(world, partitions, since)
    assert_no_other_job(world)


def test_each_stage_runs_on_the_worker_of_its_queue(world: World) -> None:
    """Extracts and chunks are made by the worker near the disk, the rest by the other; every partition exactly once."""
    since = begin(world, [SUPPLIERS])
    finish(world, [SUPPLIERS], since)
    queues = {}
    for stage in STAGES:
        (run,) = world.api.runs(dag_id=asset_name(SUPPLIERS.table, stage), key=SUPPLIERS.key, since=since)
        queues[stage] = log_of(world, "worker-extract").count(run.dag_id) > 0
    assert queues == {stage: stage in STAGES[:2] for stage in STAGES}


def test_parts_may_restart_during_a_campaign(world: World) -> None:
    """Scheduler, triggerer, broker and database restart, and a worker is lost in the middle of a chunk."""
    delay_uploads(world, 20.0)
    since = begin(world, [JANUARY])
    for part in ("airflow scheduler", "airflow triggerer"):
        world.keeper.stop(part, signal.SIGKILL)
        world.keeper.restart(part)
    wait_for(lambda: has_open_job(world, JANUARY), PATIENCE_S, "the upload of a chunk")
    world.keeper.stop("worker-load", signal.SIGKILL)
    for part in (REDIS, POSTGRES):
        world.keeper.stop(part)
        world.keeper.restart(part)
    world.keeper.restart("worker-load")
    finish(world, [JANUARY], since)


def test_a_worker_that_was_paused_past_its_lease_writes_nothing(world: World) -> None:
    """Its task is tried again elsewhere; when it goes on, the lease's token refuses it, and nothing is sent twice."""
    delay_uploads(world, 5.0)
    since = begin(world, [FEBRUARY])
    wait_for(lambda: has_open_job(world, FEBRUARY), PATIENCE_S, "the upload of a chunk")
    world.keeper.freeze("worker-load")
    world.airflow.start_worker(world.keeper, Worker("worker-spare", (DEFAULT_QUEUE, EXTRACT_QUEUE), 2))
    try:
        finish(world, [FEBRUARY], since)
    finally:
        world.keeper.freeze("worker-load", is_frozen=False)
    wait_for(lambda: not task_processes(world, "worker-load"), PATIENCE_S, "the end of the paused tasks")
    assert_exactly_once(world, [FEBRUARY], since)
    assert_no_other_job(world)
    world.keeper.stop("worker-spare")


def test_the_api_server_may_be_killed_at_any_moment(world: World) -> None:
    """Tasks repeat what they asked of it, and the end of a task is recorded with its event: no stage is lost."""
    since = begin(world, [APPROVALS])
    for pause_s in (3.0, 11.0, 17.0):  # each restart takes some ten seconds
        time.sleep(pause_s)
        world.keeper.stop("airflow api-server", signal.SIGKILL)
        world.keeper.restart("airflow api-server")
    wait_for(lambda: has_answered(world), PATIENCE_S, "the restart of the API server")
    finish(world, [APPROVALS], since)


def has_answered(world: World) -> bool:
    try:
        return bool(world.api.dag_ids())
    except KpcError:
        return False


def test_a_queue_without_a_worker_is_named_on_the_migration_page(world: World) -> None:
    """Its tasks wait, and would for ever; the other queue has a worker that merely has nothing to do."""
    since = begin(world, [SUPPLIERS])  # the page has data from the first partition on
    wait_for(lambda: is_reconciled(world, SUPPLIERS, since), PATIENCE_S, "the partition's end")
    wait_for(lambda: unserved(world) == set(), PATIENCE_S, "queues with workers")
    world.keeper.stop("worker-extract", timeout_s=PATIENCE_S)
    since = begin(world, [SUPPLIERS])
    wait_for(lambda: unserved(world) == {EXTRACT_QUEUE}, PATIENCE_S, "the queue without a worker")
    world.keeper.restart("worker-extract")
    wait_for(lambda: is_reconciled(world, SUPPLIERS, since), PATIENCE_S, "the partition's end")
    wait_for(lambda: unserved(world) == set(), PATIENCE_S, "its end on the page")


def unserved(world: World) -> set[str]:
    """The queues that no worker serves, as the page's data says."""
    overview = world.api.session.send("GET", "/migration/api/overview").json()
    return {one["queue"] for one in overview["unserved"] if one["tasks"]}


def test_a_task_that_outlives_the_visibility_timeout_is_done_once(world: World) -> None:
    """The broker delivers its message again; the second delivery is refused while the first is at work."""
    delay_uploads(world, 2.0 * TIMES.visibility)
    since = begin(world, [MARCH])
    finish(world, [MARCH], since)
    assert "Task already running elsewhere, ignoring redelivered message" in log_of(world, "worker-load")
    (run,) = world.api.runs(dag_id=asset_name(MARCH.table, SF_LOADED), key=MARCH.key, since=since)
    assert {task.tries for task in world.api.tasks(run) if task.task_id == "ingest"} == {1}


@pytest.mark.slow
def test_a_worker_without_emulators_moves_a_partition(world: World, tmp_path: Path) -> None:
    """A production worker's own installation, the locked base alone, serves both queues."""
    installed = install_worker(tmp_path / "venv", build_wheel(tmp_path / "build"))
    found = installed.run("python", "-c", "import dags; print(dags.__file__)", cwd=tmp_path)
    assert installed.run("python", "-c", "import duckdb", cwd=tmp_path).returncode == 1
    env = {name: value for name, value in world.airflow.env.items() if name != "PYTHONPATH"}
    env["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(found.stdout.strip()).parent)
    bare = Worker("worker-bare", (EXTRACT_QUEUE, DEFAULT_QUEUE), 2)
    for name in ("worker-extract", "worker-load"):
        world.keeper.stop(name, timeout_s=PATIENCE_S)
    command = [installed.python, "-m", "dags.start", *bare.arguments]
    world.keeper.start(bare.name, command, log=world.logs / "worker-bare.log", env=env)
    try:
        partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
        since = begin(world, [partition])
        finish(world, [partition], since)
        assert log_of(world, "worker-bare").count("final_state=success") >= len(STAGES)
    finally:
        world.keeper.stop(bare.name, timeout_s=PATIENCE_S)
        for name in ("worker-extract", "worker-load"):
            world.keeper.restart(name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_campaign_survives_a_restart_of_everything_in_turn(world: World) -> None:
    """Every table and month that no other test has loaded; every 20 seconds another part is killed or restarts."""
    partitions = not_loaded(world, [each for table in TABLES.values() for each in partitions_of(table, MONTHS)])
    since = begin(world, partitions)
    losses = itertools.cycle(
        [
            ("worker-load", signal.SIGKILL),
            ("airflow scheduler", signal.SIGKILL),
            (REDIS, None),
            ("worker-extract", signal.SIGKILL),
            (POSTGRES, None),
            ("airflow triggerer", signal.SIGKILL),
            ("airflow api-server", signal.SIGKILL),
        ]
    )
    for name, number in itertools.islice(losses, 14):
        time.sleep(20.0)
        world.keeper.check()
        world.keeper.stop(name, number, timeout_s=PATIENCE_S)
        world.keeper.restart(name)
    wait_for(lambda: has_answered(world), PATIENCE_S, "the restart of the API server")
    finish(world, partitions, since, seconds=2400.0)


def test_parts_are_lost_and_added_from_another_terminal(world: World) -> None:
    """What is killed stays away until it is started, a new worker joins, and a wrong name is refused."""
    running = RunningCluster(world)
    running.look()

    def ask(*arguments: str) -> dict[str, Any]:
        """The answer of `kpc cluster`, while the cluster is looked after."""
        command = [Path(sys.executable).with_name("kpc"), "cluster", *arguments, "--json"]
        asking = subprocess.Popen(  # noqa: S603  our own program
            [*command, "--work-dir", world.folder.parent], env=python_env(), stdout=subprocess.PIPE, text=True
        )
        while asking.poll() is None:
            running.look()
            time.sleep(0.2)
        answer: dict[str, Any] = json.loads(asking.communicate()[0])
        return answer

    assert ask("kill", "worker-load")["state"] == "stopped"
    assert "worker-load" not in world.keeper.servers
    assert ask("start", "worker-load")["state"] == "running"
    assert ask("pause", "worker-load")["state"] == "paused"
    assert ask("resume", "worker-load")["state"] == "running"
    assert ask("worker", "worker-3", "--queues", EXTRACT_QUEUE)["queues"] == EXTRACT_QUEUE
    states = {part["name"]: part["state"] for part in ask("list")["parts"]}
    assert {"worker-extract", "worker-load", "worker-3", REDIS, POSTGRES} <= states.keys()
    assert set(states.values()) == {"running"}
    assert "It has" in ask("kill", "worker-4")["remedy"]
    assert "The queues are extract, default" in ask("worker", "worker-4", "--queues", "fast")["remedy"]
    assert ask("stop", "worker-3")["state"] == "stopped"
