"""A complete Airflow on this machine, one process per component: API server, scheduler, triggerer, DAG processor.

With the CeleryExecutor there are workers too. It is reachable from this machine only. Its users are those of
`kpc.demo.users`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from kpc.airflow_client.api import AirflowApi
from kpc.demo.airflow_config import ClusterTimes, airflow_env, celery_env, local_env
from kpc.demo.free_port import free_port
from kpc.demo.postgres import Postgres
from kpc.demo.redis import Redis
from kpc.demo.users import AirflowUsers, new_users
from kpc.errors import Terminal
from kpc.processes import Keeper, Server
from kpc.stages.names import DEFAULT_QUEUE, EXTRACT_QUEUE

DATABASE = "airflow"
_API_SERVER = "api-server"
_MIGRATE_TIMEOUT_S = 300.0
_START_TIMEOUT_S = 180.0
_TEMPLATE = f"airflow_{version('apache-airflow-core')}"  # the migrated, empty database to copy


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker: the queues that it serves and how many tasks it runs at a time."""

    name: str
    queues: tuple[str, ...]
    concurrency: int

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of `airflow`. Task logs need no server of their own where all workers share the folder of logs."""
        served = ("--queues", ",".join(self.queues), "--concurrency", str(self.concurrency))
        return "celery", "worker", *served, "--celery-hostname", self.name, "--skip-serve-logs"


WORKERS = (Worker("worker-extract", (EXTRACT_QUEUE,), 2), Worker("worker-load", (DEFAULT_QUEUE,), 2))


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the CeleryExecutor needs besides Airflow's own components."""

    redis: Redis
    workers: Sequence[Worker] = WORKERS
    times: ClusterTimes = field(default_factory=ClusterTimes)


@dataclass(frozen=True, slots=True)
class AirflowServers:
    """A running Airflow. `home` holds its configuration and task logs."""

    url: str
    home: Path
    logs: Path
    users: AirflowUsers
    env: Mapping[str, str] = field(repr=False)  # includes the secrets of both systems

    def start_worker(self, keeper: Keeper, worker: Worker) -> Server:
        """Start a Celery worker; the scheduler finds it by its queues."""
        return self._start(keeper, worker.name, worker.arguments)

    def start_component(self, keeper: Keeper, component: str) -> Server:
        """Start one of Airflow's own components, such as `scheduler`."""
        arguments = ["--skip-serve-logs"] if component in ("scheduler", "triggerer") else []
        return self._start(keeper, f"airflow {component}", [component, *arguments])

    def _start(self, keeper: Keeper, name: str, arguments: Sequence[str]) -> Server:
        log = self.logs / f"{name.replace(' ', '-')}.log"
        is_restarted = "CeleryExecutor" in self.env["AIRFLOW__CORE__EXECUTOR"]
        command = [sys.executable, "-m", "dags.start", *arguments]
        return keeper.start(name, command, log=log, env=self.env, is_restarted=is_restarted)


def begin_airflow(
    keeper: Keeper,
    postgres: Postgres,
    home: Path,
    logs: Path,
    *,
    parallelism: int,
    env: Mapping[str, str],
    cluster: Cluster | None = None,
) -> AirflowServers:
    """Start the components that run no task, on a fresh database. Without `cluster`, the scheduler itself runs tasks.

    They take the longest to start, and can do so before the connections of the tasks are known.
    """
    users = new_users(home)
    database_url = postgres.url(DATABASE)
    whole = {
        **airflow_env(home, database_url, free_port(), parallelism=parallelism),
        **(celery_env(database_url, cluster.redis.url, cluster.times) if cluster else local_env()),
        **users.env(),
        **env,
    }
    _fresh_database(postgres, whole, logs)
    servers = AirflowServers(whole["AIRFLOW__API__BASE_URL"], home, logs, users, whole)
    for component in (_API_SERVER, "dag-processor"):
        servers.start_component(keeper, component)
    return servers


def finish_airflow(
    keeper: Keeper, begun: AirflowServers, connections: Mapping[str, str], cluster: Cluster | None = None
) -> AirflowServers:
    """Start the components that run tasks, with the variables of `connections`, and wait until all are healthy."""
    servers = replace(begun, env={**begun.env, **connections})
    for component in ("scheduler", "triggerer"):
        servers.start_component(keeper, component)
    for worker in cluster.workers if cluster else ():
        servers.start_worker(keeper, worker)
    with AirflowApi(servers.url) as client:
        api = keeper.servers[f"airflow {_API_SERVER}"]
        keeper.wait_for(api, client.is_healthy, timeout_s=_START_TIMEOUT_S)
    return servers


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
