"""Bulk API 2.0 ingest: create, upload, close or abort, poll, results, delete, list."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of, processor_of, user_of
from kpc.emulators.salesforce.bulk.processing import CONTENT, Processor
from kpc.emulators.salesforce.bulk.retention import find_kept
from kpc.emulators.salesforce.errors import ApiError, bad_json
from kpc.emulators.salesforce.http.wire import ClientDisconnect, Json, body_pieces, parse_json, read_body, text_of
from kpc.emulators.salesforce.org.jobs import (
    ABORTED,
    DELIMITERS,
    LINE_ENDINGS,
    OPEN,
    UPLOAD_COMPLETE,
    Job,
    wrong_state,
)
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.settings import Switches

_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
_MOST_INLINE_CHARS = 100_000
_NOTICE_S = 1.0
_BLOCK_BYTES = 1 << 20


async def create(request: Request) -> Response:
    """POST /jobs/ingest, as JSON, or as multipart with the content."""
    org = org_of(request)
    content_type = request.headers.get("content-type", "")
    body = await read_body(request)
    if content_type.lower().startswith("multipart/form-data"):
        facts, content = _parts(content_type, body)
        job = await run_in_threadpool(_new_job, org, request, parse_json(facts))
        path = org.jobs.folder(job.id) / CONTENT
        await run_in_threadpool(path.write_bytes, content)
        job.is_uploaded = True
        return Json(await run_in_threadpool(_close, org, processor_of(request), job, job.info))
    job = await run_in_threadpool(_new_job, org, request, parse_json(body))
    return Json(job.info())


def _new_job(org: Org, request: Request, body: object) -> Job:
    if not isinstance(body, dict):
        raise bad_json("The request body must be a JSON object")
    operation = text_of(body, "operation")
    if operation not in _OPERATIONS:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : {operation} is not one of {', '.join(_OPERATIONS)}")
    sobject = org.schema.find(text_of(body, "object"))
    if sobject is None or not sobject.is_writable:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : The object {body['object']} does not exist")
    if operation == "hardDelete" and not org.access.permissions_of(user_of(request)).bulk_api_hard_delete:
        what = "hardDelete operation requires special user profile permission, please contact your system administrator"
        raise ApiError(400, "FEATURENOTENABLED", f"FeatureNotEnabled : {what}")
    if str(body.get("contentType", "CSV")).upper() != "CSV":
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : contentType {body['contentType']} is not CSV")
    if org.batches.used >= org.switches.daily_batches or org.records.used >= org.switches.daily_records:
        raise ApiError(400, "EXCEEDEDQUOTA", "ExceededQuota : the batches allowed in 24 hours are used up")
    job = Job(
        id=org.jobs.new_id(),
        kind="ingest",
        operation=operation,
        sobject=sobject.name,
        created_by=user_of(request),
        created=org.clock.now().timestamp(),
        api_version=request.path_params["version"],
        external_id_field=_external_id(body, sobject, operation),
        column_delimiter=choice(body, "columnDelimiter", "COMMA", DELIMITERS),
        line_ending=choice(body, "lineEnding", "LF", LINE_ENDINGS),
        assignment_rule_id=text_of(body, "assignmentRuleId", "") or None,
    )
    org.jobs.add(job)
    return job


def _external_id(body: dict[str, object], sobject: SObject, operation: str) -> str | None:
    name = body.get("externalIdFieldName")
    if operation != "upsert":
        return None  # clients send it with other operations as well; it means nothing there
    if not isinstance(name, str) or not name:
        raise ApiError(400, "INVALIDJOB", "InvalidJob : externalIdFieldName is required for upsert")
    spec = sobject.find(name)
    if spec is None or not spec.is_key:
        what = f"Field name provided, {name} is not an External ID or indexed field for {sobject.name}"
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : {what}")
    return spec.name


def choice(body: dict[str, object], name: str, default: str, choices: dict[str, str]) -> str:
    value = str(body.get(name) or default).upper()
    if value not in choices:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : {name} {value} is not one of {', '.join(choices)}")
    return value


def _parts(content_type: str, body: bytes) -> tuple[bytes, bytes]:
    """The two parts of a multipart body: the job as JSON, the content as CSV."""
    boundary = re.search(r'boundary="?([^";,]+)"?', content_type, re.IGNORECASE)
    if boundary is None:
        raise bad_json("The multipart request has no boundary")
    found: dict[str, bytes] = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, content = part.lstrip(b"\r\n").partition(b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n")
        name = re.search(rb'name="?([\w-]+)"?', head)
        if name:
            ending = 2 if content.endswith(b"\r\n") else 1 if content.endswith(b"\n") else 0
            found[name[1].decode()] = content[: len(content) - ending]
    if "job" not in found or "content" not in found:
        raise bad_json("The multipart request needs the parts job and content")
    if len(found["content"].decode(errors="replace")) > _MOST_INLINE_CHARS:
        raise ApiError(
            400, "CLIENTINPUTERROR", f"Content in a multipart request has at most {_MOST_INLINE_CHARS} characters"
        )
    return found["job"], found["content"]


async def upload(request: Request) -> Response:
    """PUT the content, once per job; sized or chunked, plain or gzip. It is kept on disk, never whole in memory."""
    org, job = org_of(request), find_job(request)
    await _earlier_upload_over(job)
    with org.jobs.changing(job):
        if job.state != OPEN:
            raise wrong_state(f"InvalidJobState : the job is {job.state}; content is taken only while it is Open")
        if job.is_uploading or job.is_uploaded:
            raise wrong_state("InvalidJobState : content can be uploaded only once per job")
        job.is_uploading = True
    folder = org.jobs.folder(job.id)
    arriving = folder / "arriving"
    try:
        await _spool(request, org.switches, arriving)
        arriving.rename(folder / CONTENT)
        job.is_uploaded = True
        await run_in_threadpool(org.jobs.save, job)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it; the job stays Open and takes another upload
    finally:
        job.is_uploading = False
        arriving.unlink(missing_ok=True)
    return Response(status_code=201)


async def _earlier_upload_over(job: Job) -> None:
    """Wait for an earlier upload whose broken connection has not been noticed yet, so that an immediate retry works."""
    deadline = time.monotonic() + _NOTICE_S
    while job.is_uploading and time.monotonic() < deadline:  # noqa: ASYNC110  nothing tells when it ends
        await asyncio.sleep(0.01)


async def _spool(request: Request, switches: Switches, path: Path) -> None:
    is_gzip = request.headers.get("content-encoding", "").strip().lower() not in ("", "identity")
    if is_gzip and switches.gzip_upload == "refuse":
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding gzip is not supported for job content")
    kind = request.headers.get("content-type", "text/csv").split(";")[0].strip().lower()
    if kind not in ("text/csv", "application/octet-stream", ""):
        raise ApiError(400, "CLIENTINPUTERROR", f"ClientInputError : Content-Type {kind} is not text/csv")
    pieces = request.stream() if is_gzip and switches.gzip_upload == "misread" else body_pieces(request)
    size, waiting = 0, bytearray()
    async with await anyio.open_file(path, "wb") as file:
        async for piece in pieces:
            size += len(piece)
            if size > switches.upload_limit_bytes:
                raise ApiError(
                    switches.too_large_status,
                    "CLIENTINPUTERROR",
                    f"ClientInputError : the content is larger than {switches.upload_limit_bytes} bytes",
                )
            waiting += piece
            if len(waiting) >= _BLOCK_BYTES:
                await file.write(waiting)
                waiting.clear()
        await file.write(waiting)


async def change_state(request: Request) -> Response:
    """PATCH: close (UploadComplete) or abort."""
    org, job = org_of(request), find_job(request)
    body = parse_json(await read_body(request))
    state = body.get("state") if isinstance(body, dict) else None
    if state == UPLOAD_COMPLETE:
        return Json(await run_in_threadpool(_close, org, processor_of(request), job, job.short_info))
    if state == ABORTED:
        return Json(await run_in_threadpool(_abort, org, job))
    raise ApiError(400, "INVALIDJOBSTATE", f"InvalidJobState : a job cannot be set to {state}")


def _close(org: Org, processor: Processor, job: Job, describe: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Hand the job to the workers; returns its state before a worker takes it."""
    with org.jobs.changing(job):
        if job.state != OPEN:
            raise wrong_state(f"InvalidJobState : the job is {job.state} and cannot be closed")
        if job.is_uploading:
            raise wrong_state("InvalidJobState : an upload to the job is in progress")
        if not job.is_uploaded:
            (org.jobs.folder(job.id) / CONTENT).touch()
        job.state = UPLOAD_COMPLETE
        job.modified = job.closed = org.clock.now().timestamp()
        info = describe()
    org.jobs.save(job)
    processor.submit(job)
    return info


def _abort(org: Org, job: Job) -> dict[str, object]:
    with org.jobs.changing(job):
        if job.is_over and job.state != ABORTED:
            raise wrong_state(f"InvalidJobState : the job is {job.state} and cannot be aborted")
        job.state = ABORTED
        job.modified = job.ended = org.clock.now().timestamp()
        info = job.short_info()
    org.jobs.save(job)
    return info


async def poll(request: Request) -> Response:
    return Json(find_job(request).full_info())


async def delete(request: Request) -> Response:
    jobs, job = org_of(request).jobs, find_job(request)
    with jobs.changing(job):
        if not (job.is_over or job.state == UPLOAD_COMPLETE):
            raise wrong_state(f"InvalidJobState : the job is {job.state}; abort it before it is deleted")
        job.state = ABORTED if not job.is_over else job.state  # no worker takes it any more
    await run_in_threadpool(jobs.remove, job)
    return Response(status_code=204)


def find_job(request: Request, kind: str = "ingest") -> Job:
    return find_kept(org_of(request), request.path_params["job"], kind)
