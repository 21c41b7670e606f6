"""Logging in: OAuth client credentials, JWT bearer, refresh token, a user's password (OAuth or SOAP), or a token.

The first one for which the settings are complete: access token, private key, refresh token, password with client id
and secret, client id and secret, password alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from kpc.errors import ConfigError
from kpc.http_client import is_address, is_loopback
from kpc.salesforce.answers import refused_login
from kpc.salesforce.origins import check_instance
from kpc.salesforce.shapes import RecordId, Shape, fitted
from kpc.salesforce.soap_login import SOAP_HEADERS, soap_path, soap_request, soap_session
from kpc.settings import SalesforceSettings
from kpc.strict_json import read_json

_TOKEN_PATH = "/services/oauth2/token"  # noqa: S105  a path, not a secret
_USERINFO_PATH = "/services/oauth2/userinfo"
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_LIFE_S = 180  # Salesforce accepts assertions of at most a few minutes
_TOKEN = re.compile(r"[\x21-\x7e]{1,8000}", re.ASCII)
_ORG, _USER = "00D", "005"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token with its org and user. `org_id` and `user_id` have 18 characters."""

    access_token: str = field(repr=False)
    instance_url: str
    org_id: str
    user_id: str
    got_s: float = field(default_factory=time.monotonic, compare=False)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.got_s


def check_address(url: str) -> str:
    """The address without a trailing slash. Raises `ConfigError` unless secrets may be sent to it."""
    if not is_address(url):
        raise ConfigError(
            f"KPC__SALESFORCE__BASE_URL is not an address: {url!r}.",
            "Set it to the My Domain address, https://NAME.my.salesforce.com.",
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise ConfigError(
            f"{url} would send secrets unencrypted.", "Use https://; plain http is for this machine only."
        )
    return url.rstrip("/")


class _TokenAnswer(Shape):
    access_token: str
    instance_url: str
    id: str  # .../id/ORG/USER


class _UserAnswer(Shape):
    organization_id: RecordId
    user_id: RecordId


# Sends a request and returns its response, whatever its status; raises `KpcError` if there is none.
Send = Callable[..., httpx.Response]


def log_in(send: Send, settings: SalesforceSettings) -> AccessToken:
    """A new token, by the flow for which the settings have credentials.

    Raises `ConfigError` with what to correct, `SalesforceDown` if there is no response.
    """
    base_url = check_address(settings.base_url)
    _read_key(settings)  # a file that was named must be readable, even if another flow is used
    token = _log_in(send, settings, base_url)
    if settings.org_id and token.org_id[:15] != settings.org_id[:15]:
        raise ConfigError(
            f"The log-in at {base_url} leads to org {token.org_id}, but only {settings.org_id} may be used.",
            "Correct KPC__SALESFORCE__BASE_URL or KPC__SALESFORCE__ORG_ID (in Airflow's connection: organization_id).",
        )
    return token


def _log_in(send: Send, settings: SalesforceSettings, base_url: str) -> AccessToken:
    if settings.access_token.get_secret_value():
        return _given_token(send, settings, base_url)
    if (form := _grant(settings, base_url)) is None:
        return _soap_token(send, settings, base_url)
    answer = send("POST", base_url + _TOKEN_PATH, data=form)
    if answer.status_code != 200:
        raise refused_login(answer, base_url)
    try:
        body = fitted(_TokenAnswer, read_json(answer.content))
        *_, org_id, user_id = body.id.rstrip("/").split("/")
        user = fitted(_UserAnswer, {"organization_id": org_id, "user_id": user_id})
    except ValueError:
        raise _no_token(base_url) from None
    if not _TOKEN.fullmatch(body.access_token):
        raise _no_token(base_url)
    return _token(body.access_token, check_instance(body.instance_url, settings, base_url), user, base_url)


def _soap_token(send: Send, settings: SalesforceSettings, base_url: str) -> AccessToken:
    answer = send("POST", base_url + soap_path(settings), content=soap_request(settings), headers=SOAP_HEADERS)
    session = soap_session(answer, base_url)
    try:
        if session is None or not _TOKEN.fullmatch(session.session_id):
            raise _no_token(base_url)
        user = fitted(_UserAnswer, {"organization_id": session.org_id, "user_id": session.user_id})
    except ValueError:
        raise _no_token(base_url) from None
    return _token(session.session_id, check_instance(session.instance_url, settings, base_url), user, base_url)


def _token(access_token: str, instance_url: str, user: _UserAnswer, base_url: str) -> AccessToken:
    if not user.organization_id.startswith(_ORG) or not user.user_id.startswith(_USER):
        raise _no_token(base_url)
    return AccessToken(access_token, instance_url, user.organization_id, user.user_id)


def _no_token(base_url: str) -> ConfigError:
    return ConfigError(
        f"{base_url} answered the log-in with something that is not a Salesforce token.",
        "Set KPC__SALESFORCE__BASE_URL to the My Domain address, https://NAME.my.salesforce.com.",
    )


def can_renew(settings: SalesforceSettings) -> bool:
    """Whether a new token can be requested when the current one expires."""
    return not settings.access_token.get_secret_value()


def _given_token(send: Send, settings: SalesforceSettings, base_url: str) -> AccessToken:
    access_token = settings.access_token.get_secret_value()
    answer = send("GET", base_url + _USERINFO_PATH, headers={"Authorization": f"Bearer {access_token}"})
    if answer.status_code in (401, 403):
        raise ConfigError(
            f"{base_url} does not accept the given access token; it is wrong or has expired.",
            "Set a new KPC__SALESFORCE__ACCESS_TOKEN, or client id and secret to renew tokens automatically.",
        )
    if answer.status_code != 200:
        raise refused_login(answer, base_url)
    try:
        user = fitted(_UserAnswer, read_json(answer.content))
    except ValueError:
        raise _no_token(base_url) from None
    return _token(access_token, base_url, user, base_url)


def _grant(settings: SalesforceSettings, base_url: str) -> dict[str, str] | None:
    """The form of the token request; None for the SOAP log-in. Raises `ConfigError` without credentials."""
    secret, password = settings.client_secret.get_secret_value(), settings.password.get_secret_value()
    client = {"client_id": settings.client_id}
    if _has_key(settings) and settings.client_id and settings.username:
        return {"grant_type": _JWT_GRANT, "assertion": _assertion(settings, base_url)}
    if settings.client_id and (refresh := settings.refresh_token.get_secret_value()):
        form = {"grant_type": "refresh_token", **client, "refresh_token": refresh}
        return form | ({"client_secret": secret} if secret else {})
    if settings.client_id and secret and settings.username and password:
        whole = password + settings.security_token.get_secret_value()
        form = {"grant_type": "password", **client, "client_secret": secret}
        return form | {"username": settings.username, "password": whole}
    if settings.client_id and secret:
        return {"grant_type": "client_credentials", **client, "client_secret": secret}
    if settings.username and password and not settings.client_id:
        return None
    raise ConfigError(
        "There are no credentials to log in to Salesforce.",
        "Set KPC__SALESFORCE__CLIENT_ID and either KPC__SALESFORCE__CLIENT_SECRET, KPC__SALESFORCE__REFRESH_TOKEN, or "
        "KPC__SALESFORCE__USERNAME and KPC__SALESFORCE__PRIVATE_KEY_FILE.",
    )


def _has_key(settings: SalesforceSettings) -> bool:
    return settings.private_key_file is not None or bool(settings.private_key.get_secret_value())


def audience_of(base_url: str) -> str:
    """The `aud` of an assertion for an org: the log-in host of its kind, which most orgs demand, not its My Domain.

    By "OAuth 2.0 JWT Bearer Flow" in Salesforce Help; a sandbox is told by its My Domain ("My Domain URL Formats").
    """
    host = (urlsplit(base_url).hostname or "").lower()
    is_sandbox = host == "test.salesforce.com" or ".sandbox." in host or "--" in host.partition(".")[0]
    return f"https://{'test' if is_sandbox else 'login'}.salesforce.com"


def _assertion(settings: SalesforceSettings, base_url: str) -> str:
    import jwt  # noqa: PLC0415  one of two flows needs it

    key = settings.private_key_file or "in KPC__SALESFORCE__PRIVATE_KEY"
    try:
        claims = {
            "iss": settings.client_id,
            "sub": settings.username,
            "aud": settings.audience or audience_of(base_url),
            "exp": int(time.time()) + _JWT_LIFE_S,
        }
        return jwt.encode(claims, _read_key(settings), algorithm="RS256")
    except (ValueError, jwt.PyJWTError) as error:
        raise ConfigError(
            f"The private key {key} cannot be used: {type(error).__name__}.",
            "It must be an RSA key in PEM form, without a password (in Airflow: private_key or private_key_file_path).",
        ) from None


def _read_key(settings: SalesforceSettings) -> bytes:
    file, text = settings.private_key_file, settings.private_key.get_secret_value()
    if file is not None and text:
        raise ConfigError(
            "There are two private keys: KPC__SALESFORCE__PRIVATE_KEY and KPC__SALESFORCE__PRIVATE_KEY_FILE.",
            "Set one of them.",
        )
    if file is None:
        return text.encode()
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The private key {file} cannot be read: {error.strerror}.",
            "KPC__SALESFORCE__PRIVATE_KEY_FILE must name a readable RSA key in PEM form.",
        ) from None
