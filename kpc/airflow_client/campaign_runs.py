"""A campaign's runs in Airflow: which are active, which failed, and starting a partition exactly once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kpc.airflow_client.answers import RunExists
from kpc.airflow_client.api import AirflowApi
from kpc.campaign.completeness import source_changes
from kpc.campaign.lifecycle import signed_phases, situation_of
from kpc.campaign.request import options_of
from kpc.campaign.situation import (
    AirflowView,
    FailedRun,
    PartitionStanding,
    PartitionState,
    Situation,
    next_starts,
)
from kpc.campaign.start_order import earlier_phases
from kpc.ledger import CampaignRow, Ledger
from kpc.ledger.states import CampaignState
from kpc.stages.names import CAMPAIGN, ORACLE_EXTRACT, STAGES, asset_name
from kpc.stages.workspace import Workspace

_ACTIVE = ("queued", "running")


def view_runs(api: AirflowApi, since: datetime) -> AirflowView:
    """The active runs, those that failed since then, and the paused DAGs."""
    active = {(run.dag_id, run.key or "") for run in api.runs(states=_ACTIVE)}
    failed = {
        (run.dag_id, run.key or ""): FailedRun(run.run_id, run.ended or run.queued)
        for run in api.runs(states=("failed",), since=since)
    }
    return AirflowView(frozenset(active), failed, api.dag_ids(is_paused=True))


def start_once(api: AirflowApi, standing: PartitionStanding, run_id: str, *, mode: str, is_dry_run: bool) -> None:
    """Start a partition at its stage, as the run `run_id`. If such a run exists it was started before."""
    conf: dict[str, Any] = {"mode": mode, "dry_run": is_dry_run} if standing.stage == ORACLE_EXTRACT else {}
    partition = standing.partition
    with suppress(RunExists):
        api.trigger(asset_name(partition.table, standing.stage), partition.key, conf=conf, run_id=run_id)


@dataclass(frozen=True, slots=True)
class CampaignStep:
    """What one step of a campaign did: how many partitions it started, and where all of them stand now."""

    started: int
    situation: Situation
    waits_for: str


def advance(workspace: Workspace, campaign: CampaignRow, api: AirflowApi) -> CampaignStep:
    """Look at everything once and start the partitions that may be started now. Repeating starts nothing twice.

    Each start is recorded after Airflow has the run, under a run id that follows from campaign, partition and round.
    """
    ledger, options = workspace.ledger, options_of(campaign)
    view = view_runs(api, campaign.started_utc)
    moved = tuple(source_changes(workspace))
    situation = situation_of(ledger, campaign, view, moved)
    signed_off = signed_phases(workspace, campaign)
    started = 0
    for one in next_starts(situation, signed_off=signed_off, paused=view.paused):
        if not is_driven(ledger, campaign):
            break
        run_id = f"{CAMPAIGN}_{campaign.id}_{one.partition.key}_round_{campaign.round}"
        start_once(api, one, run_id, mode=campaign.mode, is_dry_run=options.is_dry_run)
        ledger.campaigns.start(campaign.id, one.partition, campaign.round, run_id)
        started += 1
    if started:
        situation = situation_of(ledger, campaign, view_runs(api, campaign.started_utc), moved)
    return CampaignStep(started, situation, _waits_for(situation, signed_off, view.paused))


def is_driven(ledger: Ledger, campaign: CampaignRow) -> bool:
    """Whether the campaign still runs, in this round."""
    now = ledger.campaigns.find(campaign.id)
    return now is not None and now.state is CampaignState.RUNNING and now.round == campaign.round


def _waits_for(situation: Situation, signed_off: set[str] | None, paused: frozenset[str]) -> str:
    """Why the next partition is not started, in a few words."""
    waiting = situation.of_state(PartitionState.WAITING)
    if not waiting:
        return "the end of what was started"
    table = waiting[0].partition.table
    stopped = [dag for dag in (asset_name(table, stage) for stage in STAGES) if dag in paused]
    if stopped:
        return f"{stopped[0]} is paused: `airflow dags unpause {stopped[0]}`"
    if signed_off is not None:
        tables = {one.partition.table for one in situation.standings}
        missing = [phase for phase in earlier_phases(waiting[0].partition, tables) if phase not in signed_off]
        if missing:
            return f"the sign-off of phase {missing[0]}"
    return f"room: {len(waiting):,} partitions are to be started"
