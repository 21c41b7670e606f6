"""What a task asked Airflow's API server without getting an answer: nothing is wrong with the task."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from kpc.errors import AirflowDown

_SERVER_ERROR = 500  # and above: the server's own failure, not a refusal


def outage_of(error: object) -> AirflowDown | None:
    """The error as one that another try may resolve; None if it is another one, or the server has refused."""
    reason = reason_of(error)
    if reason is None:
        return None
    return AirflowDown(
        f"Airflow's API server did not do what this task asked of it ({reason}).",
        "Airflow tries the task again. If that fails too, look at the API server's log, then clear this task.",
    )


def reason_of(error: object) -> str | None:
    """Why the server did not do what was asked, such as `HTTP 503` or `ReadError`; None as for `outage_of`.

    A task's supervisor repeats each request (`[workers] execution_api_retries`) before it hands the task an
    `AirflowRuntimeError`, with the status of the answer or, without an answer, the name of the last exception.
    """
    if not isinstance(error, AirflowRuntimeError) or error.error.error is not ErrorType.API_SERVER_ERROR:
        return None
    detail: Mapping[str, object] = error.error.detail or {}
    status = detail.get("status_code")
    if isinstance(status, int):
        return f"HTTP {status}" if status >= _SERVER_ERROR else None
    return str(detail.get("exception_type", "no answer"))
