"""Requests of Airflow that wait for a person: list them, read one, respond to one as the user who is logged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kpc.airflow_client.api import AirflowApi
from kpc.answer_shapes import fitted
from kpc.errors import UnusableAnswer
from kpc.retry_policy import retried

APPROVE, REJECT = "Approve", "Reject"
_MOST = 100
_WAITING = ("deferred", "awaiting_input")  # states of a task that waits for a response


@dataclass(frozen=True, slots=True)
class PersonRequest:
    """A request that is open. `body` is Markdown."""

    dag_id: str
    run_id: str
    task_id: str
    subject: str
    body: str

    @property
    def path(self) -> str:
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{self.task_id}"


def open_requests(api: AirflowApi, dag_id: str) -> list[PersonRequest]:
    """The open requests of a DAG, oldest first; 100 at most. A sign-off DAG has one active run."""
    params = {"response_received": False, "state": list(_WAITING), "order_by": "created_at", "limit": _MOST}
    path = f"dags/{dag_id}/dagRuns/~/hitlDetails"
    answer = retried(lambda: api.session.ask(dict[str, Any], "GET", path, params=params))
    try:
        return [_request(found) for found in fitted(list[dict[str, Any]], answer.get("hitl_details"))]
    except (ValueError, KeyError) as error:
        raise UnusableAnswer(f"Airflow's answer to {path} cannot be used: {error}.", "Try again.") from None


def respond(api: AirflowApi, request: PersonRequest, *, approves: bool, note: str = "") -> None:
    """Respond as the user of `api`. Raises `ConfigError` if that user may not, or somebody has already responded."""
    body = {"chosen_options": [APPROVE if approves else REJECT], "params_input": {"note": note}}
    api.session.ask(object, "PATCH", f"{request.path}/-1/hitlDetails", json=body)


def _request(found: dict[str, Any]) -> PersonRequest:
    task = fitted(dict[str, Any], found["task_instance"])
    names = {name: fitted(str, task[name]) for name in ("dag_id", "task_id")}
    return PersonRequest(
        **names, run_id=fitted(str, task["dag_run_id"]), subject=fitted(str, found["subject"]), body=found["body"] or ""
    )
