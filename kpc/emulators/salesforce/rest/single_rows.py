"""Single rows over REST: create, read, change, upsert, delete, and what changed in a span of time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of, user_of
from kpc.emulators.salesforce.errors import ApiError, RowRefusal, not_found
from kpc.emulators.salesforce.http.wire import Json, read_object
from kpc.emulators.salesforce.org.clock import iso_offset
from kpc.emulators.salesforce.org.ids import to_18
from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.org.storage import Storage, table_of
from kpc.emulators.salesforce.rest.resources import object_of
from kpc.emulators.salesforce.soql.queries import compile_in, records
from kpc.emulators.salesforce.soql.tree import Compare, Item, Literal, Path, SoqlQuery
from kpc.emulators.salesforce.writing.records import WrittenRecord, save

_FIRST_WITH_UPSERT_BODY = 46.0
_MULTIPLE = 300


async def create_row(request: Request) -> Response:
    sobject, body = object_of(request), await read_object(request)
    saved = await _save(request, "insert", sobject, body, None)
    return Json({"id": saved.id, "success": True, "errors": []}, 201)


async def read_row(request: Request) -> Response:
    """GET by id or by external id, all fields or those of `fields`."""
    sobject, key, value = _target(request)
    wanted = request.query_params.get("fields")
    names = [each.strip() for each in wanted.split(",")] if wanted else [each.name for each in sobject.fields]
    found = await run_in_threadpool(read_records, request, sobject, key, [value], names)
    if not found:
        raise not_found()
    if len(found) > 1:
        return _several([str(cast("dict[str, str]", each["attributes"])["url"]) for each in found])
    return Json(found[0])


def read_records(
    request: Request, sobject: SObject, key: SObjectField, values: list[str], names: list[str]
) -> list[dict[str, object]]:
    """Live records whose `key` is one of `values`, with the named fields."""
    org = org_of(request)
    found: list[dict[str, object]] = []
    items = tuple(Item(Path(tuple(name.split(".")))) for name in dict.fromkeys(names))
    for value in values:
        kind = "number" if key.is_number else "string"
        asked = SoqlQuery(items, sobject.name, where=Compare(Path((key.name,)), "=", Literal(kind, value)))
        compiled = compile_in(org, asked)
        with org.storage.reading() as session:
            table = session.table(compiled.sql, compiled.parameters)
        found += records(compiled, table, request.path_params["version"])
    return found


def _target(request: Request) -> tuple[SObject, SObjectField, str]:
    """The object, the key field and its value that a path names."""
    sobject = object_of(request)
    name = request.path_params.get("field", "Id")
    key = sobject.find(name)
    value: str = request.path_params["value"]
    if key is None or not key.is_key:
        raise ApiError(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {name}")
    if key.name == "Id":
        value = to_18(value) or ""
        if not value.startswith(sobject.prefix):
            raise not_found("Provided external ID field does not exist or is not accessible")
    return sobject, key, value


async def change_row(request: Request) -> Response:
    """PATCH by id: update. By external id: upsert."""
    sobject, key, value = _target(request)
    body = await read_object(request)
    if any(name.lower() == key.name.lower() for name in body):
        raise ApiError(400, "INVALID_FIELD", f"The {key.name} field should not be specified in the sobject data.")
    operation = "update" if key.name == "Id" else "upsert"
    saved = await _save(request, operation, sobject, {key.name: value, **body}, key)
    has_body = float(request.path_params["version"]) >= _FIRST_WITH_UPSERT_BODY
    if operation == "update" or not (saved.created or has_body):
        return Response(status_code=204)
    answer: dict[str, object] = {"id": saved.id, "success": True, "errors": [], "created": saved.created}
    return Json(answer, 201 if saved.created else 200)


async def delete_row(request: Request) -> Response:
    sobject, key, value = _target(request)
    if key.name != "Id":
        found = await run_in_threadpool(read_records, request, sobject, key, [value], ["Id"])
        if not found:
            raise not_found()
        value = str(found[0]["Id"])
    await _save(request, "delete", sobject, {"Id": value}, None)
    return Response(status_code=204)


async def _save(
    request: Request, operation: str, sobject: SObject, body: dict[str, object], key: SObjectField | None
) -> WrittenRecord:
    if not sobject.is_writable:
        raise ApiError(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be changed: {sobject.name}")
    [saved] = await run_in_threadpool(save, org_of(request), operation, [(sobject, body)], user_of(request), key=key)
    if saved.error:
        raise _as_refusal(saved.error)
    return saved


def _as_refusal(error: RowRefusal) -> ApiError:
    if error.code == "DUPLICATE_EXTERNAL_ID":
        return ApiError(_MULTIPLE, error.code, error.message, error.fields)
    if error.code == "ENTITY_IS_DELETED":
        return ApiError(404, error.code, error.message)
    if error.code == "INVALID_CROSS_REFERENCE_KEY" and not error.fields:
        return not_found("The requested resource does not exist")
    return ApiError(400, error.code, error.message, error.fields)


def _several(urls: list[str]) -> Response:
    return Json(urls, _MULTIPLE)


async def updated(request: Request) -> Response:
    """GET /sobjects/X/updated?start=&end=: ids of records changed in between."""
    return await _changed(request, deleted=False)


async def deleted(request: Request) -> Response:
    """GET /sobjects/X/deleted?start=&end=: records deleted in between."""
    return await _changed(request, deleted=True)


async def _changed(request: Request, *, deleted: bool) -> Response:
    storage, sobject = org_of(request).storage, object_of(request)
    start, end = (_moment(request, name) for name in ("start", "end"))
    rows = await run_in_threadpool(_changed_rows, storage, sobject, start, end, deleted=deleted)
    covered = iso_offset(end)
    if not deleted:
        return Json({"ids": [row[0] for row in rows], "latestDateCovered": covered})
    gone = [{"id": row[0], "deletedDate": iso_offset(row[1])} for row in rows]
    return Json({"deletedRecords": gone, "earliestDateAvailable": iso_offset(start), "latestDateCovered": covered})


def _changed_rows(
    storage: Storage, sobject: SObject, start: datetime, end: datetime, *, deleted: bool
) -> list[tuple[str, datetime]]:
    with storage.reading() as session:
        rows = session.run(
            f"SELECT Id, SystemModstamp FROM {table_of(sobject)}"
            " WHERE SystemModstamp >= ? AND SystemModstamp <= ? AND IsDeleted = ? ORDER BY 2, 1",
            [start, end, deleted],
        )
    return [(row[0], row[1]) for row in rows]


def _moment(request: Request, name: str) -> datetime:
    text = request.query_params.get(name, "").replace(" ", "+")
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except ValueError as error:
        raise ApiError(400, "INVALID_REPLICATION_DATE", f"{name} is not a time in ISO 8601: {text[:40]}") from error
