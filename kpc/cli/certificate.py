"""`kpc certificate`: list, show and verify the certificates of reconciled partitions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpc.cli.arguments import AsJson, Key, TableName, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid
from kpc.errors import ConfigError
from kpc.partition import find_partition

if TYPE_CHECKING:
    from kpc.campaign.certificates import CertificateCheck

app = typer.Typer(no_args_is_help=True, help="The certificates of reconciled partitions.")


@app.command("list")
@explaining_errors
def list_(as_json: AsJson = False) -> None:
    """List the certificate of every partition's latest verdict, and whether it is still valid."""
    from kpc.campaign.certificates import current_certificates

    with user_workspace() as workspace:
        found = current_certificates(workspace)
        shown = {one.name: workspace.store.shown(one.path) for one in found}
    cells = [
        [
            one.table,
            one.key,
            one.state,
            "stands" if one.is_current else "loaded since",
            one.sha256[:16],
            shown[one.name],
        ]
        for one in found
    ]
    facts = [
        {
            "table": one.table,
            "key": one.key,
            "state": one.state,
            "is_current": one.is_current,
            "sha256": one.sha256,
            "file": shown[one.name],
        }
        for one in found
    ]
    columns = ("table", "key", "state", "certificate", "sha256", "file")
    emit({"certificates": facts}, as_json=as_json, text=grid("Certificates", columns, cells))


@app.command()
@explaining_errors
def show(table: TableName, key: Key, as_json: AsJson = False) -> None:
    """Show the certificate of a partition's latest verdict."""
    from kpc.campaign.certificates import Certificate, current_certificates

    partition = find_partition(table, key)
    with user_workspace() as workspace:
        for one in current_certificates(workspace):
            if (one.table, one.key) == (partition.table.name, partition.key):
                found = workspace.store.manifest(one.path.parent, Certificate, one.path.name)
                if found is None:
                    raise ConfigError(
                        f"{workspace.store.shown(one.path)} is gone.",
                        "Restore it from a backup; `kpc audit` says more.",
                    )
                facts = found.model_dump(mode="json")
                emit(facts, as_json=as_json, text="\n".join(_lines(facts, workspace.store.shown(one.path))))
                return
    raise ConfigError(
        f"{partition} has no certificate.", f"`kpc reconcile {partition.table.name} {partition.key}` writes one."
    )


def _lines(facts: dict[str, object], path: str) -> list[str]:
    lists = ("comparisons", "buckets", "jobs", "exceptions", "corrections", "files", "stages")
    lines = [f"file: {path}"]
    for name, value in facts.items():
        if name in lists and isinstance(value, list):
            lines.append(f"{name}: {len(value):,}")
        else:
            lines.append(f"{name}: {value}")
    return lines


@app.command()
@explaining_errors
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Certificates (the JSON files).")],
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="PEM; every certificate must be signed by this key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check each certificate's contents, its signature and the files beside it; needs no database."""
    from kpc.campaign.certificates import check_certificate, read_public_key

    key = read_public_key(public_key) if public_key is not None else ""
    checks = [(file, check_certificate(file, key)) for file in files]
    is_ok = not any(check.findings for _, check in checks)
    lines = [line for file, check in checks for line in (check.findings or [_clean(file, check)])]
    facts = [
        {
            "file": str(file),
            "ok": not check.findings,
            "problems": check.findings,
            "signed_by": check.signed_by or None,
            "files_named": check.files_named,
            "files_checked": check.files_checked,
        }
        for file, check in checks
    ]
    emit({"ok": is_ok, "certificates": facts}, as_json=as_json, text="\n".join(lines))
    raise typer.Exit(Exit.DONE if is_ok else Exit.FAILED)


def _clean(file: Path, check: CertificateCheck) -> str:
    found = check.certificate
    about = f"{found.table} {found.key}, {found.state}" if found else ""
    signed = f"signed by {check.signed_by[:16]}..." if check.signed_by else "not signed"
    return (
        f"{file}: {about}; its contents agree, {signed}; {check.files_checked:,} of {check.files_named:,} files that "
        "it names are here and unchanged."
    )


@app.command("public-key")
@explaining_errors
def public_key(as_json: AsJson = False) -> None:
    """Print the public key of KPC__CERTIFICATE_KEY in PEM, for whoever verifies certificates."""
    from kpc.campaign.certificates import public_key_pem
    from kpc.settings import load_settings

    pem = public_key_pem(load_settings())
    emit({"public_key": pem}, as_json=as_json, text=pem.rstrip())
