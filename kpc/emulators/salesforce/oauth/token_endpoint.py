"""The token endpoint with all its grants, revocation and introspection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import access_tokens_of, org_of
from kpc.emulators.salesforce.http.wire import Json, base_url, read_body
from kpc.emulators.salesforce.oauth.tokens import OAuthError, Tokens
from kpc.emulators.salesforce.org.org import Identity, Org

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


SCOPE = "api id refresh_token full"


async def token(request: Request) -> Response:
    """POST /services/oauth2/token, every grant."""
    if request.method != "POST":
        return Json({"error": "invalid_request", "error_description": "must use HTTP POST"}, 400)
    try:
        return _grant(request, org_of(request), access_tokens_of(request), await read_form(request))
    except OAuthError as error:
        return Json(error.body, error.status)


async def revoke(request: Request) -> Response:
    """POST /services/oauth2/revoke."""
    access_tokens_of(request).revoke((await read_form(request)).get("token", ""))
    return Response(status_code=200)


async def introspect(request: Request) -> Response:
    """POST /services/oauth2/introspect: whether a token is still good, and whose it is."""
    org, tokens, form = org_of(request), access_tokens_of(request), await read_form(request)
    try:
        check_client(request, org.identity, form)
    except OAuthError as error:
        return Json(error.body, 401)
    token = form.get("token", "")
    facts: dict[str, object] = {"active": False}
    if found := tokens.known(token):
        expires = found.last_used + org.switches.token_lifetime_s
        facts = {"active": True, "token_type": "access_token", "exp": int(expires), "iat": int(found.issued)}
        facts["nbf"] = int(found.issued)
    elif tokens.refresh_user(token):
        facts = {"active": True, "token_type": "refresh_token"}
    if facts["active"]:
        identity = org.identity
        facts |= {"scope": SCOPE, "client_id": identity.client_id, "username": identity.username}
        facts["sub"] = f"{base_url(request)}/id/{identity.org_id}/{identity.user_id}"
    return Json(facts)


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of the body and of the query; those of the body take precedence."""
    body = parse_qs((await read_body(request)).decode("latin-1"), keep_blank_values=True)
    return {**dict(request.query_params), **{name: values[-1] for name, values in body.items()}}


def _grant(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> Response:
    if form.get("response_type") == "device_code":
        return Json(_device_answer(request, org, tokens, form))
    grant = form.get("grant_type", "")
    user_id = org.identity.user_id
    has_refresh = False
    if grant == "client_credentials":
        check_client(request, org.identity, form)
    elif grant == _JWT_GRANT:
        user_id = tokens.check_jwt(form.get("assertion", ""), base_url(request))
    elif grant == "password":
        check_client(request, org.identity, form)
        user_id = _check_password(org, form.get("username", ""), form.get("password", ""))
        has_refresh = True
    elif grant in ("authorization_code", "device"):
        user_id = _check_code(request, org, tokens, form)
        has_refresh = True
    elif grant == "refresh_token":
        check_client(request, org.identity, form, secret_needed=False)
        user_id = tokens.refresh_user(form.get("refresh_token", "")) or ""
        if not user_id:
            raise OAuthError(400, "invalid_grant", "expired access/refresh token")
    else:
        raise OAuthError(400, "unsupported_grant_type", "grant type not supported")
    answer = token_answer(request, org, tokens.issue(user_id), user_id)
    if has_refresh:
        answer["refresh_token"] = tokens.issue_refresh(user_id)
    return Json(answer, headers={"cache-control": "no-cache, no-store"})


def _device_answer(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> dict[str, object]:
    """A device's code. Nobody has to approve it: the emulator's user always has."""
    check_client(request, org.identity, form, secret_needed=False)
    return {
        "device_code": tokens.codes.issue(org.identity.user_id),
        "user_code": secrets.token_hex(4).upper(),
        "verification_uri": f"{base_url(request)}/setup/connect",
        "interval": 5,
    }


def _check_code(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> str:
    """Check a code from /authorize or a device code, and that the same client uses it; returns its user's id."""
    is_device = form["grant_type"] == "device"
    check_client(request, org.identity, form, secret_needed=not is_device and "code_verifier" not in form)
    code = tokens.codes.take(form.get("code", ""))
    if code is None:
        raise OAuthError(400, "invalid_grant", "invalid authorization code")
    if not is_device and form.get("redirect_uri", "") != code.redirect_uri:
        raise OAuthError(400, "redirect_uri_mismatch", "redirect_uri must match configuration")
    if not code.verifies(form.get("code_verifier", "")):
        raise OAuthError(400, "invalid_grant", "invalid code verifier")
    return code.user_id


def token_answer(request: Request, org: Org, access: str, user_id: str) -> dict[str, object]:
    """The response to a client with its access token."""
    base = base_url(request)
    identity_url = f"{base}/id/{org.identity.org_id}/{user_id}"
    issued_at = str(int(org.clock.now().timestamp() * 1000))
    digest = hmac.new(org.identity.client_secret.encode(), (identity_url + issued_at).encode(), hashlib.sha256)
    return {
        "access_token": access,
        "signature": base64.b64encode(digest.digest()).decode(),
        "scope": SCOPE,
        "instance_url": base,
        "id": identity_url,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }


def check_client(request: Request, identity: Identity, form: dict[str, str], *, secret_needed: bool = True) -> None:
    """The client's id and secret, from the form or a Basic header. Raises `OAuthError`."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError as error:
            raise OAuthError(400, "invalid_client", "invalid client credentials") from error
    if not hmac.compare_digest(client_id.encode(), identity.client_id.encode()):
        raise OAuthError(400, "invalid_client_id", "client identifier invalid")
    if (secret or secret_needed) and not hmac.compare_digest(secret.encode(), identity.client_secret.encode()):
        raise OAuthError(400, "invalid_client", "invalid client credentials")


def user_with_password(org: Org, username: str, password: str) -> str | None:
    """The user's id, if this is his password, with or without the security token behind it."""
    user = org.access.find(username)
    own = user.password if user else secrets.token_urlsafe()
    known = (own, own + org.identity.security_token)
    right = [hmac.compare_digest(password.encode(), each.encode()) for each in known]
    return user.user_id if user and any(right) else None


def _check_password(org: Org, username: str, password: str) -> str:
    user_id = user_with_password(org, username, password)
    if user_id is None:
        raise OAuthError(400, "invalid_grant", "authentication failure")
    return user_id
