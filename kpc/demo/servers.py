"""The demo's servers: two emulators, PostgreSQL and Airflow, started and stopped together.

<work dir>/postgres        kept between demos: the cluster with a migrated, empty Airflow database
<work dir>/kpc.toml        settings for `kpc` in a second terminal (set KPC_CONFIG to this path)
<work dir>/run             files of this demo only: logs, Airflow's home, staged files, Data Docs
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.session import AirflowLogin
from kpc.demo.airflow import WORKERS, AirflowServers, Cluster, begin_airflow, finish_airflow
from kpc.demo.airflow_config import ClusterTimes, TaskExecutor
from kpc.demo.postgres import start_postgres
from kpc.demo.redis import start_redis
from kpc.demo.users import OPERATOR
from kpc.errors import ConfigError
from kpc.processes import Keeper, Server, python_env
from kpc.settings import Settings

ORACLE = "Oracle emulator"
SALESFORCE = "Salesforce emulator"
LEDGER_DATABASE = "kpc_ledger"
# Tasks at a time. On Celery more than run: those queued for a busy worker must not keep the other one idle.
PARALLELISM = {TaskExecutor.LOCAL: 4, TaskExecutor.CELERY: 8}
_EMULATOR_TIMEOUT_S = 180.0
_SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class Data:
    """What the Oracle emulator is seeded with."""

    rows: int
    months: Sequence[str]
    with_bad_rows: int = 0
    seed: int = 42


class DemoSettings(Settings):
    """The demo's own settings: neither the user's environment nor their `kpc.toml` changes them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, others, named
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class World:
    """The running servers, and how to reach them."""

    keeper: Keeper
    folder: Path
    config: Path
    settings: Settings
    airflow: AirflowServers
    api: AirflowApi
    cluster: Cluster | None = None  # with the CeleryExecutor

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def api_as(self, user: str) -> AirflowApi:
        """A client logged in as one of the demo's users; `api` is the operator's. The caller closes it."""
        return AirflowApi(self.airflow.url, self.airflow.users.login(user))


@contextmanager
def started(
    work_dir: Path,
    data: Data,
    *,
    switches: Mapping[str, str] | None = None,
    executor: TaskExecutor = TaskExecutor.LOCAL,
    times: ClusterTimes | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[World]:
    """Start all servers, and stop them at the end. `switches` are the Salesforce emulator's.

    With the CeleryExecutor there are a broker and two workers too, and `times` says how soon their loss is noticed.
    `settings` are some of `kpc.settings`, in place of the demo's; of a section only those that are given.

    Raises `ConfigError` if another demo uses the same folder, `Terminal` if a server does not start.
    """
    work_dir = work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    config = work_dir / "kpc.toml"
    with _only_one(work_dir), Keeper() as keeper:
        folder = _fresh(work_dir / "run")
        logs = folder / "logs"
        oracle, salesforce = _start_emulators(keeper, folder, logs, data, switches or {})
        is_celery = executor is TaskExecutor.CELERY
        postgres = start_postgres(keeper, work_dir / "postgres", logs / "postgres.log", is_restarted=is_celery)
        postgres.recreate(LEDGER_DATABASE)
        cluster = _start_broker(keeper, folder, logs, times) if is_celery else None
        begun = begin_airflow(
            keeper,
            postgres,
            folder / "airflow",
            logs,
            parallelism=PARALLELISM[executor],
            env={"KPC_CONFIG": str(config)},
            cluster=cluster,
        )
        facts = {
            "oracle": _ready(keeper, oracle, folder / "oracle.json"),
            "salesforce": _ready(keeper, salesforce, folder / "salesforce.json"),
        }
        login = begun.users.login(OPERATOR)
        ours = {**_values(folder, postgres.url(LEDGER_DATABASE), facts), **_airflow_values(begun.url, login)}
        values = ours | {name: _merged(ours.get(name), value) for name, value in (settings or {}).items()}
        _write_config(config, values)
        try:
            airflow = finish_airflow(keeper, begun, _connections(facts), cluster)
            with AirflowApi(airflow.url, login) as api:
                yield World(keeper, folder, config, DemoSettings(**values), airflow, api, cluster)
        finally:
            config.unlink(missing_ok=True)


@contextmanager
def _only_one(work_dir: Path) -> Iterator[TextIO]:
    with (work_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"Another demo is running in {work_dir}.", "End it first, or give this one a --work-dir of its own."
            ) from None
        yield lock


def _fresh(folder: Path) -> Path:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _start_emulators(
    keeper: Keeper, folder: Path, logs: Path, data: Data, switches: Mapping[str, str]
) -> tuple[Server, Server]:
    env = {name: value for name, value in python_env().items() if not name.upper().startswith("KPC")}
    common = {"port": 0, "seed": data.seed}
    seeded = {"rows": data.rows, "months": ",".join(data.months), "with-bad-rows": data.with_bad_rows}
    oracle = keeper.start(
        ORACLE,
        _emulator("oracle", {**common, **seeded, "ready-file": folder / "oracle.json"}),
        log=logs / "oracle-emulator.log",
        env=env,
    )
    chosen = [part for name, value in switches.items() for part in ("--switch", f"{name}={value}")]
    salesforce = keeper.start(
        SALESFORCE,
        [*_emulator("salesforce", {**common, "ready-file": folder / "salesforce.json"}), *chosen],
        log=logs / "salesforce-emulator.log",
        env=env,
    )
    return oracle, salesforce


def _start_broker(keeper: Keeper, folder: Path, logs: Path, times: ClusterTimes | None) -> Cluster:
    return Cluster(start_redis(keeper, folder / "redis", logs / "redis.log"), WORKERS, times or ClusterTimes())


def _airflow_values(url: str, login: AirflowLogin) -> dict[str, str]:
    return {
        "airflow_url": url,
        "airflow_user": login.user,
        "airflow_password": login.password.get_secret_value(),
    }


def _emulator(name: str, options: Mapping[str, object]) -> list[str]:
    flags = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    return [sys.executable, "-m", f"kpc.emulators.{name}", *flags]


def _ready(keeper: Keeper, server: Server, file: Path) -> dict[str, str]:
    """The connection details that the emulator writes once it accepts connections."""
    keeper.wait_for(server, file.exists, timeout_s=_EMULATOR_TIMEOUT_S)
    facts: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return facts


def _values(folder: Path, ledger_url: str, facts: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    oracle, salesforce = facts["oracle"], facts["salesforce"]
    return {
        "ledger_url": ledger_url,
        "hash_key": secrets.token_urlsafe(_SECRET_BYTES),
        "oracle": {name: oracle[name] for name in ("dsn", "user", "password")},
        "salesforce": {
            **{name: salesforce[name] for name in ("base_url", "client_id", "client_secret")},
            "poll_first_s": 0.2,
        },
        # Small chunks, so that the larger partitions take several ingest jobs each, as in a production migration.
        "staging": {"root": str(folder / "staging"), "chunk_rows": 20_000},
        "reconcile": {"docs_root": str(folder / "data_docs")},
    }


def _merged(old: Any, new: Any) -> Any:
    """`new`, and what a section of settings had besides."""
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new


def _connections(facts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Airflow's two connections, as environment variables."""
    oracle, salesforce = facts["oracle"], facts["salesforce"]
    address, _, service = oracle["dsn"].partition("/")
    host, _, port = address.rpartition(":")
    connections = {
        "KPC_ORACLE": {
            "conn_type": "oracle",
            "host": host,
            "port": int(port),
            "schema": service,
            "login": oracle["user"],
            "password": oracle["password"],
        },
        "KPC_SALESFORCE": {
            "conn_type": "salesforce",
            "host": salesforce["base_url"],
            "login": salesforce["client_id"],
            "password": salesforce["client_secret"],
        },
    }
    return {f"AIRFLOW_CONN_{name}": json.dumps(connection) for name, connection in connections.items()}


def _write_config(path: Path, values: Mapping[str, Any]) -> None:
    """Write the settings as TOML, readable only by the owner because they hold the emulators' secrets."""
    flat = [f"{name} = {json.dumps(value)}" for name, value in values.items() if not isinstance(value, dict)]
    for section, entries in values.items():
        if isinstance(entries, dict):
            flat += ["", f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in entries.items())]
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("\n".join(flat) + "\n")
