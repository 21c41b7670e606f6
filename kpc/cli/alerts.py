"""`kpc alerts`: which alerts were raised, and whether the channels work."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid, say

if TYPE_CHECKING:
    from kpc.ledger import AlertMessage, AlertRow

app = typer.Typer(no_args_is_help=True, help="Show alerts, and test their channels.")


@app.command(name="list")
@explaining_errors
def list_(
    past: Annotated[bool, typer.Option("--past", help="Also closed alerts, at most the newest 100.")] = False,
    as_json: AsJson = False,
) -> None:
    """List open alerts and whether their messages were delivered; reads only the ledger."""
    from kpc.campaign.alerts import known_environment

    rows: list[AlertRow] = []
    messages: list[AlertMessage] = []
    with user_workspace() as workspace:
        environment = known_environment(workspace)
        if environment is not None:
            rows = workspace.ledger.alerts.all(environment, is_open=None if past else True, most=100)
            messages = workspace.ledger.alerts.messages([row.id for row in rows])
    of = {row.id: [one for one in messages if one.alert == row.id] for row in rows}
    text = _grid(rows, of) if rows else f"No alert is {'known' if past else 'open'}."
    emit({"alerts": [_facts(row, of[row.id]) for row in rows]}, as_json=as_json, text=text)
    if not as_json:
        for row in rows:
            if row.closed_utc is None:
                say(f"{row.what} {row.remedy}")
    waiting = [one for one in messages if one.sent_utc is None]
    if waiting:
        say(f"{len(waiting):,} messages have not been delivered; the newest: {waiting[-1].error or 'not tried yet'}")


def _grid(rows: list[AlertRow], messages: dict[int, list[AlertMessage]]) -> Any:
    cells = [
        [
            row.kind,
            row.subject,
            row.cases,
            f"{row.since_utc:%Y-%m-%d %H:%M}",
            f"{row.closed_utc:%Y-%m-%d %H:%M}" if row.closed_utc else "open",
            ", ".join(f"{one.event} by {one.channel}: {one.state}" for one in messages[row.id]) or "no channel",
        ]
        for row in rows
    ]
    return grid("Alerts (UTC)", ("kind", "subject", "cases", "since", "until", "messages"), cells)


def _facts(row: AlertRow, messages: list[AlertMessage]) -> dict[str, object]:
    names = ("event", "channel", "state", "tries", "created_utc", "sent_utc", "error")
    facts = {name: getattr(row, name) for name in ("id", *(n for n in asdict(row) if n != "id"))}
    return {**facts, "messages": [{name: getattr(one, name) for name in names} for one in messages]}


@app.command()
@explaining_errors
def test(as_json: AsJson = False) -> None:
    """Send a test message through each channel, from an Airflow worker, because Airflow holds their connections."""
    from kpc.airflow_client.dag_alerts import test_channels
    from kpc.settings import load_settings

    outcome, page = test_channels(load_settings(), say=say)
    is_ok = all(result == "sent" for result in outcome.values())
    text = grid("Test messages", ("channel", "result"), [[name, result] for name, result in outcome.items()])
    emit({"ok": is_ok, "channels": outcome, "page": page}, as_json=as_json, text=text)
    raise typer.Exit(Exit.DONE if is_ok else Exit.FAILED)
