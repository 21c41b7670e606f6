"""What Airflow's REST API tells: runs, tasks, events, DAGs and pools."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

FINAL_STATES = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True)
class DagRun:
    """One DAG run. `key` is the partition key, or None for a run without one."""

    dag_id: str
    run_id: str
    key: str | None
    state: str
    queued: datetime
    started: datetime | None
    ended: datetime | None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task of a run. `map_index` is -1 for a task that is not mapped; `ended` is the end of its last try."""

    task_id: str
    map_index: int
    state: str | None
    tries: int
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """One materialisation. `extra` is the stage's result."""

    asset: str
    key: str | None
    dag_id: str
    run_id: str
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DagState:
    """Whether a DAG starts runs. `most_active_runs` 0: no limit."""

    dag_id: str
    is_paused: bool
    active_runs: int
    most_active_runs: int


@dataclass(frozen=True, slots=True)
class PoolUse:
    """A pool's slots, and how many of them are free."""

    name: str
    slots: int
    free: int
