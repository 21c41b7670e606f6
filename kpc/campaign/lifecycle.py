"""The life of a campaign: opened or continued, driven step by step, stopped, ended; every change is audited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpc.campaign.planned_partitions import readable_months
from kpc.campaign.request import CampaignRequest, options_of, request_of
from kpc.campaign.situation import AirflowView, LedgerFacts, Situation, judge
from kpc.campaign.start_order import start_order
from kpc.catalog import TABLES
from kpc.errors import ConfigError
from kpc.ledger import CampaignRow, Ledger, StageRun
from kpc.ledger.states import CampaignState
from kpc.partition import Environment, Partition
from kpc.stages.workspace import Workspace

_ANY = "`kpc campaign list` shows them."


def open_campaign(workspace: Workspace, request: CampaignRequest) -> CampaignRow:
    """Record a campaign, or begin the next round of the newest one with the same scope that is not finished.

    Partitions that are done stay done; those that failed in an earlier round are tried again. Raises `ConfigError` if a
    parent is neither in scope nor loaded, or if a running campaign has one of the partitions.
    """
    from kpc.campaign.plan import refuse_without_parents  # noqa: PLC0415  slow to import; triggers use this module

    refuse_without_parents(workspace, request.tables)
    ledger, environment = workspace.ledger, workspace.environment
    who: dict[str, Any] = {"run_id": workspace.run_id, "actor": workspace.actor}
    with ledger.together():
        ledger.campaigns.lock(environment)
        made = ledger.campaigns.all(environment)
        same = next((one for one in reversed(made) if request.is_of(one)), None)
        former = same if same is not None and same.state is not CampaignState.FINISHED else None
        _refuse_overlap(request, [one for one in made if one.state is CampaignState.RUNNING and one != former])
        if former is not None:
            ledger.campaigns.continue_(former.id, run_id=workspace.run_id)
            number = former.id
        else:
            tables = [table.name for table in request.tables]
            options = request.options.as_json()
            number = ledger.campaigns.add(
                environment, months=request.months, tables=tables, mode=request.mode, options=options, **who
            )  # fmt: skip
        campaign = find_campaign(ledger, number)
        _audit(workspace, "campaign started" if campaign.round == 1 else "campaign continued", campaign)
    return campaign


def _refuse_overlap(request: CampaignRequest, running: list[CampaignRow]) -> None:
    wanted = set(request.partitions)
    for other in running:
        if shared := [partition for partition in request_of(other).partitions if partition in wanted]:
            raise ConfigError(
                f"Campaign {other.id}, started by {other.actor} at {other.started_utc:%Y-%m-%d %H:%M} UTC, is running "
                f"and has {len(shared):,} of these partitions, such as {shared[0]}.",
                f"`kpc campaign show {other.id}` shows its progress. Start it again with its own fields to continue "
                f"it, stop it with `kpc campaign stop {other.id}`, or choose other tables and months.",
            )


def find_campaign(ledger: Ledger, number: int) -> CampaignRow:
    """The campaign with this number. Raises `ConfigError` if there is none."""
    found = ledger.campaigns.find(number)
    if found is None:
        raise ConfigError(f"There is no campaign {number}.", _ANY)
    return found


def plan_if_needed(workspace: Workspace, campaign: CampaignRow) -> bool:
    """Plan what the newest plan does not cover, as `kpc plan` does; True if that was necessary.

    The scope only grows: partitions of earlier campaigns stay in it, so that hubs and sign-off never cover less.
    """
    from kpc.campaign.plan import plan_campaign  # noqa: PLC0415  slow to import; triggers use this module

    scope = workspace.ledger.scope.current(workspace.environment)
    tables, months = set(campaign.tables), set(campaign.months)
    if scope is not None:
        former = set(readable_months(scope))
        is_counted = tables <= set(scope.access) and tables <= set(scope.rows or {})
        if is_counted and tables <= set(scope.tables) and months <= former:
            return False
        tables, months = tables | set(scope.tables), months | former
    chosen = tuple(table for table in TABLES.values() if table.name in tables)
    plan_campaign(workspace, chosen, tuple(sorted(months)), campaign.mode)
    return True


def ledger_facts(ledger: Ledger, campaign: CampaignRow, moved: tuple[Partition, ...] = ()) -> LedgerFacts:
    """What the ledger says about a campaign's partitions, in a few queries."""
    environment = campaign.environment
    stages: dict[tuple[str, str], dict[str, StageRun]] = {}
    for run in ledger.stages.newest(environment):
        stages.setdefault((run.table_name, run.partition_key), {})[run.stage] = run
    return LedgerFacts(
        starts={(one.table_name, one.partition_key): one for one in ledger.campaigns.starts(campaign.id)},
        stages=stages,
        work={(one.table_name, one.partition_key): one for one in ledger.work.current(environment)},
        moved=moved,
    )


def situation_of(
    ledger: Ledger, campaign: CampaignRow, airflow: AirflowView | None = None, moved: tuple[Partition, ...] = ()
) -> Situation:
    """The state of every partition of a campaign, by the ledger and, if it was asked, by Airflow."""
    order = start_order(request_of(campaign).partitions, planned_rows(ledger, campaign.environment))
    return judge(campaign, order, ledger_facts(ledger, campaign, moved), ledger.clock(), airflow)


def planned_rows(ledger: Ledger, environment: Environment) -> dict[str, dict[str, int]]:
    """The counted rows of the newest plan, by table and key."""
    scope = ledger.scope.current(environment)
    return dict(scope.rows or {}) if scope is not None else {}


def signed_phases(workspace: Workspace, campaign: CampaignRow) -> set[str] | None:
    """The phases of a campaign that are signed off; None if its phases do not wait for sign-offs."""
    if not options_of(campaign).is_gated or options_of(campaign).is_dry_run:
        return None
    from kpc.campaign.sign_off_list import is_signed_off  # noqa: PLC0415  slow to import; triggers use this module

    phases = {TABLES[name].phase.value for name in campaign.tables if name in TABLES}
    return {phase for phase in phases if is_signed_off(phase, workspace)}


def running_campaign(ledger: Ledger, environment: Environment, partition: Partition) -> CampaignRow | None:
    """The running campaign that has a partition; None if none has."""
    running = ledger.campaigns.all(environment, CampaignState.RUNNING)
    return next((one for one in running if partition in request_of(one).partitions), None)


def comparison_options(ledger: Ledger, environment: Environment, partition: Partition) -> dict[str, Any]:
    """How the partition's running campaign wants it compared (options of `reconciled`); empty: as in the settings."""
    campaign = running_campaign(ledger, environment, partition)
    if campaign is None or options_of(campaign).level3 is None:
        return {}
    options = options_of(campaign)
    return {"level3": options.level3, "sample_rows": options.sample_rows}


def stop_campaign(workspace: Workspace, number: int, reason: str) -> CampaignRow:
    """Start no more partitions; those already started continue. Raises `ConfigError` if the campaign is not running."""
    ledger = workspace.ledger
    campaign = find_campaign(ledger, number)
    with ledger.together():
        if not ledger.campaigns.end(number, CampaignState.STOPPED, actor=workspace.actor, reason=reason or None):
            ended = f", ended by {campaign.ended_by}" if campaign.ended_by else ""
            raise ConfigError(f"Campaign {number} is not running: it is {campaign.state}{ended}.", _ANY)
        stopped = find_campaign(ledger, number)
        _audit(workspace, "campaign stopped", stopped)
    return stopped


def end_campaign(workspace: Workspace, campaign: CampaignRow, situation: Situation, result: Mapping[str, Any]) -> None:
    """Record that nothing is left to be started: finished if every partition is done, otherwise incomplete."""
    state = CampaignState.FINISHED if situation.is_complete else CampaignState.INCOMPLETE
    with workspace.ledger.together():
        ended = workspace.ledger.campaigns.end(
            campaign.id, state, actor=workspace.actor, result=result, round_=campaign.round
        )  # fmt: skip
        if ended:
            _audit(workspace, f"campaign {state}", find_campaign(workspace.ledger, campaign.id))


def _audit(workspace: Workspace, action: str, campaign: CampaignRow) -> None:
    names = ("months", "tables", "mode", "options", "round", "reason", "result")
    workspace.ledger.audit.append(
        action,
        actor=workspace.actor,
        run_id=workspace.run_id,
        environment=campaign.environment,
        detail={"campaign": campaign.id, **{name: getattr(campaign, name) for name in names}},
    )
