"""`kpc purge` and `kpc data-map`: where personal data is stored, and removing files that hold rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, say
from kpc.errors import ConfigError

if TYPE_CHECKING:
    from kpc.campaign.file_kinds import FileKind
    from kpc.campaign.purge import PurgeResult

_MOST_LISTED = 20


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(purge)
    app.command(name="data-map")(data_map)


@explaining_errors
def purge(
    table: Annotated[str, typer.Argument(metavar="[TABLE]", help="Oracle table name; all tables if left out.")] = "",
    key: Annotated[str, typer.Argument(metavar="[KEY]", help="One partition of it: a month, or ALL.")] = "",
    kind: Annotated[
        str, typer.Option(help="Kinds of files, separated by commas; `kpc data-map` lists them. All if left out.")
    ] = "",
    due_now: Annotated[bool, typer.Option("--due-now", help="Purge files of any age.")] = False,
    reason: Annotated[str, typer.Option(help="Why; recorded in the tombstone of each file.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go and what is needed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove files that hold rows and are past their retention; the audit log keeps a tombstone of each.

    Files that are still needed are kept, and the exit code is then 3.
    """
    from kpc.campaign.purge import PurgeWish
    from kpc.campaign.purge import purge as purge_files
    from kpc.campaign.purge_passes import purge_passes

    if due_now and not (reason or dry_run):
        raise ConfigError("Purging before the retention ends needs its reason.", "Give it: --reason TEXT.")
    wish = PurgeWish(
        tables=(table,) if table else (),
        key=key or None,
        kinds=_kinds(kind),
        reason=reason,
        is_due_now=due_now,
        is_dry=dry_run,
    )
    with user_workspace() as workspace:
        results = [*purge_files(workspace, wish), *purge_passes(workspace, wish)]
    gone, kept = [r for r in results if r.need is None], [r for r in results if r.need is not None]
    files, size = sum(len(r.files) for r in gone), sum(r.bytes for r in gone)
    done = "would be purged" if dry_run else "were purged"
    lists = {"purged": [r.as_json() for r in gone], "needed": [r.as_json() for r in kept]}
    text = f"{files:,} files with {size / 1e6:,.1f} MB {done}."
    emit({"dry_run": dry_run, "files": files, "bytes": size, **lists}, as_json=as_json, text=text)
    _say_kept(kept)
    if kept:
        raise typer.Exit(Exit.EXCEPTIONS)


def _say_kept(kept: list[PurgeResult]) -> None:
    for result in kept[:_MOST_LISTED]:
        need = result.need
        say(f"{result.partition} keeps its {result.kind}: {need.reason if need else ''}. {need.remedy if need else ''}")
    if len(kept) > _MOST_LISTED:
        say(f"{len(kept) - _MOST_LISTED:,} more are needed; `kpc purge --dry-run --json` has all.")


def _kinds(given: str) -> tuple[FileKind, ...]:
    from kpc.campaign.file_kinds import FileKind

    names = [name.strip() for name in given.split(",") if name.strip()]
    known = {kind.value: kind for kind in FileKind}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"There is no kind of files {unknown[0]!r}.", f"The kinds are {', '.join(known)}.")
    return tuple(known[name] for name in names) or tuple(FileKind)


@explaining_errors
def data_map(as_json: AsJson = False) -> None:
    """Show for each column whether it is personal, how it is treated, which files hold it, and for how long."""
    from kpc.campaign.data_map import as_page, data_map_of
    from kpc.settings import load_settings

    found = data_map_of(load_settings().retention)
    emit(found.as_json(), as_json=as_json, text=as_page(found))
