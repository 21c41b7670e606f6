"""The task that starts a campaign's partitions step by step; between two steps it waits without holding a worker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowSkipException, TaskDeferred

from dags.connections import workspace_of
from dags.operators import WAITS_UNTIL
from dags.triggers import ERROR, CampaignMoved
from kpc.errors import ConfigError, Transient, UnknownDag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kpc.airflow_client.campaign_runs import CampaignStep
    from kpc.ledger import CampaignRow, Ledger

POLL = timedelta(seconds=3)
SHORTEST_WAIT = timedelta(seconds=10)  # between two steps that may start something; each step costs the start of a task
LONGEST_WAIT = timedelta(minutes=2)  # then Airflow is asked for what the ledger does not know, such as a killed task
OUTAGE_WAIT = timedelta(seconds=30)


class DriveCampaign(BaseOperator):
    """Ends when no partition of the campaign runs and none can be started; `close` then judges it.

    Skips itself, and what follows, if the campaign was stopped or another run has continued it. While Airflow's API or
    a system does not answer, or Airflow does not know one of the DAGs, it waits and checks again.
    """

    template_fields: Sequence[str] = ("opened",)

    def __init__(self, *, opened: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.opened = opened

    def execute(self, context: Context) -> dict[str, int]:
        try:
            return self._step(context)
        except (Transient, UnknownDag) as error:  # a DAG is unknown for a while where a parse of its file took too long
            self.log.warning("%s", error)
            _show(context, error.what)
            trigger = DateTimeTrigger(moment=datetime.now(UTC) + OUTAGE_WAIT)
            raise TaskDeferred(trigger=trigger, method_name=self.look_again.__name__) from None

    def look_again(self, context: Context, event: datetime) -> dict[str, int]:
        self.log.info("Checking again after %s.", event)
        return self.execute(context)

    def _step(self, context: Context) -> dict[str, int]:
        # Slow to import; a DAG file must parse quickly.
        from kpc.airflow_client.api import AirflowApi  # noqa: PLC0415
        from kpc.airflow_client.campaign_runs import advance  # noqa: PLC0415
        from kpc.campaign.lifecycle import find_campaign  # noqa: PLC0415

        with workspace_of(context) as workspace, AirflowApi.of(workspace.settings) as api:
            campaign = find_campaign(workspace.ledger, self.opened["campaign"])
            self._refuse_ended(campaign)
            step = advance(workspace, campaign, api)
            counts = step.situation.counts
            self.log.info(
                "Campaign %s: %s started, %s. Waits for %s.", campaign.id, step.started, counts, step.waits_for
            )
            self._refuse_ended(find_campaign(workspace.ledger, campaign.id))
            if step.situation.is_over:
                return counts
            _show(context, step.waits_for)
            raise self._until_moved(workspace.ledger, campaign, step)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, int]:
        if reason := event.get(ERROR):
            raise ConfigError(reason, "Then clear this task.")
        return self.execute(context)

    def _refuse_ended(self, campaign: CampaignRow) -> None:
        if campaign.round != self.opened["round"]:
            raise AirflowSkipException(f"The run {campaign.run_id} has continued campaign {campaign.id}.")
        if campaign.ended_utc is not None:
            why = f": {campaign.reason}" if campaign.reason else ""
            raise AirflowSkipException(
                f"Campaign {campaign.id} was {campaign.state} by {campaign.ended_by}{why}. Partitions already started "
                "continue; start it again with the same fields to continue."
            )

    def _until_moved(self, ledger: Ledger, campaign: CampaignRow, step: CampaignStep) -> TaskDeferred:
        from kpc.campaign.pulse import pulse_of  # noqa: PLC0415  slow to import

        now = datetime.now(UTC)
        trigger = CampaignMoved(
            campaign=campaign.id,
            round_=campaign.round,
            pulse=pulse_of(ledger, campaign),
            not_before_utc=(now + (SHORTEST_WAIT if step.started else POLL)).isoformat(),
            source_id=campaign.source_id,
            target_id=campaign.target_id,
            poll_s=POLL.total_seconds(),
            deadline_utc=(now + LONGEST_WAIT).isoformat(),
        )
        return TaskDeferred(trigger=trigger, method_name=self.resume.__name__)


def _show(context: Context, why: str) -> None:
    """Say in Airflow what the campaign waits for; not worth a try of the task."""
    with suppress(AirflowRuntimeError):
        context["ti"].xcom_push(key=WAITS_UNTIL, value=why)
