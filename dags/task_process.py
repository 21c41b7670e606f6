"""Notices at once that a task's process has ended.

Airflow 3.3.2 watches a task's process through its sockets. If they close an instant before the process ends, nothing
can wake the watcher: it sleeps for `[workers] min_heartbeat_interval`, five seconds, and its slot stays occupied.
This happened to every fourth task of a campaign, whose tasks take a second each.

Airflow's configuration names this class for each queue (`[sdk] coordinators` and `queue_to_coordinator`); in
Airflow, a "coordinator" starts and watches the process of a task. docs/celery-cluster.md has the settings.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.coordinator import BaseCoordinator
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

if TYPE_CHECKING:
    from airflow.sdk.api.client import Client
    from airflow.sdk.api.datamodels._generated import TaskInstance

_LOOK_S = 0.02  # between two checks whether a process whose sockets have closed has ended


class PromptSubprocess(ActivitySubprocess):
    """A task's process; once its sockets have closed, it checks for the end every few milliseconds."""

    def _service_subprocess(
        self, max_wait_time: float, raise_on_timeout: bool = False, expect_signal: int | None = None
    ) -> int | None:
        if not self.selector.get_map():
            max_wait_time = min(max_wait_time, _LOOK_S)
        return super()._service_subprocess(max_wait_time, raise_on_timeout, expect_signal)  # type: ignore[no-any-return]


class PromptCoordinator(BaseCoordinator):
    """Runs Python tasks as Airflow does, with `PromptSubprocess` in place of `ActivitySubprocess`."""

    def execute_task(
        self,
        *,
        what: TaskInstance,
        dag_rel_path: str | PathLike[str],
        bundle_info: Any,
        client: Client,
        **options: Any,
    ) -> BaseCoordinator.ExecutionResult:
        """Run the task to its end; `options` are those of Airflow's own coordinator."""
        process = PromptSubprocess.start(
            what=what, dag_rel_path=dag_rel_path, bundle_info=bundle_info, client=client, **options
        )
        return self.ExecutionResult(process.wait(), process.final_state)
