"""A LocalExecutor that holds tasks back until a worker is free, so that priorities take effect.

Airflow 3.3.2's LocalExecutor puts every queued task into its workers' first-in-first-out queue immediately and does not
count it as running. The task queued first then runs first, regardless of priority. Only the demo uses this class; with
CeleryExecutor the broker provides the order.

A deferred task may resume before the end of its first process was noticed. Both have the same key: LocalExecutor would
take that end for the end of the second process, and the scheduler would fail the task as killed from outside.
"""

from __future__ import annotations

from typing import Any

from airflow.executors.local_executor import LocalExecutor


class OrderedLocalExecutor(LocalExecutor):
    def heartbeat(self) -> None:
        self._read_results()  # type: ignore[no-untyped-call]  # Airflow's own
        super().heartbeat()

    def order_queued_tasks_by_priority(self) -> list[tuple[Any, Any]]:
        """Leaves out tasks with an earlier process still running; they stay queued until its end is known."""
        return [
            (key, workload) for key, workload in super().order_queued_tasks_by_priority() if key not in self.running
        ]

    def _process_workloads(self, workload_list: Any) -> None:
        # Airflow computes free slots from `running`, and removes a key when its task has ended.
        self.running.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]  # Airflow's own
