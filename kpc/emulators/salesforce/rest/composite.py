"""sObject collections: up to 200 records in one request, each with its own result."""

from __future__ import annotations

from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of, user_of
from kpc.emulators.salesforce.errors import ApiError, bad_json
from kpc.emulators.salesforce.http.wire import Json, read_object
from kpc.emulators.salesforce.org.ids import to_18
from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.rest import trees
from kpc.emulators.salesforce.rest.resources import object_of
from kpc.emulators.salesforce.rest.single_rows import read_records
from kpc.emulators.salesforce.writing.records import Record, WrittenRecord, save

_MOST_RECORDS = 200
_MOST_READ = 2000


async def insert(request: Request) -> Response:
    """POST /composite/sobjects."""
    records, all_or_none = await _given(request)
    return await _answer(request, "insert", records, None, all_or_none=all_or_none)


async def insert_tree(request: Request) -> Response:
    """POST /composite/tree/OBJECT: records with their children, all or none."""
    org = org_of(request)
    body = await read_object(request)
    levels = trees.read_tree(org.schema, object_of(request), body.get("records"))
    await run_in_threadpool(trees.insert_tree, org, levels, user_of(request))
    nodes = [node for level in levels for node in level]
    failed = [{"referenceId": node.reference, "errors": [node.error.json]} for node in nodes if node.error]
    if failed:
        return Json({"hasErrors": True, "results": failed}, 400)
    made = [{"referenceId": node.reference, "id": node.id} for node in nodes]
    return Json({"hasErrors": False, "results": made}, 201)


async def update(request: Request) -> Response:
    """PATCH /composite/sobjects."""
    records, all_or_none = await _given(request)
    records = [(sobject, _with_id(record)) for sobject, record in records]
    return await _answer(request, "update", records, None, all_or_none=all_or_none)


async def upsert(request: Request) -> Response:
    """PATCH /composite/sobjects/OBJECT/FIELD."""
    sobject = object_of(request)
    key = sobject.find(request.path_params["field"])
    if key is None or not key.is_key:
        name = request.path_params["field"]
        raise ApiError(400, "INVALID_FIELD", f"{name} is not an external ID field of {sobject.name}")
    records, all_or_none = await _given(request)
    for each, _ in records:
        if each.name != sobject.name:
            raise ApiError(400, "INVALID_TYPE", f"All records must be of type {sobject.name}")
    return await _answer(request, "upsert", records, key, all_or_none=all_or_none)


async def delete(request: Request) -> Response:
    """DELETE /composite/sobjects?ids=...&allOrNone=..."""
    org = org_of(request)
    ids = [each.strip() for each in request.query_params.get("ids", "").split(",") if each.strip()]
    _check_number(len(ids), _MOST_RECORDS)
    records: list[tuple[SObject, Record]] = []
    for each in ids:
        sobject = org.schema.of_id(to_18(each) or "")
        if sobject is None or not sobject.is_writable:
            raise ApiError(400, "MALFORMED_ID", f"malformed id {each[:40]}")
        records.append((sobject, {"Id": each}))
    all_or_none = request.query_params.get("allOrNone", "").lower() == "true"
    return await _answer(request, "delete", records, None, all_or_none=all_or_none)


async def retrieve(request: Request) -> Response:
    """GET with ids and fields in the query, or POST with both in the body; null where there is no record."""
    sobject = object_of(request)
    if request.method == "POST":
        body = await read_object(request)
        ids, names = body.get("ids"), body.get("fields")
    else:
        ids = [each.strip() for each in request.query_params.get("ids", "").split(",") if each.strip()]
        names = [each.strip() for each in request.query_params.get("fields", "").split(",") if each.strip()]
    if not _is_text_list(ids) or not _is_text_list(names) or not names:
        raise bad_json("ids and fields must be lists of text")
    wanted = [to_18(each) for each in cast("list[str]", ids)]
    _check_number(len(wanted), _MOST_READ)
    known = [each for each in wanted if each]
    found = await run_in_threadpool(
        read_records, request, sobject, sobject.by_name["id"], known, [*cast("list[str]", names), "Id"]
    )
    by_id = {str(record["Id"]): record for record in found}
    return Json([by_id.get(each or "") for each in wanted])


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


async def _given(request: Request) -> tuple[list[tuple[SObject, Record]], bool]:
    """The records of the body with their objects, and allOrNone."""
    schema = org_of(request).schema
    body = await read_object(request)
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise bad_json("records must be a list of objects")
    _check_number(len(records), _MOST_RECORDS)
    typed: list[tuple[SObject, Record]] = []
    for record in records:
        attributes = record.get("attributes")
        name = attributes.get("type") if isinstance(attributes, dict) else request.path_params.get("object")
        sobject = schema.find(name) if isinstance(name, str) else None
        if sobject is None or not sobject.is_writable:
            raise ApiError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        typed.append((sobject, record))
    return typed, body.get("allOrNone") is True


def _with_id(record: Record) -> Record:
    """Clients spell it `id` or `Id`."""
    return {("Id" if name.lower() == "id" else name): value for name, value in record.items()}


def _check_number(count: int, most: int) -> None:
    if count == 0:
        raise ApiError(400, "REQUIRED_FIELD_MISSING", "At least one record is needed")
    if count > most:
        raise ApiError(
            400, "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {most} records in this operation"
        )


async def _answer(
    request: Request,
    operation: str,
    records: list[tuple[SObject, Record]],
    key: SObjectField | None,
    *,
    all_or_none: bool,
) -> Response:
    org = org_of(request)
    saved: list[WrittenRecord] = await run_in_threadpool(
        save, org, operation, records, user_of(request), key=key, all_or_none=all_or_none
    )
    return Json([each.as_json(with_created=operation == "upsert") for each in saved])
