"""The DAG `alerts`: checks the ledger every minute, and sends alerts about what is new, continues or ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, task

from dags.alerts.channels import senders_of
from dags.connections import workspace_of
from kpc.errors import ConfigError, Terminal
from kpc.stages.names import ALERTS, EXTRACT_QUEUE

if TYPE_CHECKING:
    from kpc.campaign.alerts import Sender

OUTCOME = "outcome"  # XCom key of a test: its outcome, by channel
_FIRST_DAY = datetime(2016, 1, 1, tzinfo=UTC)
_EVERY_MINUTE = "* * * * *"
_TEST = Param(False, type="boolean", description="Only send a test message through each channel.")


def alerts_dag() -> DAG:
    """One check at a time; a late one is skipped, because the next one sees the same."""
    with DAG(
        ALERTS,
        schedule=_EVERY_MINUTE,
        start_date=_FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        params={"test": _TEST},
        tags=["hub"],
        description="Sends alerts about outages, failures, differences, stalls and pending sign-offs.",
        doc_md=_INSTRUCTIONS,
        default_args={
            "owner": "kpc",
            "retries": 0,
            "execution_timeout": timedelta(minutes=10),
            "priority_weight": 200,
            "weight_rule": "absolute",
            "queue": EXTRACT_QUEUE,  # where the staging disk is seen
        },
    ) as dag:

        @task(task_id=ALERTS)
        def tell(**context: Any) -> dict[str, object]:
            from kpc.campaign.alerts import deliver, look  # noqa: PLC0415  slow to import

            with workspace_of(context) as workspace:
                senders = senders_of(workspace.settings.alerts, context)
                if context["params"]["test"]:
                    return _test(senders, context)
                looked = look(workspace, list(senders))
                delivered = deliver(workspace, senders)
            if delivered.failed:
                reasons = "; ".join(f"{channel}: {reason}" for channel, reason in delivered.failed.items())
                raise Terminal(f"Messages could not be delivered, and will be tried again: {reasons}", _HOW_TO_TEST)
            return {**asdict(looked), "sent": delivered.sent}

        tell()
    return dag


_HOW_TO_TEST = "`kpc alerts test` tries each channel; `kpc alerts list` shows which messages wait."
_INSTRUCTIONS = """\
Checks the ledger once a minute, and keeps each message there until it is delivered. A red run means that a
message could not be delivered; it is retried. `kpc alerts list` shows what is open, `kpc alerts test` tries the
channels; docs/alerts.md says how to set them up.
"""


def _test(senders: Mapping[str, Sender], context: Mapping[str, Any]) -> dict[str, object]:
    from kpc.campaign.alerts.delivery import reason_of_failure  # noqa: PLC0415  the same
    from kpc.campaign.alerts.trial import trial_message  # noqa: PLC0415  slow to import

    if not senders:
        raise ConfigError(
            "No channel is set up for alerts.",
            "Name a connection in KPC__ALERTS__SMTP_CONN_ID, KPC__ALERTS__SLACK_CONN_ID or "
            "KPC__ALERTS__WEBHOOK_CONN_ID; see docs/alerts.md.",
        )
    failed = {channel: reason_of_failure(send, trial_message(channel)) for channel, send in senders.items()}
    outcome: dict[str, object] = {channel: reason or "sent" for channel, reason in failed.items()}
    context["ti"].xcom_push(key=OUTCOME, value=outcome)
    return outcome
