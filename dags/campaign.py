"""The DAGs that start a migration: `campaign`, with a form, and the daily `incremental_campaign`.

    open -> plan -> drive -> close

Only stage 1 of each partition is started here, through Airflow's REST API; asset events start the other stages.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

from dags.campaign_driver import DriveCampaign
from dags.connections import workspace_of
from dags.retrying import RETRIES, RetryWhatMayPass
from kpc.catalog import TABLES, Phase
from kpc.partition import FIRST_YEAR
from kpc.stages.names import CAMPAIGN, INCREMENTAL_CAMPAIGN

FIRST_DAY = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
ZONE = "Asia/Bangkok"
DAILY = "0 1 * * *"  # local time; the shops are closed
_DEFAULTS: dict[str, Any] = {
    "owner": "kpc",
    "retries": RETRIES,
    "retry_policy": RetryWhatMayPass(),
    "retry_exponential_backoff": True,
    "priority_weight": 1000,  # it takes seconds, and everything else waits for it
    "weight_rule": "absolute",
}
# It begins anew after each wait, for days, and each loss of a worker or of Redis may cost a try; a refusal ends it.
_TRIES_OF_DRIVE = 10_000
_MONTH = r"^\d{4}-(0[1-9]|1[0-2])$"
FORM: dict[str, Param] = {
    "tables": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        examples=list(TABLES),
        title="Tables",
        description="Which tables. If tables and phases are empty: all.",
    ),
    "phases": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        examples=[phase.value for phase in Phase],
        title="Phases",
        description="Whole phases instead of tables.",
    ),
    "first_month": Param(
        None,
        type=["null", "string"],
        pattern=_MONTH,
        title="First month",
        description="For tables that are split by month, such as 2024-01.",
    ),
    "last_month": Param(
        None,
        type=["null", "string"],
        pattern=_MONTH,
        title="Last month",
        description="Inclusive; only the first month if empty.",
    ),
    "mode": Param(
        "incremental",
        type="string",
        enum=["incremental", "full"],
        title="Mode",
        description="incremental: for partitions that were loaded before, only new and changed rows; full: all rows.",
    ),
    "reconciled": Param(
        "skip",
        type="string",
        enum=["skip", "again"],
        title="Reconciled partitions",
        description="Partitions already reconciled are skipped, or read again.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Extract and stage, then report what would be sent: rows, rejected rows, bytes, jobs, quota days.",
    ),
    "wait_for_sign_off": Param(
        False,
        type="boolean",
        title="Wait for sign-off",
        description="Start a phase only when the earlier ones are signed off.",
    ),
    "level3": Param(
        "setting",
        type="string",
        enum=["setting", "full", "sample"],
        title="Comparison of records",
        description="full: every record; sample: some, a weaker proof; setting: as KPC__RECONCILE__LEVEL3 says.",
    ),
    "sample_rows": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Records per sample",
        description="With sample: how many records per partition.",
    ),
    "closing_check": Param(
        False,
        type="boolean",
        title="Closing check",
        description="At the end, compare every extract with Oracle's current data (kpc delta).",
    ),
}


def campaign_dag() -> DAG:
    """Started by people. Several may run at the same time, if they share no partition."""
    with DAG(
        CAMPAIGN,
        schedule=None,
        start_date=FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=False,
        params=FORM,
        tags=["hub"],
        description="Starts a migration: writes its scope, plans it, and starts its partitions in order.",
        doc_md=_INSTRUCTIONS,
        default_args=_DEFAULTS,
    ) as dag:

        @task(task_id="open", multiple_outputs=False)
        def open_form(**context: Any) -> dict[str, int]:
            from kpc.campaign.lifecycle import open_campaign  # noqa: PLC0415  slow to import
            from kpc.campaign.request import make_request  # noqa: PLC0415  the same

            request = make_request(**{name: context["params"][name] for name in FORM})
            with workspace_of(context) as workspace:
                campaign = open_campaign(workspace, request)
            return {"campaign": campaign.id, "round": campaign.round}

        _drive_and_close(open_form())
    return dag


def incremental_dag() -> DAG:
    """Daily until cut-over, once somebody unpauses it; the first run after cut-over ends with the closing check."""
    with DAG(
        INCREMENTAL_CAMPAIGN,
        schedule=CronTriggerTimetable(DAILY, timezone=ZONE),
        start_date=FIRST_DAY,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        tags=["hub"],
        description="Reads what changed in the planned scope, every day until KPC__CUT_OVER, then checks the closing.",
        default_args=_DEFAULTS,
    ) as dag:

        @task(task_id="open", multiple_outputs=False)
        def open_daily(**context: Any) -> dict[str, int]:
            from kpc.campaign.daily import daily_request  # noqa: PLC0415  slow to import
            from kpc.campaign.lifecycle import open_campaign  # noqa: PLC0415  the same

            with workspace_of(context) as workspace:
                request = daily_request(workspace)
                if request is None:
                    raise AirflowSkipException("The closing check after cut-over has been made; nothing is left to do.")
                campaign = open_campaign(workspace, request)
            return {"campaign": campaign.id, "round": campaign.round}

        _drive_and_close(open_daily())
    return dag


def _drive_and_close(opened: Any) -> None:
    @task(task_id="plan", multiple_outputs=False)
    def plan(opened: dict[str, int], **context: Any) -> dict[str, int]:
        from kpc.campaign.lifecycle import find_campaign, plan_if_needed  # noqa: PLC0415  slow to import

        with workspace_of(context) as workspace:
            plan_if_needed(workspace, find_campaign(workspace.ledger, opened["campaign"]))
        return opened

    @task(task_id="close", multiple_outputs=False)
    def close(opened: dict[str, int], **context: Any) -> dict[str, Any]:
        from kpc.campaign.closing import close_campaign  # noqa: PLC0415  slow to import
        from kpc.campaign.lifecycle import find_campaign  # noqa: PLC0415  the same

        with workspace_of(context) as workspace:
            return close_campaign(workspace, find_campaign(workspace.ledger, opened["campaign"]))

    planned = plan(opened)
    drive = DriveCampaign(
        task_id="drive",
        opened=planned,
        retries=_TRIES_OF_DRIVE,
        retry_delay=timedelta(minutes=1),
        retry_exponential_backoff=False,
    )
    drive >> close(planned)  # type: ignore[arg-type]  # Airflow passes the result


_INSTRUCTIONS = """\
**Starts a migration.** Trigger it and fill in the form; wrong fields are refused in the first seconds.

Trigger it again with the same fields to continue: what is done is not run again, what failed is retried where it
failed. Marking a run as failed or clearing it does no harm.

    kpc campaign list
    kpc campaign show 1       # partitions, failures with the next command, a dry run's report
    kpc campaign stop 1       # starts no more partitions; those already started continue
"""
