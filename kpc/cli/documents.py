"""Commands that write what people read: the Data Docs and the sign-off reports."""

from __future__ import annotations

from typing import Annotated

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, say
from kpc.errors import ConfigError, KpcError


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(docs)
    app.command()(report)


@explaining_errors
def docs(as_json: AsJson = False) -> None:
    """Build the Data Docs from the stored results, the plan and the ledger, and print their address."""
    from expectations import build_data_docs
    from expectations.campaign_reading import read_campaign
    from kpc.settings import load_settings
    from kpc.stages.setting_folders import naming_settings

    settings = load_settings()
    root = settings.reconcile.docs_root
    with naming_settings(settings):
        try:
            with user_workspace() as workspace:
                read_campaign(root, workspace)
        except KpcError as error:
            say(f"The plan, the progress and the sign-offs are as of the last time that they could be read. {error}")
        index = build_data_docs(root)
    emit({"index": str(index)}, as_json=as_json, text=str(index))


@explaining_errors
def report(
    phase: Annotated[str, typer.Argument(metavar="[PHASE]", help="A phase; without it, the whole migration.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the sign-off report of a phase or of the whole migration: one printable file, never replaced."""
    from expectations.sign_off_report import write_report
    from kpc.campaign.sign_off_evidence import phase_of
    from kpc.catalog import Phase
    from kpc.stages.names import MIGRATION

    if phase not in ("", MIGRATION, *Phase):
        raise ConfigError(f"There is no phase {phase!r}.", f"Give one of {', '.join([*Phase, MIGRATION])}.")
    with user_workspace() as workspace:
        root = workspace.settings.reconcile.docs_root
        written = write_report(root, workspace, phase_of(phase or MIGRATION))
    facts = {
        "report": str(written.file),
        "sha256": written.sha256,
        "subject": written.subject,
        "is_complete": written.is_complete,
    }
    emit({"ok": written.is_complete, **facts}, as_json=as_json, text=f"{written.file}\nsha256 {written.sha256}")
    if not written.is_complete:
        say(f"Not complete: {written.summary}")
        raise typer.Exit(Exit.EXCEPTIONS)
