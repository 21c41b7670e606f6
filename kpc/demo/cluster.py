"""`make cluster`: both emulators and an Airflow on Celery, which stay up until they are ended."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kpc.catalog import TABLES
from kpc.demo.airflow_config import TaskExecutor
from kpc.demo.campaign import Campaign
from kpc.demo.cluster_control import ClusterControl, RunningCluster
from kpc.demo.run import FIRST_MONTH, INTERRUPTED, ended_by_signals
from kpc.demo.screen import Screen
from kpc.demo.servers import Data, World, started
from kpc.partition import month_keys

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The options of `kpc cluster up`. `json` prints the addresses as one object once everything runs."""

    rows: int = 50_000
    months: int = 3
    work_dir: Path = Path(".kpc/cluster")
    json: bool = False


def run_cluster(options: ClusterOptions) -> int:
    """Start the cluster with its scope recorded, and keep it running; returns 130 when it is ended by a signal.

    Raises `ConfigError` for invalid options, `Terminal` when a part ends again and again.
    """
    months = month_keys(FIRST_MONTH, options.months)
    with ended_by_signals(), Screen() as screen:
        try:
            screen.say("Starting both emulators, PostgreSQL, Redis, Airflow and two Celery workers ...")
            with started(options.work_dir, Data(options.rows, months), executor=TaskExecutor.CELERY) as world:
                running = RunningCluster(world)
                running.look()
                Campaign(world, tuple(TABLES), months).prepare()
                _say_how(world, options, months, screen)
                if options.json:
                    print(json.dumps(_addresses(world)), flush=True)  # noqa: T201  the result
                while True:
                    running.look()
                    time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            screen.say("All servers have stopped.")
            return INTERRUPTED


def _addresses(world: World) -> dict[str, str]:
    return {"url": world.api.url, "config": str(world.config), "users": str(world.airflow.users.file)}


def _say_how(world: World, options: ClusterOptions, months: Sequence[str], screen: Screen) -> None:
    first, last = months[0], months[-1]
    workers = [part for part in ClusterControl(options.work_dir).parts() if part.queues]
    option = "" if options.work_dir == ClusterOptions().work_dir else f" --work-dir {options.work_dir}"
    screen.say(f"Airflow      {world.api.url}")
    screen.say(f"Log-ins      {world.airflow.users} (in {world.airflow.users.file})")
    for worker in workers:
        screen.say(f"Worker       {worker.name}, queue {worker.queues}, log {worker.log}")
    screen.say(f"Logs         {world.logs}; of tasks {world.airflow.home / 'logs'}")
    screen.say(
        "It stays up until Ctrl-C. In another terminal:\n"
        f"         export KPC_CONFIG={world.config}\n"
        f"         kpc campaign start --first-month {first} --last-month {last}\n"
        f"         kpc status --watch                          follow it; in Airflow: DAG campaign, page Migration\n"
        f"         kpc rerun KPS_T_SALES_MD {first}            one partition again\n"
        f"         kpc cluster list{option}                            what runs\n"
        f"         kpc cluster kill worker-load{option}                lose a worker; `stop` lets it finish its tasks\n"
        f"         kpc cluster start worker-load{option}               start it again\n"
        f"         kpc cluster worker worker-3 --queues extract,default{option}   one more worker"
    )
