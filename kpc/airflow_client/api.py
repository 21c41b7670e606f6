"""Airflow over its REST API: start a partition, watch its runs, find out why one failed.

All runs that Airflow does not start itself are started through this module. A partition is started at one stage; asset
events start the stages after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import stamina

from kpc.airflow_client.records import AssetEvent, DagRun, DagState, PoolUse, TaskState
from kpc.errors import ConfigError, Transient
from kpc.http_client import client_for, is_address
from kpc.partition import Partition
from kpc.settings import Settings
from kpc.stages.names import ORACLE_EXTRACT, POOLS, asset_name

_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_PAGE = 100  # Airflow's `[api] maximum_page_limit`
_TIMEOUT_S = 30.0
_READ_TIMEOUT_S = 30.0  # failed reads are repeated for this long

Mode = Literal["incremental", "full"]


class AirflowApi:
    """A session with one Airflow. Raises `ConfigError` when a setting or request is wrong, otherwise `Transient`."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        self.url = url.rstrip("/")
        if not is_address(self.url):
            raise ConfigError(
                f"KPC__AIRFLOW_URL is not an address: {self.url!r}.", "Set it like http://127.0.0.1:8080."
            )
        self._login = (user, password)
        self._http = client_for(self.url, base_url=self.url, timeout=_TIMEOUT_S)
        self._is_logged_in = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.airflow_url, settings.airflow_user, settings.airflow_password.get_secret_value())

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def is_healthy(self) -> bool:
        """Whether API, database, scheduler, triggerer and DAG processor are all running."""
        try:
            return not self.stopped_parts()
        except Transient:
            return False

    def stopped_parts(self) -> dict[str, str]:
        """The parts of Airflow that do not run, each with its last heartbeat (empty: none was ever seen)."""
        answer = self._send("GET", "/api/v2/monitor/health")
        try:
            health = answer.json()
        except ValueError:
            health = {}
        found = {part: (health.get(part) or {}) for part in _PARTS}
        return {
            part: str(state.get(f"latest_{part}_heartbeat") or "")
            for part, state in found.items()
            if state.get("status") != "healthy"
        }

    def dag_state(self, dag_id: str) -> DagState:
        """Whether a DAG is paused, how many of its runs are active, and how many may be. Raises `ConfigError`."""
        dag = self._call("GET", f"dags/{dag_id}/details")
        active = self._call("GET", f"dags/{dag_id}/dagRuns", params={"state": "running", "limit": 1})
        return DagState(dag_id, bool(dag["is_paused"]), active["total_entries"], int(dag["max_active_runs"] or 0))

    def pause(self, dag_id: str, *, is_paused: bool = True) -> None:
        """Pause a DAG, or let it start runs again."""
        self._call("PATCH", f"dags/{dag_id}", json={"is_paused": is_paused})

    def pool_use(self) -> dict[str, PoolUse]:
        """The pools by name: how many slots each has, and how many are free."""
        found = self._pages("pools", "pools")
        return {pool["name"]: PoolUse(pool["name"], int(pool["slots"]), int(pool["open_slots"])) for pool in found}

    def holders(self, pool: str, most: int = 3) -> tuple[str, ...]:
        """Some of the runs whose tasks hold slots of a pool."""
        params = {"pool": pool, "state": ["running", "queued", "deferred"], "limit": most}
        found = self._call("GET", "dags/~/dagRuns/~/taskInstances", params=params)["task_instances"]
        return tuple(f"{task['dag_id']} {task['dag_run_id']} {task['task_id']}" for task in found)

    # Starting

    def trigger(self, dag_id: str, key: str | None = None, *, mode: Mode | None = None) -> str:
        """Start a run and return its id. `key` is None for a DAG without partitions."""
        body: dict[str, Any] = {"logical_date": None, "conf": {"mode": mode} if mode else {}}
        if key is not None:
            body["partition_key"] = key
        return str(self._call("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def rerun(self, partition: Partition, stage: str = ORACLE_EXTRACT, *, mode: Mode | None = None) -> str:
        """Start one partition again at a stage; the stages after it follow. Returns the run's id.

        What is already in Salesforce is not sent again. `mode` is allowed only at the first stage.
        """
        if mode is not None and stage != ORACLE_EXTRACT:
            raise ConfigError(
                f"The mode {mode} cannot be chosen at stage {stage}.", "Start at oracle_extract, or leave out --mode."
            )
        return self.trigger(asset_name(partition.table, stage), partition.key, mode=mode)

    def ensure_pools(self) -> None:
        """Create the pools or update their sizes. Airflow never starts a task whose pool does not exist."""
        existing = self.pools()
        for pool in POOLS:
            body = {
                "name": pool.name,
                "slots": pool.slots,
                "include_deferred": pool.includes_deferred,
                "description": pool.description,
            }
            if pool.name in existing:
                self._call("PATCH", f"pools/{pool.name}", json=body)
            else:
                self._call("POST", "pools", json=body)

    # Watching

    def pools(self) -> dict[str, tuple[int, bool]]:
        """For each pool name: its slots, and whether deferred tasks occupy them."""
        return {pool["name"]: (pool["slots"], pool["include_deferred"]) for pool in self._pages("pools", "pools")}

    def dag_ids(self) -> frozenset[str]:
        return frozenset(str(dag["dag_id"]) for dag in self._pages("dags", "dags"))

    def import_errors(self) -> tuple[str, ...]:
        """Why DAG files could not be imported, one text per file."""
        errors = self._pages("importErrors", "import_errors")
        return tuple(f"{error['filename']}: {error['stack_trace']}" for error in errors)

    def run(self, dag_id: str, run_id: str) -> DagRun:
        return _run(self._call("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, *, dag_id: str = "~", key: str | None = None, since: datetime | None = None) -> list[DagRun]:
        """Runs of one DAG or of all, oldest first; optionally of one key, and queued at or after `since`."""
        params: dict[str, Any] = {"order_by": "id"}
        if key is not None:
            params["partition_key_pattern"] = key
        if since is not None:
            params["run_after_gte"] = since.isoformat()
        found = (_run(run) for run in self._pages(f"dags/{dag_id}/dagRuns", "dag_runs", params))
        return [run for run in found if key is None or run.key == key]  # the pattern matches substrings

    def tasks(self, run: DagRun) -> list[TaskState]:
        path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances"
        return [
            TaskState(task["task_id"], task["map_index"], task["state"], task["try_number"])
            for task in self._pages(path, "task_instances")
        ]

    def events(self, *, since: datetime | None = None) -> list[AssetEvent]:
        """Materializations, oldest first."""
        params: dict[str, Any] = {"order_by": "timestamp"}
        if since is not None:
            params["timestamp_gte"] = since.isoformat()
        return [
            AssetEvent(
                event["name"] or "",
                event.get("partition_key"),
                event["source_dag_id"] or "",
                event["source_run_id"] or "",
                event["extra"] or {},
            )
            for event in self._pages("assets/events", "asset_events", params)
        ]

    def failure(self, run: DagRun) -> str:
        """Why a run failed: the error of its first failed task."""
        failed = [task for task in self.tasks(run) if task.state == "failed"]
        if not failed:
            return f"{run.dag_id} failed without a failed task."
        return f"{failed[0].task_id}: {self._error_of(run, failed[0])}"

    def result(self, run: DagRun, task_id: str, key: str = "return_value") -> Any:
        """The return value of a task, or the value of another XCom key."""
        path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self._call("GET", path)["value"]

    def asset_page(self, asset: str) -> str:
        """The URL of an asset's page, which shows its graph."""
        for found in self._pages("assets", "assets", {"name_pattern": asset}):
            if found["name"] == asset:
                return f"{self.url}/assets/{found['id']}"
        return f"{self.url}/assets"

    def run_page(self, run: DagRun) -> str:
        return f"{self.url}/dags/{run.dag_id}/runs/{run.run_id}"

    def _error_of(self, run: DagRun, task: TaskState) -> str:
        log = self._call(
            "GET",
            f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task.task_id}/logs/{max(task.tries, 1)}",
            params={"map_index": task.map_index, "full_content": True},
        )
        lines = [line for line in log["content"] if isinstance(line, dict)]
        for line in reversed(lines):
            if details := line.get("error_detail"):
                return f"{details[-1]['exc_value']}"
        errors = [str(line.get("event")) for line in lines if line.get("level") in ("error", "critical")]
        return errors[-1] if errors else "its process ended without an error message; see the scheduler's log"

    # HTTP

    def _pages(self, path: str, field: str, params: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._call("GET", path, params={**(params or {}), "limit": _PAGE, "offset": offset})
            yield from page[field]
            offset += len(page[field])
            if not page[field] or offset >= page["total_entries"]:
                return

    def _call(self, method: str, path: str, *, json: Any = None, params: Any = None) -> Any:
        if method != "GET":
            return self._ask(method, path, json=json, params=params)
        # Airflow 3.3.2 returns HTTP 500 for a list of asset events while a run started by one of them is queued.
        for attempt in stamina.retry_context(on=Transient, attempts=None, timeout=_READ_TIMEOUT_S, wait_max=2.0):
            with attempt:
                return self._ask(method, path, params=params)
        raise AssertionError("unreachable: the loop returns or raises")

    def _ask(self, method: str, path: str, *, json: Any = None, params: Any = None) -> Any:
        if not self._is_logged_in:
            self._log_in()
        answer = self._send(method, f"/api/v2/{path}", json=json, params=params)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:  # the token has expired
            self._log_in()
            answer = self._send(method, f"/api/v2/{path}", json=json, params=params)
        if answer.is_success:
            return self._decoded(answer) if answer.content else None
        raise _refusal(answer, path)

    def _log_in(self) -> None:
        user, password = self._login
        if user:
            answer = self._send("POST", "/auth/token", json={"username": user, "password": password})
        else:
            answer = self._send("GET", "/auth/token")
        if not answer.is_success:
            raise ConfigError(
                f"Airflow at {self.url} refuses the login (HTTP {answer.status_code}).",
                "Set KPC__AIRFLOW_USER and KPC__AIRFLOW_PASSWORD.",
            )
        token = self._decoded(answer)
        self._http.headers["Authorization"] = f"Bearer {token['access_token']}"
        self._is_logged_in = True

    def _decoded(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise ConfigError(
                f"{self.url} does not answer as Airflow does: its answer is not JSON.",
                "Set KPC__AIRFLOW_URL to the address of Airflow's API server.",
            ) from None

    def _send(self, method: str, path: str, *, json: Any = None, params: Any = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=json, params=params)
        except httpx.TransportError as error:
            raise Transient(
                f"Airflow at {self.url} does not answer ({error or type(error).__name__}).",
                "Start it (`kpc demo` does), or set KPC__AIRFLOW_URL to its address.",
            ) from error


def _run(answer: dict[str, Any]) -> DagRun:
    return DagRun(
        answer["dag_id"],
        answer["dag_run_id"],
        answer.get("partition_key"),
        answer["state"],
        datetime.fromisoformat(answer["run_after"]),
        _moment(answer["start_date"]),
        _moment(answer["end_date"]),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _refusal(answer: httpx.Response, path: str) -> ConfigError | Transient:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:300]
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient(f"Airflow failed on {path} (HTTP {answer.status_code}): {detail}.", "Try again.")
    if answer.status_code == HTTPStatus.NOT_FOUND and (dag := re.match(r"dags/([^~/]+)", path)):
        return ConfigError(
            f"Airflow does not know {dag[1]}.",
            "Check with `airflow dags list` that its dags folder is this project's.",
        )
    if answer.status_code == HTTPStatus.BAD_REQUEST and path.endswith("/dagRuns"):
        what, _, remedy = str(detail).rpartition("mappers: ")[2].partition(". ")
        return ConfigError(f"Airflow refuses the partition key: {what}.", remedy)
    return ConfigError(f"Airflow refuses {path} (HTTP {answer.status_code}): {detail}", "")
