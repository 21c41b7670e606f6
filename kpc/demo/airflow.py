"""A complete Airflow on this machine: scheduler, triggerer, DAG processor and API server, one process each.

It is reachable from this machine only. Its users are those of `kpc.demo.users`.
"""

from __future__ import annotations

import base64
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from kpc.airflow_client.api import AirflowApi
from kpc.demo.postgres import Postgres
from kpc.demo.users import AirflowUsers, new_users
from kpc.errors import ConfigError, Terminal
from kpc.processes import Keeper, python_env

DATABASE = "airflow"
_COMPONENTS = ("dag-processor", "scheduler", "triggerer")
_MIGRATE_TIMEOUT_S = 300.0
_START_TIMEOUT_S = 180.0
_TEMPLATE = f"airflow_{version('apache-airflow-core')}"  # the migrated, empty database to copy


@dataclass(frozen=True, slots=True)
class AirflowServers:
    """A running Airflow. `home` holds its configuration and task logs."""

    url: str
    home: Path
    users: AirflowUsers
    env: Mapping[str, str] = field(repr=False)  # includes the secrets of both systems


def airflow_env(home: Path, database_url: str, port: int, *, parallelism: int) -> dict[str, str]:
    """The environment of all four components: this process's, without Airflow, KPC_ and proxy variables, plus our own.

    They talk only to each other, on this machine, which no proxy can reach.
    """
    address = f"http://127.0.0.1:{port}"
    own = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": dags_folder(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": False,
        "AIRFLOW__CORE__EXECUTOR": "dags.executor.OrderedLocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": parallelism,
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": False,
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": 5,
        "AIRFLOW__CORE__MP_START_METHOD": "fork",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__WORKERS": 1,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": 7 * 24 * 3600,
        # Each look costs several queries per active run, waiting ones too; ten a second took a sixth of a core.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
        # The files do not change while the demo runs.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 3600,
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": 0,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": False,
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": False,
        "OPENBLAS_NUM_THREADS": 1,  # one worker per core is enough; more threads only cost memory
    }
    foreign = re.compile(r"AIRFLOW_|KPC_|\w+_PROXY$", re.IGNORECASE)
    inherited = {name: value for name, value in python_env().items() if not foreign.match(name)}
    return {**inherited, **{name: str(value) for name, value in own.items()}}


def dags_folder() -> Path:
    spec = find_spec("dags")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "The package `dags` is not installed.", "Install the project again: `pip install 'kpc-migration[demo]'`."
        )
    return Path(spec.origin).parent


def start_airflow(
    keeper: Keeper, postgres: Postgres, home: Path, logs: Path, *, parallelism: int, env: Mapping[str, str]
) -> AirflowServers:
    """Start all components on a fresh database and wait until all of them are healthy.

    `env` holds what the tasks also need: connections and settings.
    """
    users = new_users(home)
    port = free_port()
    whole = {**airflow_env(home, postgres.url(DATABASE), port, parallelism=parallelism), **users.env(), **env}
    _fresh_database(postgres, whole, logs)
    api = keeper.start("airflow api-server", _airflow("api-server"), log=logs / "airflow-api-server.log", env=whole)
    for component in _COMPONENTS:
        keeper.start(f"airflow {component}", _airflow(component), log=logs / f"airflow-{component}.log", env=whole)
    url = whole["AIRFLOW__API__BASE_URL"]
    with AirflowApi(url) as client:
        keeper.wait_for(api, client.is_healthy, timeout_s=_START_TIMEOUT_S)
    return AirflowServers(url, home, users, whole)


def _airflow(component: str) -> list[str]:
    arguments = ["--skip-serve-logs"] if component in ("scheduler", "triggerer") else []
    return [sys.executable, "-m", "dags.start", component, *arguments]


def _fresh_database(postgres: Postgres, env: Mapping[str, str], logs: Path) -> None:
    if not postgres.has_database(_TEMPLATE):
        building = f"{_TEMPLATE}_building"
        postgres.recreate(building)
        _migrate({**env, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url(building)}, logs / "airflow-migrate.log")
        postgres.execute(f'ALTER DATABASE "{building}" RENAME TO "{_TEMPLATE}"')
    postgres.recreate(DATABASE, template=_TEMPLATE)


def _migrate(env: Mapping[str, str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=dict(env),
            stdout=output,
            stderr=output,
            timeout=_MIGRATE_TIMEOUT_S,
            check=False,
        )
    if done.returncode:
        raise Terminal("Airflow could not set up its database.", f"The log is in {log}.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
