"""Bulk API 2.0 query jobs: create, poll, pages of results, abort, delete, list."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of, queries_of, query_worker_of, user_of
from kpc.emulators.salesforce.bulk.ingest import choice, find_job
from kpc.emulators.salesforce.bulk.query_worker import RESULT
from kpc.emulators.salesforce.bulk.retention import keep_time
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import Json, csv_answer, read_object, text_of
from kpc.emulators.salesforce.org.jobs import (
    ABORTED,
    DELIMITERS,
    JOB_COMPLETE,
    LINE_ENDINGS,
    UPLOAD_COMPLETE,
    Job,
    wrong_state,
)
from kpc.emulators.salesforce.org.limits import MEGABYTE
from kpc.emulators.salesforce.soql.queries import csv_header

_ROWS_AT_ONCE = 20_000
_MOST_PAGES = 1_000


async def create(request: Request) -> Response:
    """POST /jobs/query."""
    org, body = org_of(request), await read_object(request)
    operation, soql = text_of(body, "operation"), text_of(body, "query")
    if operation not in ("query", "queryAll"):
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : {operation} is not one of query, queryAll")
    compiled = queries_of(request).compiled(soql)
    if compiled.is_aggregate or compiled.is_count:
        raise ApiError(400, "API_ERROR", "Aggregate Relationships not supported in Bulk Query")
    if compiled.children:
        raise ApiError(400, "API_ERROR", "Nested queries are not supported in Bulk Query")
    if compiled.offset:
        raise ApiError(400, "API_ERROR", "OFFSET not supported in Bulk Query")
    if org.query_jobs.used >= org.switches.daily_query_jobs:
        raise ApiError(400, "EXCEEDEDQUOTA", "ExceededQuota : the query jobs allowed in 24 hours are used up")
    if org.query_bytes.used >= org.switches.daily_query_result_mb * MEGABYTE:
        raise ApiError(400, "EXCEEDEDQUOTA", "ExceededQuota : the query results allowed in 24 hours are used up")
    org.query_jobs.add(1)
    job = Job(
        id=await run_in_threadpool(org.jobs.new_id),
        kind="query",
        operation=operation,
        sobject=compiled.sobject.name,
        created_by=user_of(request),
        created=org.clock.now().timestamp(),
        api_version=request.path_params["version"],
        query=soql,
        column_delimiter=choice(body, "columnDelimiter", "COMMA", DELIMITERS),
        line_ending=choice(body, "lineEnding", "LF", LINE_ENDINGS),
        state=UPLOAD_COMPLETE,
    )
    info = job.info()
    await run_in_threadpool(org.jobs.add, job)
    query_worker_of(request).submit(job)
    return Json(info)


async def poll(request: Request) -> Response:
    return Json(find_job(request, "query").full_info())


async def change_state(request: Request) -> Response:
    """PATCH: abort, the only change a query job knows."""
    org, job = org_of(request), find_job(request, "query")
    state = (await read_object(request)).get("state")
    if state != ABORTED:
        raise wrong_state(f"InvalidJobState : a query job cannot be set to {state}")
    with org.jobs.changing(job):
        if job.is_over and job.state != ABORTED:
            raise wrong_state(f"InvalidJobState : the job is {job.state} and cannot be aborted")
        job.state = ABORTED
        job.modified = job.ended = org.clock.now().timestamp()
    await run_in_threadpool(org.jobs.save, job)
    return Json(job.short_info())


async def delete(request: Request) -> Response:
    org, job = org_of(request), find_job(request, "query")
    if not job.is_over:
        raise wrong_state(f"InvalidJobState : the job is {job.state}; abort it before it is deleted")
    await run_in_threadpool(org.jobs.remove, job)
    return Response(status_code=204)


async def results(request: Request) -> Response:
    """GET results: a page of CSV. The locator of the last page is the word null."""
    org, job = org_of(request), find_job(request, "query")
    _demand_version(request, job)
    if job.state != JOB_COMPLETE:
        status = org.switches.early_query_results_status
        if status == 204:
            return Response(status_code=204)
        raise _too_early(job, status)
    offset = _offset(request.query_params.get("locator"), job)
    most = _most_records(request, org.switches.query_page_rows)
    rows = min(most, job.processed - offset)
    end = offset + rows
    compiled = queries_of(request).compiled(job.query or "")
    headers = {
        "sforce-numberofrecords": str(rows),
        "sforce-locator": _locator(end) if end < job.processed else "null",
    }
    path = org.jobs.folder(job.id) / RESULT
    return csv_answer(request, _csv(path, job, csv_header(compiled.outputs), offset, rows), headers)


async def result_pages(request: Request) -> Response:
    """GET resultPages: the addresses of many pages at once, for clients that read them in parallel."""
    org, job = org_of(request), find_job(request, "query")
    _demand_version(request, job)
    if job.state != JOB_COMPLETE:
        raise _too_early(job, 400)
    most = _most_records(request, org.switches.query_page_rows)
    base = f"/services/data/v{job.api_version}/jobs/query/{job.id}"
    start = _offset(request.query_params.get("queryLocator"), job)
    end = start + _MOST_PAGES * most
    offsets = range(start, min(max(job.processed, 1), end), most)
    pages = [{"resultUrl": f"{base}/results?locator={_locator(each)}&maxRecords={most}"} for each in offsets]
    done = end >= job.processed
    more = None if done else f"{base}/resultPages?queryLocator={_locator(end)}&maxRecords={most}"
    return Json({"resultPages": pages, "nextRecordsUrl": more, "done": done})


def _demand_version(request: Request, job: Job) -> None:
    if job.api_version != request.path_params["version"]:
        message = f"The job was created with API version {job.api_version}; read its results with the same"
        raise ApiError(409, "API_ERROR", message)


def _too_early(job: Job, status: int) -> ApiError:
    return ApiError(status, "JOB_NOT_COMPLETE", f"The job is {job.state}; results can be read when it is JobComplete")


def _most_records(request: Request, default: int) -> int:
    text = request.query_params.get("maxRecords", str(default))
    if not text.isdigit() or int(text) < 1:
        raise ApiError(400, "CLIENTINPUTERROR", f"ClientInputError : maxRecords {text} is not a positive number")
    return int(text)


def _locator(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode().rstrip("=")


def _offset(locator: str | None, job: Job) -> int:
    if not locator or locator == "null":
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)))
    except ValueError as error:
        raise ApiError(400, "INVALIDQUERYLOCATOR", f"InvalidQueryLocator : {locator[:80]}") from error
    if not 0 <= offset <= job.processed:
        raise ApiError(400, "INVALIDQUERYLOCATOR", f"InvalidQueryLocator : {locator[:80]}")
    return offset


def _csv(path: Path, job: Job, header: list[str], offset: int, rows: int) -> Iterator[bytes]:
    yield (job.separator.join(f'"{name}"' for name in header) + job.line_end).encode()
    with closing(pa.memory_map(str(path))) as source:
        table = pa.ipc.open_file(source).read_all().slice(offset, rows)
        for start in range(0, rows, _ROWS_AT_ONCE):
            frame = pl.DataFrame(table.slice(start, _ROWS_AT_ONCE))
            yield frame.write_csv(
                include_header=False,
                separator=job.separator,
                line_terminator=job.line_end,
                quote_style="always",
                null_value="",
            ).encode()


def list_jobs(kind: str) -> object:
    """The endpoint that lists jobs of a kind, 1000 a page."""

    async def listed(request: Request) -> Response:
        return Json(_job_page(request, kind))

    return listed


_PAGE_JOBS = 1000


def _job_page(request: Request, kind: str) -> dict[str, object]:
    org = org_of(request)
    jobs = [job for job in org.jobs if job.kind == kind and keep_time(org, job)]
    wanted = request.query_params.get("jobType")
    if wanted and wanted.lower() not in ("v2ingest" if kind == "ingest" else "v2query", "all"):
        jobs = []
    locator = request.query_params.get("queryLocator")
    start = int(locator) if locator and locator.isdigit() else 0
    end = start + _PAGE_JOBS
    version = request.path_params["version"]
    more = end < len(jobs)
    return {
        "done": not more,
        "records": [job.list_info() for job in jobs[start:end]],
        "nextRecordsUrl": f"/services/data/v{version}/jobs/{kind}?queryLocator={end}" if more else None,
    }
