"""Data Docs, sign-off reports and certificates behind Airflow's log-in. Files with keys of rows are not served."""

from __future__ import annotations

import json
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from dags.migration_page.access import VisitorDep
from dags.migration_page.ledger_reading import LedgerReader
from expectations.files import Project
from kpc.partition import find_partition
from kpc.storage.layout import PartitionPaths
from kpc.storage.object_store import ObjectStore, directory_of, is_url

router = APIRouter()
_NO_DOCS = "You may not see the runs of the DAG data_docs."
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
# The pages have inline styles and one script; nothing that they show may send requests elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@router.get("/docs/partitions/{table}/{key}")
def partition_docs(request: Request, visitor: VisitorDep, table: str, key: str) -> Response:
    """Redirect to the page of a partition's newest result, or to the overview if none has been built yet."""
    partition = find_partition(table, key)
    if not visitor.may_read_docs:
        raise HTTPException(HTTPStatus.FORBIDDEN, _NO_DOCS)
    site = Project(request.app.state.reader.settings.reconcile.docs_root).site
    table_name = partition.table.name
    pages = (site / "validations" / table_name).glob(f"{table_name}__{partition.key}__*/*/*.html")
    newest = max(pages, key=lambda page: page.parent.name, default=None)  # the folder's name is the time of the run
    target = newest.relative_to(site).as_posix() if newest else "index.html"
    return RedirectResponse(f"../../{target}", HTTPStatus.SEE_OTHER)


@router.get("/docs/{path:path}")
def data_docs(request: Request, visitor: VisitorDep, path: str = "") -> Response:
    """A page of the Data Docs, or what it loads."""
    if not visitor.may_read_docs:
        raise HTTPException(HTTPStatus.FORBIDDEN, _NO_DOCS)
    project = Project(request.app.state.reader.settings.reconcile.docs_root)
    if path.startswith("reports/"):
        return _file_below(project.reports, path.removeprefix("reports/"))
    return _file_below(project.site, path or "index.html")


@router.get("/api/reports")
def reports(request: Request, visitor: VisitorDep) -> dict[str, list[str]]:
    """The names of the sign-off reports, newest first; the endpoint of the Data Docs serves them in `reports`."""
    if not visitor.may_read_docs:
        raise HTTPException(HTTPStatus.FORBIDDEN, _NO_DOCS)
    folder = Project(request.app.state.reader.settings.reconcile.docs_root).reports
    files = sorted(folder.glob("*.html"), key=lambda file: file.stat().st_mtime, reverse=True)
    return {"reports": [file.name for file in files]}


@router.get("/api/certificates/{table}/{key}")
def certificate(request: Request, visitor: VisitorDep, table: str, key: str) -> dict[str, Any]:
    """The certificate of a partition's newest verdict, with counts in place of rows' keys."""
    partition = find_partition(table, key)
    if partition.table.name not in visitor.certificates:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"You may not see the certificates of {partition.table.name}.")
    reader: LedgerReader = request.app.state.reader
    environment = reader.environment(
        request.query_params.get("source_id", ""), request.query_params.get("target_id", "")
    )
    run = reader.ledger.overview.certificate_of(environment, partition)
    if run is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{partition} has no certificate.")
    folder = PartitionPaths.below(
        Path(), environment.source_id, environment.target_id, partition.table.name.lower(), partition.key
    )
    path = folder.generation(run.generation or "").reconciled / run.file_name
    content = _content(reader.settings.staging.root, path)
    if content is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"Airflow's api-server cannot read {path} below the staging root.")
    return _without_keys(json.loads(content))


def _content(root: str, path: Path) -> bytes | None:
    try:
        return ObjectStore(root).read(path.as_posix()) if is_url(root) else (directory_of(root) / path).read_bytes()
    except OSError:
        return None


def _without_keys(certificate: dict[str, Any]) -> dict[str, Any]:
    counted = Counter(f"{one['error_class']} {one['error_code']}" for one in certificate["exceptions"])
    return {**certificate, "exceptions": dict(counted), "corrections": len(certificate["corrections"])}


def _file_below(folder: Path, name: str) -> Response:
    """A file below the folder; paths and links that lead out of it are not found."""
    missing = HTTPException(HTTPStatus.NOT_FOUND, "There is no such page. The DAG data_docs builds them.")
    if "\0" in name:
        raise missing
    root, file = folder.resolve(), (folder / name).resolve()
    if not file.is_relative_to(root) or not file.is_file() or file.suffix not in _TYPES:
        raise missing
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return FileResponse(file, media_type=_TYPES[file.suffix], headers=headers)
