"""Bulk API 1.0, as far as loaders that have not moved to 2.0 need it: jobs and batches of CSV or JSON, and queries."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import bulk_v1_jobs_of, org_of, user_of
from kpc.emulators.salesforce.bulk_v1.forms import answer, answer_list, read_facts, speaks_json
from kpc.emulators.salesforce.bulk_v1.jobs import QUERIES, BulkV1Batch, BulkV1Job, batch_result_id
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import read_body
from kpc.emulators.salesforce.org.schema import SObject, SObjectField

_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete", *QUERIES)
_CONCURRENCY = {"0": "Parallel", "1": "Serial", "parallel": "Parallel", "serial": "Serial"}


async def create(request: Request) -> Response:
    """POST /services/async/VERSION/job."""
    facts = read_facts(request, await read_body(request))
    job = await run_in_threadpool(_new_job, request, facts)
    bulk_v1_jobs_of(request).add(job)
    return answer("jobInfo", job.facts(), 201, as_json=speaks_json(request))


def _new_job(request: Request, facts: dict[str, str]) -> BulkV1Job:
    org = org_of(request)
    operation, content_type = facts.get("operation", ""), facts.get("contentType", "XML")
    sobject = org.schema.find(facts.get("object", ""))
    if operation not in _OPERATIONS:
        raise ApiError(400, "InvalidJob", f"{operation[:40]} is not one of {', '.join(_OPERATIONS)}")
    if sobject is None or not (sobject.is_writable or operation in QUERIES):
        raise ApiError(400, "InvalidJob", f"Unable to find object: {facts.get('object', '')[:80]}")
    if content_type not in ("CSV", "JSON"):
        raise ApiError(400, "FeatureNotEnabled", f"contentType is CSV or JSON here, not {content_type[:20]}")
    return BulkV1Job(
        id=org.jobs.new_id(),
        operation=operation,
        sobject=sobject,
        key=_key(sobject, facts.get("externalIdFieldName", "")) if operation == "upsert" else None,
        content_type=content_type,
        concurrency=_CONCURRENCY.get(facts.get("concurrencyMode", "0").lower(), "Parallel"),
        user_id=user_of(request),
        created=org.clock.now(),
        version=request.path_params["version"],
    )


def _key(sobject: SObject, name: str) -> SObjectField:
    key = sobject.find(name)
    if key is None or not key.is_key:
        raise ApiError(400, "InvalidJob", f"{name[:80]} is not an external id field of {sobject.name}")
    return key


async def job_facts(request: Request) -> Response:
    return answer("jobInfo", _job(request).facts(), as_json=speaks_json(request))


async def change_state(request: Request) -> Response:
    """POST to the job: Closed or Aborted; what its batches wrote stays."""
    job, facts = _job(request), read_facts(request, await read_body(request))
    state = facts.get("state", "")
    if state not in ("Closed", "Aborted") or job.state not in ("Open", state):
        raise ApiError(400, "InvalidJobState", f"A job that is {job.state} cannot become {state[:40]}")
    job.state = state
    return answer("jobInfo", job.facts(), as_json=speaks_json(request))


async def add_batch(request: Request) -> Response:
    job, content = _job(request), await read_body(request)
    batch = await run_in_threadpool(bulk_v1_jobs_of(request).run, job, content)
    facts = batch.facts() | {"state": "Queued", "stateMessage": None}
    return answer("batchInfo", facts, 201, as_json=job.speaks_json)


async def batches(request: Request) -> Response:
    job = _job(request)
    known = [each.facts() for each in job.batches.values()]
    return answer("batchInfoList", {"batchInfo": known}, as_json=job.speaks_json)


async def batch_facts(request: Request) -> Response:
    return answer("batchInfo", _batch(request).facts(), as_json=_job(request).speaks_json)


async def batch_request(request: Request) -> Response:
    """What the client sent."""
    return _content(_job(request), _batch(request).request)


async def batch_results(request: Request) -> Response:
    """A result row per row; of a query the ids of its results, of which there is one."""
    job, batch = _job(request), _done(_batch(request))
    if job.operation in QUERIES:
        return answer_list([batch_result_id(batch)], as_json=job.speaks_json)
    return _content(job, batch.result)


async def query_result(request: Request) -> Response:
    """The records that a query found."""
    job, batch = _job(request), _done(_batch(request))
    if job.operation not in QUERIES or request.path_params["result"][:15] != batch_result_id(batch)[:15]:
        raise ApiError(400, "InvalidBatch", "Unable to find the result")
    return _content(job, batch.result)


def _content(job: BulkV1Job, content: bytes) -> Response:
    return Response(content, headers={"content-type": job.media_type})  # without a charset: clients compare it


def _done(batch: BulkV1Batch) -> BulkV1Batch:
    if batch.message:
        raise ApiError(400, "InvalidBatch", f"The batch failed and has no results: {batch.message}")
    return batch


def _job(request: Request) -> BulkV1Job:
    return bulk_v1_jobs_of(request).find(request.path_params["job"])


def _batch(request: Request) -> BulkV1Batch:
    batch_id = request.path_params["batch"]
    found = [each for each in _job(request).batches.values() if each.id[:15] == batch_id[:15]]
    if not found:
        raise ApiError(400, "InvalidBatch", f"Unable to find batch: {batch_id[:40]}")
    return found[0]
