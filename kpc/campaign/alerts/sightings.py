"""The state of the ledger at one check, read once for all conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from kpc.catalog import TABLES
from kpc.ledger import AlertCondition, AlertRow, FailureReport, StageRun
from kpc.ledger.stage_runs import CAUSE
from kpc.ledger.states import AlertKind, StageState
from kpc.partition import Environment
from kpc.stages.names import STAGES, asset_name
from kpc.stages.workspace import Workspace

_LISTED = 5  # partitions that a message names

Place = tuple[str, str]  # table and key


@dataclass(frozen=True)
class Sightings:
    """The newest runs and reports of an environment, and the alerts that are open."""

    workspace: Workspace
    environment: Environment
    now: datetime
    open_alerts: Sequence[AlertRow] = field(default=())

    @cached_property
    def runs(self) -> list[StageRun]:
        """The newest run of every partition and stage, of tables that the catalog still has."""
        newest = self.workspace.ledger.stages.newest(self.environment)
        return [run for run in newest if run.table_name in TABLES and run.stage in STAGES]

    @cached_property
    def newest(self) -> dict[tuple[str, str, str], StageRun]:
        return {(run.table_name, run.partition_key, run.stage): run for run in self.runs}

    @cached_property
    def failures(self) -> list[FailureReport]:
        """The last failed try of each stage without a newer run or success, from the ledger and Airflow's reports.

        A run that only the ledger knows counts as final; the conditions decide whether its error is transient.
        """
        reported = {(one.table_name, one.partition_key, one.stage): one for one in self._open_reports()}
        for key, run in self.newest.items():
            if run.state is StageState.FAILED and key not in reported:
                reported[key] = _as_report(run)
        return list(reported.values())

    def _open_reports(self) -> Iterable[FailureReport]:
        for report in self.workspace.ledger.alerts.reports(self.environment):
            run = self.newest.get((report.table_name, report.partition_key, report.stage))
            if report.table_name not in TABLES or (run is not None and _has_overtaken(run, report)):
                continue
            yield report

    def open_alert(self, kind: AlertKind, subject: str) -> AlertRow | None:
        return next((one for one in self.open_alerts if (one.kind, one.subject) == (kind, subject)), None)

    # Parts of conditions

    def run_page(self, dag_id: str, run_id: str = "") -> str:
        address = f"{self.workspace.settings.airflow_url.rstrip('/')}/dags/{dag_id}"
        return f"{address}/runs/{run_id}" if run_id else address

    def stage_page(self, table: str, stage: str) -> str:
        return self.run_page(asset_name(TABLES[table], stage))

    def condition(
        self,
        kind: AlertKind,
        subject: str,
        what: str,
        remedy: str,
        *,
        since_utc: datetime,
        places: Iterable[Place] = (),
        page: str = "",
    ) -> AlertCondition:
        known = sorted(set(places))
        detail: dict[str, Any] = {"partitions": [f"{table} {key}" for table, key in known[:_LISTED]], "page": page}
        return AlertCondition(kind, subject, max(1, len(known)), what, remedy, since_utc, detail)


def partitions(number: int) -> str:
    return "1 partition" if number == 1 else f"{number:,} partitions"


def _has_overtaken(run: StageRun, report: FailureReport) -> bool:
    """Whether a newer run of the stage has begun, or the reported run has ended successfully after all."""
    if run.started_utc > report.reported_utc:
        return True
    is_done = run.state not in (StageState.FAILED, StageState.RUNNING, StageState.WAITING, StageState.MISMATCH)
    return is_done and run.finished_utc is not None and run.finished_utc >= report.reported_utc


def _as_report(run: StageRun) -> FailureReport:
    cause = str((run.detail or {}).get(CAUSE, ""))
    ended = run.finished_utc or run.started_utc
    return FailureReport(
        run.table_name, run.partition_key, run.stage, cause, is_final=True, dag_id="", run_id=run.run_id,
        reported_utc=ended,
    )  # fmt: skip
