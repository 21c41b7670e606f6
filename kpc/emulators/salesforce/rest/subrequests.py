"""Composite and batch requests: several REST calls in one request, executed in order."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from kpc.emulators.salesforce.app import org_of
from kpc.emulators.salesforce.errors import ApiError, bad_json, not_found
from kpc.emulators.salesforce.http.wire import Json, error_answer, parse_json, read_object, to_json
from kpc.emulators.salesforce.org.storage import BrokenTransaction

_MOST = 25
_MOST_GRAPHS, _MOST_NODES = 75, 500
_REFERENCE = re.compile(r"@\{([^{}]+)\}")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: object

    @property
    def is_error(self) -> bool:
        return self.status >= 300


async def composite(request: Request) -> Response:
    """POST /composite: later subrequests may use the answers of earlier ones as `@{referenceId.field}`."""
    body = await read_object(request)
    asked = _asked(body, "compositeRequest", _MOST)
    if body.get("allOrNone") is True:
        results, _ = await run_in_threadpool(_all_or_none, request, asked)
    else:
        results = await _in_turn(request, asked)
    return Json({"compositeResponse": results})


async def graph(request: Request) -> Response:
    """POST /composite/graph: each graph is a composite request that is done whole or not at all."""
    made: list[dict[str, object]] = []
    for each in _asked(await read_object(request), "graphs", _MOST_GRAPHS):
        asked = _asked(each, "compositeRequest", _MOST_NODES)
        results, is_done = await run_in_threadpool(_all_or_none, request, asked)
        response = {"compositeResponse": results}
        made.append({"graphId": each.get("graphId"), "graphResponse": response, "isSuccessful": is_done})
    return Json({"graphs": made})


def _all_or_none(request: Request, asked: list[dict[str, object]]) -> tuple[list[dict[str, object]], bool]:
    """The subrequests in one transaction, undone at the first that fails; and whether they were kept.

    They run in an event loop of their own: the threads of the server's may all be waiting for this transaction.
    """
    results: list[dict[str, object]] = []
    try:
        with org_of(request).storage.joining():
            results = asyncio.run(_in_turn(request, asked, all_or_none=True))
            _demand_all(results)
    except BrokenTransaction:
        message = "The transaction was rolled back since another operation in the same transaction failed."
        halted = {"body": [{"errorCode": "PROCESSING_HALTED", "message": message}], "httpStatusCode": 400}
        kept = {result["referenceId"]: result for result in results if _has_failed(result)}
        references = [str(each.get("referenceId", "")) for each in asked]
        return [kept.get(each, halted | {"httpHeaders": {}, "referenceId": each}) for each in references], False
    return results, True


def _demand_all(results: list[dict[str, object]]) -> None:
    """Raise `BrokenTransaction`, so that nothing is kept, unless all went well."""
    if any(map(_has_failed, results)):
        raise BrokenTransaction


def _has_failed(result: dict[str, object]) -> bool:
    return cast("int", result["httpStatusCode"]) >= 300


async def _in_turn(
    request: Request, subrequests: list[dict[str, object]], *, all_or_none: bool = False
) -> list[dict[str, object]]:
    """The answers, one after the other; with `all_or_none` no further than the first failure."""
    answers: dict[str, object] = {}
    results: list[dict[str, object]] = []
    for asked in subrequests:
        reference = str(asked.get("referenceId", ""))
        try:
            method, url = str(asked.get("method", "GET")), _filled(str(asked.get("url", "")), answers)
            answer = await _call(request, method, url, _filled(asked.get("body"), answers))
        except KeyError as missing:
            message = f"Invalid reference specified. No value for {missing.args[0]} found"
            answer = _Answer(400, {}, [{"errorCode": "PROCESSING_HALTED", "message": message}])
        if not answer.is_error:
            answers[reference] = answer.body
        results.append(
            {
                "body": answer.body,
                "httpHeaders": answer.headers,
                "httpStatusCode": answer.status,
                "referenceId": reference,
            }
        )
        if all_or_none and answer.is_error:
            break
    return results


async def batch(request: Request) -> Response:
    """POST /composite/batch: subrequests that know nothing of each other."""
    body = await read_object(request)
    halt, failed = body.get("haltOnError") is True, False
    results: list[dict[str, object]] = []
    for asked in _asked(body, "batchRequests", _MOST):
        if failed and halt:
            halted = [{"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request"}]
            results.append({"statusCode": 412, "result": halted})
            continue
        url = str(asked.get("url", ""))
        url = url if url.startswith("/") else f"/services/data/{url}"
        answer = await _call(request, str(asked.get("method", "GET")), url, asked.get("richInput"))
        failed = failed or answer.is_error
        results.append({"statusCode": answer.status, "result": answer.body})
    return Json({"hasErrors": failed, "results": results})


def _asked(body: dict[str, object], name: str, most: int) -> list[dict[str, object]]:
    asked = body.get(name)
    if not isinstance(asked, list) or not asked or not all(isinstance(each, dict) for each in asked):
        raise bad_json(f"{name} must be a list of objects")
    if len(asked) > most:
        raise ApiError(400, "LIMIT_EXCEEDED", f"{name}: at most {most} are allowed")
    return asked


def _filled(value: Any, answers: dict[str, object]) -> Any:
    """The value with every `@{...}` replaced. Raises KeyError with the one that has no value."""
    if isinstance(value, dict):
        return {name: _filled(each, answers) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, answers) for each in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _looked_up(whole[1], answers)
    return _REFERENCE.sub(lambda match: str(_looked_up(match[1], answers)), value)


def _looked_up(path: str, answers: dict[str, object]) -> object:
    found: Any = answers
    for name, index in _STEP.findall(path):
        try:
            found = found[int(index)] if index else found[name]
        except (KeyError, IndexError, TypeError) as error:
            raise KeyError(path) from error
    return found


async def _call(request: Request, method: str, url: str, body: object) -> _Answer:
    """One subrequest, inside the process, with the session of the request around it."""
    path, _, query = url.partition("?")
    if not path.startswith("/services/data/v"):
        return _Answer(404, {}, not_found().body)
    content = b"" if body is None else to_json(body).encode()
    scope = {
        **request.scope,
        "method": method.upper(),
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "path_params": {},
        "headers": [(b"content-type", b"application/json"), *_host(request)],
    }
    scope.pop("endpoint", None)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await request.app.router(scope, receive, send)
    except ApiError as error:
        await error_answer(error)(scope, receive, send)
    except HTTPException as error:
        code = "METHOD_NOT_ALLOWED" if error.status_code == 405 else "NOT_FOUND"
        refused = ApiError(error.status_code, code, "The requested resource does not exist")
        await error_answer(refused)(scope, receive, send)
    return _answer(sent)


def _host(request: Request) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in request.scope["headers"] if name == b"host"]


def _answer(sent: list[Message]) -> _Answer:
    raw = b"".join(message.get("body", b"") for message in sent[1:])
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    is_json = headers.get("content-type", "").startswith("application/json")
    body = parse_json(raw) if raw and is_json else raw.decode(errors="replace") or None
    kept = {name: value for name, value in headers.items() if name == "location"}
    return _Answer(sent[0]["status"], kept, body)
