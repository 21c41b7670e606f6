"""People clear tasks, mark runs, delete them and start them twice: ledger, org and graph stay consistent."""

from __future__ import annotations

import json
from datetime import timedelta

import psutil  # type: ignore[import-untyped]
import pytest
from airflow_world import (
    booked,
    clear,
    ended,
    finish,
    jobs,
    jobs_held,
    kpc,
    mark,
    records,
    request,
    rest,
    runs_of,
    start,
    task_states,
    wait_for,
    workspace_in,
)

from kpc.airflow_client.missed import MissedCause, missed_stages, start_missed
from kpc.airflow_client.records import DagRun
from kpc.campaign.stopped import stopped_partitions
from kpc.demo.servers import World
from kpc.ledger.states import StageState
from kpc.partition import Partition, find_partition
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]


def is_consistent(world: World, partition: Partition) -> None:
    """All stages are done at one generation, the org has each row once, and the comparison says so."""
    rows = [booked(world, partition, stage) for stage in STAGES]
    assert [row.state for row in rows if row] == ["done", "done", "done", "reconciled"]
    assert len({row.generation for row in rows if row}) == 1
    assert rows[0] is not None
    assert records(world, partition) == rows[0].rows


def test_clearing_a_finished_load_sends_nothing(partition_world: World) -> None:
    """A chunk with what follows, `publish` alone, the plan with what follows, the whole run: one after the other."""
    partition = find_partition("KPS_T_SALES_M", "2024-08")
    assert finish(partition_world, partition, start(partition_world, partition)).exit_code == 0
    (load,) = runs_of(partition_world, partition, SF_LOADED)
    before = jobs(partition_world)
    for number, tasks in enumerate((("ingest",), ("publish",), ("plan",), ()), 2):
        clear(partition_world, load, *tasks, downstream=tasks != ("publish",))
        wait_for(lambda count=number: len(runs_of(partition_world, partition, RECONCILED)) == count)  # type: ignore[misc]
        last = runs_of(partition_world, partition, RECONCILED)[-1]  # by the new event
        assert ended(partition_world.api, last.dag_id, last.run_id).state == "success"
        assert ended(partition_world.api, load.dag_id, load.run_id).state == "success"
    assert jobs(partition_world) == before
    is_consistent(partition_world, partition)


def test_a_load_marked_as_failed_is_continued(partition_world: World) -> None:
    """Its job is in flight: the next load follows that job, sends nothing again, and takes over the lease."""
    partition = find_partition("KPS_T_SALES_M", "2024-09")
    before = jobs(partition_world)
    with jobs_held(partition_world):
        start(partition_world, partition)
        (load,) = wait_for(lambda: runs_of(partition_world, partition, SF_LOADED))
        wait_for(lambda: task_states(partition_world, load).get("ingest[0]") == "deferred")
        mark(partition_world, load, "failed")
        assert ended(partition_world.api, load.dag_id, load.run_id).state == "failed"
        again = start(partition_world, partition, SF_LOADED)
        wait_for(lambda: task_states(partition_world, again).get("plan") in ("running", "success"))
    assert finish(partition_world, partition, again, SF_LOADED).exit_code == 0
    assert jobs(partition_world) - before == {partition.table.target: 1}
    is_consistent(partition_world, partition)


def test_a_load_marked_as_failed_is_absorbed_by_a_newer_extract(partition_world: World) -> None:
    """Started again at stage 1 instead: staging follows the old job to its end, and sends none of its records."""
    partition = find_partition("KPS_T_SALES_M", "2024-10")
    before = jobs(partition_world)
    with jobs_held(partition_world):
        start(partition_world, partition)
        (load,) = wait_for(lambda: runs_of(partition_world, partition, SF_LOADED))
        wait_for(lambda: task_states(partition_world, load).get("ingest[0]") == "deferred")
        mark(partition_world, load, "failed")
        again = start(partition_world, partition)
        wait_for(lambda: runs_of(partition_world, partition, STAGED_CSV)[1:])
    outcome = finish(partition_world, partition, again)
    assert outcome.exit_code == 0, outcome.text
    assert jobs(partition_world) - before == {partition.table.target: 1}
    is_consistent(partition_world, partition)


@pytest.mark.parametrize(("key", "marks"), [("2024-11", "run"), ("2024-12", "task")])
def test_a_stage_marked_as_successful_counts_for_nothing(partition_world: World, key: str, marks: str) -> None:
    """No later stage takes it for done, neither does `kpc status`, and `kpc missed` offers it."""
    partition = find_partition("KPS_T_SALES_M", key)
    api = partition_world.api
    with workspace_in(partition_world) as workspace:
        leases, environment = workspace.ledger.leases, workspace.environment
        with leases.hold(environment, partition, STAGED_CSV, owner="test", ttl_s=120, wait_s=0):  # its task waits
            start(partition_world, partition)
            (staging,) = wait_for(lambda: runs_of(partition_world, partition, STAGED_CSV))
            wait_for(lambda: task_states(partition_world, staging) == {STAGED_CSV: "running"})
            if marks == "run":
                mark(partition_world, staging, "success")
            else:
                path = f"dags/{staging.dag_id}/dagRuns/{staging.run_id}/taskInstances/{STAGED_CSV}"
                assert request(partition_world, "PATCH", path, {"new_state": "success"})[0] == 200
            assert ended(api, staging.dag_id, staging.run_id).state == "success"
            wait_for(lambda: not _has_process(partition_world, staging))  # Airflow ends it at its next sign of life
            rest(partition_world)
        found = stopped_partitions(workspace.ledger, environment, after=timedelta(0))
    assert booked(partition_world, partition, STAGED_CSV) is None or (
        booked(partition_world, partition, STAGED_CSV).state is StageState.FAILED  # type: ignore[union-attr]
    )
    for run in runs_of(partition_world, partition, SF_LOADED):  # an event by hand: it fails with what is missing
        assert run.state == "failed"
        assert "has not been staged" in api.failure(run)
    assert records(partition_world, partition) == 0
    (missed,) = (each for each in missed_stages(api, found) if each.partition == partition)
    assert (missed.stage, missed.cause) == (STAGED_CSV, MissedCause.MARKED)
    told = json.loads(kpc(partition_world, "status", "--json").stdout)["partitions"]
    (mine,) = (each["stages"] for each in told if (each["table"], each["key"]) == (partition.table.name, key))
    assert mine.get(STAGED_CSV, {}).get("state") != "done"
    (again,) = start_missed(api, [missed])
    assert finish(partition_world, partition, again, STAGED_CSV).exit_code == 0
    is_consistent(partition_world, partition)


def _has_process(world: World, run: DagRun) -> bool:
    """Whether a process works on the run's staging; Airflow writes the task's id into its title."""
    path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{STAGED_CSV}"
    task = str(request(world, "GET", path)[1]["id"])
    titles = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return any(task in title for title in titles)


def test_a_run_that_is_ended_and_deleted_is_found(partition_world: World) -> None:
    """Airflow forgets it, the ledger does not: the stage is offered, and its partition goes on."""
    partition = find_partition("KPS_T_SALES_M", "2024-06")
    api = partition_world.api
    with workspace_in(partition_world) as workspace:
        leases, environment = workspace.ledger.leases, workspace.environment
        with leases.hold(environment, partition, STAGED_CSV, owner="test", ttl_s=120, wait_s=0):
            start(partition_world, partition)
            (run,) = wait_for(lambda: runs_of(partition_world, partition, STAGED_CSV))
            wait_for(lambda: task_states(partition_world, run) == {STAGED_CSV: "running"})
            mark(partition_world, run, "failed")
            ended(api, run.dag_id, run.run_id)
            assert request(partition_world, "DELETE", f"dags/{run.dag_id}/dagRuns/{run.run_id}")[0] == 204
        found = stopped_partitions(workspace.ledger, environment, after=timedelta(0))
    (missed,) = (each for each in missed_stages(api, found) if each.partition == partition)
    assert missed.cause is MissedCause.NO_RUN
    (again,) = start_missed(api, [missed])
    assert finish(partition_world, partition, again, STAGED_CSV).exit_code == 0
    is_consistent(partition_world, partition)


def test_two_loads_of_one_partition_send_it_once(partition_world: World) -> None:
    """Both are started by hand at the same moment: one works, the other ends well or says who works."""
    partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
    assert finish(partition_world, partition, start(partition_world, partition)).exit_code == 0
    before, held = jobs(partition_world), records(partition_world, partition)
    runs = [start(partition_world, partition, SF_LOADED) for _ in range(2)]
    for run in runs:
        last = ended(partition_world.api, run.dag_id, run.run_id)
        assert last.state == "success" or "is being worked on by" in partition_world.api.failure(last)
    rest(partition_world)
    assert (jobs(partition_world), records(partition_world, partition)) == (before, held)
    is_consistent(partition_world, partition)


def test_a_backfill_over_running_partitions_sends_each_once(partition_world: World) -> None:
    """The campaign's runs of these months are at work when the backfill starts them again."""
    months = [find_partition("KPS_T_SALES_M", key) for key in ("2024-01", "2024-02")]
    before = jobs(partition_world)
    for month in months:
        start(partition_world, month)
    dag_id = asset_name(months[0].table, ORACLE_EXTRACT)
    body = {"dag_id": dag_id, "from_date": "2024-01-01T00:00:00Z", "to_date": "2024-02-01T00:00:00Z"}
    again = {"reprocess_behavior": "completed", "max_active_runs": 2}
    status, answer = request(partition_world, "POST", "backfills", {**body, **again})
    assert status == 200, answer
    for month in months:
        wait_for(lambda month=month: runs_of(partition_world, month, RECONCILED))  # type: ignore[misc]
    rest(partition_world)
    assert jobs(partition_world) - before == {months[0].table.target: 2}
    for month in months:
        is_consistent(partition_world, month)
