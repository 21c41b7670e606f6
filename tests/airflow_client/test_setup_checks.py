"""Preflight of Airflow where there is none."""

from __future__ import annotations

import pytest

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.setup_checks import check_airflow
from kpc.campaign.system_check import CheckState


@pytest.mark.usefixtures("quick_retries")
def test_an_airflow_that_cannot_be_asked_is_a_warning_with_its_settings() -> None:
    """A worker needs Airflow's API for nothing else."""
    with AirflowApi("http://127.0.0.1:9") as api:
        [found] = check_airflow(api)
    assert found.state is CheckState.WARNING
    assert "pools were not looked at" in found.message
    assert "KPC__AIRFLOW_URL" in found.remedy
