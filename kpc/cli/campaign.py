"""Campaigns on the command line: start, list, show, stop. Airflow's DAG `campaign` does the work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpc.cli.arguments import AsJson, Mode, user_workspace
from kpc.cli.output import emit, explaining_errors, grid, say

if TYPE_CHECKING:
    from kpc.campaign.situation import Situation
    from kpc.ledger import CampaignRow

app = typer.Typer(no_args_is_help=True, help="Start a migration in Airflow, show its progress, stop it.")

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As `kpc campaign list` shows it.", min=1)]
_LISTED = 20


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
@explaining_errors
def start(
    tables: Annotated[str, typer.Option(help="Comma-separated tables; all when empty.")] = "",
    phases: Annotated[str, typer.Option(help="Comma-separated phases, instead of tables.")] = "",
    first_month: Annotated[str, typer.Option(help="Such as 2024-01.")] = "",
    last_month: Annotated[str, typer.Option(help="Inclusive; only the first month when empty.")] = "",
    mode: Mode = "incremental",
    reconciled: Annotated[str, typer.Option(help="Reconciled partitions: skip, or read them again.")] = "skip",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Extract and stage; report what would be sent.")] = False,
    wait_for_sign_off: Annotated[
        bool, typer.Option("--wait-for-sign-off", help="Start a phase only after the earlier ones are signed off.")
    ] = False,
    level3: Annotated[str, typer.Option(help="Comparison of records: full or sample; empty: the setting.")] = "",
    sample_rows: Annotated[int | None, typer.Option(help="With --level3 sample: records per partition.")] = None,
    closing_check: Annotated[
        bool, typer.Option("--closing-check", help="At the end, compare every extract with Oracle's current data.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start or continue a campaign: triggers Airflow's DAG `campaign` with these fields."""
    from kpc.airflow_client.api import AirflowApi
    from kpc.campaign.request import make_request
    from kpc.settings import load_settings
    from kpc.stages.names import CAMPAIGN

    settings = load_settings()
    fields: dict[str, Any] = {
        "tables": [name.upper() for name in _names(tables)],
        "phases": _names(phases),
        "first_month": first_month or None,
        "last_month": last_month or None,
        "mode": mode,
        "reconciled": reconciled,
        "dry_run": dry_run,
        "wait_for_sign_off": wait_for_sign_off,
        "level3": level3 or "setting",
        "sample_rows": sample_rows,
        "closing_check": closing_check,
    }
    request = make_request(**fields)
    with AirflowApi.of(settings) as api:
        run = api.run(CAMPAIGN, api.trigger(CAMPAIGN, conf=fields))
        page = api.run_page(run)
    facts = {"ok": True, "run_id": run.run_id, "page": page, "partitions": len(request.partitions)}
    text = f"Asked Airflow to start {len(request.partitions)} partitions: {page}"
    emit(facts, as_json=as_json, text=text)
    say("`kpc campaign list` shows the campaign within seconds.")


@app.command(name="list")
@explaining_errors
def list_campaigns(as_json: AsJson = False) -> None:
    """Show every campaign, with its scope and state."""
    with user_workspace() as workspace:
        found = workspace.ledger.campaigns.all(workspace.environment)
    columns = (
        "campaign",
        "state",
        "tables",
        "months",
        "mode",
        "round",
        "started by",
        "started UTC",
        "ended by",
        "reason",
    )
    cells = [
        [
            one.id,
            one.state.value,
            len(one.tables),
            _months(one),
            one.mode,
            one.round,
            one.actor,
            f"{one.started_utc:%Y-%m-%d %H:%M}",
            one.ended_by or "",
            one.reason or "",
        ]
        for one in found
    ]
    emit({"campaigns": [_facts(one) for one in found]}, as_json=as_json, text=grid("Campaigns", columns, cells))
    if not found:
        say("No campaign has been started yet: `kpc campaign start`, or the DAG campaign in Airflow.")


@app.command()
@explaining_errors
def show(number: Number, as_json: AsJson = False) -> None:
    """Show the state of a campaign's partitions, what failed, which commands to run next, and a dry run's report."""
    from kpc.campaign.completeness import source_changes
    from kpc.campaign.estimate import estimate_finish
    from kpc.campaign.lifecycle import find_campaign, situation_of
    from kpc.campaign.situation import PartitionState

    with user_workspace() as workspace:
        campaign = find_campaign(workspace.ledger, number)
        situation = situation_of(workspace.ledger, campaign, moved=tuple(source_changes(workspace)))
        estimate = estimate_finish(workspace.ledger, campaign.environment, workspace.settings.salesforce)
    stuck = situation.of_state(PartitionState.FAILED, PartitionState.BLOCKED)
    facts = {
        **_facts(campaign),
        "partitions": situation.counts,
        "failed": [
            {
                "table": one.partition.table.name,
                "key": one.partition.key,
                "state": one.state.value,
                "reason": one.reason,
                "command": one.remedy if one.state is PartitionState.FAILED else None,
            }
            for one in stuck
        ],
        "estimate": estimate.as_json() if estimate else None,
    }
    emit(facts, as_json=as_json, text="\n".join(_lines(campaign, situation)))
    if estimate is not None:
        say(estimate.summary)


@app.command()
@explaining_errors
def stop(
    number: Number,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    as_json: AsJson = False,
) -> None:
    """Start no more partitions of a campaign; those already started run to their end."""
    from kpc.campaign.lifecycle import stop_campaign

    with user_workspace() as workspace:
        stopped = stop_campaign(workspace, number, reason)
    text = f"Campaign {number} starts no more partitions. To continue it, start it again with the same fields."
    emit(_facts(stopped), as_json=as_json, text=text)
    say("Partitions already started continue; `kpc pause` also holds back their next ingest jobs.")


def _facts(campaign: CampaignRow) -> dict[str, object]:
    names = ("state", "tables", "months", "mode", "options", "round", "run_id", "actor", "started_utc", "continued_utc")
    more = ("ended_utc", "ended_by", "reason", "result")
    return {"campaign": campaign.id, **{name: getattr(campaign, name) for name in (*names, *more)}}


def _months(campaign: CampaignRow) -> str:
    if len(campaign.months) < 2:
        return "".join(campaign.months)
    return f"{campaign.months[0]} to {campaign.months[-1]}"


def _lines(campaign: CampaignRow, situation: Situation) -> Iterator[str]:
    from kpc.campaign.dry_run import NUMBERS, dry_run_sentence
    from kpc.campaign.situation import PartitionState

    asked = {name: value for name, value in campaign.options.items() if value}
    yield f"Campaign {campaign.id} is {campaign.state}, round {campaign.round}, started by {campaign.actor}"
    yield f"tables: {', '.join(campaign.tables)}"
    yield f"months: {_months(campaign) or 'none'}; mode: {campaign.mode}; options: {asked or 'none'}"
    yield "partitions: " + ", ".join(f"{count:,} {state}" for state, count in situation.counts.items())
    stuck = situation.of_state(PartitionState.FAILED, PartitionState.BLOCKED)
    for one in stuck[:_LISTED]:
        command = f" `{one.remedy}`" if one.state is PartitionState.FAILED else ""
        yield f"  {one.partition} {one.state}: {one.reason}{command}"
    if len(stuck) > _LISTED:
        yield f"  and {len(stuck) - _LISTED:,} more; --json has all"
    if campaign.result and "dry_run" in campaign.result:
        report = campaign.result["dry_run"]
        yield dry_run_sentence(report)
        for row in report["tables"]:
            yield f"  {row['table']}: " + ", ".join(f"{name} {row[name]:,}" for name in NUMBERS)
