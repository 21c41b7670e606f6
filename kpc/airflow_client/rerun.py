"""Running one partition again in Airflow and reporting the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from kpc.airflow_client.api import AirflowApi, DagRun, Mode
from kpc.partition import Partition
from kpc.settings import Settings
from kpc.stages.names import ORACLE_EXTRACT, STAGES, asset_name

POLL_S = 1.0
LONGEST_WAIT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RerunOutcome:
    """The outcome of a re-run. `stage_results`: results by stage; `error` names the failed stage's reason."""

    partition: Partition
    page: str
    ended: bool
    error: str = ""
    stage_results: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 done, 1 failed, 3 done with exceptions, 69 still running."""
        if self.error:
            return 1
        if not self.ended:
            return 69
        states = {str(stage_result.get("state")) for stage_result in self.stage_results.values()}
        return 3 if "reconciled_with_exceptions" in states else 0

    def as_json(self) -> dict[str, object]:
        return {
            "ok": self.exit_code == 0,
            "table": self.partition.table.name,
            "key": self.partition.key,
            "ended": self.ended,
            "error": self.error,
            "page": self.page,
            "stages": self.stage_results,
        }

    @property
    def text(self) -> str:
        if self.error:
            return f"{self.partition} failed. {self.error}\n{self.page}"
        if not self.ended:
            return f"{self.partition} is running. Watch it: {self.page}"
        lines = [f"{self.partition} ran again:"]
        for stage, stage_result in self.stage_results.items():
            detail = stage_result.get("detail")
            facts = ", ".join(f"{k} {v}" for k, v in detail.items()) if isinstance(detail, dict) else ""
            lines.append(
                f"  {stage:<15} {stage_result.get('rows'):>12,} rows {stage_result.get('seconds'):>8} s  {facts}"
            )
        return "\n".join(lines)


def rerun_partition(
    settings: Settings,
    partition: Partition,
    *,
    stage: str = ORACLE_EXTRACT,
    mode: str = "incremental",
    wait: bool = True,
    say: Callable[[str], None] = lambda _text: None,
) -> RerunOutcome:
    """Start a partition again at a stage, and follow it through the stages after it.

    Raises `ConfigError` if Airflow refuses, `Transient` if it does not answer.
    """
    chosen: Mode | None = "full" if mode == "full" else None
    with AirflowApi.of(settings) as api:
        first = api.run(asset_name(partition.table, stage), api.rerun(partition, stage, mode=chosen))
        say(f"Started {partition} at {stage}: {api.run_page(first)}")
        if not wait:
            return RerunOutcome(partition, api.run_page(first), ended=False)
        return follow(api, partition, first, stage=stage, say=say)


def follow(
    api: AirflowApi,
    partition: Partition,
    first: DagRun,
    *,
    stage: str = ORACLE_EXTRACT,
    say: Callable[[str], None] = lambda _text: None,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> RerunOutcome:
    """Watch a partition's runs, starting with `first`, until the last stage has ended or one has failed."""
    until = time.monotonic() + longest_wait_s
    since = first.queued
    stages = STAGES[STAGES.index(stage) :]
    finished: dict[str, DagRun] = {}
    for name in stages:
        run: DagRun | None = first if name == stage else None
        while run is None or not run.is_final:
            if time.monotonic() > until:
                return RerunOutcome(partition, api.run_page(run or first), ended=False)
            time.sleep(POLL_S)
            runs = api.runs(dag_id=asset_name(partition.table, name), key=partition.key, since=since)
            run = runs[-1] if runs else None
        say(f"{name} {run.state}")
        finished[name] = run
        if run.state == "failed":
            return RerunOutcome(partition, api.run_page(run), ended=True, error=f"{name}: {api.failure(run)}")
    return RerunOutcome(partition, api.run_page(first), ended=True, stage_results=_results(api, finished, since))


def _results(api: AirflowApi, runs: dict[str, DagRun], since: datetime) -> dict[str, dict[str, object]]:
    by_run = {event.run_id: event.extra for event in api.events(since=since)}
    return {stage: by_run.get(run.run_id, {}) for stage, run in runs.items()}
