"""Airflow's configuration in the demo, as environment variables, for each executor."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from kpc.airflow_client.worker_settings import COORDINATOR_ENV
from kpc.errors import ConfigError
from kpc.processes import python_env


class TaskExecutor(StrEnum):
    """What runs tasks: processes of the scheduler, or Celery workers."""

    LOCAL = "local"
    CELERY = "celery"


@dataclass(frozen=True, slots=True)
class ClusterTimes:
    """How soon the loss of a part is noticed, in seconds; see docs/celery-cluster.md."""

    heartbeat: int = 5  # between two signs of life of a task
    lost_task: int = 60  # without a sign of life: the task is tried again
    queued: int = 300  # that a task may wait for a worker before it is sent again; also how long its token is valid
    visibility: int = 86_400  # that a task may take before the broker delivers its message again
    sweep: int = 100  # between two searches of the workers for such messages


def airflow_env(home: Path, database_url: str, port: int, *, parallelism: int) -> dict[str, str]:
    """The environment of every component: this process's, without Airflow, KPC_ and proxy variables, plus our own.

    They talk only to each other, on this machine, which no proxy can reach.
    """
    address = f"http://127.0.0.1:{port}"
    own = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": dags_folder(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": False,
        "AIRFLOW__CORE__PARALLELISM": parallelism,
        "AIRFLOW__CORE__ASSET_MANAGER_CLASS": "dags.asset_events.CheckedEvents",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": False,
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": 5,
        "AIRFLOW__CORE__MP_START_METHOD": "fork",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        # Airflow's own five tries can all lie within four seconds; the API server takes some ten to start again.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": 15,
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": 5,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__WORKERS": 1,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": 7 * 24 * 3600,
        # Each look costs several queries per active run, waiting ones too; ten a second took a sixth of a core.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
        # The files do not change while the demo runs. A parse that takes too long makes every DAG of its file unknown.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 600,
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": 240,
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": 180,
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": 0,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": False,
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": False,
        "OPENBLAS_NUM_THREADS": 1,  # one worker per core is enough; more threads only cost memory
    }
    foreign = re.compile(r"AIRFLOW_|KPC_|\w+_PROXY$", re.IGNORECASE)
    inherited = {name: value for name, value in python_env().items() if not foreign.match(name)}
    return {**inherited, **_text(own), **COORDINATOR_ENV}


def local_env() -> dict[str, str]:
    """The settings of an executor that runs tasks in processes of the scheduler."""
    return {"AIRFLOW__CORE__EXECUTOR": "dags.executor.OrderedLocalExecutor"}


def celery_env(database_url: str, broker_url: str, times: ClusterTimes) -> dict[str, str]:
    """The CeleryExecutor's settings, for every component and every worker."""
    own = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": broker_url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database_url}",  # the URL names psycopg2; Celery finds no other driver
        "AIRFLOW__CELERY__TASK_ACKS_LATE": True,  # a message is kept until its task has ended, for when a worker dies
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": 1,  # a busy worker keeps no task that an idle one could do
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": times.visibility,
        # Without the throttle of 1 only every tenth search is made.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__UNACKED_RESTORE_THROTTLE": 1,
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__UNACKED_RESTORE_INTERVAL": times.sweep,
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": times.heartbeat,
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": times.lost_task,
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": times.queued,
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": max(times.queued // 5, 1),
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": times.lost_task,
    }
    return _text(own)


def dags_folder() -> Path:
    spec = find_spec("dags")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "The package `dags` is not installed.", "Install the project again: `pip install 'kpc-migration[demo]'`."
        )
    return Path(spec.origin).parent


def _text(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
