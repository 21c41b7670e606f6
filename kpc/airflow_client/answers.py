"""Airflow's answers: which fields of them are used, and what its refusals mean."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, TypeVar

import httpx

from kpc.answer_shapes import Message, Moment, Shape, fitted
from kpc.errors import AirflowDown, ConfigError, RateLimited, UnknownDag, UnusableAnswer
from kpc.retry_policy import TRANSIENT_STATUSES, retry_after_s
from kpc.strict_json import read_json
from kpc.untrusted_text import shown

T = TypeVar("T")


class RunAnswer(Shape):
    dag_id: str
    dag_run_id: str
    partition_key: str | None = None
    state: str
    run_after: Moment
    start_date: Moment | None = None
    end_date: Moment | None = None


class TaskAnswer(Shape):
    task_id: Message
    map_index: int
    state: str | None = None
    try_number: int
    end_date: Moment | None = None


class EventAnswer(Shape):
    name: str | None = None
    partition_key: str | None = None
    source_dag_id: str | None = None
    source_run_id: str | None = None
    extra: dict[str, Any] | None = None


class HolderAnswer(Shape):
    dag_id: str
    dag_run_id: str
    task_id: Message


class HoldersAnswer(Shape):
    task_instances: list[HolderAnswer]


class PoolAnswer(Shape):
    name: str
    slots: int
    open_slots: int
    include_deferred: bool


class DagAnswer(Shape):
    dag_id: str


class DagDetailsAnswer(Shape):
    is_paused: bool
    max_active_runs: int | None = None


class ActiveRunsAnswer(Shape):
    total_entries: int


class ImportErrorAnswer(Shape):
    filename: str
    stack_trace: str


class AssetAnswer(Shape):
    id: int
    name: str


class TokenAnswer(Shape):
    access_token: str


class ValueAnswer(Shape):
    value: Any


class LogAnswer(Shape):
    content: list[Any]


class RunExists(ConfigError):
    """The DAG has a run with this id already."""


def decoded(answer: httpx.Response, shape: type[T], path: str) -> T:
    """A successful answer's JSON as `shape`. Raises `UnusableAnswer`."""
    try:
        return fitted(shape, read_json(answer.content))
    except ValueError as error:
        raise UnusableAnswer(
            f"Airflow's answer to {shown(path)} cannot be used: {shown(error)}.",
            "Check that KPC__AIRFLOW_URL is the address of Airflow's API server, then repeat.",
        ) from None


def refusal(  # noqa: PLR0911  one line per meaning
    answer: httpx.Response, path: str
) -> ConfigError | AirflowDown | RateLimited:
    """The error for an unsuccessful answer."""
    status, path = answer.status_code, shown(path)
    wait_s = retry_after_s(answer.headers.get("retry-after"), answer.headers.get("date"))
    detail = refused_detail(answer)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(f"Airflow answered {path} with HTTP 429: {detail}.", "Try again.", retry_after_s=wait_s)
    if status in TRANSIENT_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AirflowDown(f"Airflow failed on {path} (HTTP {status}): {detail}.", "Try again.", retry_after_s=wait_s)
    if status == HTTPStatus.NOT_FOUND and (dag := re.match(r"dags/([^~/]+)", path)):
        return UnknownDag(
            f"Airflow does not know {dag[1]}.",
            "Check with `airflow dags list` that its dags folder is this project's.",
        )
    if status == HTTPStatus.BAD_REQUEST and "import errors" in detail:
        return UnknownDag(f"Airflow cannot use a DAG: {detail}.", "`airflow dags list-import-errors` has the reason.")
    if status == HTTPStatus.CONFLICT and path.endswith("/dagRuns"):
        return RunExists(f"Airflow has this run already: {detail}.", "It runs, or has ended; nothing was started.")
    if status == HTTPStatus.BAD_REQUEST and path.endswith("/dagRuns"):
        what, _, remedy = detail.rpartition("mappers: ")[2].partition(". ")
        return ConfigError(f"Airflow refuses the partition key: {what}.", remedy)
    if status == HTTPStatus.FORBIDDEN:
        return ConfigError(
            f"Airflow does not allow this user {path}: {detail} (HTTP {status}).",
            "Log in as a user whose role may do it (KPC__AIRFLOW_USER, KPC__AIRFLOW_PASSWORD).",
        )
    return ConfigError(f"Airflow refuses {path} (HTTP {status}): {detail}", "")


def refused_detail(answer: httpx.Response) -> str:
    """What Airflow says about a refusal."""
    try:
        return shown(read_json(answer.content)["detail"])
    except (ValueError, KeyError, TypeError):
        return shown(answer.content[:1000].decode("utf-8", "replace"))
