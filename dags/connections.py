"""Convert Airflow's connections to our settings, and open the partition and workspace of a running task.

    kpc_oracle       host, port, schema (the service), login, password; extra: any other field of OracleSettings
    kpc_salesforce   host (My Domain URL), login (client id), password (client secret); extra: of SalesforceSettings

If a connection does not exist, the environment (`KPC__ORACLE__DSN=...`) and `kpc.toml` apply. The ledger's address is
always the setting `KPC__LEDGER_URL`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowRuntimeError

from kpc.errors import ConfigError
from kpc.partition import Partition, find_partition
from kpc.settings import Settings, load_settings

if TYPE_CHECKING:
    from kpc.stages.context import PartitionContext
    from kpc.stages.workspace import Workspace

ORACLE = "kpc_oracle"
SALESFORCE = "kpc_salesforce"
_ORACLE_PORT = 1521


def settings_of_connections() -> Settings:
    """The settings of this worker. Raises `ConfigError` naming each wrong entry."""
    given = {"oracle": _oracle(_find(ORACLE)), "salesforce": _salesforce(_find(SALESFORCE))}
    return load_settings(**{name: values for name, values in given.items() if values})


def has_connection(name: str) -> bool:
    """Whether Airflow has a connection of this name. Raises `ConfigError` for one that cannot be read."""
    return _find(name) is not None


def _find(name: str) -> Connection | None:
    variable = f"AIRFLOW_CONN_{name.upper()}"
    try:
        found: Connection = Connection.get(name)
    except AirflowNotFoundException as error:
        if not os.environ.get(variable, "").strip():
            return None
        reason: Exception = error  # Airflow takes a variable that it cannot parse for none
    except (ValueError, TypeError, AirflowException, AirflowRuntimeError) as error:
        reason = error
    else:
        return found
    raise ConfigError(
        f"Airflow's connection {name} cannot be read ({type(reason).__name__}).",
        f"Correct it under Admin, Connections, or in the variable {variable}.",
    )


def _oracle(connection: Connection | None) -> dict[str, Any]:
    if connection is None:
        return {}
    given = {"user": connection.login, "password": connection.password}
    if connection.host and connection.schema:
        given["dsn"] = f"{connection.host}:{connection.port or _ORACLE_PORT}/{connection.schema}"
    return _without_none(given) | _extra(connection)


def _salesforce(connection: Connection | None) -> dict[str, Any]:
    if connection is None:
        return {}
    given = {"base_url": connection.host, "client_id": connection.login, "client_secret": connection.password}
    return _without_none(given) | _extra(connection)


def _extra(connection: Connection) -> dict[str, Any]:
    """The extra fields. Airflow itself takes an extra that is no JSON for an empty one."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ConfigError(
            f"The extra of Airflow's connection {connection.conn_id} is no JSON object.",
            "Correct it under Admin, Connections: its keys are fields of kpc/settings.py.",
        )
    return extra | connection.extra_dejson  # Airflow masks its secrets in logs when it decodes them


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def partition_of(table_name: str, context: Mapping[str, Any]) -> Partition:
    """The partition of a run. Raises `ConfigError` if the run has no key or an invalid one."""
    return find_partition(table_name, context["dag_run"].partition_key)


def actor_of(context: Mapping[str, Any]) -> str:
    """The person or event that started a run, for the audit log."""
    run = context["dag_run"]
    return f"airflow:{run.triggering_user_name or run.run_type.value}"


@contextmanager
def workspace_of(context: Mapping[str, Any]) -> Iterator[Workspace]:
    """The workspace of a running task."""
    run = context["dag_run"]
    with open_named_workspace(run.run_id, actor_of(context), run.start_date) as workspace:
        yield workspace


@contextmanager
def partition_context_of(table_name: str, context: Mapping[str, Any]) -> Iterator[PartitionContext]:
    """The partition of a running task, in its workspace. Raises `ConfigError` for an invalid key."""
    from kpc.stages.context import PartitionContext  # noqa: PLC0415  slow to import; a DAG file must parse quickly

    partition = partition_of(table_name, context)
    with workspace_of(context) as workspace:
        yield PartitionContext(workspace, partition)


@contextmanager
def open_named_workspace(run_id: str, actor: str, asked_utc: datetime | None = None) -> Iterator[Workspace]:
    from kpc.stages.workspace import open_workspace  # noqa: PLC0415  slow to import; a DAG file must parse quickly

    with open_workspace(settings_of_connections(), run_id=run_id, actor=actor, asked_utc=asked_utc) as workspace:
        yield workspace
