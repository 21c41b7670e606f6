"""Preflight of Airflow where there is none."""

from __future__ import annotations

import json

import pytest

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.setup_checks import check_airflow
from kpc.airflow_client.worker_settings import COORDINATOR_ENV, check_coordinators
from kpc.campaign.system_check import CheckState


@pytest.mark.usefixtures("quick_retries")
def test_an_airflow_that_cannot_be_asked_is_a_warning_with_its_settings() -> None:
    """A worker needs Airflow's API for nothing else."""
    with AirflowApi("http://127.0.0.1:9") as api:
        [found] = check_airflow(api)
    assert found.state is CheckState.WARNING
    assert "pools were not looked at" in found.message
    assert "KPC__AIRFLOW_URL" in found.remedy


def test_a_queue_whose_tasks_end_late_is_a_warning_with_settings_that_mend_it() -> None:
    coordinators, by_queue = (json.loads(value) for value in COORDINATOR_ENV.values())
    found = check_coordinators(coordinators, {"default": "kpc"})
    assert found.state is CheckState.WARNING
    assert "Tasks of the queue extract may hold" in found.message
    assert all(f"{name}='{value}'" in found.remedy for name, value in COORDINATOR_ENV.items())
    assert check_coordinators(coordinators, by_queue).state is CheckState.OK


def test_another_coordinator_under_the_same_name_is_a_warning_too() -> None:
    by_queue = json.loads(COORDINATOR_ENV["AIRFLOW__SDK__QUEUE_TO_COORDINATOR"])
    found = check_coordinators({"kpc": {"classpath": "elsewhere.Coordinator"}}, by_queue)
    assert "extract and default may hold" in found.message
