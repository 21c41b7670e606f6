"""Access and refresh tokens: issued, checked, expired, and who each belongs to."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.oauth.codes import Codes
from kpc.emulators.salesforce.org.org import Org

_JWT_LATE_S = 1
_LOGIN, _TEST = "https://login.salesforce.com", "https://test.salesforce.com"
# Under "OAuth 2.0 JWT Bearer Flow" in Salesforce Help; a My Domain address is refused by most orgs.
_AUDIENCES = {"login": (_LOGIN, _TEST), "production": (_LOGIN,), "sandbox": (_TEST,)}


class OAuthError(Exception):
    """A refused grant: OAuth's own error form, not the list of the REST API."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(slots=True)
class IssuedToken:
    user_id: str
    issued: float
    last_used: float


class Tokens:
    """Access and refresh tokens. A token lives as long as it is used within its lifetime, and ends with the process."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._access: dict[str, IssuedToken] = {}
        self._refresh: dict[str, str] = {}
        self.codes = Codes(org)
        self._jwt_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def jwt_private_key_pem(self) -> bytes:
        """The key with which a client signs its JWT bearer assertions."""
        return self._jwt_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def issue(self, user_id: str | None = None) -> str:
        identity = self._org.identity
        token = f"{identity.org_id[:15]}!AQ{secrets.token_hex(44)}"
        now = self._org.clock.now().timestamp()
        with self._lock:
            self._access[token] = IssuedToken(user_id or identity.user_id, now, now)
        return token

    def issue_refresh(self, user_id: str) -> str:
        token = f"5Aep{secrets.token_hex(40)}"
        with self._lock:
            self._refresh[token] = user_id
        return token

    def refresh_user(self, token: str) -> str | None:
        return self._refresh.get(token)

    def known(self, token: str) -> IssuedToken | None:
        """The access token, unless it is unknown or has expired."""
        now = self._org.clock.now().timestamp()
        with self._lock:
            found = self._access.get(token)
            if found and now - found.last_used > self._org.switches.token_lifetime_s:
                del self._access[token]
                found = None
            return found

    def check(self, token: str) -> IssuedToken:
        """Who the token belongs to, and note that it is in use. 401 for one that is unknown or has expired."""
        found = self.known(token)
        if found is None:
            raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        found.last_used = self._org.clock.now().timestamp()
        return found

    def expire_all(self) -> int:
        """Expire every access token immediately; returns their number."""
        with self._lock:
            count = len(self._access)
            self._access.clear()
            return count

    def revoke(self, token: str) -> None:
        with self._lock:
            self._access.pop(token, None)
            self._refresh.pop(token, None)

    def check_jwt(self, assertion: str, my_domain: str) -> str:
        """The id of the user for whom the assertion asks.

        Raises `OAuthError` unless it is signed by our key, for our client and one of our users, and in time.
        """
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
        if str(claims["aud"]).rstrip("/") not in (_AUDIENCES.get(self._org.switches.jwt_audience) or (my_domain,)):
            raise OAuthError(400, "invalid_grant", "audience is invalid")
        if not left_s > -_JWT_LATE_S:  # no upper limit: Salesforce's own command line sends milliseconds
            raise OAuthError(400, "invalid_grant", "expired authorization code")
        if claims["iss"] != identity.client_id:
            raise OAuthError(400, "invalid_client_id", "client identifier invalid")
        user = self._org.access.find(str(claims["sub"]))
        if user is None:
            raise OAuthError(400, "invalid_grant", "user hasn't approved this consumer")
        return user.user_id
