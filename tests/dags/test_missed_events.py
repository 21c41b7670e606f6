"""A paused DAG loses nothing: what its pause cost is found, offered and started, each stage exactly once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from airflow_world import (
    booked,
    ended,
    finish,
    kpc,
    records,
    rest,
    runs_of,
    set_scope,
    start,
    wait_for,
    workspace_in,
)

from kpc.airflow_client.missed import MissedCause, MissedStage, missed_stages, start_missed
from kpc.airflow_client.missed_hubs import MissedHub, missed_hubs
from kpc.campaign.stopped import stopped_partitions
from kpc.demo.servers import World
from kpc.ledger.states import StageState
from kpc.partition import Partition, find_partition, month_keys
from kpc.stages.names import (
    MIGRATION,
    MISSED_EVENTS,
    ORACLE_EXTRACT,
    RECONCILED,
    SF_LOADED,
    STAGED_CSV,
    STAGES,
    asset_name,
    sign_off_dag,
)

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]


@contextmanager
def paused(world: World, dag_id: str) -> Iterator[None]:
    world.api.pause(dag_id)
    try:
        yield
    finally:
        world.api.pause(dag_id, is_paused=False)


def missed_of(world: World, partition: Partition) -> list[MissedStage]:
    with workspace_in(world) as workspace:
        found = stopped_partitions(workspace.ledger, workspace.environment, after=timedelta(0))
    return [each for each in missed_stages(world.api, found) if each.partition == partition]


def extract_while_paused(world: World, partition: Partition, stage: str = STAGED_CSV) -> None:
    """The stage's DAG is paused when the event for it comes, and unpaused again."""
    before = STAGES[STAGES.index(stage) - 1]
    with paused(world, asset_name(partition.table, stage)):
        start(world, partition)
        wait_for(lambda: (row := booked(world, partition, before)) and row.state == StageState.DONE)
        wait_for(lambda: all(run.is_final for run in runs_of(world, partition, before)))
        (missed,) = wait_for(lambda: missed_of(world, partition))
        assert missed.cause is MissedCause.PAUSED
        assert f"`airflow dags unpause {asset_name(partition.table, stage)}`" in missed.remedy


def test_what_a_paused_dag_missed_is_started_once(partition_world: World) -> None:
    """Pause, extract, unpause: the command finds the partition; two who start it at once start it once."""
    partition = find_partition("KPS_T_SALES_M", "2024-03")
    extract_while_paused(partition_world, partition)
    (missed,) = missed_of(partition_world, partition)
    assert (missed.after, missed.stage, missed.cause) == (ORACLE_EXTRACT, STAGED_CSV, MissedCause.NO_RUN)
    first, second = (start_missed(partition_world.api, [missed]) for _ in range(2))
    assert (len(first), len(second)) == (1, 0)
    outcome = finish(partition_world, partition, first[0], STAGED_CSV)
    assert outcome.exit_code == 0, outcome.text
    assert [len(runs_of(partition_world, partition, stage)) for stage in STAGES] == [1, 1, 1, 1]
    assert records(partition_world, partition) > 0
    assert missed_of(partition_world, partition) == []


def test_the_command_lists_and_starts(partition_world: World) -> None:
    """Exit code 3 while something is missing; `--start` starts it; status names the command."""
    partition = find_partition("KPS_T_SALES_M", "2024-04")
    extract_while_paused(partition_world, partition, SF_LOADED)
    listed = kpc(partition_world, "missed", "--minutes", "0", "--json")
    assert listed.exit_code == 3
    mine = _mine(json.loads(listed.stdout)["missed"], partition)
    assert [(each["after"], each["stage"], each["cause"]) for each in mine] == [(STAGED_CSV, SF_LOADED, "no run")]
    assert "`kpc missed --start`" in listed.stderr
    started = kpc(partition_world, "missed", "--minutes", "0", "--start", "--json")
    assert any(asset_name(partition.table, SF_LOADED) in page for page in json.loads(started.stdout)["started"])
    (run,) = runs_of(partition_world, partition, SF_LOADED)
    assert finish(partition_world, partition, run, SF_LOADED).exit_code == 0
    assert [len(runs_of(partition_world, partition, stage)) for stage in STAGES] == [1, 1, 1, 1]


def _mine(found: list[dict[str, Any]], partition: Partition) -> list[dict[str, Any]]:
    return [each for each in found if (each["table"], each["key"]) == (partition.table.name, partition.key)]


def test_the_dag_starts_what_was_missed(partition_world: World) -> None:
    """As every ten minutes: its task finds the stage and starts it; run again, it has nothing to do."""
    partition = find_partition("KPS_T_SALES_M", "2024-05")
    extract_while_paused(partition_world, partition, RECONCILED)
    told = f"{asset_name(partition.table, RECONCILED)} {partition.key}"
    api = partition_world.api
    api.pause(MISSED_EVENTS, is_paused=False)
    run = ended(api, MISSED_EVENTS, api.trigger(MISSED_EVENTS, conf={"minutes": 0}))
    assert run.state == "success", api.failure(run)
    assert told in api.result(run, "start")
    (reconciling,) = wait_for(lambda: runs_of(partition_world, partition, RECONCILED))
    assert ended(api, reconciling.dag_id, reconciling.run_id).state == "success"
    again = ended(api, MISSED_EVENTS, api.trigger(MISSED_EVENTS, conf={"minutes": 0}))
    api.pause(MISSED_EVENTS)
    assert told not in api.result(again, "start")
    assert len(runs_of(partition_world, partition, RECONCILED)) == 1


def test_a_paused_hub_loses_no_request_for_sign_off(partition_world: World) -> None:
    """Its phase was reconciled meanwhile: the command finds hub and migration, starts them, and each asks once."""
    world, suppliers = partition_world, find_partition("KPS_R_POS_SUPPLIER", "ALL")
    set_scope(world, [], [suppliers.table.name])
    try:
        with paused(world, "phase_reference"):
            assert finish(world, suppliers, start(world, suppliers)).exit_code == 0
            causes = {each.dag_id: each.cause for each in _hubs(world)}
            assert causes == {"phase_reference": MissedCause.PAUSED, MIGRATION: MissedCause.NO_RUN}
        listed = json.loads(kpc(world, "missed", "--minutes", "0", "--json").stdout)["missed"]
        assert [(each["table"], each["stage"]) for each in listed if each["stage"] in causes] == [
            ("reference", "phase_reference"), (MIGRATION, MIGRATION),
        ]  # fmt: skip
        kpc(world, "missed", "--minutes", "0", "--start")
        asking = [sign_off_dag("reference"), sign_off_dag(MIGRATION)]
        wait_for(lambda: all(world.api.runs(dag_id=dag) for dag in asking))
        rest(world)
        assert [len(world.api.runs(dag_id=dag)) for dag in asking] == [1, 1]
        assert _hubs(world) == []
    finally:
        set_scope(world, month_keys("2024-01", 12))  # as the other tests have it


def _hubs(world: World) -> list[MissedHub]:
    with workspace_in(world) as workspace:
        return missed_hubs(world.api, workspace, after=timedelta(0))
