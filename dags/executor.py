"""LocalExecutor that holds tasks back until a worker is free, so that priorities count.

Airflow 3.3.2's own hands every queued task to its workers' first-in-first-out queue at once: it never counts what it
has handed over. A task queued first then runs first, whatever its priority. Only the demo uses this; an installation
with CeleryExecutor has the same order from its broker.
"""

from __future__ import annotations

from typing import Any

from airflow.executors.local_executor import LocalExecutor


class OrderedLocalExecutor(LocalExecutor):
    def _process_workloads(self, workload_list: Any) -> None:
        # `running` is what the free slots are counted by; Airflow takes a key out again when its task has ended.
        self.running.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]  # Airflow's own
