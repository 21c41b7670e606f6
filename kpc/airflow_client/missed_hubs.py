"""Hubs that did not run after the last partition below them was reconciled, so that nobody is asked for a sign-off.

A hub loses the event that reaches it while it is paused, as every DAG does. The ledger knows what is complete, and the
run that asks for a sign-off is named after the certificates that it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.missed import MissedCause
from kpc.airflow_client.records import DagRun
from kpc.campaign.completeness import completeness
from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates
from kpc.catalog import Phase
from kpc.catalog.types import ALL
from kpc.stages.names import MIGRATION, RECONCILED, phase_hub, sign_off_dag, sign_off_run
from kpc.stages.workspace import Workspace


@dataclass(frozen=True, slots=True)
class MissedHub:
    """A hub that has not asked for the sign-off of `subject`, or whose request has failed.

    `run_id`: the run of the hub to be made; of a failed request, its own run, which is only to be cleared.
    """

    subject: str
    dag_id: str
    cause: MissedCause
    what: str
    remedy: str
    run_id: str

    @property
    def key(self) -> str:
        return ALL

    @property
    def is_startable(self) -> bool:
        return self.cause is MissedCause.NO_RUN

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What is complete, its key, the stage after which it stopped, the DAG that did not run, and why."""
        return self.subject, ALL, RECONCILED, self.dag_id, self.cause.value

    def __str__(self) -> str:
        return f"All of {self.subject} is reconciled, but nobody is asked for a sign-off. {self.what} {self.remedy}"


def missed_hubs(api: AirflowApi, workspace: Workspace, *, after: timedelta) -> list[MissedHub]:
    """The hubs above what has been complete for `after`, without a request and a decision about its certificates."""
    hubs = {phase.value: phase_hub(phase) for phase in Phase} | {MIGRATION: MIGRATION}
    found = (_missed(api, workspace, subject, dag_id, after) for subject, dag_id in hubs.items())
    return [missed for missed in found if missed is not None]


def _missed(api: AirflowApi, workspace: Workspace, subject: str, dag_id: str, after: timedelta) -> MissedHub | None:
    ledger, environment = workspace.ledger, workspace.environment
    phase = None if subject == MIGRATION else Phase(subject)
    found = completeness(phase, workspace)
    standing = standing_certificates(subject, ledger, environment)
    if found is None or not standing or not (found.is_complete or found.needs_counting):
        return None
    if any(one.subject == subject and one.certificates == standing for one in ledger.sign_offs.all(environment)):
        return None
    if ledger.clock() - _last_verdict(workspace, standing) < after:
        return None
    digest = certificates_digest(standing)
    requests = api.runs(dag_id=sign_off_dag(subject))
    if asked := next((run for run in requests if run.run_id == sign_off_run(digest)), None):
        is_lost = asked.state == "failed" and all(run.is_final for run in requests)  # a person may have started another
        return _failed(api, subject, asked) if is_lost else None
    runs = api.runs(dag_id=dag_id)
    if not all(run.is_final for run in runs):
        return None
    again = "`kpc missed --start` runs it."
    if api.dag_state(dag_id).is_paused:
        cause, what = MissedCause.PAUSED, f"{dag_id} is paused."
        again = f"`airflow dags unpause {dag_id}`, then `kpc missed --start`."
    else:
        cause, what = MissedCause.NO_RUN, f"{dag_id} has not run since."
    return MissedHub(subject, dag_id, cause, what, again, f"missed__{digest[:16]}__{len(runs)}")


def _failed(api: AirflowApi, subject: str, asked: DagRun) -> MissedHub:
    what = f"The run {asked.run_id} of {asked.dag_id} failed: {api.failure(asked)}"
    remedy = "Then clear the failed task in Airflow; it asks again, or records the answer that was given."
    return MissedHub(subject, asked.dag_id, MissedCause.FAILED, what, remedy, asked.run_id)


def _last_verdict(workspace: Workspace, standing: dict[str, str]) -> datetime:
    newest = workspace.ledger.stages.newest(workspace.environment)
    ended = [
        row.finished_utc
        for row in newest
        if row.stage == RECONCILED and row.finished_utc and f"{row.table_name} {row.partition_key}" in standing
    ]
    return max(ended, default=workspace.ledger.clock())
