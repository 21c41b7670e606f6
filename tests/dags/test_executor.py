"""The demo's executor: a task that was deferred may go on before the end of its first process was noticed."""

from __future__ import annotations

import ctypes
import multiprocessing
from multiprocessing import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from dags.executor import OrderedLocalExecutor

KEY = TaskInstanceKey("sign_off_migration", "request", "one", 1, -1)
OTHER = TaskInstanceKey("data_docs", "data_docs", "one", 1, -1)


class WithoutWorkers(OrderedLocalExecutor):
    """What it would give to its workers stays in its queue."""

    def _check_workers(self) -> None:
        pass


@pytest.fixture
def executor() -> OrderedLocalExecutor:
    made = WithoutWorkers(parallelism=2)
    made.activity_queue, made.result_queue = SimpleQueue(), SimpleQueue()
    made._unread_messages = multiprocessing.Value(ctypes.c_uint)  # noqa: SLF001  as LocalExecutor.start does
    return made


def _queue(executor: OrderedLocalExecutor, key: TaskInstanceKey) -> None:
    workload: Any = SimpleNamespace(key=key, ti=SimpleNamespace(key=key, priority_weight=1))
    executor.queued_tasks[key] = workload


def _started(executor: OrderedLocalExecutor) -> list[TaskInstanceKey]:
    found = []
    while not executor.activity_queue.empty():
        found.append(executor.activity_queue.get().key)
    return found


def test_a_resumed_task_waits_for_the_end_of_its_first_process(executor: OrderedLocalExecutor) -> None:
    _queue(executor, KEY)
    executor.heartbeat()
    assert _started(executor) == [KEY]
    _queue(executor, KEY)  # deferred, and its trigger has fired: the scheduler queues the same key
    _queue(executor, OTHER)
    executor.heartbeat()
    assert _started(executor) == [OTHER]
    assert KEY in executor.queued_tasks
    executor.result_queue.put((KEY, TaskInstanceState.SUCCESS, None))
    executor.heartbeat()
    assert _started(executor) == [KEY]


def test_an_end_is_noticed_before_the_same_key_starts_again(executor: OrderedLocalExecutor) -> None:
    """So that the scheduler, which hears of the end, is told that the executor has the task already."""
    _queue(executor, KEY)
    executor.heartbeat()
    executor.result_queue.put((KEY, TaskInstanceState.SUCCESS, None))
    _queue(executor, KEY)
    executor.heartbeat()
    assert _started(executor) == [KEY, KEY]
    assert executor.event_buffer[KEY][0] is TaskInstanceState.SUCCESS
    assert KEY in executor.running


def test_no_more_tasks_are_given_to_workers_than_there_are(executor: OrderedLocalExecutor) -> None:
    keys = [TaskInstanceKey("data_docs", "data_docs", str(number), 1, -1) for number in range(5)]
    for key in keys:
        _queue(executor, key)
    executor.heartbeat()
    executor.heartbeat()
    assert len(_started(executor)) == 2
    assert len(executor.queued_tasks) == 3
