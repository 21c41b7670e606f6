"""Failed tries of tasks, as Airflow's callbacks report them; an error here must not affect the task."""

from __future__ import annotations

from kpc.campaign.alerts.look import known_environment
from kpc.stages.context import PartitionContext


def report_failure(context: PartitionContext, stage: str, *, cause: str, is_final: bool, dag_id: str) -> bool:
    """Record a failed try; False if the migration's systems are not known yet."""
    environment = known_environment(context.workspace)
    if environment is None:
        return False
    context.ledger.alerts.report(
        environment,
        context.partition,
        stage,
        cause=cause,
        is_final=is_final,
        dag_id=dag_id,
        run_id=context.run_id,
    )
    return True
