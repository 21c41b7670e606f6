"""The state of every partition of a campaign, and which may be started next. Pure: no system is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from kpc.campaign.request import options_of
from kpc.campaign.start_order import earlier_phases
from kpc.ledger import CampaignRow, CampaignStart, PartitionWork, StageRun
from kpc.ledger.states import StageState
from kpc.partition import Partition
from kpc.stages.names import (
    EXTRACT_POOL,
    ORACLE_EXTRACT,
    RECONCILED_STATES,
    STAGED_CSV,
    STAGES,
    asset_name,
)

# Started extracts: enough that a free session always finds a partition. Each additional one costs scheduler time.
SESSIONS_AHEAD = 2 * EXTRACT_POOL.slots
IN_FLIGHT = 60  # partitions between start and verdict: bounds staged files, and stays below 64 active runs of a DAG
STARTS_WITHIN = timedelta(minutes=2)  # in Airflow the next stage starts some seconds after the event

Name = tuple[str, str]  # of a partition: table and key


class PartitionState(StrEnum):
    """The state of a partition in a campaign."""

    WAITING = "waiting"  # not started yet in this round
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # its parent failed; it continues when that is loaded


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A stage's run that Airflow counts as failed, and when it ended."""

    run_id: str
    ended_utc: datetime


@dataclass(frozen=True, slots=True)
class AirflowView:
    """What Airflow reports: by DAG and key, the active runs and the newest failed ones; and the paused DAGs."""

    active: frozenset[Name] = frozenset()
    failed: Mapping[Name, FailedRun] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger says about a campaign's partitions. `moved`: they changed in Oracle since they were extracted."""

    starts: Mapping[Name, CampaignStart]
    stages: Mapping[Name, Mapping[str, StageRun]]
    work: Mapping[Name, PartitionWork]
    moved: Collection[Partition] = ()


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """One partition: its state, the stage that it is at or would be started at, and why it does not continue."""

    partition: Partition
    state: PartitionState
    stage: str = ORACLE_EXTRACT
    reason: str = ""
    is_extracting: bool = False

    @property
    def remedy(self) -> str:
        """The command that continues a failed partition."""
        at = "" if self.stage == ORACLE_EXTRACT else f" --stage {self.stage}"
        return f"kpc rerun {self.partition.table.name} {self.partition.key}{at}"


@dataclass(frozen=True, slots=True)
class Situation:
    """All partitions of a campaign in the order in which they are started."""

    standings: tuple[PartitionStanding, ...]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(one.state for one in self.standings)
        return {state.value: found[state] for state in PartitionState}

    def of_state(self, *states: PartitionState) -> list[PartitionStanding]:
        return [one for one in self.standings if one.state in states]

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing waits to be started."""
        return not self.of_state(PartitionState.WAITING, PartitionState.RUNNING)

    @property
    def is_complete(self) -> bool:
        return len(self.of_state(PartitionState.DONE)) == len(self.standings)


def judge(
    campaign: CampaignRow,
    order: Sequence[Partition],
    facts: LedgerFacts,
    now: datetime,
    airflow: AirflowView | None = None,
) -> Situation:
    """The state of every partition. Without Airflow's view, only failures recorded in the ledger count."""
    judged = {partition: _judged(campaign, partition, facts, now, airflow) for partition in order}
    if not options_of(campaign).is_dry_run:
        for partition in order:  # parents come first
            if (missing := _failed_parent(partition, judged, facts)) is not None:
                reason = f"waits for {missing}, which failed or is itself waiting"
                judged[partition] = PartitionStanding(
                    partition, PartitionState.BLOCKED, judged[partition].stage, reason
                )  # fmt: skip
    return Situation(tuple(judged[partition] for partition in order))


def _judged(
    campaign: CampaignRow, partition: Partition, facts: LedgerFacts, now: datetime, airflow: AirflowView | None
) -> PartitionStanding:
    name = (partition.table.name, partition.key)
    start = facts.starts.get(name)
    is_retried = start is not None and start.round < campaign.round
    if _is_done(campaign, name, facts):
        if partition not in facts.moved:
            return PartitionStanding(partition, PartitionState.DONE)
        reason = "it changed in Oracle since it was extracted"
        state = PartitionState.WAITING if start is None or is_retried else PartitionState.FAILED
        return PartitionStanding(partition, state, ORACLE_EXTRACT, reason)
    if start is None:
        return PartitionStanding(partition, PartitionState.WAITING)
    runs = {stage: run for stage, run in facts.stages.get(name, {}).items() if run.started_utc >= campaign.started_utc}
    found = _by_ledger(partition, runs) if airflow is None else _by_airflow(partition, runs, start, now, airflow)
    if found.state is PartitionState.FAILED and is_retried:
        return PartitionStanding(partition, PartitionState.WAITING, found.stage, found.reason)
    return found


def _is_done(campaign: CampaignRow, name: Name, facts: LedgerFacts) -> bool:
    options, work, start = options_of(campaign), facts.work.get(name), facts.starts.get(name)
    if options.is_dry_run:
        staged = facts.stages.get(name, {}).get(STAGED_CSV)
        is_staged = staged is not None and staged.state == StageState.DONE
        if is_staged and staged is not None and staged.started_utc >= campaign.started_utc:
            return start is not None
        return start is None and work is not None and not work.was_never_loaded  # loaded already: left out
    if work is None or work.verdict is None:
        return False
    is_own = start is not None and work.extracted_utc >= campaign.started_utc
    if options.repeats and not is_own:
        return False
    is_sampled = work.verdict == StageState.SAMPLED and (is_own or options.level3 == "sample")
    return work.verdict in RECONCILED_STATES or is_sampled


def _by_ledger(partition: Partition, runs: Mapping[str, StageRun]) -> PartitionStanding:
    last = _last(runs)
    if last is None:
        return PartitionStanding(partition, PartitionState.RUNNING, ORACLE_EXTRACT, is_extracting=True)
    if last.state in (StageState.FAILED, StageState.MISMATCH):
        return PartitionStanding(partition, PartitionState.FAILED, last.stage, last.error or str(last.state))
    return PartitionStanding(partition, PartitionState.RUNNING, last.stage, is_extracting=_is_extracting(runs))


def _by_airflow(
    partition: Partition, runs: Mapping[str, StageRun], start: CampaignStart, now: datetime, airflow: AirflowView
) -> PartitionStanding:
    dags = {stage: (asset_name(partition.table, stage), partition.key) for stage in STAGES}
    last = _last(runs)
    if active := [stage for stage, dag in dags.items() if dag in airflow.active]:
        return PartitionStanding(partition, PartitionState.RUNNING, active[-1], is_extracting=_is_extracting(runs))
    failed = [(stage, airflow.failed[dag]) for stage, dag in dags.items() if dag in airflow.failed]
    if failed:
        stage, run = max(failed, key=lambda one: one[1].ended_utc)
        has_moved_on = last is not None and last.finished_utc is not None and last.finished_utc > run.ended_utc
        if not has_moved_on:
            error = last.error if last is not None and last.stage == stage else None
            return PartitionStanding(
                partition, PartitionState.FAILED, stage, error or f"Airflow's run {run.run_id} failed"
            )
    seen = max(start.started_utc, (last.finished_utc or last.started_utc) if last is not None else start.started_utc)
    if now - seen < STARTS_WITHIN:
        stage = last.stage if last is not None else ORACLE_EXTRACT
        return PartitionStanding(partition, PartitionState.RUNNING, stage, is_extracting=_is_extracting(runs))
    stage = _next_stage(last)
    after = f"after {last.stage}" if last is not None else "before it began"
    return PartitionStanding(partition, PartitionState.FAILED, stage, f"stopped {after}: no run of {stage} exists")


def _last(runs: Mapping[str, StageRun]) -> StageRun | None:
    return max(runs.values(), key=lambda run: (run.started_utc, run.id), default=None)


def _next_stage(last: StageRun | None) -> str:
    if last is None:
        return ORACLE_EXTRACT
    if last.state == StageState.DONE and last.stage != STAGES[-1]:
        return STAGES[STAGES.index(last.stage) + 1]
    return last.stage


def _is_extracting(runs: Mapping[str, StageRun]) -> bool:
    extract = runs.get(ORACLE_EXTRACT)
    return extract is None or extract.state != StageState.DONE


def _failed_parent(
    partition: Partition, judged: Mapping[Partition, PartitionStanding], facts: LedgerFacts
) -> Partition | None:
    """A parent in this campaign that will not be loaded by itself; None if no parent prevents the partition's load."""
    standing = judged[partition]
    if standing.state not in (PartitionState.WAITING, PartitionState.RUNNING):
        return None
    if _is_loaded(partition, facts) and standing.state is PartitionState.RUNNING:
        return None
    for parent in partition.parents():
        one = judged.get(parent)
        is_stuck = one is not None and one.state in (PartitionState.FAILED, PartitionState.BLOCKED)
        if is_stuck and not _is_loaded(parent, facts):
            return parent
    return None


def _is_loaded(partition: Partition, facts: LedgerFacts) -> bool:
    work = facts.work.get((partition.table.name, partition.key))
    return work is not None and work.is_loaded


def next_starts(
    situation: Situation, *, signed_off: Collection[str] | None = None, paused: Collection[str] = ()
) -> list[PartitionStanding]:
    """Which partitions to start now, in order, so that no more than the limits are under way.

    With `signed_off` (the signed phases), a partition waits until it contains every earlier phase of the campaign.
    Tables with a DAG among `paused` are not started: an event that reaches a paused DAG is lost.
    """
    running = situation.of_state(PartitionState.RUNNING)
    room = IN_FLIGHT - len(running)
    free_sessions = SESSIONS_AHEAD - sum(one.partition.table.sessions for one in running if one.is_extracting)
    tables = list(dict.fromkeys(one.partition.table for one in situation.standings))
    chosen: list[PartitionStanding] = []
    for one in situation.of_state(PartitionState.WAITING):
        if len(chosen) >= room:
            break
        if signed_off is not None and not set(earlier_phases(one.partition, tables)) <= set(signed_off):
            continue
        if any(asset_name(one.partition.table, stage) in paused for stage in STAGES):
            continue
        if one.stage == ORACLE_EXTRACT:
            if free_sessions <= 0:
                continue
            free_sessions -= one.partition.table.sessions
        chosen.append(one)
    return chosen
