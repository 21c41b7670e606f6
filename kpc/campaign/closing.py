"""The end of a campaign: the closing check, the verdict on its partitions, and what a person must look at."""

from __future__ import annotations

import logging
from typing import Any

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.campaign_runs import view_runs
from kpc.campaign.completeness import source_changes
from kpc.campaign.dry_run import dry_run_report, dry_run_sentence
from kpc.campaign.lifecycle import end_campaign, situation_of
from kpc.campaign.request import options_of, request_of
from kpc.campaign.situation import PartitionState, Situation
from kpc.campaign.source_check import DeltaRequest, check_source
from kpc.errors import Terminal
from kpc.ledger import CampaignRow
from kpc.stages.workspace import Workspace

log = logging.getLogger(__name__)

NAMED = 10  # failed partitions in a message


def close_campaign(workspace: Workspace, campaign: CampaignRow) -> dict[str, Any]:
    """Judge a campaign in which nothing runs any more, and record its end; returns its result.

    Raises `Terminal` with the failed partitions and the next commands if it is not complete.
    """
    options = options_of(campaign)
    if options.closes:
        request = request_of(campaign)
        check_source(workspace, DeltaRequest(request.tables, request.months))
    with AirflowApi.of(workspace.settings) as api:
        view = view_runs(api, campaign.started_utc)
    situation = situation_of(workspace.ledger, campaign, view, tuple(source_changes(workspace)))
    result: dict[str, Any] = {"partitions": situation.counts, "failed": _failed(situation)}
    if options.is_dry_run:
        result["dry_run"] = dry_run_report(workspace.ledger, campaign, workspace.settings.salesforce)
        log.info("%s", dry_run_sentence(result["dry_run"]))
    end_campaign(workspace, campaign, situation, result)
    if not situation.is_complete:
        raise Terminal(*incomplete(campaign, situation))
    return result


def _failed(situation: Situation) -> list[dict[str, str]]:
    return [
        {
            "table": one.partition.table.name,
            "key": one.partition.key,
            "state": one.state.value,
            "reason": one.reason,
            **({"command": one.remedy} if one.state is PartitionState.FAILED else {}),
        }
        for one in situation.of_state(PartitionState.FAILED, PartitionState.BLOCKED)
    ]


def incomplete(campaign: CampaignRow, situation: Situation) -> tuple[str, str]:
    """What is missing from a campaign, and the commands that continue it."""
    failed = situation.of_state(PartitionState.FAILED)
    blocked = len(situation.of_state(PartitionState.BLOCKED))
    names = "; ".join(f"{one.partition} ({one.reason.rstrip('.')})" for one in failed[:NAMED])
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    waiting = f" {blocked} partitions wait for one of them." if blocked else ""
    count = f"{len(failed)} of {len(situation.standings)} partitions failed"
    what = f"Campaign {campaign.id} is incomplete: {count}: {names}{more}.{waiting}"
    commands = ", ".join(f"`{one.remedy}`" for one in failed[:3])
    return what, (
        f"Remove the causes, then start the campaign again with the same fields (it retries only these), or run one of "
        f"them: {commands}."
    )
