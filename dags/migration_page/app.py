"""The FastAPI application that Airflow's api-server mounts below `/migration`."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from dags.migration_page.access import AirflowAccess
from dags.migration_page.endpoints import router
from dags.migration_page.evidence_files import router as evidence_files
from dags.migration_page.ledger_reading import LedgerReader, NothingHere
from kpc.errors import KpcError, Transient

PREFIX = "/migration"
STATIC = Path(__file__).with_name("static")
# Nothing is loaded from elsewhere, no other site may frame the page, and the HTML contains no script.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_OF_COMMANDS, _OF_THE_PAGE = (
    "then repeat the command; nothing is lost",
    "the page tries again by itself; nothing is lost",
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}


class MigrationPage(FastAPI):
    """Knows the application that it is mounted in: runs are started through that application's API, as the user."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["airflow_app"] = scope.get("app")
        await super().__call__(scope, receive, send)


def migration_page(access: Any = None, reader: LedgerReader | None = None) -> FastAPI:
    """The application. `access` says who may do what; by default Airflow's auth manager."""
    app = MigrationPage(title="Migration page", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.access = access or AirflowAccess()
    app.state.reader = reader or LedgerReader()
    app.include_router(router)
    app.include_router(evidence_files)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(KpcError, _explained)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.middleware("http")(_with_headers)
    return app


async def _with_headers(request: Request, call_next: Any) -> Response:
    answer: Response = await call_next(request)
    answer.headers.setdefault("Content-Security-Policy", _POLICY)
    answer.headers.setdefault("Cache-Control", "no-cache")
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _explained(request: Request, error: Exception) -> Response:
    """One sentence and its remedy; 503 for a transient error, 404 for what does not exist yet.

    The first campaign may wait for a missing worker, so an empty page also names the queues without one.
    """
    assert isinstance(error, KpcError)  # noqa: S101  registered for it
    if isinstance(error, Transient):
        remedy = error.remedy.replace(_OF_COMMANDS, _OF_THE_PAGE)
        return JSONResponse({"what": error.what, "remedy": remedy}, HTTPStatus.SERVICE_UNAVAILABLE)
    facts = {"what": error.what, "remedy": error.remedy}
    if isinstance(error, NothingHere):
        unserved = request.app.state.reader.unserved()
        return JSONResponse({**facts, "unserved": jsonable_encoder(unserved)}, HTTPStatus.NOT_FOUND)
    return JSONResponse(facts, HTTPStatus.CONFLICT)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_refusal_page(request, error), error.status_code)
    return await http_exception_handler(request, error)


def _refusal_page(request: Request, error: HTTPException) -> str:
    login = request.app.state.access.login_url(str(request.url.path))
    link = f'<p><a href="{login}" target="_top">Log in to Airflow</a></p>' if error.status_code == 401 else ""
    style = request.scope.get("root_path", "") + "/static/page.css"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Migration</title>'
        f'<link rel="stylesheet" href="{style}"></head><body><main class="refusal"><h1>{error.detail}</h1>{link}'
        "</main></body></html>"
    )


async def _not_understood(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for it
    names = ", ".join(".".join(map(str, each["loc"][1:])) or "the body" for each in error.errors())
    facts = {"what": f"The request is not valid: {names}.", "remedy": "docs/migration-page.md lists its fields."}
    return JSONResponse(facts, HTTPStatus.UNPROCESSABLE_ENTITY)
