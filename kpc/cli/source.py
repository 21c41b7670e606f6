"""`kpc source`: which database the migration reads, and adopting it after a failover."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import emit, explaining_errors, grid

app = typer.Typer(no_args_is_help=True, help="Show or adopt the source database.")


@app.command()
@explaining_errors
def show(as_json: AsJson = False) -> None:
    """List the databases that the ledger knows, with the incarnation that is read; contacts no system."""
    with user_workspace() as workspace:
        rows = workspace.ledger.sources.all()
    cells = [
        [row.source_id, row.live_id, str(row.incarnation),
         f"{row.incarnation_utc:%Y-%m-%d %H:%M}" if row.incarnation_utc else "the first"]
        for row in rows
    ]  # fmt: skip
    text = grid("Source databases", ("key in the ledger", "identity", "incarnation", "adopted (UTC)"), cells)
    emit({"sources": [asdict(row) for row in rows]}, as_json=as_json, text=text)


@app.command()
@explaining_errors
def adopt(
    reason: Annotated[str, typer.Option(help="Why, such as the failover's date; written to the audit log.")],
    new: Annotated[
        bool, typer.Option("--new", help="The database or owner differs from the one that an earlier version knew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Adopt the database as it is open now, after a failover, flashback or restore; records of past loads are kept."""
    from kpc.stages.source_identity import adopt as adopt_source

    with user_workspace() as workspace:
        who = {"actor": workspace.actor, "run_id": workspace.run_id}
        live = workspace.oracle.identity()
        adopted = adopt_source(workspace.ledger, live, reason=reason, is_new=new, **who)
    text = f"{adopted.source_id} is read as incarnation {adopted.incarnation} from now on."
    if adopted.incarnation != adopted.former_incarnation:
        text += (
            f" {adopted.abandoned:,} unfinished extracts of incarnation {adopted.former_incarnation} were abandoned; "
            "the next extract of each partition reads all of it."
        )
    emit(asdict(adopted), as_json=as_json, text=text)
