"""Proxies: which server is reached through which, and what is said of one that cannot be used."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from kpc.errors import ConfigError, SalesforceDown
from kpc.http_client import client_for, is_address, is_loopback, proxy_for
from kpc.salesforce import connect
from kpc.settings import SalesforceSettings

ORG = "https://kpc.my.salesforce.com"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "a.localhost", "[::1]"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1", "http://x:abc", "?"])
def test_this_machine_is_never_reached_through_a_proxy(host: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a malformed one is looked at."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy)
    assert is_loopback(f"http://{host}:8080/x")
    client_for(f"http://{host}:8080").close()
    assert proxy_for(f"http://{host}") is None


@pytest.mark.parametrize(
    ("entry", "is_direct"),
    [
        ("*", True), ("kpc.my.salesforce.com", True), (".salesforce.com", True), ("*.salesforce.com", True),
        ("salesforce.com", True), ("SALESFORCE.COM", True), ("a.example, .salesforce.com", True),
        ("a.example  salesforce.com", True), ("salesforce.com:443", False), ("force.com", False),
        ("[::1,:,http://,a:b:c,,10.0.0.0/8", False), ("", False), (".", False), ("https://salesforce.com", True),
    ],
)  # fmt: skip
def test_no_proxy_is_read_in_its_odd_forms(entry: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", entry)
    assert (proxy_for(ORG) is None) == is_direct


def test_a_network_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.0/8,[fd00::]/8")
    assert proxy_for("http://10.1.2.3:8080") is None
    assert proxy_for("http://11.1.2.3:8080") is not None


@pytest.mark.parametrize("value", ["proxy:3128", "http://proxy:3128", " http://user:p%40ss@proxy:3128\n"])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_is_used_and_its_password_not_shown(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv(variable, value)
    proxy = proxy_for(ORG)
    assert proxy is not None
    assert (proxy.variable, proxy.address) == (variable, "proxy:3128")
    client_for(ORG).close()


BAD_PROXIES = ("http://x:abc", "http://", "ftp://proxy:1", "socks4://proxy", "http://[::1", "http://proxy:99999")


@pytest.mark.parametrize("value", [*BAD_PROXIES, "socks5://u:s3cret@proxy:1"])
def test_an_unusable_proxy_is_refused_by_the_name_of_its_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ConfigError, match="ALL_PROXY") as refused:
        connect(SalesforceSettings(base_url=ORG, client_id="x"))
    assert "s3cret" not in str(refused.value)
    assert "NO_PROXY" in refused.value.remedy


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    """A proxy that answers every request with 407."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("quick_retries")
def test_a_proxy_that_does_not_answer_is_named_as_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:s3cret@127.0.0.1:1")
    with pytest.raises(SalesforceDown, match=r"the proxy 127\.0\.0\.1:1, named by HTTPS_PROXY") as down:
        connect(SalesforceSettings(base_url=ORG, client_id="x", client_secret="y"))
    assert "s3cret" not in str(down.value)


@pytest.mark.parametrize("server", [ORG, "http://airflow.example"])
def test_a_proxy_that_wants_a_password_is_named(
    server: str, refusing_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing reached the server, so the error is that of a connection, whatever the request would have done."""
    monkeypatch.setenv("ALL_PROXY", f"http://{refusing_proxy}")
    with client_for(server) as client, pytest.raises(httpx.ConnectError, match=f"the proxy {refusing_proxy}"):
        client.post(f"{server}/jobs")


@pytest.mark.parametrize("url", ["", "x", "127.0.0.1:8080", "ftp://x", "http://", "http://[::1", "https://x:99999"])
def test_what_is_no_address_is_recognised(url: str) -> None:
    assert not is_address(url)
    with pytest.raises(ConfigError, match="KPC__SALESFORCE__BASE_URL"):
        connect(SalesforceSettings(base_url=url))
