"""Test messages, sent by the DAG `alerts` on a worker."""

from __future__ import annotations

from collections.abc import Callable

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.one_task import answer_of, run_task
from kpc.settings import Settings
from kpc.stages.names import ALERTS


def test_channels(settings: Settings, *, say: Callable[[str], None] = lambda _text: None) -> tuple[dict[str, str], str]:
    """`sent`, or why not, by channel; and the page of the run. Raises as `run_task` does."""
    with AirflowApi.of(settings) as api:
        run = run_task(api, ALERTS, ALERTS, {"test": True}, say)
        outcome: dict[str, str] = answer_of(api, run, ALERTS, dict[str, str])
        return outcome, api.run_page(run)
