"""The flows that begin in a browser. The emulator's user is logged in and approves everything at once."""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import SalesforceEmulator
from kpc.emulators.salesforce.http.wire import Json, emulator_of
from kpc.emulators.salesforce.oauth.tokens import OAuthError, read_form, token_answer


async def authorize(request: Request) -> Response:
    """GET /services/oauth2/authorize: back to the client with a code, or for `response_type=token` with a session."""
    emulator, form = emulator_of(request), await read_form(request)
    redirect = form.get("redirect_uri", "")
    try:
        _check(emulator, form.get("client_id", ""), redirect)
    except OAuthError as error:
        return Json(error.body, error.status)
    kind, mark = form.get("response_type", ""), "?"
    answer: dict[str, object] = {}
    user_id = emulator.org.identity.user_id
    if kind == "code":
        answer["code"] = emulator.tokens.codes.issue(user_id, redirect, form.get("code_challenge", ""))
    elif kind == "token":
        mark = "#"
        session = token_answer(request, emulator.org, emulator.tokens.issue(user_id))
        answer = {**session, "refresh_token": emulator.tokens.issue_refresh(user_id)}
    else:
        answer = {"error": "unsupported_response_type", "error_description": "response type not supported"}
    if "state" in form:
        answer["state"] = form["state"]
    joint = "&" if mark == "?" and urlsplit(redirect).query else mark
    return Response(status_code=302, headers={"location": redirect + joint + urlencode(answer)})


def _check(emulator: SalesforceEmulator, client_id: str, redirect: str) -> None:
    """Raise `OAuthError` where nobody can be sent back with an error."""
    if not hmac.compare_digest(client_id.encode(), emulator.org.identity.client_id.encode()):
        raise OAuthError(400, "invalid_client_id", "client identifier invalid")
    if not _is_address(redirect):
        raise OAuthError(400, "redirect_uri_mismatch", "redirect_uri must match configuration")


def _is_address(text: str) -> bool:
    """A URL to which a browser can be sent without being made to run it."""
    try:
        scheme = urlsplit(text).scheme
    except ValueError:
        return False
    return scheme not in ("", "javascript", "data") and text.isascii() and text.isprintable()
