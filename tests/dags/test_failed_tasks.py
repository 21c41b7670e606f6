"""Which failures Airflow tries again, and what a person reads in the task's log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow_world import (
    ended,
    finish,
    request,
    runs_of,
    start,
    task_states,
    wait_for,
    workspace_in,
)

from kpc.airflow_client.records import DagRun
from kpc.demo.servers import World
from kpc.partition import find_partition
from kpc.stages.names import ORACLE_EXTRACT, SF_LOADED, STAGED_CSV, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]


@contextmanager
def setting(world: World, line: str) -> Iterator[None]:
    """One more line at the head of the settings file, which every task reads."""
    text = world.config.read_text()
    world.config.write_text(f"{line}\n{text}")
    try:
        yield
    finally:
        world.config.write_text(text)


def error_lines(world: World, run: DagRun, task: str, number: int = 1) -> list[dict[str, object]]:
    path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task}/logs/{number}?full_content=true"
    _, answer = request(world, "GET", path)
    return [line for line in answer["content"] if line.get("level") in ("error", "critical")]


def test_a_temporary_failure_is_tried_again(partition_world: World) -> None:
    """Somebody else works on the partition for longer than the task waits: it says who, and the next try succeeds."""
    partition = find_partition("KPS_WEB_SALES", "ALL")
    api = partition_world.api
    with workspace_in(partition_world) as workspace, setting(partition_world, "lease_wait_s = 1"):
        environment, leases = workspace.environment, workspace.ledger.leases
        with leases.hold(environment, partition, ORACLE_EXTRACT, owner="somebody", ttl_s=120, wait_s=0):
            run = start(partition_world, partition)
            wait_for(lambda: task_states(partition_world, run) == {ORACLE_EXTRACT: "up_for_retry"})
    (line,) = wait_for(lambda: error_lines(partition_world, run, ORACLE_EXTRACT))
    assert str(line["event"]).startswith(f"{partition}, stage oracle_extract, is being worked on by somebody;")
    assert "error_detail" not in line
    assert finish(partition_world, partition, run).exit_code == 0
    (task,) = api.tasks(run)
    assert task.tries >= 2


def test_a_final_failure_is_not_tried_again(partition_world: World) -> None:
    """A staged file is gone: the load fails at the first try, and its log is the sentence without a traceback."""
    partition = find_partition("KPS_T_SALESBANK_MD", "ALL")
    api, load_dag = partition_world.api, asset_name(find_partition("KPS_T_SALESBANK_MD", "ALL").table, SF_LOADED)
    api.pause(load_dag)
    try:
        start(partition_world, partition)
        (staging,) = wait_for(lambda: runs_of(partition_world, partition, STAGED_CSV))
        assert ended(api, staging.dag_id, staging.run_id).state == "success"
    finally:
        api.pause(load_dag, is_paused=False)
    root = Path(partition_world.settings.staging.root)
    (chunk, *_) = sorted(root.glob(f"*/*/{partition.table.slug}/ALL/*/staged-*/chunk-*.csv.gz"))
    kept = chunk.read_bytes()
    chunk.unlink()
    run = start(partition_world, partition, SF_LOADED)
    assert ended(api, run.dag_id, run.run_id).state == "failed"
    (line,) = wait_for(lambda: _of_failed(partition_world, run))
    assert "kpc rerun KPS_T_SALESBANK_MD ALL" in str(line["event"])
    assert "error_detail" not in line
    assert [task.tries for task in api.tasks(run) if task.state == "failed"] == [1]
    chunk.write_bytes(kept)
    assert finish(partition_world, partition, start(partition_world, partition, SF_LOADED), SF_LOADED).exit_code == 0


def _of_failed(world: World, run: DagRun) -> list[dict[str, object]]:
    (failed, *_) = (task for task in world.api.tasks(run) if task.state == "failed")
    path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{failed.task_id}/logs/1"
    _, answer = request(world, "GET", f"{path}?full_content=true&map_index={failed.map_index}")
    return [line for line in answer["content"] if line.get("level") in ("error", "critical")]
