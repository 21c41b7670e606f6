"""One partition is run again from any stage, in every way that docs/partitions.md names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow_world import (
    asset_id,
    ended,
    finish,
    jobs,
    kpc,
    org,
    records,
    request,
    runs_of,
    start,
    wait_for,
)

from kpc.airflow_client.records import DagRun
from kpc.catalog.types import EXTERNAL_ID
from kpc.demo.servers import World
from kpc.partition import Partition, find_partition
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")


@pytest.fixture(scope="module")
def suppliers(partition_world: World) -> Partition:
    """A partition that has been through all stages."""
    outcome = finish(partition_world, SUPPLIERS, start(partition_world, SUPPLIERS))
    assert outcome.exit_code == 0, outcome.text
    return SUPPLIERS


def ran_since(world: World, partition: Partition, since: datetime) -> list[str]:
    """The stages that have run since, once the last one is over."""
    last = wait_for(lambda: [run for run in runs_of(world, partition, RECONCILED) if run.queued >= since])[-1]
    assert ended(world.api, last.dag_id, last.run_id).state == "success"
    runs = {stage: [run for run in runs_of(world, partition, stage) if run.queued >= since] for stage in STAGES}
    assert all(len(found) <= 1 for found in runs.values()), runs
    return [stage for stage, found in runs.items() if found]


def trigger(world: World, partition: Partition, stage: str, **conf: object) -> DagRun:
    """By REST, as docs/partitions.md shows it."""
    dag_id = asset_name(partition.table, stage)
    body = {"logical_date": None, "partition_key": partition.key, "conf": conf}
    status, answer = request(world, "POST", f"dags/{dag_id}/dagRuns", body)
    assert status == 200, answer
    return world.api.run(dag_id, answer["dag_run_id"])


@pytest.mark.parametrize("stage", STAGES)
def test_rest_starts_at_any_stage(partition_world: World, suppliers: Partition, stage: str) -> None:
    """That stage and the later ones run once each, the earlier ones do not; nothing is sent again."""
    before, since = jobs(partition_world), datetime.now(UTC)
    trigger(partition_world, suppliers, stage)
    assert ran_since(partition_world, suppliers, since) == list(STAGES[STAGES.index(stage) :])
    assert jobs(partition_world) == before


def test_a_full_run_sends_every_row_again(partition_world: World, suppliers: Partition) -> None:
    """The mode is given to stage 1 only: the extract carries it to the stages that Airflow starts without it."""
    before, held, since = jobs(partition_world), records(partition_world, suppliers), datetime.now(UTC)
    run = trigger(partition_world, suppliers, ORACLE_EXTRACT, mode="full")
    outcome = finish(partition_world, suppliers, run)
    staged = outcome.stage_results[STAGED_CSV]["detail"]
    assert isinstance(staged, dict)
    assert (staged["staged"], staged["unchanged"]) == (held, 0)
    assert ran_since(partition_world, suppliers, since) == list(STAGES)
    assert jobs(partition_world) - before == {suppliers.table.target: 1}
    assert records(partition_world, suppliers) == held


@pytest.mark.parametrize("stage", [SF_LOADED, RECONCILED])
def test_the_command_starts_at_a_later_stage(partition_world: World, suppliers: Partition, stage: str) -> None:
    """`kpc rerun --stage` waits for that stage and those after it, and has their results."""
    before, since = jobs(partition_world), datetime.now(UTC)
    ran = kpc(partition_world, "rerun", suppliers.table.name, suppliers.key, "--stage", stage)
    assert ran.exit_code == 0, ran.output
    assert ran_since(partition_world, suppliers, since) == list(STAGES[STAGES.index(stage) :])
    assert jobs(partition_world) == before


def test_the_command_sends_named_records_again(partition_world: World, suppliers: Partition, tmp_path: Path) -> None:
    """`kpc rerun --only-keys FILE`: those and no others, although nothing has changed in Oracle."""
    with org(partition_world) as salesforce:
        found = salesforce.query(f"SELECT {EXTERNAL_ID} FROM {suppliers.table.target} ORDER BY {EXTERNAL_ID} LIMIT 2")
        names = [str(record[EXTERNAL_ID]) for record in found]  # read while the session is open
    file = tmp_path / "keys.txt"
    file.write_text("\n".join(names) + "\n", encoding="utf-8")
    before = jobs(partition_world)
    ran = kpc(partition_world, "rerun", suppliers.table.name, suppliers.key, "--only-keys", str(file))
    assert ran.exit_code == 0, ran.output
    assert jobs(partition_world) - before == {suppliers.table.target: 1}
    with org(partition_world) as salesforce:
        sent = max(salesforce.list_jobs(), key=lambda job: job.created_utc)
        job = salesforce.job(sent.id)
    assert job is not None
    assert job.processed == len(names)


def test_a_stage_is_materialized_on_its_asset_page(partition_world: World, suppliers: Partition) -> None:
    """Materialize runs the asset's own stage and what follows."""
    since = datetime.now(UTC)
    asset = asset_id(partition_world, asset_name(suppliers.table, SF_LOADED))
    body = {"partition_key": suppliers.key}
    assert request(partition_world, "POST", f"assets/{asset}/materialize", body)[0] == 200
    assert ran_since(partition_world, suppliers, since) == [SF_LOADED, RECONCILED]


def test_an_event_by_hand_starts_the_next_stage(partition_world: World, suppliers: Partition) -> None:
    """The asset's own stage does not run; the next one works on what the ledger has."""
    since = datetime.now(UTC)
    asset = asset_id(partition_world, asset_name(suppliers.table, SF_LOADED))
    body = {"asset_id": asset, "partition_key": suppliers.key, "extra": {}}
    assert request(partition_world, "POST", "assets/events", body)[0] == 200
    assert ran_since(partition_world, suppliers, since) == [RECONCILED]
