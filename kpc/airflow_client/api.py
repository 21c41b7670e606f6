"""Airflow over its REST API: start a partition, watch its runs, find out why one failed.

All runs that Airflow does not start itself are started through this module. A partition is started at one stage; asset
events start the stages after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx
from pydantic import SecretStr

from kpc.airflow_client.answers import (
    ActiveRunsAnswer,
    AssetAnswer,
    DagAnswer,
    DagDetailsAnswer,
    EventAnswer,
    HoldersAnswer,
    ImportErrorAnswer,
    LogAnswer,
    PoolAnswer,
    RunAnswer,
    TaskAnswer,
    ValueAnswer,
    decoded,
)
from kpc.airflow_client.records import AssetEvent, DagRun, DagState, PoolUse, TaskState
from kpc.airflow_client.session import AirflowLogin, AirflowSession
from kpc.answer_shapes import fitted
from kpc.errors import AirflowDown, ConfigError, UnusableAnswer
from kpc.partition import Partition
from kpc.retry_policy import retried
from kpc.settings import Settings
from kpc.stages.names import ORACLE_EXTRACT, POOLS, asset_name
from kpc.untrusted_text import shown

_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_PAGE = 100  # Airflow's `[api] maximum_page_limit`
_MOST_REASON = 2_000  # characters of a task's error message

T = TypeVar("T")

Mode = Literal["incremental", "full"]


class AirflowApi:
    """A session with one Airflow. Raises `ConfigError` when a setting or request is wrong, otherwise `Transient`."""

    def __init__(
        self, url: str, login: AirflowLogin | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.session = AirflowSession(url, login or AirflowLogin(), transport)
        self.url = self.session.url

    @classmethod
    def of(cls, settings: Settings) -> Self:
        login = AirflowLogin(settings.airflow_user, settings.airflow_password, settings.airflow_token)
        return cls(settings.airflow_url, login)

    @classmethod
    def as_user(cls, transport: httpx.BaseTransport, token: str) -> Self:
        """A session of a user who is logged in, over a transport that leads to Airflow."""
        return cls("http://airflow", AirflowLogin(token=SecretStr(token)), transport)

    def close(self) -> None:
        self.session.close()

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
        except (AirflowDown, UnusableAnswer):
            return False

    def stopped_parts(self) -> dict[str, str]:
        """The parts of Airflow that do not run, each with its last heartbeat (empty: none was ever seen)."""
        answer = self.session.send("GET", "/api/v2/monitor/health")
        health = decoded(answer, dict[str, Any], "monitor/health")
        found = {part: health.get(part) for part in _PARTS}
        states = {part: state if isinstance(state, dict) else {} for part, state in found.items()}
        return {
            part: shown(state.get(f"latest_{part}_heartbeat") or "")
            for part, state in states.items()
            if state.get("status") != "healthy"
        }

    def dag_state(self, dag_id: str) -> DagState:
        """Whether a DAG is paused, how many of its runs are active, and how many may be. Raises `ConfigError`."""
        dag = self._call(DagDetailsAnswer, "GET", f"dags/{dag_id}/details")
        params = {"state": "running", "limit": 1}
        active = self._call(ActiveRunsAnswer, "GET", f"dags/{dag_id}/dagRuns", params=params)
        return DagState(dag_id, dag.is_paused, active.total_entries, dag.max_active_runs or 0)

    def pause(self, dag_id: str, *, is_paused: bool = True) -> None:
        """Pause a DAG, or let it start runs again."""
        self._call(object, "PATCH", f"dags/{dag_id}", json={"is_paused": is_paused})

    def pool_use(self) -> dict[str, PoolUse]:
        """The pools by name: how many slots each has, and how many are free."""
        found = self._pages(PoolAnswer, "pools", "pools")
        return {pool.name: PoolUse(pool.name, pool.slots, pool.open_slots) for pool in found}

    def holders(self, pool: str, most: int = 3) -> tuple[str, ...]:
        """Some of the runs whose tasks hold slots of a pool."""
        params = {"pool": pool, "state": ["running", "queued", "deferred"], "limit": most}
        found = self._call(HoldersAnswer, "GET", "dags/~/dagRuns/~/taskInstances", params=params)
        return tuple(f"{task.dag_id} {task.dag_run_id} {task.task_id}" for task in found.task_instances)

    # Starting

    def trigger(
        self, dag_id: str, key: str | None = None, *, conf: dict[str, object] | None = None, run_id: str | None = None
    ) -> str:
        """Start a run and return its id. `key` is None for a DAG without partitions, `conf` its parameters.

        With `run_id`, which the run then has, raises `RunExists` if the DAG has such a run already.
        """
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        if run_id is not None:
            body["dag_run_id"] = run_id
        if key is not None:
            body["partition_key"] = key
        return self._call(RunAnswer, "POST", f"dags/{dag_id}/dagRuns", json=body).dag_run_id

    def rerun(
        self, partition: Partition, stage: str = ORACLE_EXTRACT, *, mode: Mode | None = None, same_scn: bool = False
    ) -> str:
        """Start one partition again at a stage; the stages after it follow. Returns the run's id.

        What is already in Salesforce is not sent again. `mode` and `same_scn` are allowed only at the first stage.
        """
        if mode is not None and stage != ORACLE_EXTRACT:
            raise ConfigError(
                f"The mode {mode} cannot be chosen at stage {stage}.", "Start at oracle_extract, or leave out --mode."
            )
        if same_scn and stage != ORACLE_EXTRACT:
            raise ConfigError(f"Stage {stage} reads no SCN.", "Start at oracle_extract, or leave out --same-scn.")
        conf: dict[str, object] = {"mode": mode} if mode else {}
        return self.trigger(
            asset_name(partition.table, stage), partition.key, conf=conf | ({"same_scn": True} if same_scn else {})
        )

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
                self._call(object, "PATCH", f"pools/{pool.name}", json=body)
            else:
                self._call(object, "POST", "pools", json=body)

    # Watching

    def pools(self) -> dict[str, tuple[int, bool]]:
        """For each pool name: its slots, and whether deferred tasks occupy them."""
        return {pool.name: (pool.slots, pool.include_deferred) for pool in self._pages(PoolAnswer, "pools", "pools")}

    def dag_ids(self, *, is_paused: bool | None = None) -> frozenset[str]:
        """The DAGs; with `is_paused`, only the paused or the other ones."""
        params = {} if is_paused is None else {"paused": is_paused}
        return frozenset(dag.dag_id for dag in self._pages(DagAnswer, "dags", "dags", params))

    def import_errors(self) -> tuple[str, ...]:
        """Why DAG files could not be imported, one text per file."""
        errors = self._pages(ImportErrorAnswer, "importErrors", "import_errors")
        return tuple(f"{error.filename}: {error.stack_trace}" for error in errors)

    def run(self, dag_id: str, run_id: str) -> DagRun:
        return _run(self._call(RunAnswer, "GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def runs(
        self,
        *,
        dag_id: str = "~",
        key: str | None = None,
        since: datetime | None = None,
        changed_since: datetime | None = None,
        states: Sequence[str] = (),
    ) -> list[DagRun]:
        """Runs of one DAG or of all, oldest first; optionally of one key, in some states, queued since `since`.

        With `changed_since` only those that Airflow has written to since then; to a running one it always does.
        """
        params: dict[str, Any] = {"order_by": "id"}
        if changed_since is not None:
            params["updated_at_gte"] = changed_since.isoformat()
        if states:
            params["state"] = list(states)
        if key is not None:
            params["partition_key_pattern"] = key
        if since is not None:
            params["run_after_gte"] = since.isoformat()
        found = (_run(run) for run in self._pages(RunAnswer, f"dags/{dag_id}/dagRuns", "dag_runs", params))
        return [run for run in found if key is None or run.key == key]  # the pattern matches substrings

    def tasks(self, run: DagRun) -> list[TaskState]:
        path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances"
        return [
            TaskState(task.task_id, task.map_index, task.state, task.try_number, task.end_date)
            for task in self._pages(TaskAnswer, path, "task_instances")
        ]

    def events(self, *, since: datetime | None = None, run: DagRun | None = None) -> list[AssetEvent]:
        """Materializations, oldest first; optionally those since a moment, or those of one run."""
        params: dict[str, Any] = {"order_by": "timestamp"}
        if run is not None:
            params |= {"source_dag_id": run.dag_id, "source_run_id": run.run_id}
        if since is not None:
            params["timestamp_gte"] = since.isoformat()
        return [
            AssetEvent(
                event.name or "",
                event.partition_key,
                event.source_dag_id or "",
                event.source_run_id or "",
                event.extra or {},
            )
            for event in self._pages(EventAnswer, "assets/events", "asset_events", params)
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
        return self._call(ValueAnswer, "GET", path).value

    def asset_page(self, asset: str) -> str:
        """The URL of an asset's page, which shows its graph."""
        for found in self._pages(AssetAnswer, "assets", "assets", {"name_pattern": asset}):
            if found.name == asset:
                return f"{self.url}/assets/{found.id}"
        return f"{self.url}/assets"

    def run_page(self, run: DagRun) -> str:
        return f"{self.url}/dags/{run.dag_id}/runs/{run.run_id}"

    def _error_of(self, run: DagRun, task: TaskState) -> str:
        log = self._call(
            LogAnswer,
            "GET",
            f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task.task_id}/logs/{max(task.tries, 1)}",
            params={"map_index": task.map_index, "full_content": True},
        )
        lines = [line for line in log.content if isinstance(line, dict)]
        for line in reversed(lines):
            details = line.get("error_detail")
            if isinstance(details, list) and details and isinstance(details[-1], dict):
                return shown(details[-1].get("exc_value"), _MOST_REASON)
        errors = [str(line.get("event")) for line in lines if line.get("level") in ("error", "critical")]
        without = "its process ended without an error message; see the scheduler's log"
        return shown(errors[-1], _MOST_REASON) if errors else without

    # Requests

    def _pages(self, shape: type[T], path: str, field: str, params: dict[str, Any] | None = None) -> Iterator[T]:
        offset = 0
        while True:
            asked = {**(params or {}), "limit": _PAGE, "offset": offset}
            page = self._call(dict[str, Any], "GET", path, params=asked)
            try:
                rows = [fitted(shape, row) for row in fitted(list[Any], page.get(field))]
                total = fitted(int, page.get("total_entries"))
            except ValueError as error:
                raise UnusableAnswer(f"Airflow's answer to {path} cannot be used: {error}.", "Try again.") from None
            yield from rows
            offset += len(rows)
            if not rows or offset >= total:
                return

    def _call(self, shape: type[T], method: str, path: str, *, json: Any = None, params: Any = None) -> T:
        if method != "GET":
            return self.session.ask(shape, method, path, json=json, params=params)
        # Airflow 3.3.2 returns HTTP 500 for a list of asset events while a run started by one of them is queued.
        return retried(lambda: self.session.ask(shape, method, path, params=params))


def _run(answer: RunAnswer) -> DagRun:
    return DagRun(
        answer.dag_id,
        answer.dag_run_id,
        answer.partition_key,
        answer.state,
        answer.run_after,
        answer.start_date,
        answer.end_date,
    )
