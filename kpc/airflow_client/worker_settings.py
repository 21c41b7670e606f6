"""Settings of Airflow that belong on whatever starts the tasks' processes: a Celery worker, or the scheduler."""

from __future__ import annotations

import json
from collections.abc import Mapping

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.stages.names import QUEUES

_NAME = "kpc"
COORDINATOR_ENV = {
    "AIRFLOW__SDK__COORDINATORS": json.dumps({_NAME: {"classpath": "dags.task_process.PromptCoordinator"}}),
    "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": json.dumps(dict.fromkeys(QUEUES, _NAME)),
}


def check_coordinators(by_queue: Mapping[str, str]) -> SystemCheck:
    """`by_queue` is `[sdk] queue_to_coordinator` where the check runs. Without it tasks work, but end late."""
    about = CheckSubject("Airflow", "worker")
    if missing := [queue for queue in QUEUES if queue not in by_queue]:
        settings = " and ".join(f"{name}='{value}'" for name, value in COORDINATOR_ENV.items())
        return about.warning(
            "end of tasks",
            f"Tasks of the queue {' and '.join(missing)} may hold their slot for five seconds after they have ended.",
            f"Set {settings} on the workers.",
        )
    return about.ok("end of tasks", "noticed at once")
