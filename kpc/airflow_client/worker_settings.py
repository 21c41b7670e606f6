"""Settings of Airflow that belong on whatever starts the tasks' processes: a Celery worker, or the scheduler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.stages.names import QUEUES

_NAME = "kpc"
_COORDINATOR = "dags.task_process.PromptCoordinator"
COORDINATOR_ENV = {
    "AIRFLOW__SDK__COORDINATORS": json.dumps({_NAME: {"classpath": _COORDINATOR}}),
    "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": json.dumps(dict.fromkeys(QUEUES, _NAME)),
}


def check_coordinators(coordinators: Mapping[str, Any], by_queue: Mapping[str, str]) -> SystemCheck:
    """`[sdk] coordinators` and `queue_to_coordinator` where the check runs. Without them tasks work, but end late."""
    about = CheckSubject("Airflow", "worker")
    ours = {name for name, one in coordinators.items() if one.get("classpath") == _COORDINATOR}
    if missing := [queue for queue in QUEUES if by_queue.get(queue) not in ours]:
        settings = " and ".join(f"{name}='{value}'" for name, value in COORDINATOR_ENV.items())
        return about.warning(
            "end of tasks",
            f"Tasks of the queue {' and '.join(missing)} may hold their slot for five seconds after they have ended.",
            f"Set {settings} on the workers.",
        )
    return about.ok("end of tasks", "noticed at once")
