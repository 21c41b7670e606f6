"""What Salesforce's error responses, and missing responses, mean."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import httpx

from kpc.errors import ConfigError, KpcError, OutcomeUnknown, QuotaExhausted, RateLimited, SalesforceDown, Terminal

LOOK_AGAIN = timedelta(hours=1)  # until the next check: Salesforce does not say when its rolling window frees quota
_LONG_REQUESTS_S = 60.0
_TEXT_SHOWN = 300


class Refused(Terminal):
    """Salesforce refused a request: HTTP `status`, and Salesforce's own `code` and `reason`."""

    def __init__(self, what: str, remedy: str = "", *, status: int, code: str, reason: str) -> None:
        super().__init__(what, remedy)
        self.status = status
        self.code = code
        self.reason = reason


class AllowanceRefused(QuotaExhausted):
    """The org reports that a 24 h allowance is used up; `reason` is its message."""

    def __init__(self, what: str, remedy: str = "", *, next_free_utc: datetime, reason: str) -> None:
        super().__init__(what, remedy, next_free_utc=next_free_utc)
        self.reason = reason


def codes_of(response: httpx.Response) -> tuple[str, str]:
    """Error code and message of a response: Salesforce sends a list of objects, OAuth one object, a proxy neither."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return "", " ".join(re.sub(r"<[^>]*>", " ", response.text[:2000]).split())[:_TEXT_SHOWN]
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return "", ""
    code = str(first.get("errorCode") or first.get("error") or "")
    return code, str(first.get("message") or first.get("error_description") or "")[:_TEXT_SHOWN]


def refusal(response: httpx.Response, *, has_effect: bool) -> KpcError:  # noqa: PLR0911  one line per meaning
    """The error for an unsuccessful response. `has_effect`: the request may have changed something."""
    status, (code, reason) = response.status_code, codes_of(response)
    said = f"Salesforce answered {status}{f' {code}' if code else ''}{f': {reason}' if reason else ''}"
    asked = f"{response.request.method} {response.request.url.path}"
    if status >= 500 and has_effect:
        return OutcomeUnknown(f"{said} to {asked}; whether it took effect is unknown.", "The server will be asked.")
    if status >= 500:
        return SalesforceDown(f"{said} to {asked}.", "Repeat later; status.salesforce.com shows known incidents.")
    if status == 429:
        return RateLimited(f"{said}.", "Wait, then repeat.", retry_after_s=_retry_after(response))
    if code == "REQUEST_LIMIT_EXCEEDED" and "concurrent" in reason.lower():
        return RateLimited(
            f"{said}.",
            "Too many requests of over 20 s are running at once: wait, or pause other software.",
            retry_after_s=_retry_after(response),
        )
    if code in ("REQUEST_LIMIT_EXCEEDED", "EXCEEDEDQUOTA"):
        return AllowanceRefused(
            f"{said}.",
            "The org's daily allowance is used up, perhaps by other software: see `kpc status`, and load later.",
            next_free_utc=datetime.now(UTC) + LOOK_AGAIN,
            reason=f"{code} {reason}".strip(),
        )
    if status == 401:
        return ConfigError(
            f"{said}, even with a new token.",
            "Check in Setup that the connected app's user is active and allowed to use the API.",
        )
    if status == 403:
        return ConfigError(f"{said} to {asked}.", "Give the integration user this permission in Setup, then repeat.")
    return Refused(
        f"{said} to {asked}.", "See the message; `kpc preflight` compares the org with the catalog.",
        status=status, code=code, reason=reason,
    )  # fmt: skip


def refused_login(response: httpx.Response, base_url: str) -> KpcError:
    """The error for a refused token request."""
    status, (code, reason) = response.status_code, codes_of(response)
    if status >= 500:
        return SalesforceDown(f"{base_url} answered {status} to the log-in.", "Repeat later.")
    if status == 429:
        return RateLimited(
            "Salesforce limits the rate of log-ins.", "Wait, then repeat.", retry_after_s=_retry_after(response)
        )
    remedies = {
        "invalid_client": "The client secret is wrong: set KPC__SALESFORCE__CLIENT_SECRET.",
        "invalid_client_id": "The client id is wrong: set KPC__SALESFORCE__CLIENT_ID.",
        "invalid_grant": "Check that the user is active and approved for the connected app, its flow is enabled, and "
        "(with a key file) the certificate, KPC__SALESFORCE__USERNAME and KPC__SALESFORCE__AUDIENCE are right.",
        "unsupported_grant_type": "Enable the client credentials flow in the connected app, or use a key file.",
    }
    if not code:
        return ConfigError(
            f"{base_url} answered {status} and does not look like Salesforce.",
            "Set KPC__SALESFORCE__BASE_URL to the My Domain address, https://NAME.my.salesforce.com.",
        )
    return ConfigError(
        f"Salesforce refused the log-in at {base_url}: {code} ({reason}).",
        remedies.get(code, "Check the KPC__SALESFORCE__... settings against the connected app in Setup."),
    )


def no_response(error: httpx.TransportError, host: str, *, has_effect: bool) -> KpcError:
    """The error for a request without a response. If no connection was made, the request had no effect."""
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return ConfigError(
            f"The certificate of {host} is not trusted: {reason}.",
            "Set KPC__SALESFORCE__CA_FILE to the authority that signed it; the check cannot be switched off.",
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return ConfigError(f"{host} is not an address: {reason}.", "Set KPC__SALESFORCE__BASE_URL to https://...")
    was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    if has_effect and was_sent:
        return OutcomeUnknown(
            f"The response of {host} was lost ({type(error).__name__}); whether the request took effect is unknown.",
            "The server will be asked.",
        )
    return SalesforceDown(
        f"{host} does not answer: {reason}.", "Check the network and KPC__SALESFORCE__BASE_URL, then repeat."
    )


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", _LONG_REQUESTS_S))
    except ValueError:
        return _LONG_REQUESTS_S
