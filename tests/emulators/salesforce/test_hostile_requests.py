"""Hostile and broken requests: an error in the usual form, and the emulator goes on."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from salesforce_emulator_process import HEADER, SUPPLIER, EmulatorProcess, csv_rows, supplier_lines, switch

pytestmark = pytest.mark.emulator_only


def raw(emulator: EmulatorProcess, request: bytes) -> bytes:
    """What comes back for bytes on a socket."""
    address = urlsplit(emulator.ready["base_url"])
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_doubled_slashes_in_a_path_are_forgiven(emulator: EmulatorProcess) -> None:
    """Some loaders write them."""
    assert emulator.client.get("/services//data/v62.0//limits/").status_code == 200


@pytest.mark.parametrize(
    "path", ["/services/data/v99.0/limits", "/services/data/v1/limits", "/services/data/vx.0/limits"]
)
def test_an_api_version_that_is_not_there_is_404(emulator: EmulatorProcess, path: str) -> None:
    """NOT_FOUND, in the usual form."""
    answer = emulator.client.get(path)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_a_retired_api_version_is_gone(switched: EmulatorProcess) -> None:
    """410 in REST, 400 InvalidVersion in Bulk API 1.0; the list of versions begins with the oldest one left."""
    switch(switched, oldest_api_version=60)
    answer = switched.client.get("/services/data/v59.0/limits")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (410, "UNSUPPORTED_API_VERSION")
    assert switched.client.get("/services/data/v60.0/limits").status_code == 200
    assert switched.client.get("/services/data").json()[0]["version"] == "60.0"
    old = switched.client.get("/services/async/30.0/job/750000000000001AAA")
    assert old.status_code == 400
    assert "InvalidVersion" in old.text


def test_a_renamed_my_domain_redirects_every_request(switched: EmulatorProcess) -> None:
    switch(switched, moved_to="https://new-name.my.salesforce.com/")
    answer = switched.client.get("/services/data/v62.0/limits")
    assert (answer.status_code, answer.headers["location"]) == (
        301,
        "https://new-name.my.salesforce.com/services/data/v62.0/limits",
    )


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"object": NaN}', {}, 400),
        (b"", {}, 400),
        (b"x", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}" * 1000, mtime=0)[:20], {"content-encoding": "gzip"}, 400),
        (b"x", {"content-encoding": "br"}, 415),
        (b"--B--", {"content-type": "multipart/form-data"}, 400),
        (b"--B\r\n\r\n--B--", {"content-type": "multipart/form-data; boundary=B"}, 400),
    ],
    ids=[
        "half an object",
        "not UTF-8",
        "nested too deep",
        "no number",
        "empty",
        "not gzip",
        "half of a gzip",
        "unknown encoding",
        "no boundary",
        "no parts",
    ],
)
def test_broken_bodies_are_refused(
    emulator: EmulatorProcess, content: bytes, headers: dict[str, str], status: int
) -> None:
    """4xx with an error list."""
    answer = emulator.client.post(emulator.url("jobs/ingest"), content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()[0]["errorCode"]


def test_huge_headers_are_refused(emulator: EmulatorProcess) -> None:
    """431, and the server goes on."""
    answer = emulator.client.get(emulator.url("limits"), headers={"x-big": "a" * 100_000})
    assert answer.status_code == 431
    assert emulator.get("limits").status_code == 200


def test_an_upload_over_the_limit_is_refused(switched: EmulatorProcess) -> None:
    """Measured on what it decompresses to; the job takes a smaller one afterwards."""
    switch(switched, upload_limit_bytes=100_000)
    job = switched.create_job(SUPPLIER)
    bomb = gzip.compress(b"a" * 10_000_000)
    assert switched.upload(job, bomb, **{"content-encoding": "gzip"}).status_code == 413
    assert switched.upload(job, supplier_lines("small", 1)).status_code == 201


def test_two_uploads_at_once_are_not_mixed(emulator: EmulatorProcess) -> None:
    """The second is refused while the first is on its way."""
    job = emulator.create_job(SUPPLIER)
    started, release = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield HEADER.encode()
        started.set()
        release.wait(10)
        yield b"slowly,A\n"

    def upload() -> None:
        with httpx.Client(base_url=emulator.ready["base_url"], headers=emulator.client.headers, timeout=60) as client:
            client.put("/" + job["contentUrl"], content=slowly(), headers={"content-type": "text/csv"})

    first = threading.Thread(target=upload)
    first.start()
    started.wait(10)
    time.sleep(0.1)
    second = emulator.upload(job, supplier_lines("second", 5))
    release.set()
    first.join(10)
    assert (second.status_code, second.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    emulator.set_state(job)
    emulator.wait_for(job)
    assert [row["External_ID__c"] for row in csv_rows(emulator.result(job, "successfulResults"))] == ["slowly"]


def test_a_body_shorter_than_announced_leaves_the_job_open(emulator: EmulatorProcess) -> None:
    """The connection ends early; nothing is kept."""
    job = emulator.create_job(SUPPLIER)
    head = (
        f"PUT /{job['contentUrl']} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n"
        f"Authorization: {emulator.client.headers['Authorization']}\r\n\r\n{HEADER}"
    )
    raw(emulator, head.encode())
    assert emulator.poll(job)["state"] == "Open"
    assert emulator.upload(job, supplier_lines("after", 1)).status_code == 201


def test_bytes_that_are_no_http_do_no_harm(emulator: EmulatorProcess) -> None:
    """Garbage and a CONNECT to a stranger are turned away."""
    assert b"400" in raw(emulator, b"\x16\x03\x01 garbage\r\n\r\n")
    assert b"501" in raw(emulator, b"CONNECT login.salesforce.com:443 HTTP/1.1\r\n\r\n")
    assert emulator.get("limits").status_code == 200
