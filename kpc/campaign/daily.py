"""The request of the daily incremental campaign: the planned scope again, until the cut-over has been checked."""

from __future__ import annotations

from datetime import datetime

from kpc.campaign.planned_partitions import readable_months
from kpc.campaign.request import CampaignOptions, CampaignRequest, options_of, request_of
from kpc.catalog import TABLES
from kpc.errors import ConfigError
from kpc.ledger.states import CampaignState
from kpc.local_time import LOCAL
from kpc.stages.workspace import Workspace


def daily_request(workspace: Workspace) -> CampaignRequest | None:
    """Today's campaign; after the cut-over with the closing check; None once a campaign with that check has finished.

    An earlier daily campaign that still runs is continued instead.

    Raises `ConfigError` if no campaign was planned.
    """
    scope = workspace.ledger.scope.current(workspace.environment)
    if scope is None:
        raise ConfigError(
            "No campaign has been planned yet, so there is nothing to repeat.",
            "Start the DAG campaign, or run `kpc plan --months FIRST:COUNT`.",
        )
    cut_over = _cut_over(workspace.settings.cut_over)
    is_final = cut_over is not None and workspace.clock() >= cut_over
    if is_final and _is_checked(workspace, cut_over):
        return None
    running = workspace.ledger.campaigns.all(workspace.environment, CampaignState.RUNNING)
    if unfinished := [one for one in running if options_of(one).day]:
        return request_of(unfinished[-1])
    day = workspace.clock().astimezone(LOCAL).date().isoformat()
    tables = tuple(table for table in TABLES.values() if table.name in scope.tables)
    return CampaignRequest(
        tables, readable_months(scope), "incremental", CampaignOptions(repeats=True, closes=is_final, day=day)
    )


def _cut_over(setting: datetime | None) -> datetime | None:
    return setting.replace(tzinfo=LOCAL) if setting is not None and setting.tzinfo is None else setting


def _is_checked(workspace: Workspace, cut_over: datetime | None) -> bool:
    finished = workspace.ledger.campaigns.all(workspace.environment, CampaignState.FINISHED)
    return any(options_of(one).closes and cut_over is not None and one.started_utc >= cut_over for one in finished)
