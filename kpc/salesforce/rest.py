"""HTTP requests to the org: one connection pool, automatic token renewal, one retry policy, bounded answers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import httpx

from kpc.bounded_body import BodyRefused, with_body
from kpc.errors import ConfigError, SalesforceDown
from kpc.http_client import client_for
from kpc.retry_policy import retried
from kpc.salesforce.answers import no_response, refusal, unusable
from kpc.salesforce.auth import AccessToken, can_renew, check_address, log_in
from kpc.salesforce.job_poller import JobPoller, shared_poller
from kpc.salesforce.shapes import fitted
from kpc.settings import SalesforceSettings
from kpc.strict_json import read_json

_CONNECTIONS = 40
_LONG_TRANSFERS = 4  # uploads, and downloads, at once: an org allows 25 requests of over 20 s, shared with others
_MOST_JSON_BYTES = 64_000_000  # of one answer: 2,000 records of a page have 2 to 20 MB
_LONGEST_JSON_S = 600.0  # of one answer, however slowly it comes

T = TypeVar("T")


class Rest:
    """Requests below `/services/data/vXX.X`; every failure is raised as a `KpcError`. Safe to share between threads."""

    def __init__(self, settings: SalesforceSettings, transport: httpx.BaseTransport | None = None) -> None:
        self.settings = settings
        self._http = _client(settings, transport)
        self._host = settings.base_url
        self._has_answered = False
        self._renewing = threading.Lock()
        try:
            self._token = self._log_in()
        except BaseException:
            self._http.close()
            raise
        self._host = self._token.instance_url
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

    def ask(self, shape: type[T], path: str, params: dict[str, str] | None = None) -> T:
        """GET and decode JSON of this shape with exact decimals; repeated by the retry policy."""
        return retried(lambda: _fitted(shape, self._send("GET", path, params=params, has_effect=False)))

    def tell(self, method: str, path: str, body: dict[str, Any], shape: Any = None) -> Any:
        """A request with an effect; repeated only if it certainly had none. Without `shape` the answer may be empty.

        Raises `OutcomeUnknown` if its response is lost or cannot be used.
        """
        return retried(lambda: self.tell_once(method, path, body, shape))

    def tell_once(self, method: str, path: str, body: dict[str, Any], shape: Any = None) -> Any:
        """A request with an effect, sent once, for callers that repeat it together with a question."""
        response = self._send(method, path, json=body, has_effect=True)
        if shape is None and not response.content:
            return None
        return _fitted(shape or object, response, has_effect=True)

    def send_safely(self, shape: type[T], method: str, path: str, **content: Any) -> T:
        """A request that is safe to repeat, sent once, for callers that check its answer before it is repeated."""
        return _fitted(shape, self._send(method, path, **content, has_effect=False))

    def put(self, path: str, blocks: Callable[[], Iterator[bytes]], headers: dict[str, str]) -> None:
        """Stream `blocks()` as a request body, once. Raises `OutcomeUnknown` if the response is lost."""
        with self.uploads:
            self._send("PUT", path, blocks=blocks, headers=headers, has_effect=True)

    @contextmanager
    def stream(self, path: str, params: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """A GET whose body the caller streams; errors while reading are converted as well."""
        with self.downloads, self._explained(has_effect=False):
            response = self._request("GET", path, params=params)
            try:
                if response.status_code != 200:
                    raise refusal(_read(response, has_effect=False), has_effect=False)
                yield response
            except BodyRefused as refused:
                raise unusable(response, f"it {refused}", has_effect=False) from None
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
            response = _read(response, has_effect=has_effect)
        if not response.is_success:
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
    ) -> httpx.Response:
        """An unread response, whatever its status; after a 401 the token is renewed first."""
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
            response = self._http.send(request, stream=True)
            if response.status_code != 401 or is_last:
                break
            response.close()
            self._renew(token)
        return response

    def _log_in(self) -> AccessToken:
        return retried(lambda: log_in(self._send_openly, self.settings))

    def _send_openly(self, method: str, url: str, **content: Any) -> httpx.Response:
        """A request of the log-in, which needs no token; its response, whatever its status."""
        with self._explained(has_effect=False):
            response = self._http.send(self._http.build_request(method, url, **content), stream=True)
            self._has_answered = True
            return _read(response, has_effect=False)

    def _renew(self, old: AccessToken) -> None:
        with self._renewing:
            if self._token is not old:
                return  # another thread has already renewed it
            if not can_renew(self.settings):
                raise ConfigError(
                    "The given Salesforce access token has expired.",
                    "Set a new KPC__SALESFORCE__ACCESS_TOKEN, or client id and secret to renew tokens automatically.",
                )
            fresh = self._log_in()
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
            is_first = not self._has_answered
            raise no_response(error, self._host, has_effect=has_effect, is_first=is_first) from None
        except httpx.DecodingError as error:
            raise SalesforceDown(f"A response of Salesforce was damaged: {error}.", "Repeat.") from None


def _read(response: httpx.Response, *, has_effect: bool) -> httpx.Response:
    """The response with its whole body, decompressed within limits."""
    try:
        return with_body(response, most_bytes=_MOST_JSON_BYTES, longest_s=_LONGEST_JSON_S)
    except BodyRefused as refused:
        raise unusable(response, f"it {refused}", has_effect=has_effect) from None


def _fitted(shape: type[T], response: httpx.Response, *, has_effect: bool = False) -> T:
    """The response's JSON as `shape`. Raises `UnusableAnswer`, or `OutcomeUnknown` for a request with an effect."""
    kind = response.headers.get("content-type", "application/json")
    if "json" not in kind.lower():
        raise unusable(response, f"it is {kind or 'of no type'} instead of JSON", has_effect=has_effect)
    try:
        value = read_json(response.content)
    except ValueError as error:
        raise unusable(response, f"its JSON {error}", has_effect=has_effect) from None
    try:
        return fitted(shape, value)
    except ValueError as error:
        raise unusable(response, f"it is not what was expected ({error})", has_effect=has_effect) from None


def _client(settings: SalesforceSettings, transport: httpx.BaseTransport | None) -> httpx.Client:
    base_url = check_address(settings.base_url)
    proxy = settings.proxy.get_secret_value()
    timeout = httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
    return client_for(
        base_url,
        verify=_trust(settings),
        transport=transport,
        named_proxy=("KPC__SALESFORCE__PROXY", proxy) if proxy else None,
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
