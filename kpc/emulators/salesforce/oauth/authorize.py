"""The flows that begin in a browser. The emulator's user is logged in and approves everything at once."""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import access_tokens_of, org_of
from kpc.emulators.salesforce.http.wire import Json
from kpc.emulators.salesforce.oauth.token_endpoint import read_form, token_answer
from kpc.emulators.salesforce.oauth.tokens import OAuthError


async def authorize(request: Request) -> Response:
    """GET /services/oauth2/authorize: back to the client with a code, or for `response_type=token` with a session."""
    org, tokens, form = org_of(request), access_tokens_of(request), await read_form(request)
    redirect = form.get("redirect_uri", "")
    try:
        _check(org.identity.client_id, form.get("client_id", ""), redirect)
    except OAuthError as error:
        return Json(error.body, error.status)
    kind, mark = form.get("response_type", ""), "?"
    answer: dict[str, object] = {}
    user_id = org.identity.user_id
    if kind == "code":
        answer["code"] = tokens.codes.issue(user_id, redirect, form.get("code_challenge", ""))
    elif kind == "token":
        mark = "#"
        session = token_answer(request, org, tokens.issue(user_id), user_id)
        answer = {**session, "refresh_token": tokens.issue_refresh(user_id)}
    else:
        answer = {"error": "unsupported_response_type", "error_description": "response type not supported"}
    if "state" in form:
        answer["state"] = form["state"]
    joint = "&" if mark == "?" and urlsplit(redirect).query else mark
    return Response(status_code=302, headers={"location": redirect + joint + urlencode(answer)})


def _check(known_client_id: str, client_id: str, redirect: str) -> None:
    """Raise `OAuthError` where nobody can be sent back with an error."""
    if not hmac.compare_digest(client_id.encode(), known_client_id.encode()):
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
