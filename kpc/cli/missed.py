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
    start: Annotated[bool, typer.Option("--start", help="Start them; each once, whoever else does it too.")] = False,
    minutes: Annotated[int, typer.Option(min=0, help="Since how long the stage before it is done, at least.")] = 2,
    as_json: AsJson = False,
) -> None:
    """List the partitions whose next stage Airflow has not started, e.g. because its DAG was paused, and why."""
    from kpc.airflow_client.api import AirflowApi
    from kpc.airflow_client.missed import missed_stages, start_missed
    from kpc.campaign.stopped import stopped_partitions

    with user_workspace() as workspace:
        found = stopped_partitions(workspace.ledger, workspace.environment, after=timedelta(minutes=minutes))
        with AirflowApi.of(workspace.settings) as api:
            stages = missed_stages(api, found)
            runs = start_missed(api, stages) if start else []
            pages = [api.run_page(run) for run in runs]
    left = [each for each in stages if not (start and each.is_startable)]
    result = {"ok": not left, "missed": [each.as_json() for each in stages], "started": pages}
    columns = ("table", "key", "done", "missing", "cause")
    cells = [[each.partition.table.name, each.partition.key, each.after, each.stage, each.cause] for each in stages]
    title = f"{len(stages)} partitions stopped between two stages" if stages else "No partition has stopped."
    emit(result, as_json=as_json, text=grid(title, columns, cells) if stages else title)
    for each in left:
        say(str(each))
    for page in pages:
        say(f"Started {page}")
    raise typer.Exit(Exit.EXCEPTIONS if left else Exit.DONE)
