"""One partition of the overview: its four stages as shown to people, and what needs attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from kpc.campaign.overview.stopped import stopped_between
from kpc.ledger import NewestRun, OpenFailures, RunningLoad
from kpc.ledger.states import StageState
from kpc.stages.names import RECONCILED, SF_LOADED, STAGES

PartitionName = tuple[str, str]  # table and key
StageName = tuple[str, str, str]  # table, key and stage


class ShownState(StrEnum):
    """The state of a stage, or of a partition, in the overview."""

    PLANNED = "planned"
    QUEUED = "queued"  # started in Airflow, but not yet by a worker
    RUNNING = "running"
    WAITING = "waiting"  # for quota, a pause, a parent, or Oracle's daily window
    INTERRUPTED = "interrupted"  # begun, but no worker holds its lease any more
    DONE = "done"
    OUTDATED = "outdated"  # an earlier stage has run again since
    STOPPED = "stopped"  # of a partition: nothing has started its next stage
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    RECONCILED = "reconciled"
    RECONCILED_WITH_EXCEPTIONS = "reconciled_with_exceptions"
    SAMPLED = "sampled"
    MISMATCH = "mismatch"


# A run in Airflow that the ledger does not know after this time is waiting for something.
_BEGINS_WITHIN = timedelta(minutes=1)
_UNDER_WAY = (ShownState.RUNNING, ShownState.WAITING, ShownState.QUEUED)
_WORST_FIRST = (ShownState.MISMATCH, ShownState.FAILED, ShownState.INTERRUPTED, *_UNDER_WAY, ShownState.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A DAG run that has not ended, according to Airflow; `state` is `queued` or `running`."""

    run_id: str
    state: str
    since_utc: datetime


@dataclass(frozen=True, slots=True)
class OverviewFacts:
    """What the ledger knows about all partitions, by partition or stage."""

    now: datetime
    runs: Mapping[PartitionName, Mapping[str, NewestRun]]
    loads: Mapping[PartitionName, RunningLoad] = field(default_factory=dict)
    leases: frozenset[StageName] = frozenset()
    failures: Mapping[PartitionName, Sequence[OpenFailures]] = field(default_factory=dict)
    differences: Mapping[int, Sequence[str]] = field(default_factory=dict)
    certificates: Mapping[PartitionName, str] = field(default_factory=dict)
    moved: frozenset[PartitionName] = frozenset()
    active: Mapping[StageName, ActiveRun] = field(default_factory=dict)


def cell_of(name: PartitionName, facts: OverviewFacts) -> dict[str, Any]:
    """The document's entry of one partition; what is empty or unknown is left out."""
    runs = facts.runs.get(name, {})
    stages = [_stage(name, stage, runs, facts) for stage in STAGES]
    halt = stopped_between(runs, facts.now)
    cell: dict[str, Any] = {"table": name[0], "key": name[1], "state": _overall(stages, is_stopped=halt is not None)}
    if (rows := _records(stages)) is not None:
        cell["rows"] = rows
    cell["stages"] = stages
    if found := facts.failures.get(name):
        cell["failures"] = [{"class": one.error_class, "code": one.error_code, "rows": one.rows} for one in found]
    verdict = runs.get(RECONCILED)
    if verdict is not None and (measures := facts.differences.get(verdict.id)):
        cell["differences"] = list(measures)
    if halt is not None:
        cell["stopped"] = {"after": halt[0], "next": halt[1]}
    if certificate := facts.certificates.get(name):
        cell["certificate"] = certificate
    if name in facts.moved:
        cell["moved"] = True
    return cell


def _stage(name: PartitionName, stage: str, runs: Mapping[str, NewestRun], facts: OverviewFacts) -> dict[str, Any]:
    run, place = runs.get(stage), (*name, stage)
    is_held = place in facts.leases
    active = facts.active.get(place)
    load = facts.loads.get(name) if stage == SF_LOADED else None
    if load is not None and (run is None or load.started_utc > run.started_utc or run.state is StageState.RUNNING):
        return _loading(load, active, is_held=is_held)
    if active is not None and (run is None or run.run_id != active.run_id):
        is_waiting = active.state == "running" and facts.now - active.since_utc > _BEGINS_WITHIN
        state = ShownState.WAITING if is_waiting else ShownState.QUEUED
        return {"state": state, "started_utc": active.since_utc, "run": active.run_id}
    if run is None:
        return {"state": ShownState.PLANNED}
    state = ShownState(run.state.value)
    if state is ShownState.RUNNING and not is_held and active is None:
        state = ShownState.INTERRUPTED
    elif _is_outdated(run, stage, runs):
        state = ShownState.ROLLED_BACK if _is_rolled_back(runs) else ShownState.OUTDATED
    return {"state": state, **dict(_run_facts(run))}


def _loading(load: RunningLoad, active: ActiveRun | None, *, is_held: bool) -> dict[str, Any]:
    """A load whose jobs are under way; without a live lease it waits, if Airflow has its run, or was killed."""
    state = ShownState.RUNNING if is_held else ShownState.WAITING if active else ShownState.INTERRUPTED
    facts = {"state": state, "rows": load.processed, "of": load.rows, "started_utc": load.started_utc}
    return {**facts, "run": load.run_id}


def _run_facts(run: NewestRun) -> Iterator[tuple[str, object]]:
    facts = {
        "rows": run.rows,
        "started_utc": run.started_utc,
        "finished_utc": run.finished_utc,
        "run": run.run_id,
        "actor": run.actor,
        "mode": run.mode,
        "error": run.error,
    }
    return ((name, value) for name, value in facts.items() if value is not None and value != "")


def _is_outdated(run: NewestRun, stage: str, runs: Mapping[str, NewestRun]) -> bool:
    if run.state in (StageState.RUNNING, StageState.ROLLED_BACK):
        return False
    before = (runs.get(each) for each in STAGES[: STAGES.index(stage)])
    is_older = any(one is not None and one.started_utc > run.started_utc for one in before)
    return is_older or _is_void(run, runs)


def _is_void(run: NewestRun, runs: Mapping[str, NewestRun]) -> bool:
    """Whether the partition was rolled back after this run ended."""
    load = runs.get(SF_LOADED)
    return (
        _is_rolled_back(runs)
        and load is not None
        and (run.finished_utc or run.started_utc) <= (load.finished_utc or load.started_utc)
    )


def _is_rolled_back(runs: Mapping[str, NewestRun]) -> bool:
    load = runs.get(SF_LOADED)
    return load is not None and load.state is StageState.ROLLED_BACK


def _overall(stages: Sequence[Mapping[str, Any]], *, is_stopped: bool) -> ShownState:
    states = [stage["state"] for stage in stages]
    for state in _WORST_FIRST:
        if state in states:
            return state
    if is_stopped:
        return ShownState.STOPPED
    if states[-1] not in (ShownState.PLANNED, ShownState.OUTDATED):
        return ShownState(states[-1])
    return ShownState.DONE if ShownState.DONE in states else ShownState.PLANNED


def _records(stages: Sequence[Mapping[str, Any]]) -> int | None:
    """Records of the partition: as reconciled, else as loaded, staged or extracted so far."""
    return next((stage["rows"] for stage in reversed(stages) if stage.get("rows") is not None), None)
