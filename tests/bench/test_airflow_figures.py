"""What `kpc bench airflow` computes from a campaign, and in `make slow` a campaign of 250 partitions."""

from __future__ import annotations

import pytest

from kpc.bench.airflow import CampaignCost, build_all_dags, measure_airflow, months_of, split_of
from kpc.bench.processes import run_function
from kpc.demo.airflow_config import TaskExecutor
from kpc.errors import ConfigError


@pytest.mark.parametrize(("partitions", "months"), [(16, 1), (22, 3), (40, 9), (250, 79)])
def test_partitions_are_whole_months_of_all_tables(partitions: int, months: int) -> None:
    assert len(months_of(partitions)) == months


@pytest.mark.parametrize("partitions", [0, 1, 13, 41])
def test_other_numbers_of_partitions_are_refused(partitions: int) -> None:
    with pytest.raises(ConfigError, match=rf"No number of months gives {partitions} partitions"):
        months_of(partitions)


def test_the_stages_own_work_is_taken_from_the_workers_by_their_share() -> None:
    spent = {"airflow scheduler": 10.0, "worker-extract": 30.0, "worker-load": 10.0, "postgres": 4.0}
    assert split_of(spent, 20.0) == {
        "airflow scheduler": 10.0,
        "worker-extract": 15.0,
        "worker-load": 5.0,
        "postgres": 4.0,
    }


def test_without_workers_the_scheduler_ran_the_tasks() -> None:
    assert split_of({"airflow scheduler": 30.0, "airflow triggerer": 2.0}, 20.0) == {
        "airflow scheduler": 10.0,
        "airflow triggerer": 2.0,
    }


def test_a_lost_and_a_doubled_run_are_both_counted() -> None:
    cost = CampaignCost("LocalExecutor", 40, 170, 330, 1, 2, 100.0, 50.0, {"airflow scheduler": 240.0, "postgres": 9.0})
    lost, cpu = cost.figures()
    assert (lost.value, lost.ok) == (3, False)
    assert (cpu.value, cpu.ok) == (6.0, True)


def test_celery_workers_are_airflow_s_own_cpu() -> None:
    spent = {"airflow scheduler": 40.0, "worker-extract": 20.0, "worker-load": 60.0, "redis": 1.0, "postgres": 9.0}
    assert CampaignCost("CeleryExecutor", 40, 170, 330, 0, 0, 100.0, 50.0, spent).airflow_s == 120.0


def test_all_dags_are_built_within_a_second() -> None:
    """As CPU time, so that a busy machine changes little."""
    assert run_function(build_all_dags, {}).answer < 1.0


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(5400)
def test_250_partitions_lose_and_double_no_run() -> None:
    figures, _ = measure_airflow(executors=[TaskExecutor.LOCAL], partitions=250, say=print)
    assert [figure for figure in figures if "lost or doubled" in figure.name and not figure.ok] == []
