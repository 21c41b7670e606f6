"""HTTP as unusual clients speak it, and rubbish: an answer is always an answer of the org's form."""

from __future__ import annotations

import json
import socket
import zlib

import pytest
from salesforce_emulator_process import EmulatorProcess

pytestmark = pytest.mark.emulator_only

DATA = "/services/data/v62.0"


def exchange(emulator: EmulatorProcess, request: bytes) -> bytes:
    """Everything that comes back until the emulator closes the connection."""
    host, _, port = emulator.ready["base_url"].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(emulator: EmulatorProcess, line: str) -> str:
    return f"{line}\r\nHost: x\r\naUTHORIZATION: OAuth {emulator.ready['access_token']}\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_usual_form(emulator: EmulatorProcess, request_bytes: bytes) -> None:
    """A list with a code and a message, and the connection ends."""
    first, _, rest = exchange(emulator, request_bytes).partition(b"\r\n")
    assert first.split()[1] == b"400"
    [error] = json.loads(rest.partition(b"\r\n\r\n")[2])
    assert error["errorCode"] == "BAD_REQUEST"


def test_requests_can_follow_each_other_without_waiting(emulator: EmulatorProcess) -> None:
    """Pipelined on one connection, with doubled slashes and one at the end, answered in their order."""
    one = head(emulator, "GET //services//data//v62.0//sobjects//Account/ HTTP/1.1")
    two = head(emulator, "HEAD /services/data/v41.0/limits/ HTTP/1.1")
    answers = exchange(emulator, f"{one}\r\n{two}Connection: close\r\n\r\n".encode())
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.index(b'"objectDescribe"') < answers.rindex(b"HTTP/1.1 200 OK")
    assert answers.endswith(b"\r\n\r\n")


def test_header_names_are_spelled_as_salesforce_spells_them(emulator: EmulatorProcess) -> None:
    """Airbyte looks for `Content-Type` in a plain dictionary."""
    query = {"operation": "query", "query": "SELECT Id FROM Organization"}
    job = emulator.client.post(emulator.url("jobs/query"), json=query).json()
    emulator.wait_for(job, "query")
    line = head(emulator, f"GET {DATA}/jobs/query/{job['id']}/results HTTP/1.1")
    answer = exchange(emulator, f"{line}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
    told = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")[0]
    names = {each.partition(b":")[0].decode() for each in told.split(b"\r\n")[1:]}
    assert {"Content-Type", "Sforce-Locator", "Sforce-NumberOfRecords", "Sforce-Limit-Info", "Connection"} <= names
    assert not [name for name in names if name[0].islower()]


def test_a_client_of_http_1_0_is_served(emulator: EmulatorProcess) -> None:
    """The connection ends after the answer."""
    answer = exchange(emulator, head(emulator, f"GET {DATA}/limits HTTP/1.0").encode() + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"DailyBulkApiBatches" in answer


def test_an_upload_can_wait_for_100_continue_and_come_in_chunks(emulator: EmulatorProcess) -> None:
    """As curl and jsforce do it."""
    job = emulator.create_job("Account", "insert")
    line = head(emulator, f"PUT /{job['contentUrl']} HTTP/1.1")
    more = "Content-Type: text/csv\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = exchange(emulator, (line + more + "5\r\nName\n\r\n4\r\nOne\n\r\n0\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created")
    emulator.set_state(job)
    assert emulator.wait_for(job)["numberRecordsProcessed"] == 1


@pytest.mark.parametrize("window", [zlib.MAX_WBITS, -zlib.MAX_WBITS])
def test_deflate_is_understood_with_and_without_its_header(emulator: EmulatorProcess, window: int) -> None:
    """Clients disagree about what the word means."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    packed = packer.compress(b"Name\nOne\nTwo\n") + packer.flush()
    job = emulator.create_job("Account", "insert")
    assert emulator.upload(job, packed, **{"content-encoding": "deflate"}).status_code == 201
    emulator.set_state(job)
    assert emulator.wait_for(job)["numberRecordsProcessed"] == 2


@pytest.mark.parametrize("content", ["Name", "Name\n", "Name\r\n", "\ufeffName"])
def test_a_header_alone_is_a_job_without_rows(emulator: EmulatorProcess, content: str) -> None:
    """With or without the end of its line."""
    line_ending = "CRLF" if "\r" in content else "LF"
    job = emulator.load("Account", content, "insert", lineEnding=line_ending)
    assert (job["state"], job["numberRecordsProcessed"]) == ("JobComplete", 0)


@pytest.mark.parametrize("path", ["jobs/ingest", "jobs/query", "sobjects/Account", "composite", "composite/sobjects"])
def test_half_a_surrogate_pair_is_not_json(emulator: EmulatorProcess, path: str) -> None:
    """It cannot be stored nor told, so it is refused; a whole pair is a character."""
    body = b'{"object": "Account", "operation": "insert", "Name": "\\ud83d"}'
    answer = emulator.client.post(emulator.url(path), content=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    answer = emulator.client.post(emulator.url("sobjects/Account"), content=b'{"Name": "\\ud83d\\ude00"}')
    assert answer.status_code == 201


def test_a_semi_join_over_unlike_fields_is_malformed(emulator: EmulatorProcess) -> None:
    """And not an error of the database."""
    soql = "SELECT Id FROM Account WHERE NumberOfEmployees IN (SELECT AccountId FROM Contact)"
    answer = emulator.get("query", q=soql)
    assert answer.json()[0]["errorCode"] == "MALFORMED_QUERY"
    assert "NumberOfEmployees" in answer.json()[0]["message"]
    assert emulator.get("query", q="SELECT Id FROM Account WHERE Name IN (SELECT Name FROM User)").status_code == 200
