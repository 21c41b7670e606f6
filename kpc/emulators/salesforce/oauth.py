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

from kpc.emulators.salesforce.api_error import ApiError
from kpc.emulators.salesforce.clock import iso_offset
from kpc.emulators.salesforce.org import Org
from kpc.emulators.salesforce.wire import Json, emulator_of, read_body

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_LONGEST_S = 300  # Salesforce wants `exp` within a few minutes


class OAuthError(Exception):
    """A refused grant: OAuth's own error form, not the list of the REST API."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(slots=True)
class Token:
    user_id: str
    issued: float
    last_used: float


class Tokens:
    """Access and refresh tokens. A token lives as long as it is used within its lifetime, and ends with the process."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._access: dict[str, Token] = {}
        self._refresh: dict[str, str] = {}
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
            self._access[token] = Token(user_id or identity.user_id, now, now)
        return token

    def issue_refresh(self, user_id: str) -> str:
        token = f"5Aep{secrets.token_hex(40)}"
        with self._lock:
            self._refresh[token] = user_id
        return token

    def refresh_user(self, token: str) -> str | None:
        return self._refresh.get(token)

    def check(self, token: str) -> Token:
        """Who the token belongs to. 401 for one that is unknown or has expired."""
        now = self._org.clock.now().timestamp()
        with self._lock:
            found = self._access.get(token)
            if found and now - found.last_used > self._org.switches.token_lifetime_s:
                del self._access[token]
                found = None
            if found is None:
                raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
            found.last_used = now
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
        if not -1 < left_s <= _JWT_LONGEST_S:
            raise OAuthError(
                400, "invalid_grant", "expired authorization code" if left_s < 0 else "invalid assertion: exp"
            )
        if claims["iss"] != identity.client_id:
            raise OAuthError(400, "invalid_client_id", "client identifier invalid")
        if claims["sub"] != identity.username:
            raise OAuthError(400, "invalid_grant", "user hasn't approved this consumer")


async def token(request: Request) -> Response:
    """POST /services/oauth2/token, every grant."""
    emulator = emulator_of(request)
    body = await read_body(request)
    form = {name: values[-1] for name, values in parse_qs(body.decode("latin-1"), keep_blank_values=True).items()}
    form = {**dict(request.query_params), **form}
    try:
        return _grant(request, emulator.org, emulator.tokens, form)
    except OAuthError as error:
        return Json(error.body, error.status)


def _grant(request: Request, org: Org, tokens: Tokens, form: dict[str, str]) -> Response:
    grant = form.get("grant_type", "")
    user_id = org.identity.user_id
    refresh: str | None = None
    if grant == "client_credentials":
        _check_client(request, org, form)
    elif grant == _JWT_GRANT:
        tokens.check_jwt(form.get("assertion", ""))
    elif grant == "password":
        _check_client(request, org, form)
        _check_password(org, form.get("username", ""), form.get("password", ""))
        refresh = tokens.issue_refresh(user_id)
    elif grant == "refresh_token":
        _check_client(request, org, form, secret_needed=False)
        if tokens.refresh_user(form.get("refresh_token", "")) is None:
            raise OAuthError(400, "invalid_grant", "expired access/refresh token")
    else:
        raise OAuthError(400, "unsupported_grant_type", "grant type not supported")
    access = tokens.issue(user_id)
    answer = token_answer(request, org, access)
    if refresh:
        answer["refresh_token"] = refresh
    return Json(answer, headers={"cache-control": "no-cache, no-store"})


def token_answer(request: Request, org: Org, access: str) -> dict[str, object]:
    base = base_url(request)
    identity_url = f"{base}/id/{org.identity.org_id}/{org.identity.user_id}"
    issued_at = str(int(org.clock.now().timestamp() * 1000))
    digest = hmac.new(org.identity.client_secret.encode(), (identity_url + issued_at).encode(), hashlib.sha256)
    return {
        "access_token": access,
        "signature": base64.b64encode(digest.digest()).decode(),
        "scope": "api id refresh_token full",
        "instance_url": base,
        "id": identity_url,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }


def base_url(request: Request) -> str:
    """The address under which the client reached the emulator."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


def _check_client(request: Request, org: Org, form: dict[str, str], *, secret_needed: bool = True) -> None:
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
    body = parse_qs((await read_body(request)).decode("latin-1"))
    given = body.get("token", [request.query_params.get("token", "")])[-1]
    emulator_of(request).tokens.revoke(given)
    return Response(status_code=200)


async def user_info(request: Request) -> Response:
    """GET /services/oauth2/userinfo, the first call of Salesforce's own command line."""
    org = emulator_of(request).org
    identity, base = org.identity, base_url(request)
    return Json(
        {
            "sub": f"{base}/id/{identity.org_id}/{identity.user_id}",
            "user_id": identity.user_id,
            "organization_id": identity.org_id,
            "preferred_username": identity.username,
            "nickname": "emulator",
            "name": "Integration Emulator",
            "email": identity.username,
            "email_verified": True,
            "given_name": "Integration",
            "family_name": "Emulator",
            "zoneinfo": "Asia/Bangkok",
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 25200000,
            "active": True,
            "urls": _urls(base, identity.org_id),
        }
    )


async def identity(request: Request) -> Response:
    """GET /id/ORG/USER."""
    org = emulator_of(request).org
    known, base = org.identity, base_url(request)
    wanted = (request.path_params["org"][:15], request.path_params["user"][:15])
    if wanted != (known.org_id[:15], known.user_id[:15]):
        raise ApiError(403, "Bad_OAuth_Token", "The identity is not of this org")
    return Json(
        {
            "id": f"{base}/id/{known.org_id}/{known.user_id}",
            "asserted_user": True,
            "user_id": known.user_id,
            "organization_id": known.org_id,
            "username": known.username,
            "nick_name": "emulator",
            "display_name": "Integration Emulator",
            "email": known.username,
            "first_name": "Integration",
            "last_name": "Emulator",
            "timezone": "Asia/Bangkok",
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 25200000,
            "last_modified_date": iso_offset(org.clock.now()),
            "urls": _urls(base, known.org_id),
        }
    )


def _urls(base: str, org_id: str) -> dict[str, str]:
    data = f"{base}/services/data/v{{version}}/"
    return {
        "enterprise": f"{base}/services/Soap/c/{{version}}/{org_id[:15]}",
        "partner": f"{base}/services/Soap/u/{{version}}/{org_id[:15]}",
        "rest": data,
        "sobjects": f"{data}sobjects/",
        "search": f"{data}search/",
        "query": f"{data}query/",
    }
