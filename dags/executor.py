"""LocalExecutor that holds tasks back until a worker is free, so that priorities take effect.

Airflow 3.3.2's LocalExecutor puts every queued task into its workers' first-in-first-out queue immediately and does not
count it as running. The task queued first then runs first, regardless of priority. Only the demo uses this class; with
CeleryExecutor the broker provides the order.
"""

from __future__ import annotations

from typing import Any

from airflow.executors.local_executor import LocalExecutor


class OrderedLocalExecutor(LocalExecutor):
    def _process_workloads(self, workload_list: Any) -> None:
        # Airflow computes free slots from `running`, and removes a key when its task has ended.
        self.running.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]  # Airflow's own
