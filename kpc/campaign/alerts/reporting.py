"""Failed tries of tasks, as Airflow's callbacks report them; nothing that goes wrong here may disturb the task."""

from __future__ import annotations

from kpc.campaign.alerts.look import known_environment
from kpc.partition import Partition
from kpc.stages.workspace import Workspace


def report_failure(
    workspace: Workspace, partition: Partition, stage: str, *, cause: str, is_final: bool, dag_id: str, run_id: str
) -> bool:
    """Record a failed try; False if the migration's systems are not known yet."""
    environment = known_environment(workspace)
    if environment is None:
        return False
    workspace.ledger.alerts.report(
        environment, partition, stage, cause=cause, is_final=is_final, dag_id=dag_id, run_id=run_id
    )
    return True
