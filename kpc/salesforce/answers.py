"""What Salesforce's error responses, and missing responses, mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx

from kpc.errors import (
    ConfigError,
    KpcError,
    NotReached,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    SalesforceDown,
    Terminal,
    UnusableAnswer,
)
from kpc.retry_policy import LONGEST_ASKED_S, TRANSIENT_STATUSES, retry_after_s
from kpc.strict_json import read_json
from kpc.untrusted_text import shown

LOOK_AGAIN = timedelta(hours=1)  # until the next check: Salesforce does not say when its rolling window frees quota
_MOST_CODE = 80
_MOST_HOST = 120
_MY_DOMAIN = (".my.salesforce.com", ".my.salesforce.mil", ".my.sfcrmproducts.cn")
_MOST_PAGE = 2_000  # characters of a page in which its text is looked for


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
        body = read_json(response.content)
    except ValueError:
        page = response.content[:_MOST_PAGE].decode("utf-8", "replace")
        return "", shown(" ".join(re.sub(r"<[^>]*>", " ", page).split()))
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return "", ""
    code = shown(first.get("errorCode") or first.get("error") or "", _MOST_CODE)
    return code, shown(first.get("message") or first.get("error_description") or "")


def request_of(response: httpx.Response) -> str:
    """The request that a response answers, as messages name it: `GET /services/data/v62.0/limits`."""
    return f"{response.request.method} {shown(response.request.url.path)}"


def refusal(response: httpx.Response, *, has_effect: bool) -> KpcError:  # noqa: PLR0911  one line per meaning
    """The error for an unsuccessful response. `has_effect`: the request may have changed something."""
    status, (code, reason) = response.status_code, codes_of(response)
    said = f"Salesforce answered {status}{f' {code}' if code else ''}{f': {reason}' if reason else ''}"
    asked = request_of(response)
    wait_s, wish = _asked_wait(response)
    if has_effect and (status >= 500 or not response.is_error):
        return OutcomeUnknown(f"{said} to {asked}; whether it took effect is unknown.", "The server will be asked.")
    if response.is_redirect:
        return redirected(response)
    if not response.is_error:
        return unusable(response, f"its status is {status}", has_effect=has_effect)
    if status == 429 or (code == "REQUEST_LIMIT_EXCEEDED" and "concurrent" in reason.lower()):
        remedy = "Wait, or pause other software that uses the org, then repeat."
        return RateLimited(f"{said} to {asked}{wish}.", remedy, retry_after_s=wait_s)
    if status in TRANSIENT_STATUSES or status >= 500:
        remedy = "Repeat later; status.salesforce.com shows known incidents."
        return SalesforceDown(f"{said} to {asked}{wish}.", remedy, retry_after_s=wait_s)
    if code in ("REQUEST_LIMIT_EXCEEDED", "EXCEEDEDQUOTA"):
        return AllowanceRefused(
            f"{said}.",
            "The org's daily allowance is used up, perhaps by other software: see `kpc status`, and load later.",
            next_free_utc=datetime.now(UTC) + LOOK_AGAIN,
            reason=f"{code} {reason}".strip(),
        )
    if code == "UNSUPPORTED_API_VERSION" or (status == 410 and "/jobs/" not in response.request.url.path):
        return ConfigError(
            f"{said} to {asked}: Salesforce has retired this version of its API.",
            "Set KPC__SALESFORCE__API_VERSION to one that the org still has (`kpc preflight` lists them), then repeat; "
            "nothing has to be loaded again.",
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


def redirected(response: httpx.Response) -> ConfigError:
    """The error for a redirect, which is never followed: it would carry the token or the secret elsewhere."""
    try:
        host = urlsplit(response.headers.get("location", "")).hostname or "the same host"
    except ValueError:
        host = "no valid address"
    remedy = (
        "Set KPC__SALESFORCE__BASE_URL to the My Domain address, https://NAME.my.salesforce.com, or ask the proxy's "
        "administrator."
    )
    if host.lower().endswith(_MY_DOMAIN):
        remedy = (
            f"If the org's My Domain was renamed (Setup, My Domain), set KPC__SALESFORCE__BASE_URL to "
            f"https://{shown(host, _MOST_HOST)}, then repeat; the org and its id stay the same."
        )
    return ConfigError(
        f"{request_of(response)} was answered {response.status_code}, a redirect to {shown(host, _MOST_HOST)}; it is "
        "not followed.",
        remedy,
    )


def unusable(response: httpx.Response, why: str, *, has_effect: bool) -> UnusableAnswer | OutcomeUnknown:
    """The error for an answer that cannot be used; `why` is a clause: "it is empty"."""
    what = f"Salesforce's answer to {request_of(response)} cannot be used: {shown(why)}"
    if has_effect:
        return OutcomeUnknown(f"{what}; whether the request took effect is unknown.", "The server will be asked.")
    return UnusableAnswer(
        f"{what}.", "A proxy may have sent it: check KPC__SALESFORCE__BASE_URL and the proxy, then repeat."
    )


def _asked_wait(response: httpx.Response) -> tuple[float | None, str]:
    """The wait that a response asks for, and a remark for the message if that wait is not obeyed."""
    header = response.headers.get("retry-after")
    wait_s = retry_after_s(header, response.headers.get("date"))
    if header is not None and wait_s is None:
        return None, f" (its Retry-After {shown(header, 40)!r} is not understood)"
    if wait_s is not None and wait_s > LONGEST_ASKED_S:
        return wait_s, f" (it asks to wait {wait_s:,.0f} s; no more than {LONGEST_ASKED_S:,.0f} s are waited here)"
    return wait_s, ""


def refused_login(response: httpx.Response, base_url: str) -> KpcError:
    """The error for a refused token request."""
    status, (code, reason) = response.status_code, codes_of(response)
    wait_s, wish = _asked_wait(response)
    if response.is_redirect:
        return redirected(response)
    if status == 429:
        return RateLimited(f"Salesforce answered 429 to the log-in{wish}.", "Wait, then repeat.", retry_after_s=wait_s)
    if status in TRANSIENT_STATUSES or status >= 500:
        return SalesforceDown(
            f"{base_url} answered {status} to the log-in{wish}.", "Repeat later.", retry_after_s=wait_s
        )
    remedies = {
        "invalid_client": "The client secret is wrong: set KPC__SALESFORCE__CLIENT_SECRET.",
        "invalid_client_id": "The client id is wrong: set KPC__SALESFORCE__CLIENT_ID.",
        "invalid_grant": "Check that the user is active and approved for the connected app, its flow is enabled, and "
        "(with a key file) the certificate, KPC__SALESFORCE__USERNAME and KPC__SALESFORCE__AUDIENCE are right.",
        "unsupported_grant_type": "Enable the client credentials flow in the connected app, or use a key file.",
    }
    if "audience" in reason.lower():
        return ConfigError(
            f"Salesforce refused the log-in at {base_url}: {code} ({reason}).",
            "Set KPC__SALESFORCE__AUDIENCE to https://login.salesforce.com, for a sandbox https://test.salesforce.com; "
            "some orgs ask for their My Domain address instead.",
        )
    if not code:
        return ConfigError(
            f"{base_url} answered {status} and does not look like Salesforce.",
            "Set KPC__SALESFORCE__BASE_URL to the My Domain address, https://NAME.my.salesforce.com.",
        )
    return ConfigError(
        f"Salesforce refused the log-in at {base_url}: {code} ({reason}).",
        remedies.get(code, "Check the KPC__SALESFORCE__... settings against the connected app in Setup."),
    )


def no_response(error: httpx.TransportError, host: str, *, has_effect: bool, is_first: bool = False) -> KpcError:
    """The error for a request without a response. If no connection was made, the request had no effect.

    `is_first`: the org has not answered this process before.
    """
    reason = shown(str(error) or type(error).__name__)
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return ConfigError(
            f"The certificate of {host} is not trusted: {reason}.",
            "Set KPC__SALESFORCE__CA_FILE to the authority that signed it; the check cannot be switched off.",
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return ConfigError(f"{host} is not an address: {reason}.", "Set KPC__SALESFORCE__BASE_URL to https://...")
    was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)
    if has_effect and was_sent:
        return OutcomeUnknown(
            f"The response of {host} was lost ({type(error).__name__}); whether the request took effect is unknown.",
            "The server will be asked.",
        )
    down = NotReached if is_first and not was_sent else SalesforceDown
    return down(f"{host} does not answer: {reason}.", "Check the network and KPC__SALESFORCE__BASE_URL, then repeat.")
