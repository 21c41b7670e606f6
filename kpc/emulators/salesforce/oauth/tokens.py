"""Tokens: the OAuth flows and who a token belongs to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import Json, emulator_of, read_body
from kpc.emulators.salesforce.oauth.codes import Codes
from kpc.emulators.salesforce.org.org import Org

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "api id refresh_token full"
_JWT_LATE_S = 1


class OAuthError(Exception):
    """A refused grant: OAuth's own error form, not the list of the REST API."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(slots=True)
class AccessToken:
    user_id: str
    issued: float
    last_used: float


class Tokens:
    """Access and refresh tokens. A token lives as long as it is used within its lifetime, and ends with the process."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, str] = {}
        self.codes = Codes(org)
        self._jwt_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def jwt_private_key_pem(self) -> bytes:
        """With this, a client signs its JWT bearer assertions."""
        return self._jwt_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def issue(self, user_id: str | None = None) -> str:
        identity = self._org.identity
        token = f"{identity.org_id[:15]}!AQ{secrets.token_hex(44)}"
        now = self._org.clock.now().timestamp()
        with self._lock:
            self._access[token] = AccessToken(user_id or identity.user_id, now, now)
        return token

    def issue_refresh(self, user_id: str) -> str:
        token = f"5Aep{secrets.token_hex(40)}"
        with self._lock:
            self._refresh[token] = user_id
        return token

    def refresh_user(self, token: str) -> str | None:
        return self._refresh.get(token)

    def known(self, token: str) -> AccessToken | None:
        """The access token, unless it is unknown or has expired."""
        now = self._org.clock.now().timestamp()
        with self._lock:
            found = self._access.get(token)
            if found and now - found.last_used > self._org.switches.token_lifetime_s:
                del self._access[token]
                found = None
            return found

    def check(self, token: str) -> AccessToken:
        """Who the token belongs to, and note that it is in use. 401 for one that is unknown or has expired."""
        found = self.known(token)
        if found is None:
            raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        found.last_used = self._org.clock.now().timestamp()
        return found

    def expire_all(self) -> int:
        """Every access token ends at once; answers how many."""
        with self._lock:
            count = len(self._access)
            self._access.clear()
            return count

    def revoke(self, token: str) -> None:
        with self._lock:
            self._access.pop(token, None)
            self._refresh.pop(token, None)

    def check_jwt(self, assertion: str) -> None:
        """Raise `OAuthError` unless the assertion is signed by our key, for our client and user, and in time."""
        identity = self._org.identity
        try:
            claims = jwt.decode(
                assertion,
                self._jwt_key.public_key(),
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "require": ["iss", "sub", "aud", "exp"]},
            )
        except jwt.InvalidTokenError as error:
            raise OAuthError(400, "invalid_grant", f"invalid assertion: {error}") from error
        try:
            left_s = float(claims["exp"]) - self._org.clock.now().timestamp()
        except (TypeError, ValueError) as error:
            raise OAuthError(400, "invalid_grant", "invalid assertion: exp") from error
        if not left_s > -_JWT_LATE_S:  # no upper limit: Salesforce's own command line sends milliseconds
            raise OAuthError(400, "invalid_grant", "expired authorization code")
        if claims["iss"] != identity.client_id:
            raise OAuthError(400, "invalid_client_id", "client identifier invalid")
        if claims["sub"] != identity.username:
            raise OAuthError(400, "invalid_grant", "user hasn't approved this consumer")


async def token(request: Request) -> Response:
    """POST /services/oauth2/token, every grant."""
    emulator = emulator_of(request)
    if request.method != "POST":
        return Json({"error": "invalid_request", "error_description": "must use HTTP POST"}, 400)
    try:
        return _grant(request, emulator.org, emulator.tokens, await read_form(request))
    except OAuthError as error:
        return Json(error.body, error.status)


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of the body and of the query; the body's count more."""
    body = parse_qs((await read_body(request)).decode("latin-1"), keep_blank_values=True)
    return {**dict(request.query_params), **{name: values[-1] for name, values in body.items()}}


def _grant(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> Response:
    if form.get("response_type") == "device_code":
        return Json(_device_answer(request, org, tokens, form))
    grant = form.get("grant_type", "")
    user_id = org.identity.user_id
    has_refresh = False
    if grant == "client_credentials":
        check_client(request, org, form)
    elif grant == _JWT_GRANT:
        tokens.check_jwt(form.get("assertion", ""))
    elif grant == "password":
        check_client(request, org, form)
        _check_password(org, form.get("username", ""), form.get("password", ""))
        has_refresh = True
    elif grant in ("authorization_code", "device"):
        _check_code(request, org, tokens, form)
        has_refresh = True
    elif grant == "refresh_token":
        check_client(request, org, form, secret_needed=False)
        if tokens.refresh_user(form.get("refresh_token", "")) is None:
            raise OAuthError(400, "invalid_grant", "expired access/refresh token")
    else:
        raise OAuthError(400, "unsupported_grant_type", "grant type not supported")
    answer = token_answer(request, org, tokens.issue(user_id))
    if has_refresh:
        answer["refresh_token"] = tokens.issue_refresh(user_id)
    return Json(answer, headers={"cache-control": "no-cache, no-store"})


def _device_answer(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> dict[str, object]:
    """A device's code. Nobody has to approve it: the emulator's user always has."""
    check_client(request, org, form, secret_needed=False)
    return {
        "device_code": tokens.codes.issue(org.identity.user_id),
        "user_code": secrets.token_hex(4).upper(),
        "verification_uri": f"{base_url(request)}/setup/connect",
        "interval": 5,
    }


def _check_code(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> None:
    """A code of /authorize or of a device, used by whom it was given to."""
    is_device = form["grant_type"] == "device"
    check_client(request, org, form, secret_needed=not is_device and "code_verifier" not in form)
    code = tokens.codes.take(form.get("code", ""))
    if code is None:
        raise OAuthError(400, "invalid_grant", "invalid authorization code")
    if not is_device and form.get("redirect_uri", "") != code.redirect_uri:
        raise OAuthError(400, "redirect_uri_mismatch", "redirect_uri must match configuration")
    if not code.verifies(form.get("code_verifier", "")):
        raise OAuthError(400, "invalid_grant", "invalid code verifier")


def token_answer(request: Request, org: Org, access: str) -> dict[str, object]:
    base = base_url(request)
    identity_url = f"{base}/id/{org.identity.org_id}/{org.identity.user_id}"
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


def base_url(request: Request) -> str:
    """The address under which the client reached the emulator."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


def check_client(request: Request, org: Org, form: dict[str, str], *, secret_needed: bool = True) -> None:
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError as error:
            raise OAuthError(400, "invalid_client", "invalid client credentials") from error
    if not hmac.compare_digest(client_id.encode(), org.identity.client_id.encode()):
        raise OAuthError(400, "invalid_client_id", "client identifier invalid")
    if (secret or secret_needed) and not hmac.compare_digest(secret.encode(), org.identity.client_secret.encode()):
        raise OAuthError(400, "invalid_client", "invalid client credentials")


def password_matches(org: Org, username: str, password: str) -> bool:
    """The password, with or without the security token behind it."""
    identity = org.identity
    known = (identity.password, identity.password + identity.security_token)
    right = [hmac.compare_digest(password.encode(), each.encode()) for each in known]
    return username.lower() == identity.username.lower() and any(right)


def _check_password(org: Org, username: str, password: str) -> None:
    if not password_matches(org, username, password):
        raise OAuthError(400, "invalid_grant", "authentication failure")


async def revoke(request: Request) -> Response:
    emulator_of(request).tokens.revoke((await read_form(request)).get("token", ""))
    return Response(status_code=200)


async def introspect(request: Request) -> Response:
    """POST /services/oauth2/introspect: whether a token is still good, and whose it is."""
    emulator, form = emulator_of(request), await read_form(request)
    org, tokens = emulator.org, emulator.tokens
    try:
        check_client(request, org, form)
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
