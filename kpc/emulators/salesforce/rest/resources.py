"""The REST API: versions, describe, rows, queries, limits."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of, queries_of
from kpc.emulators.salesforce.errors import ApiError, not_found
from kpc.emulators.salesforce.gate import NEWEST_VERSION
from kpc.emulators.salesforce.http.wire import Json
from kpc.emulators.salesforce.org.limits import MEGABYTE
from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.org.storage import Storage, table_of
from kpc.emulators.salesforce.rest.column_metadata import column_metadata
from kpc.emulators.salesforce.rest.describe import describe, describe_global, summary
from kpc.emulators.salesforce.soql.queries import PAGE_ROWS


async def versions(request: Request) -> Response:
    """GET /services/data, without a session."""
    numbers = range(org_of(request).switches.oldest_api_version, NEWEST_VERSION + 1)
    return Json(
        [{"label": f"Emulator {n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"} for n in numbers],
    )


async def resources(request: Request) -> Response:
    base = f"/services/data/v{request.path_params['version']}"
    names = ("sobjects", "query", "queryAll", "limits", "composite", "jobs")
    return Json({name: f"{base}/{name}" for name in names} | {"identity": "/services/oauth2/userinfo"})


async def all_objects(request: Request) -> Response:
    return Json(describe_global(org_of(request).schema, request.path_params["version"]))


async def one_object(request: Request) -> Response:
    return Json({"objectDescribe": summary(object_of(request), request.path_params["version"]), "recentItems": []})


async def describe_object(request: Request) -> Response:
    org, sobject = org_of(request), object_of(request)
    record_types = [each for each in org.access.setup.record_types if each["object"] == sobject.name]
    return Json(describe(org.schema, sobject, request.path_params["version"], record_types))


def object_of(request: Request) -> SObject:
    sobject = org_of(request).schema.find(request.path_params["object"])
    if sobject is None:
        raise not_found()
    return sobject


async def query(request: Request) -> Response:
    return await _query(request, deleted=False)


async def query_all(request: Request) -> Response:
    return await _query(request, deleted=True)


async def _query(request: Request, *, deleted: bool) -> Response:
    queries, version = queries_of(request), request.path_params["version"]
    if locator := request.path_params.get("locator"):
        return Json(await run_in_threadpool(queries.next_page, locator, version))
    explained = request.query_params.get("explain")
    if explained is not None:
        return Json(await run_in_threadpool(queries.explain, explained, deleted=deleted))
    soql = request.query_params.get("q")
    if soql is None:
        raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
    if request.query_params.get("columns", "").lower() == "true":
        return Json(column_metadata(queries.compiled(soql)))
    rows = _page_rows(request.headers.get("sforce-query-options", ""))
    page = await run_in_threadpool(queries.first_page, soql, version, deleted=deleted, page_rows=rows)
    return await run_in_threadpool(Json, page)


def _page_rows(options: str) -> int:
    """`batchSize=200` to 2000, as the client asks; 2000 otherwise."""
    name, _, value = options.partition("=")
    if name.strip().lower() == "batchsize" and value.strip().isdigit():
        return min(max(int(value), 200), PAGE_ROWS)
    return PAGE_ROWS


async def limits(request: Request) -> Response:
    org = org_of(request)
    switches = org.switches
    known = {
        "DailyApiRequests": (switches.daily_api_requests, org.api_requests.used),
        "DailyBulkApiBatches": (switches.daily_batches, org.batches.used),
        "DailyBulkV2QueryFileStorageMB": (switches.daily_query_result_mb, -(-org.query_bytes.used // MEGABYTE)),
        "DailyBulkV2QueryJobs": (switches.daily_query_jobs, org.query_jobs.used),
        "DailyAsyncApexExecutions": (250_000, 0),
        "DailyDurableStreamingApiEvents": (10_000, 0),
        "DailyStreamingApiEvents": (10_000, 0),
        "DataStorageMB": (org.access.setup.storage_mb, org.access.setup.storage_used_mb),
        "FileStorageMB": (100_000, 0),
        "HourlyODataCallout": (20_000, 0),
        "SingleEmail": (5_000, 0),
    }
    return Json({name: {"Max": most, "Remaining": max(most - used, 0)} for name, (most, used) in known.items()})


async def recent(_: Request) -> Response:
    """GET /recent: always empty, because the emulator has no pages on which records are viewed."""
    return Json([])


async def record_count(request: Request) -> Response:
    """GET /limits/recordCount?sObjects=A,B: counts of all owners' records, of all objects if none is named."""
    org = org_of(request)
    asked = request.query_params.get("sObjects")
    objects = [each for each in org.whole_schema if not each.is_setup]
    if asked:
        found = [org.whole_schema.find(name.strip()) for name in asked.split(",")]
        objects = [each for each in found if each is not None]
    return Json({"sObjects": await run_in_threadpool(_counts, org.storage, objects)})


def _counts(storage: Storage, objects: list[SObject]) -> list[dict[str, object]]:
    with storage.reading() as session:
        return [
            {
                "count": session.run(f"SELECT count(*) FROM {table_of(each)} WHERE NOT IsDeleted")[0][0],
                "name": each.name,
            }
            for each in objects
        ]
