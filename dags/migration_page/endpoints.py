"""The page's endpoints: the HTML, the overview as JSON, and the actions, which are audited with the user's name."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from dags.migration_page.access import SameSite, Visitor, VisitorDep
from dags.migration_page.actions import start_run
from dags.migration_page.ledger_reading import LedgerReader
from kpc.campaign.overview import only_tables
from kpc.campaign.pausing import pause_loads, resume_loads
from kpc.catalog import TABLES, Phase, find_table
from kpc.ledger.states import PauseScope
from kpc.partition import Environment, find_partition

router = APIRouter()
_INDEX = Path(__file__).with_name("static") / "index.html"
_JSON = "application/json"


class PauseRequest(BaseModel):
    """What to pause or resume: everything (`name` is `all`), a phase or a table."""

    model_config = ConfigDict(extra="forbid")

    kind: PauseScope
    name: str = Field("all", max_length=64)
    reason: str = Field("", max_length=500)
    source_id: str = Field("", max_length=64)
    target_id: str = Field("", max_length=64)


class RunRequest(BaseModel):
    """A partition to start at a stage; the stages after it follow. A mode can only be chosen at the first stage."""

    model_config = ConfigDict(extra="forbid")

    table: str = Field(max_length=64)
    key: str = Field(max_length=16)
    stage: str = Field(max_length=32)
    mode: Literal["incremental", "full"] | None = None
    source_id: str = Field("", max_length=64)
    target_id: str = Field("", max_length=64)


@router.get("/", include_in_schema=False)
def page(request: Request, _visitor: VisitorDep) -> Response:
    """The page itself; its scripts ask for the rest."""
    del request
    return FileResponse(_INDEX, media_type="text/html")


@router.get("/api/me")
def me(visitor: VisitorDep) -> dict[str, Any]:
    """The user, and what may be done on this page."""
    return visitor.rights()


@router.get("/api/overview")
def overview(
    request: Request, visitor: VisitorDep, source_id: str = "", target_id: str = "", since: str = ""
) -> Response:
    """The state of all partitions (docs/migration-page.md). 304 if `If-None-Match` names what the ledger still holds.

    With `since`, the tag of an earlier answer, `cells` has only those that changed, and the answer repeats `since`.
    """
    reader: LedgerReader = request.app.state.reader
    environment = reader.environment(source_id, target_id)
    document = reader.document(environment)
    if not visitor.tables >= TABLES.keys():
        document = only_tables(document, visitor.tables)
    tag, body = reader.answer(document, since)
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=int(HTTPStatus.NOT_MODIFIED), headers=headers)
    return Response(body, media_type=_JSON, headers=headers)


@router.post("/api/pause", dependencies=[SameSite])
def pause(request: Request, body: PauseRequest, visitor: VisitorDep) -> dict[str, Any]:
    """Stop creating ingest jobs for what is named; running jobs are polled to their end."""
    reader, environment = _reader(request, body)
    kind, name = _pausable(body, visitor)
    is_new = pause_loads(
        reader.ledger, environment, kind, name, actor=visitor.actor, run_id=_ORIGIN, reason=body.reason
    )
    reader.forget()
    return {"ok": True, "is_new": is_new}


@router.post("/api/resume", dependencies=[SameSite])
def resume(request: Request, body: PauseRequest, visitor: VisitorDep) -> dict[str, Any]:
    """End a pause; with `all`, every pause."""
    reader, environment = _reader(request, body)
    kind, name = _pausable(body, visitor)
    lifted = resume_loads(reader.ledger, environment, kind, name, actor=visitor.actor, run_id=_ORIGIN)
    reader.forget()
    return {"ok": True, "lifted": lifted}


@router.post("/api/runs", dependencies=[SameSite])
def run(request: Request, body: RunRequest, visitor: VisitorDep) -> dict[str, Any]:
    """Start a partition again at a stage, as the user: Airflow itself decides whether the user may."""
    partition = find_partition(body.table, body.key)
    if partition.table.name not in visitor.startable:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"You may not start runs of {partition.table.name}.")
    reader, environment = _reader(request, body)
    started = start_run(
        request.state.airflow_app, reader.ledger, environment, visitor, partition, stage=body.stage, mode=body.mode
    )
    reader.forget()
    return {"ok": True, **started}


_ORIGIN = "migration page"  # in the audit log, in place of the id of a run or command


def _reader(request: Request, body: PauseRequest | RunRequest) -> tuple[LedgerReader, Environment]:
    reader: LedgerReader = request.app.state.reader
    return reader, reader.environment(body.source_id, body.target_id)


def _pausable(body: PauseRequest, visitor: Visitor) -> tuple[PauseScope, str]:
    """What the request names, if the user may pause all of its tables."""
    match body.kind:
        case PauseScope.ALL:
            name, tables = "all", set(TABLES)
        case PauseScope.PHASE:
            phase = _phase(body.name)
            name, tables = phase.value, {one.name for one in TABLES.values() if one.phase == phase}
        case PauseScope.TABLE:
            name = find_table(body.name).name
            tables = {name}
    if not tables <= visitor.pausable:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"You may not pause or resume {name}.")
    return body.kind, name


def _phase(name: str) -> Phase:
    if name not in list(Phase):
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"The phases are {', '.join(Phase)}.")
    return Phase(name)
