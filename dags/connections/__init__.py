"""Airflow's connections as our settings, and the partition and workspace of a running task.

`kpc_oracle` and `kpc_salesforce` may be written with the fields of the official providers' connection types or with our
own (docs/airflow-connections.md); whether these providers are installed makes no difference. If a connection does not
exist, the environment (`KPC__ORACLE__DSN=...`) and `kpc.toml` apply. The ledger's address is always the setting
`KPC__LEDGER_URL`.
"""

from __future__ import annotations

from dags.connections.fields import ORACLE, SALESFORCE, has_connection
from dags.connections.worker_settings import settings_of_connections
from dags.connections.workspaces import (
    actor_of,
    open_named_workspace,
    partition_context_of,
    partition_of,
    workspace_of,
)

__all__ = [
    "ORACLE",
    "SALESFORCE",
    "actor_of",
    "has_connection",
    "open_named_workspace",
    "partition_context_of",
    "partition_of",
    "settings_of_connections",
    "workspace_of",
]
