"""A run without a key, or with a wrong one, is refused with what to type, in every way in which Airflow starts runs."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_world import asset_id, ended, request, runs_of, task_states, wait_for

from kpc.airflow_client.rerun import rerun_partition
from kpc.demo.servers import World
from kpc.errors import ConfigError
from kpc.partition import find_partition
from kpc.stages.names import ORACLE_EXTRACT, STAGED_CSV, STAGES, asset_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

HEADERS = find_partition("KPS_T_SALES_M", "2024-01")
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
WRONG_KEYS = {
    "2567-01": "type 2024-01",
    "2024-1": "Give a month such as 2024-01",
    "2024-13": "Give a month such as 2024-01",
    "9999-12": "Give a month such as 2024-01",
    "0000-01": "Give a month such as 2024-01",
    "20๒๔-01": "Type the digits 0 to 9",
    "２０２４-01": "Type the digits 0 to 9",
    "2024-01 ": "Remove the blanks",
    "2024–01": "Type the hyphen",
    "zzz": "Give a month such as 2024-01",
    "ALL": "split by month: give one such as 2024-01",
    "all": "split by month: give one such as 2024-01",
    "2099-12": "Give a month up to",
    "": "must not be empty",  # Airflow's own sentence
}


def _bodies() -> list[tuple[dict[str, Any], str]]:
    missing = "A partition key is missing. Give one, such as 2024-01"
    wrong = [({"partition_key": key}, told) for key, told in WRONG_KEYS.items()]
    return [({}, missing), ({"partition_key": None}, missing), *wrong]


@pytest.mark.parametrize("stage", STAGES)
def test_no_run_is_made_without_a_key_of_the_table(partition_world: World, stage: str) -> None:
    """By REST as by the trigger form, at every stage: HTTP 400 with what to type."""
    dag_id = asset_name(HEADERS.table, stage)
    before = [run.run_id for run in partition_world.api.runs(dag_id=dag_id)]
    for body, told in _bodies():
        status, answer = request(partition_world, "POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, **body})
        assert (status, told in answer["detail"]) == (400, True), (body, answer)
    assert [run.run_id for run in partition_world.api.runs(dag_id=dag_id)] == before


@pytest.mark.parametrize("stage", STAGES)
def test_a_table_without_months_takes_only_all(partition_world: World, stage: str) -> None:
    """Upper case, because Airflow compares keys as they are; the answer says so."""
    dag_id = asset_name(SUPPLIERS.table, stage)
    for key in ("all", "All", "2024-01"):
        body = {"logical_date": None, "partition_key": key}
        status, answer = request(partition_world, "POST", f"dags/{dag_id}/dagRuns", body)
        assert (status, "give ALL" in answer["detail"]) == (400, True), answer


def test_nothing_is_materialized_without_a_key_of_the_table(partition_world: World) -> None:
    """The asset page's Materialize, and its REST call."""
    asset = asset_id(partition_world, asset_name(HEADERS.table, ORACLE_EXTRACT))
    for body, told in _bodies():
        status, answer = request(partition_world, "POST", f"assets/{asset}/materialize", body)
        assert (status, told in str(answer["detail"])) == (400, True), (body, answer)


def test_no_event_is_made_by_hand_without_a_key_of_the_table(partition_world: World) -> None:
    """Stock Airflow would record it, start nothing, and answer with success."""
    name = asset_name(HEADERS.table, ORACLE_EXTRACT)
    asset, before = asset_id(partition_world, name), len(partition_world.api.events())
    for body, told in _bodies():
        status, answer = request(partition_world, "POST", "assets/events", {"asset_id": asset, **body})
        if body == {"partition_key": ""}:
            assert status == 422
        else:
            assert (status, told in answer["detail"]) == (400, True), (body, answer)
    assert len(partition_world.api.events()) == before


def _backfill(world: World, dag_id: str, first: str, last: str) -> tuple[int, Any]:
    # Keys that other tests have run are listed too.
    body = {"dag_id": dag_id, "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
    body["reprocess_behavior"] = "completed"
    return request(world, "POST", "backfills/dry_run", body)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("2567-01-01", "2567-03-01", "future"),  # Airflow's own sentence
        ("2024-01-01", "2567-03-01", "in years of the Gregorian calendar"),
        ("2024-01-01", "2099-01-01", "is not between 1990-01 and"),
        ("1481-01-01", "1481-03-01", "is not between 1990-01 and"),
    ],
)
def test_a_backfill_of_wrong_months_is_refused(partition_world: World, first: str, last: str, told: str) -> None:
    status, answer = _backfill(partition_world, asset_name(HEADERS.table, ORACLE_EXTRACT), first, last)
    assert (status, told in answer["detail"]) == (422, True), answer


def test_a_backfill_has_every_month_that_its_range_touches(partition_world: World) -> None:
    """From the middle of January to the middle of March are three months; a table without months is one partition."""
    monthly, whole = (asset_name(each.table, ORACLE_EXTRACT) for each in (HEADERS, SUPPLIERS))
    status, answer = _backfill(partition_world, monthly, "2024-01-15", "2024-03-15")
    assert status == 200
    assert [each["partition_key"] for each in answer["backfills"]] == ["2024-01", "2024-02", "2024-03"]
    status, answer = _backfill(partition_world, whole, "2022-06-01", "2024-03-15")
    assert [each["partition_key"] for each in answer["backfills"]] == ["ALL"]


def test_a_mode_is_chosen_at_the_first_stage(partition_world: World) -> None:
    """Given to a later stage it would have no effect: no run is made, and the answer names the stage to start at."""
    for stage in STAGES[1:]:
        body = {"logical_date": None, "partition_key": HEADERS.key, "conf": {"mode": "full"}}
        status, answer = request(partition_world, "POST", f"dags/{asset_name(HEADERS.table, stage)}/dagRuns", body)
        assert (status, "choose it at stage oracle_extract" in answer["detail"]) == (400, True), answer


def test_a_run_whose_key_was_removed_fails_at_once(partition_world: World) -> None:
    """`airflow partitions clear` removes the key of a run and starts its tasks again: one try, and what to type."""
    partition = find_partition("KPS_T_SALES_M", "2024-01")
    first = partition_world.api.rerun(partition, STAGED_CSV)
    dag_id = asset_name(partition.table, STAGED_CSV)
    ended(partition_world.api, dag_id, first)
    status, answer = request(
        partition_world,
        "POST",
        f"dags/{dag_id}/clearPartitions",
        {"run_id": first, "clear_task_instances": True, "dry_run": False},
    )
    assert status == 200, answer
    wait_for(lambda: partition_world.api.run(dag_id, first).key is None)
    run = ended(partition_world.api, dag_id, first)
    wait_for(lambda: "A partition key is missing for KPS_T_SALES_M" in partition_world.api.failure(run))
    assert "Give one" in partition_world.api.failure(run)


def test_a_partition_outside_the_scope_fails_at_once(partition_world: World) -> None:
    """One try, and the sentence says what the scope has and how to widen it; `kpc rerun` ends with the same."""
    partition = find_partition("KPS_T_SALES_M", "2019-05")
    outcome = rerun_partition(partition_world.settings, partition)
    assert outcome.exit_code == 1
    assert "KPS_T_SALES_M 2019-05 is not in the campaign's scope, which has 2024-01 to 2024-12." in outcome.error
    assert "`kpc plan --months FIRST:COUNT`" in outcome.error
    (run,) = runs_of(partition_world, partition, ORACLE_EXTRACT)
    assert [task.tries for task in partition_world.api.tasks(run)] == [1]


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        ("staged_csv", "has not been extracted yet. Run `kpc rerun KPS_T_SALES_M 2024-02`"),
        ("sf_loaded", "has not been extracted yet. Run `kpc rerun KPS_T_SALES_M 2024-02`"),
        ("reconciled", "has not been extracted yet. Run `kpc rerun KPS_T_SALES_M 2024-02`"),
    ],
)
def test_a_stage_before_its_upstream_stage_fails_at_once(partition_world: World, stage: str, told: str) -> None:
    """Started by hand with a key that nothing was done for: what is missing, and the command."""
    partition = find_partition("KPS_T_SALES_M", "2024-02")
    dag_id = asset_name(partition.table, stage)
    run = ended(partition_world.api, dag_id, partition_world.api.rerun(partition, stage))
    assert run.state == "failed"
    assert told in partition_world.api.failure(run)
    assert set(task_states(partition_world, run).values()) <= {"failed", "upstream_failed"}
    assert max(task.tries for task in partition_world.api.tasks(run)) == 1


def test_rerun_refuses_a_wrong_key_before_it_asks_airflow() -> None:
    for key, told in WRONG_KEYS.items():
        if key and key != "2099-12":
            with pytest.raises(ConfigError, match=told):
                find_partition("KPS_T_SALES_M", key)
