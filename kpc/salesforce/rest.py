"""HTTP requests to the org: one connection pool, automatic token renewal, retries of requests safe to repeat."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

import httpx
import stamina
from stamina.instrumentation import RetryDetails

from kpc.errors import ConfigError, KpcError, SalesforceDown
from kpc.http_client import client_for
from kpc.salesforce.answers import codes_of, no_response, refusal
from kpc.salesforce.auth import AccessToken, can_renew, check_address, log_in
from kpc.salesforce.job_poller import JobPoller, shared_poller
from kpc.settings import SalesforceSettings

log = logging.getLogger(__name__)

_SECONDS_SCALE: dict[str, Any] = {"attempts": 5, "timeout": 45.0, "wait_initial": 0.2, "wait_max": 5.0}
_CONNECTIONS = 40
_LONG_TRANSFERS = 4  # uploads, and downloads, at once: an org allows 25 requests of over 20 s, shared with others

T = TypeVar("T")


class Rest:
    """Requests below `/services/data/vXX.X`; every failure is raised as a `KpcError`. Safe to share between threads."""

    def __init__(self, settings: SalesforceSettings, transport: httpx.BaseTransport | None = None) -> None:
        self.settings = settings
        self._http = _client(settings, transport)
        self._renewing = threading.Lock()
        try:
            self._token = retried(lambda: log_in(self._http, settings))
        except BaseException:
            self._http.close()
            raise
        self._data_path = f"/services/data/v{settings.api_version}"
        self.uploads = threading.BoundedSemaphore(_LONG_TRANSFERS)
        self.downloads = threading.BoundedSemaphore(_LONG_TRANSFERS)

    @property
    def org_id(self) -> str:
        """The org's id, 18 characters beginning with 00D."""
        return self._token.org_id

    @property
    def user_id(self) -> str:
        return self._token.user_id

    @cached_property
    def poller(self) -> JobPoller:
        """What follows bulk jobs, shared by all clients of this org in this process."""
        settings = self.settings
        return shared_poller(
            settings.base_url, self.org_id, first_s=settings.poll_first_s, longest_s=settings.poll_longest_s
        )

    def close(self) -> None:
        self._http.close()

    def ask(self, path: str, params: dict[str, str] | None = None) -> Any:
        """GET and decode JSON with exact decimals; retried for some seconds while the org is down."""
        return retried(lambda: decode(self._send("GET", path, params=params, has_effect=False)))

    def tell(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """A request with an effect, sent once. Raises `OutcomeUnknown` if its response is lost."""
        return decode(self._send(method, path, json=body, has_effect=True))

    def tell_safely(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """A request that is safe to repeat; retried for some seconds while the org is down."""
        return retried(lambda: decode(self._send(method, path, json=body, has_effect=False)))

    def put(self, path: str, blocks: Callable[[], Iterator[bytes]], headers: dict[str, str]) -> None:
        """Stream `blocks()` as a request body. Raises `OutcomeUnknown` if the response is lost."""
        with self.uploads:
            self._send("PUT", path, blocks=blocks, headers=headers, has_effect=True)

    @contextmanager
    def stream(self, path: str, params: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """A GET whose body the caller streams; errors while reading are converted as well."""
        with self.downloads, self._explained(has_effect=False):
            response = self._request("GET", path, params=params, is_streamed=True)
            try:
                if response.status_code >= 300:
                    response.read()
                    raise refusal(response, has_effect=False)
                yield response
            finally:
                response.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        has_effect: bool,
        params: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        blocks: Callable[[], Iterator[bytes]] | None = None,
    ) -> httpx.Response:
        with self._explained(has_effect=has_effect):
            response = self._request(method, path, params=params, json=json, headers=headers, blocks=blocks)
        if response.status_code >= 300:
            raise refusal(response, has_effect=has_effect)
        return response

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        blocks: Callable[[], Iterator[bytes]] | None = None,
        is_streamed: bool = False,
    ) -> httpx.Response:
        if self._token.age_s > self.settings.token_age_s and can_renew(self.settings):
            self._renew(self._token)
        for is_last in (False, False, True):  # all sessions may be ended again while the token is being renewed
            token = self._token
            request = self._http.build_request(
                method,
                token.instance_url + (path if path.startswith("/services/") else self._data_path + path),
                params=params,
                json=json,
                headers={**(headers or {}), "Authorization": f"Bearer {token.access_token}"},
                content=blocks() if blocks else None,
            )
            response = self._http.send(request, stream=is_streamed)
            if response.status_code != 401 or is_last:
                break
            response.close()
            self._renew(token)
        return response

    def _renew(self, old: AccessToken) -> None:
        with self._renewing:
            if self._token is not old:
                return  # another thread has already renewed it
            if not can_renew(self.settings):
                raise ConfigError(
                    "The given Salesforce access token has expired.",
                    "Set a new KPC__SALESFORCE__ACCESS_TOKEN, or client id and secret to renew tokens automatically.",
                )
            fresh = retried(lambda: log_in(self._http, self.settings))
            if fresh.org_id != old.org_id:
                raise ConfigError(
                    f"The log-in now leads to org {fresh.org_id}; before, it was {old.org_id}.",
                    "Check KPC__SALESFORCE__BASE_URL; a run must use a single org.",
                )
            self._token = fresh

    @contextmanager
    def _explained(self, *, has_effect: bool) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise no_response(error, self._token.instance_url, has_effect=has_effect) from None
        except httpx.DecodingError as error:
            raise SalesforceDown(f"A response of Salesforce was damaged: {error}.", "Repeat.") from None


def _log_retry(details: RetryDetails) -> None:
    why = details.caused_by.what if isinstance(details.caused_by, KpcError) else details.caused_by
    log.warning("%s Asking again in %.1f s.", why, details.wait_for)


stamina.instrumentation.set_on_retry_hooks([_log_retry])  # instead of the library's own log line


def retried(act: Callable[[], T]) -> T:
    """Retry `act` for some seconds while Salesforce is down; longer waits are left to the scheduler."""
    for attempt in stamina.retry_context(on=SalesforceDown, **_SECONDS_SCALE):
        with attempt:
            return act()
    raise AssertionError  # the context returns or raises


def decode(response: httpx.Response) -> Any:
    """The JSON body with exact decimals; None for an empty one."""
    if not response.content:
        return None
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError:
        _, text = codes_of(response)
        raise SalesforceDown(
            f"A response of Salesforce is not JSON: {text}.",
            "A proxy may have sent it; repeat, or ask the proxy's administrator.",
        ) from None


def _client(settings: SalesforceSettings, transport: httpx.BaseTransport | None) -> httpx.Client:
    base_url = check_address(settings.base_url)
    timeout = httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
    return client_for(
        base_url,
        verify=_trust(settings),
        transport=transport,
        timeout=timeout,
        limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        headers={"Accept-Encoding": "gzip", "User-Agent": "kpc-migration"},
    )


def _trust(settings: SalesforceSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The CA file {settings.ca_file} cannot be read: {error}.",
            "KPC__SALESFORCE__CA_FILE must name certificates in PEM form.",
        ) from None
