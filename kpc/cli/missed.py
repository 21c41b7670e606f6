"""The command that finds stages which Airflow should have started: missed."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid, say


def register(app: typer.Typer) -> None:
    """Add this module's command to the application."""
    app.command()(missed)


@explaining_errors
def missed(
    start: Annotated[bool, typer.Option("--start", help="Start them; each runs once, whoever starts it.")] = False,
    minutes: Annotated[int, typer.Option(min=0, help="How long ago, at least, the stage before it ended.")] = 2,
    as_json: AsJson = False,
) -> None:
    """List what Airflow has not started, e.g. because a DAG was paused: stages of partitions, requests for sign-off."""
    from kpc.airflow_client.api import AirflowApi
    from kpc.airflow_client.missed import Missed, missed_json, missed_stages, start_missed
    from kpc.airflow_client.missed_hubs import missed_hubs
    from kpc.campaign.stopped import stopped_partitions

    after = timedelta(minutes=minutes)
    with user_workspace() as workspace:
        stopped = stopped_partitions(workspace.ledger, workspace.environment, after=after)
        with AirflowApi.of(workspace.settings) as api:
            found: list[Missed] = [*missed_stages(api, stopped), *missed_hubs(api, workspace, after=after)]
            runs = start_missed(api, found) if start else []
            pages = [api.run_page(run) for run in runs]
    left = [each for each in found if not (start and each.is_startable)]
    result = {"ok": not left, "missed": [missed_json(each) for each in found], "started": pages}
    columns = ("table", "key", "done", "missing", "cause")
    title = f"Stopped: {len(found)}" if found else "No partition has stopped, and no sign-off was forgotten."
    emit(result, as_json=as_json, text=grid(title, columns, [each.cells for each in found]) if found else title)
    for each in left:
        say(str(each))
    for page in pages:
        say(f"Started {page}")
    raise typer.Exit(Exit.EXCEPTIONS if left else Exit.DONE)
