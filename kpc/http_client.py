"""HTTP clients that reach one server: through the proxy that the environment names for it, or directly.

HTTPS_PROXY (HTTP_PROXY for plain http), then ALL_PROXY, in lower or upper case, name the proxy; NO_PROXY lists hosts,
domains and networks without one. This machine's own addresses are never proxied.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from kpc.errors import ConfigError

_SCHEMES = ("http", "https", "socks5", "socks5h")
_SOCKS_PACKAGE = "socksio"


@dataclass(frozen=True, slots=True)
class ProxyChoice:
    """The proxy that an environment `variable` names. `address` has neither user nor password."""

    variable: str
    url: str
    address: str


def client_for(
    server: str,
    *,
    transport: httpx.BaseTransport | None = None,
    named_proxy: tuple[str, str] | None = None,
    **options: Any,
) -> httpx.Client:
    """A client of the server at the URL `server`; other options are httpx's.

    `named_proxy` is a setting and the address that it names: used for every server, whatever the environment says.
    Raises `ConfigError` for a server or proxy whose address cannot be used.
    """
    limits, verify = options.pop("limits", httpx.Limits()), options.pop("verify", True)
    proxy = proxy_for(server) if named_proxy is None else _choice(*named_proxy)
    if transport is None and proxy is not None:
        transport = _ProxiedTransport(proxy, limits, verify)
    return httpx.Client(transport=transport, limits=limits, verify=verify, trust_env=False, **options)


def is_address(url: str) -> bool:
    """Whether it is a URL of http or https with a host and, if it has a port, a possible one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and bool(httpx.URL(url))
    except (ValueError, httpx.InvalidURL):
        return False


def is_loopback(url: str) -> bool:
    """Whether the URL leads to this machine itself; false for what is no URL."""
    host = _host(url)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def proxy_for(server: str) -> ProxyChoice | None:
    """The proxy between this process and a server; None if it is reached directly.

    Raises `ConfigError`, without user and password, for a proxy whose address cannot be used.
    """
    if not (host := _host(server)) or is_loopback(server) or _is_excepted(host, urlsplit(server).port):
        return None
    scheme = urlsplit(server).scheme
    for name in (f"{scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if value := os.environ.get(variable, "").strip():
                return _choice(variable, value if "://" in value else f"http://{value}")
    return None


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_excepted(host: str, port: int | None) -> bool:
    """Whether NO_PROXY lists the host: by name, domain, `host:port`, network, or `*` for all."""
    lists = (os.environ.get(variable, "") for variable in ("no_proxy", "NO_PROXY"))
    entries = next((found for each in lists if (found := each.replace(",", " ").lower().split())), [])
    return any(_covers(entry, host, port) for entry in entries)


def _covers(entry: str, host: str, port: int | None) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name
    name, _, of_port = entry.rpartition("://")[2].partition(":")
    name = name.removeprefix("*").strip(".")
    is_meant = host == name or host.endswith(f".{name}")
    return entry == "*" or (bool(name) and is_meant and of_port in ("", str(port)))


def _choice(variable: str, url: str) -> ProxyChoice:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL):
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"{variable} does not hold the address of a proxy.",
            f"Set {variable} to http://HOST:PORT, or list the server in NO_PROXY.",
        )
    bracketed = f"[{host}]" if ":" in host else host
    address = f"{bracketed}:{port}" if port else bracketed
    if parts.scheme.startswith("socks") and find_spec(_SOCKS_PACKAGE) is None:
        raise ConfigError(
            f"{variable} names the SOCKS proxy {address}, but the package that speaks SOCKS is not installed.",
            f"Install it with `pip install {_SOCKS_PACKAGE}`, set {variable} to an HTTP proxy, or list the server in "
            "NO_PROXY.",
        )
    return ProxyChoice(variable, url, address)


class _ProxiedTransport(httpx.HTTPTransport):
    """Says of a failure that a proxy is in between, and of a failed connection that the proxy is at fault.

    Without a tunnel nothing was sent to the server, so a refusal by the proxy counts as no connection.
    """

    def __init__(self, proxy: ProxyChoice, limits: httpx.Limits, verify: ssl.SSLContext | bool) -> None:
        parts = urlsplit(proxy.url)
        auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        plain = f"{parts.scheme}://{proxy.address}"
        super().__init__(verify=verify, limits=limits, trust_env=False, proxy=httpx.Proxy(plain, auth=auth))
        self._name = f"the proxy {proxy.address}, named by {proxy.variable}"

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = super().handle_request(request)
        except httpx.TransportError as error:
            raise self._explained(error, request) from error
        if response.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            response.close()
            raise httpx.ConnectError(f"{self._name}, wants a user and a password", request=request)
        return response

    def _explained(self, error: httpx.TransportError, request: httpx.Request) -> httpx.TransportError:
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return error
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return httpx.ConnectError(f"{self._name}, does not connect: {reason}", request=request)
        return type(error)(f"{reason}, through {self._name}", request=request)
