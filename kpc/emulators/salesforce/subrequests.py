"""Composite and batch requests: several REST calls in one, worked off in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from kpc.emulators.salesforce.api_error import ApiError, bad_json
from kpc.emulators.salesforce.wire import Json, error_answer, parse_json, read_object, to_json

_MOST = 25
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
    if body.get("allOrNone") is True:
        raise ApiError(400, "NOT_SUPPORTED", "The emulator does not roll back over several subrequests (allOrNone)")
    answers: dict[str, object] = {}
    results: list[dict[str, object]] = []
    for asked in _asked(body, "compositeRequest"):
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
    return Json({"compositeResponse": results})


async def batch(request: Request) -> Response:
    """POST /composite/batch: subrequests that know nothing of each other."""
    body = await read_object(request)
    halt, failed = body.get("haltOnError") is True, False
    results: list[dict[str, object]] = []
    for asked in _asked(body, "batchRequests"):
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


def _asked(body: dict[str, object], name: str) -> list[dict[str, object]]:
    asked = body.get(name)
    if not isinstance(asked, list) or not asked or not all(isinstance(each, dict) for each in asked):
        raise bad_json(f"{name} must be a list of objects")
    if len(asked) > _MOST:
        raise ApiError(400, "LIMIT_EXCEEDED", f"At most {_MOST} subrequests are allowed")
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
    address = urlsplit(url)
    content = b"" if body is None else to_json(body).encode()
    scope = {
        **request.scope,
        "method": method.upper(),
        "path": unquote(address.path),
        "raw_path": address.path.encode(),
        "query_string": address.query.encode(),
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
