"""Whether a connection that Airflow did not find does not exist.

Airflow asks one secrets backend after the other, and takes one that fails, such as its own API server, for one that
does not have the connection. A task would go on with the settings of its environment, which may name another org.
"""

from __future__ import annotations

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ConnectionResult, GetConnection, GetDRCount
from airflow.sdk.execution_time.secrets import ExecutionAPISecretsBackend
from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

from dags.outages import reason_of
from kpc.errors import AirflowDown
from kpc.stages.names import MIGRATION


def is_in_a_backend(name: str) -> bool:
    """Whether a backend has the connection after all. Raises `AirflowDown` if one of them fails."""
    return any(_has(backend, name) for backend in ensure_secrets_backend_loaded())


def _has(backend: BaseSecretsBackend, name: str) -> bool:
    try:
        if isinstance(backend, ExecutionAPISecretsBackend):
            return _api_server_has(name)
        return backend.get_connection(conn_id=name) is not None
    except Exception as error:  # each backend has errors of its own
        raise AirflowDown(
            f"Airflow's connection {name} could not be looked up: {type(backend).__name__} failed "
            f"({reason_of(error) or type(error).__name__}).",
            "See that Airflow's API server, its database and the secrets backend answer; then clear this task.",
        ) from error


def _api_server_has(name: str) -> bool:
    """The answer of the API server, between two requests that fail if its database does not answer.

    Without its database the server says that there is no such connection.
    """
    ask = task_runner.SUPERVISOR_COMMS.send
    ask(GetDRCount(dag_id=MIGRATION))
    found = isinstance(ask(GetConnection(conn_id=name)), ConnectionResult)
    ask(GetDRCount(dag_id=MIGRATION))
    return found
