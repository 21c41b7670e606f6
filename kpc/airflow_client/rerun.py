"""Running one partition again in Airflow and reporting the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kpc.airflow_client.api import AirflowApi, Mode
from kpc.airflow_client.obstacles import obstacles, refuse_fatal, unpause, waiting_for
from kpc.airflow_client.records import DagRun
from kpc.partition import Partition
from kpc.settings import Settings
from kpc.stages.names import ORACLE_EXTRACT, STAGES, asset_name

POLL_S = 1.0
LOOK_S = 8.0  # how often a waiting re-run looks for what keeps it waiting
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
    unpauses: bool = False,
    same_scn: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> RerunOutcome:
    """Start a partition again at a stage, and follow it through the stages after it.

    Nothing is started while a DAG of these stages is paused (its event would be lost), while a part of Airflow does not
    run, or without a pool that the stages need; `unpauses` unpauses the DAGs first. Raises `ConfigError` naming these
    things or if Airflow refuses, `Transient` if it does not answer.
    """
    chosen: Mode | None = "full" if mode == "full" else None
    stages = STAGES[STAGES.index(stage) :]
    with AirflowApi.of(settings) as api:
        if unpauses and (opened := unpause(api, partition, stages)):
            say(f"Unpaused {', '.join(opened)}.")
        refuse_fatal(api, partition, stages)
        first = api.run(asset_name(partition.table, stage), api.rerun(partition, stage, mode=chosen, same_scn=same_scn))
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
    """Watch a partition's runs, starting with `first`, until the last stage has ended or one has failed.

    What keeps it from moving is said within `LOOK_S` seconds, and again whenever it changes.
    """
    watch = _Watch(api, partition, say)
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
            watch.look(stages[stages.index(name) :], name, run)
            runs = api.runs(dag_id=asset_name(partition.table, name), key=partition.key, since=since)
            run = runs[-1] if runs else None
        say(f"{name} {run.state}")
        finished[name] = run
        if run.state == "failed":
            return RerunOutcome(partition, api.run_page(run), ended=True, error=f"{name}: {api.failure(run)}")
    return RerunOutcome(partition, api.run_page(first), ended=True, stage_results=_results(api, finished, since))


class _Watch:
    """Says what a partition waits for: at most every `LOOK_S` seconds, and only what it has not said already."""

    def __init__(self, api: AirflowApi, partition: Partition, say: Callable[[str], None]) -> None:
        self._api = api
        self._partition = partition
        self._say = say
        self._looked_s = time.monotonic()
        self._said: set[str] = set()

    def look(self, stages: Sequence[str], stage: str, run: DagRun | None) -> None:
        """`run` is the run of `stage`, None if Airflow has not made it yet."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        found = [str(each) for each in obstacles(self._api, self._partition, stages)]
        found.append(f"{stage}: {waiting_for(self._api, run) if run else 'not started by Airflow yet'}")
        for text in found:
            if text not in self._said:
                self._say(text)
        self._said = set(found)


def _results(api: AirflowApi, runs: dict[str, DagRun], since: datetime) -> dict[str, dict[str, object]]:
    by_run = {event.run_id: event.extra for event in api.events(since=since)}
    return {stage: by_run.get(run.run_id, {}) for stage, run in runs.items()}
