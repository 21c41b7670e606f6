"""Commands that prove: preflight, reconcile, docs, audit."""

from __future__ import annotations

from typing import Annotated

import typer

from kpc.cli.journey import AsJson, Key, TableName, _workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid
from kpc.partition import find_partition


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(preflight)
    app.command()(reconcile)
    app.command()(docs)
    app.command()(audit)


@explaining_errors
def preflight(as_json: AsJson = False) -> None:
    """Log in to both systems and compare their schemas with the catalog; nothing is read or sent."""
    from assets.preflight import check_systems

    with _workspace() as workspace:
        checks = check_systems(workspace)
    cells = [[check.system, check.subject, "ok" if check.is_ok else "FAILED", check.message] for check in checks]
    is_ok = all(check.is_ok for check in checks)
    facts = [{"system": c.system, "subject": c.subject, "ok": c.is_ok, "message": c.message} for c in checks]
    text = grid("Preflight", ("system", "subject", "result", "message"), cells)
    emit({"ok": is_ok, "checks": facts}, as_json=as_json, text=text)
    raise typer.Exit(Exit.DONE if is_ok else Exit.FAILED)


@explaining_errors
def reconcile(
    table: TableName,
    key: Key,
    level3: Annotated[str, typer.Option(help="auto, sample, full or off.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare a loaded partition with Salesforce again: counts, aggregates and checksums, down to keys and fields."""
    from assets.reconciled import reconciled

    partition = find_partition(table, key)
    with _workspace() as workspace:
        receipt = reconciled(partition, workspace, level3=level3)
    text = grid("", tuple(receipt.detail), [list(receipt.detail.values())])
    emit(receipt.as_json(), as_json=as_json, text=text)
    raise typer.Exit(Exit.EXCEPTIONS if receipt.state == "reconciled_with_exceptions" else Exit.DONE)


@explaining_errors
def docs(as_json: AsJson = False) -> None:
    """Build the Data Docs from the stored results and say where they are."""
    from expectations import build_data_docs
    from kpc.settings import load_settings

    index = build_data_docs(load_settings().reconcile.docs_root)
    emit({"index": str(index)}, as_json=as_json, text=str(index))


@explaining_errors
def audit(as_json: AsJson = False) -> None:
    """Check the audit log's hash chain from its first entry to its last."""
    with _workspace() as workspace:
        problems = workspace.ledger.verify_audit()
    text = "\n".join(problems) if problems else "The audit log is whole: every entry follows from the one before it."
    emit({"ok": not problems, "problems": problems}, as_json=as_json, text=text)
    raise typer.Exit(Exit.FAILED if problems else Exit.DONE)
