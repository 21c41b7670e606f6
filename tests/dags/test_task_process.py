"""The end of a task's process is noticed at once, also if its sockets closed before it was gone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest
from airflow.sdk.api.client import Client
from airflow.sdk.execution_time.coordinator import CoordinatorManager
from airflow.sdk.execution_time.supervisor import MIN_HEARTBEAT_INTERVAL, ActivitySubprocess

from dags.task_process import PromptCoordinator, PromptSubprocess
from kpc.demo.airflow_config import airflow_env
from kpc.stages.names import QUEUES

_FAREWELL_S = 0.3  # between the end of the sockets and that of the process


def _closes_its_sockets_first() -> None:
    os.closerange(0, 1024)
    time.sleep(_FAREWELL_S)
    os._exit(3)


def _watched_s(kind: type[ActivitySubprocess]) -> float:
    """How long one waits for a process that ends after its sockets."""
    client = Client(base_url=None, token="", dry_run=True)
    start = super(ActivitySubprocess, kind).start  # its own would also tell Airflow, which does not run here
    started = start(id=uuid4(), client=client, target=_closes_its_sockets_first)
    began = time.monotonic()
    assert started.wait() == 3
    return time.monotonic() - began


def test_airflows_own_watcher_sleeps_through_the_end() -> None:
    """If this fails, Airflow has mended it, and dags/task_process.py can go."""
    assert _watched_s(ActivitySubprocess) > MIN_HEARTBEAT_INTERVAL - 1


def test_ours_sees_it_at_once() -> None:
    assert _watched_s(PromptSubprocess) < MIN_HEARTBEAT_INTERVAL / 2


def test_the_demo_names_it_for_every_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = airflow_env(tmp_path, "postgresql+psycopg2://", 1, parallelism=1)
    for name in ("AIRFLOW__SDK__COORDINATORS", "AIRFLOW__SDK__QUEUE_TO_COORDINATOR"):
        monkeypatch.setenv(name, settings[name])
    manager = CoordinatorManager.from_config()
    assert {type(manager.for_queue(queue)) for queue in QUEUES} == {PromptCoordinator}
