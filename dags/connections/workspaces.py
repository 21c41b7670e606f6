"""The partition and the workspace of a running task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dags.connections.worker_settings import settings_of_connections
from kpc.partition import Partition, find_partition

if TYPE_CHECKING:
    from kpc.stages.context import PartitionContext
    from kpc.stages.workspace import Workspace


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
