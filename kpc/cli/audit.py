"""`kpc audit`: verify, show and export the audit log."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid, say
from kpc.errors import ConfigError

if TYPE_CHECKING:
    from kpc.campaign.audit import AuditCheck

app = typer.Typer(no_args_is_help=False, help="Verify, show or export the audit log; without a subcommand: verify.")

Anchors = Annotated[
    list[Path] | None,
    typer.Option("--anchor", help="An exported log or certificate, kept elsewhere, that the log must agree with."),
]
PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", help="Each --anchor must be an export that was signed with this key."),
]
ReadAll = Annotated[bool, typer.Option("--files", help="Read large files too, not only their size.")]
Limit = Annotated[int, typer.Option(help="List at most this many, the newest.", min=0)]


@app.callback(invoke_without_command=True)
@explaining_errors
def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="List at most this many corrected cells, the newest.", min=0)] = 50,
    as_json: AsJson = False,
) -> None:
    """Verify the audit log; list the cells that people corrected."""
    if context.invoked_subcommand is None:
        _verify(None, reads_all=False, limit=limit, as_json=as_json)


@app.command()
@explaining_errors
def verify(
    anchor: Anchors = None,
    public_key: PublicKey = None,
    files: ReadAll = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Check the log, the ledger's rows and files that it vouches for, and anchors kept elsewhere."""
    from kpc.campaign.certificates import read_public_key

    key = read_public_key(public_key) if public_key else ""
    if key and not anchor:
        raise ConfigError(
            "--public-key checks the signatures of exports, but no export was given.",
            "Give one: `kpc audit verify --anchor FILE --public-key KEY`.",
        )
    _verify(anchor, key, reads_all=files, limit=limit, as_json=as_json)


def _verify(anchors: list[Path] | None, public_key: str = "", *, reads_all: bool, limit: int, as_json: bool) -> None:
    from kpc.campaign.audit import check_audit, check_export, places_of, read_anchors
    from kpc.repair.correction_log import logged_corrections
    from kpc.stages.setting_folders import naming_settings

    named = [one for path in anchors or () for one in read_anchors(path)]
    broken = [finding for path in anchors or () for finding in check_export(path, public_key)]
    with user_workspace() as workspace, naming_settings(workspace.settings):
        places = places_of(workspace.settings)
        with closing(places.store):
            found = check_audit(workspace.ledger, places, anchors=named, reads_all=reads_all, progress=say)
        corrections = logged_corrections(workspace.ledger)
    found.findings[:0] = broken
    newest = corrections[len(corrections) - limit :] if limit < len(corrections) else corrections
    lines = [*(found.findings or [_clean(found)]), *_span(found)]
    facts: dict[str, object] = {"ok": not found.findings, "problems": found.findings, **_facts(found)}
    if corrections:
        lines += [f"{len(corrections):,} cells of refused rows were corrected by people.", *map(str, newest)]
        facts |= {"corrected_cells": len(corrections), "corrections": [one.as_json() for one in newest]}
    emit(facts, as_json=as_json, text="\n".join(lines))
    if found.findings:
        say("RUNBOOK.md says what each finding means, and what to do.")
    for work in found.in_work[:limit]:
        say(f"Running or interrupted: {work}. The log covers its rows once it ends; `kpc status` shows it.")
    raise typer.Exit(Exit.FAILED if found.findings else Exit.DONE)


def _clean(found: AuditCheck) -> str:
    unread = (
        f" Of {found.unread:,} larger files, only the size was compared; `--files` reads them." if found.unread else ""
    )
    return (
        "The audit log is complete: every entry follows from the one before it, and it agrees with the "
        f"ledger's rows, {found.files:,} files and {found.anchors:,} anchors.{unread}"
    )


def _span(found: AuditCheck) -> list[str]:
    if found.first_utc is None or found.last_utc is None:
        return []
    span = f"{found.first_utc:%Y-%m-%d %H:%M:%S} to {found.last_utc:%Y-%m-%d %H:%M:%S} UTC"
    return [f"{found.entries:,} entries from {span}; head {found.head}."]


def _facts(found: AuditCheck) -> dict[str, object]:
    names = ("entries", "first_utc", "last_utc", "head", "files", "unread", "anchors", "in_work")
    return {name: getattr(found, name) for name in names}


@app.command()
@explaining_errors
def show(limit: Limit = 50, as_json: AsJson = False) -> None:
    """Show the newest entries."""
    from kpc.campaign.audit.export import as_json as entry_as_json

    with user_workspace() as workspace:
        entries = workspace.ledger.audit.entries(limit=limit)
    cells = [
        [
            one.seq,
            f"{one.at_utc:%Y-%m-%d %H:%M:%S}",
            one.actor,
            one.action,
            f"{one.table_name or ''} {one.partition_key or ''}".strip(),
            one.run_id,
            one.entry_hash[:12],
        ]
        for one in entries
    ]
    columns = ("entry", "time (UTC)", "person", "action", "partition", "run", "hash")
    facts: dict[str, Any] = {"entries": [entry_as_json(one) for one in entries]}
    emit(facts, as_json=as_json, text=grid("The newest entries of the audit log", columns, cells))


@app.command()
@explaining_errors
def export(
    file: Annotated[Path, typer.Argument(help="A new file; keep it where the ledger's owner cannot write.")],
    as_json: AsJson = False,
) -> None:
    """Write the log as JSON lines; the last line is its head, which `kpc audit verify --anchor FILE` compares.

    It is signed if KPC__CERTIFICATE_KEY is set.
    """
    from kpc.campaign.audit import export_log
    from kpc.campaign.certificates.signing import private_key
    from kpc.storage.store import write_text

    with user_workspace() as workspace:
        key = private_key(workspace.settings)
        lines = list(export_log(workspace.ledger, key))
    if file.exists():
        raise ConfigError(f"{file} already exists; an export overwrites nothing.", "Name a file that does not exist.")
    write_text(file, "".join(f"{line}\n" for line in lines))
    seal = ", signed" if key else "; not signed, because KPC__CERTIFICATE_KEY is not set"
    text = f"{file}: {len(lines) - 1:,} entries and the head of the log{seal}."
    emit({"file": str(file), "entries": len(lines) - 1, "is_signed": key is not None}, as_json=as_json, text=text)
