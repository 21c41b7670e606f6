"""The ASGI application: every path the org answers to."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from kpc.emulators.salesforce import admin, admin_setup
from kpc.emulators.salesforce.app import SalesforceEmulator
from kpc.emulators.salesforce.bulk import ingest, ingest_results, query_jobs
from kpc.emulators.salesforce.bulk_v1 import job_endpoints
from kpc.emulators.salesforce.bulk_v1.forms import PREFIX, refusal
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.gate import Gate
from kpc.emulators.salesforce.http.wire import Json, error_answer
from kpc.emulators.salesforce.oauth import authorize, identity, soap, token_endpoint
from kpc.emulators.salesforce.rest import composite, resources, single_rows, subrequests

_DATA = "/services/data/v{version}"
_FIRST_GZIP_BYTES = 1024


def build_app(emulator: SalesforceEmulator) -> Starlette:
    app = Starlette(
        routes=[
            *_admin_routes(),
            *_login_routes(),
            *_rest_routes(),
            *_row_routes(),
            *_composite_routes(),
            *_ingest_routes(),
            *_query_routes(),
            *_bulk_v1_routes(),
        ],
        middleware=[
            Middleware(GZipMiddleware, minimum_size=_FIRST_GZIP_BYTES, compresslevel=1),
            Middleware(Gate, emulator=emulator),
        ],
        exception_handlers={ApiError: _refused, 404: _unknown_path, 405: _wrong_method},
    )
    app.router.redirect_slashes = False
    app.state.emulator = emulator
    return app


def _both(path: str, endpoint: object, *methods: str) -> list[BaseRoute]:
    """The path with and without a slash at its end: clients differ."""
    return [Route(path, endpoint, methods=methods), Route(path + "/", endpoint, methods=methods)]  # type: ignore[arg-type]


def _login_routes() -> list[BaseRoute]:
    return [
        *_both("/services/oauth2/token", token_endpoint.token, "GET", "POST"),
        *_both("/services/oauth2/authorize", authorize.authorize, "GET", "POST"),
        *_both("/services/oauth2/introspect", token_endpoint.introspect, "POST"),
        *_both("/services/oauth2/revoke", token_endpoint.revoke, "GET", "POST"),
        *_both("/services/oauth2/userinfo", identity.user_info, "GET", "POST"),
        *_both("/id/{org}/{user}", identity.identity, "GET", "POST"),
        *_both("/services/Soap/u/{version}", soap.login, "POST"),
        *_both("/services/Soap/u/{version}/{org}", soap.login, "POST"),
        *_both("/services/Soap/c/{version}", soap.login, "POST"),
        *_both("/services/Soap/c/{version}/{org}", soap.login, "POST"),
    ]


def _admin_routes() -> list[BaseRoute]:
    return [
        *_both("/_emulator", admin.state, "GET"),
        *_both("/_emulator/jobs", admin.job_times, "GET"),
        *_both("/_emulator/switches", admin.change_switches, "PATCH", "POST"),
        *_both("/_emulator/faults", admin.add_faults, "POST"),
        *_both("/_emulator/faults", admin.clear_faults, "DELETE"),
        *_both("/_emulator/clock", admin.set_clock, "POST"),
        *_both("/_emulator/tokens/expire", admin.expire_tokens, "POST"),
        *_both("/_emulator/usage", admin.use, "POST"),
        *_both("/_emulator/history", admin.history, "GET"),
        *_both("/_emulator/queries", admin.queries, "GET"),
        *_both("/_emulator/queries", admin.forget_queries, "DELETE"),
        *_both("/_emulator/reset", admin.reset, "POST"),
        *_both("/_emulator/setup", admin_setup.show_setup, "GET"),
        *_both("/_emulator/setup", admin_setup.change_setup, "PATCH", "POST"),
        *_both("/_emulator/users", admin_setup.show_users, "GET"),
        *_both("/_emulator/users", admin_setup.keep_user, "POST"),
    ]


def _rest_routes() -> list[BaseRoute]:
    return [
        *_both("/services/data", resources.versions, "GET"),
        *_both(_DATA, resources.resources, "GET"),
        *_both(f"{_DATA}/query", resources.query, "GET"),
        *_both(f"{_DATA}/query/{{locator}}", resources.query, "GET"),
        *_both(f"{_DATA}/queryAll", resources.query_all, "GET"),
        *_both(f"{_DATA}/queryAll/{{locator}}", resources.query_all, "GET"),
        *_both(f"{_DATA}/tooling/query", resources.query, "GET"),
        *_both(f"{_DATA}/tooling/query/{{locator}}", resources.query, "GET"),
        *_both(f"{_DATA}/recent", resources.recent, "GET"),
        *_both(f"{_DATA}/limits", resources.limits, "GET"),
        *_both(f"{_DATA}/limits/recordCount", resources.record_count, "GET"),
    ]


def _row_routes() -> list[BaseRoute]:
    one = f"{_DATA}/sobjects/{{object}}"
    return [
        *_both(f"{_DATA}/sobjects", resources.all_objects, "GET"),
        *_both(one, resources.one_object, "GET"),
        *_both(one, single_rows.create_row, "POST"),
        *_both(f"{one}/describe", resources.describe_object, "GET"),
        *_both(f"{one}/updated", single_rows.updated, "GET"),
        *_both(f"{one}/deleted", single_rows.deleted, "GET"),
        *_both(f"{one}/{{value}}", single_rows.read_row, "GET"),
        *_both(f"{one}/{{value}}", single_rows.change_row, "PATCH"),
        *_both(f"{one}/{{value}}", single_rows.delete_row, "DELETE"),
        Route(f"{one}/{{field}}/{{value:path}}", single_rows.read_row, methods=["GET"]),
        Route(f"{one}/{{field}}/{{value:path}}", single_rows.change_row, methods=["PATCH"]),
        Route(f"{one}/{{field}}/{{value:path}}", single_rows.delete_row, methods=["DELETE"]),
    ]


def _composite_routes() -> list[BaseRoute]:
    many = f"{_DATA}/composite/sobjects"
    return [
        *_both(f"{_DATA}/composite", subrequests.composite, "POST"),
        *_both(f"{_DATA}/composite/batch", subrequests.batch, "POST"),
        *_both(f"{_DATA}/composite/graph", subrequests.graph, "POST"),
        *_both(f"{_DATA}/composite/tree/{{object}}", composite.insert_tree, "POST"),
        *_both(many, composite.insert, "POST"),
        *_both(many, composite.update, "PATCH"),
        *_both(many, composite.delete, "DELETE"),
        *_both(f"{many}/{{object}}", composite.retrieve, "GET", "POST"),
        *_both(f"{many}/{{object}}/{{field}}", composite.upsert, "PATCH"),
    ]


def _query_routes() -> list[BaseRoute]:
    jobs = f"{_DATA}/jobs/query"
    return [
        *_both(jobs, query_jobs.create, "POST"),
        *_both(jobs, query_jobs.list_jobs("query"), "GET"),
        *_both(f"{jobs}/{{job}}", query_jobs.poll, "GET"),
        *_both(f"{jobs}/{{job}}", query_jobs.change_state, "PATCH"),
        *_both(f"{jobs}/{{job}}", query_jobs.delete, "DELETE"),
        *_both(f"{jobs}/{{job}}/results", query_jobs.results, "GET"),
        *_both(f"{jobs}/{{job}}/resultPages", query_jobs.result_pages, "GET"),
    ]


def _ingest_routes() -> list[BaseRoute]:
    jobs = f"{_DATA}/jobs/ingest"
    return [
        *_both(jobs, ingest.create, "POST"),
        *_both(jobs, query_jobs.list_jobs("ingest"), "GET"),
        *_both(f"{jobs}/{{job}}", ingest.poll, "GET"),
        *_both(f"{jobs}/{{job}}", ingest.change_state, "PATCH"),
        *_both(f"{jobs}/{{job}}", ingest.delete, "DELETE"),
        *_both(f"{jobs}/{{job}}/batches", ingest.upload, "PUT"),
        *_both(f"{jobs}/{{job}}/{{results}}", ingest_results.results, "GET"),
    ]


def _bulk_v1_routes() -> list[BaseRoute]:
    """Bulk API 1.0."""
    job = f"{PREFIX}{{version}}/job/{{job}}"
    return [
        *_both(f"{PREFIX}{{version}}/job", job_endpoints.create, "POST"),
        *_both(job, job_endpoints.job_facts, "GET"),
        *_both(job, job_endpoints.change_state, "POST"),
        *_both(f"{job}/batch", job_endpoints.batches, "GET"),
        *_both(f"{job}/batch", job_endpoints.add_batch, "POST"),
        *_both(f"{job}/batch/{{batch}}", job_endpoints.batch_facts, "GET"),
        *_both(f"{job}/batch/{{batch}}/request", job_endpoints.batch_request, "GET"),
        *_both(f"{job}/batch/{{batch}}/result", job_endpoints.batch_results, "GET"),
        *_both(f"{job}/batch/{{batch}}/result/{{result}}", job_endpoints.query_result, "GET"),
    ]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  the handler is registered for this class
    return refusal(request, error) if request.scope["path"].startswith(PREFIX) else error_answer(error)


async def _unknown_path(_: Request, __: Exception) -> Response:
    return Json([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}], 404)


async def _wrong_method(request: Request, _: Exception) -> Response:
    message = f"HTTP Method '{request.method}' not allowed. The resource does not take it."
    return Json([{"errorCode": "METHOD_NOT_ALLOWED", "message": message}], 405)
