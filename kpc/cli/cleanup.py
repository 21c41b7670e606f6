"""Commands that remove files which are no longer needed: archive."""

from __future__ import annotations

from typing import Annotated

import typer

from kpc.cli.arguments import AsJson, Key, TableName, user_workspace
from kpc.cli.output import emit, explaining_errors
from kpc.errors import ConfigError
from kpc.partition import find_partition


def register(app: typer.Typer) -> None:
    """Add this module's command to the application."""
    app.command()(archive)


@explaining_errors
def archive(
    table: TableName,
    key: Key,
    policy: Annotated[str, typer.Option(help="archive: move the chunks to the archive root; delete: remove them.")] = (
        "archive"
    ),
    as_json: AsJson = False,
) -> None:
    """Archive or delete the chunks of a reconciled partition; extract, manifests and job results are kept."""
    from kpc.stages.context import PartitionContext
    from kpc.staging.cleanup import clean_up

    if policy not in ("archive", "delete"):
        raise ConfigError(f"There is no policy {policy!r}.", "The policies are archive and delete.")
    partition = find_partition(table, key)
    with user_workspace() as workspace:
        cleaned = clean_up(PartitionContext(workspace, partition), policy)  # type: ignore[arg-type]
    if cleaned is None:
        emit({"chunks": []}, as_json=as_json, text=f"{partition} has no chunks to {policy}.")
        return
    done = f"moved to {cleaned.place}" if cleaned.place else "deleted"
    text = f"{len(cleaned.chunks)} chunks of {partition} were {done}."
    emit(cleaned.model_dump(mode="json"), as_json=as_json, text=text)
