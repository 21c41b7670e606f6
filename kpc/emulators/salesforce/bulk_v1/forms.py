"""The message formats of Bulk API 1.0: facts and errors as XML, or as JSON for a client that speaks JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import Json, parse_json
from kpc.emulators.salesforce.oauth.soap import element_texts

PREFIX = "/services/async/"
_NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def speaks_json(request: Request) -> bool:
    kinds = request.headers.get("content-type", "") + request.headers.get("accept", "")
    return "json" in kinds.lower()


def read_facts(request: Request, body: bytes) -> dict[str, str]:
    """The members of a job that a client sends, as text. 400 for what is neither XML nor JSON."""
    if not speaks_json(request):
        try:
            return element_texts(body)
        except ApiError as error:
            raise ApiError(400, "InvalidJob", error.message) from error
    value = parse_json(body)
    if not isinstance(value, dict):
        raise ApiError(400, "InvalidJob", "A job is a JSON object")
    return {name: str(each) for name, each in value.items() if each is not None}


def answer(name: str, facts: Mapping[str, object], status: int = 200, *, as_json: bool) -> Response:
    """A job, a batch or a list of batches."""
    if as_json:
        return Json(facts, status)
    return _xml(f'<{name} xmlns="{_NAMESPACE}">{_elements(facts)}</{name}>', status)


def answer_list(ids: list[str], *, as_json: bool) -> Response:
    """The ids of a query's results."""
    if as_json:
        return Json(ids)
    return _xml(f'<result-list xmlns="{_NAMESPACE}">{_elements({"result": ids})}</result-list>', 200)


def refusal(request: Request, error: ApiError) -> Response:
    """A refused request, in the form of this API: its codes are written `InvalidJob`, not `INVALIDJOB`."""
    code = error.code if "_" not in error.code else "".join(each.capitalize() for each in error.code.split("_"))
    status = 400 if error.status == 401 else error.status
    facts = {"exceptionCode": code, "exceptionMessage": error.message}
    return answer("error", facts, status, as_json=speaks_json(request))


def _elements(facts: Mapping[str, object]) -> str:
    return "".join(
        f"<{name}>{_elements(each) if isinstance(each, dict) else _text(each)}</{name}>"
        for name, value in facts.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    )


def _text(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\U0010ffff]", "?", text))


def _xml(body: str, status: int) -> Response:
    return Response(_HEAD + body, status, media_type="application/xml")
