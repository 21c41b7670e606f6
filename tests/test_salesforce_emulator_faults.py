"""Logins, faults, time and hostile requests of the Salesforce emulator."""

from __future__ import annotations

import csv
import gzip
import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from salesforce_emulator_process import EmulatorProcess

pytestmark = pytest.mark.emulator_only

SUPPLIER = "KPS_PosSupplier__c"
HEADER = "External_ID__c,Pos_Supplier_Code__c\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    process = EmulatorProcess(tmp_path_factory.mktemp("salesforce")).start()
    yield process
    assert process.stop() == 0


@pytest.fixture
def emulator(running: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The shared process, put back to its normal behaviour afterwards."""
    normal = running.client.get("/_emulator/").json()["switches"]
    yield running
    running.client.patch("/_emulator/switches", json=normal)
    running.client.delete("/_emulator/faults")


def switch(emulator: EmulatorProcess, **values: object) -> None:
    assert emulator.client.patch("/_emulator/switches", json=values).status_code == 200


def fault(emulator: EmulatorProcess, **rule: object) -> None:
    assert emulator.client.post("/_emulator/faults", json=rule).status_code == 200


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def lines(prefix: str, count: int) -> str:
    return HEADER + "".join(f"{prefix}{n},A\n" for n in range(count))


# Logging in


def token(emulator: EmulatorProcess, **form: str) -> httpx.Response:
    return httpx.post(f"{emulator.ready['base_url']}/services/oauth2/token", data=form, timeout=60)


def works(emulator: EmulatorProcess, access_token: str) -> bool:
    headers = {"Authorization": f"Bearer {access_token}"}
    return (
        httpx.get(emulator.ready["base_url"] + emulator.url("limits"), headers=headers, timeout=60).status_code == 200
    )


def test_secrets_may_come_in_the_body_or_as_basic(emulator: EmulatorProcess) -> None:
    """The answer has every member that clients read."""
    ready = emulator.ready
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    answer = token(emulator, grant_type="client_credentials", **client).json()
    assert {"access_token", "instance_url", "id", "token_type", "issued_at", "signature", "scope"} == set(answer)
    assert answer["id"].endswith(f"/id/{ready['org_id']}/{ready['user_id']}")
    assert works(emulator, answer["access_token"])
    basic = httpx.post(
        f"{ready['base_url']}/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(ready["client_id"], ready["client_secret"]),
        timeout=60,
    )
    assert works(emulator, basic.json()["access_token"])


def test_a_password_gets_a_refresh_token_and_that_gets_more(emulator: EmulatorProcess) -> None:
    """The password works with the security token behind it, as Salesforce wants it."""
    ready = emulator.ready
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    password = ready["password"] + ready["security_token"]
    first = token(emulator, grant_type="password", username=ready["username"], password=password, **client).json()
    more = token(emulator, grant_type="refresh_token", refresh_token=first["refresh_token"], **client).json()
    assert works(emulator, more["access_token"])
    assert "refresh_token" not in more


def assertion(emulator: EmulatorProcess, key: Any, **claims: object) -> str:
    ready = emulator.ready
    facts = {"iss": ready["client_id"], "sub": ready["username"], "aud": "https://login.salesforce.com"}
    return jwt.encode({**facts, "exp": int(time.time()) + 120, **claims}, key, algorithm="RS256")


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({}, None),
        ({"exp": 1}, "invalid_grant"),
        ({"exp": "soon"}, "invalid_grant"),
        ({"exp": 1_900_000_000_300}, None),  # milliseconds, as Salesforce's own command line sends them
        ({"iss": "somebody"}, "invalid_client_id"),
        ({"sub": "somebody"}, "invalid_grant"),
    ],
)
def test_a_jwt_is_checked(emulator: EmulatorProcess, claims: dict[str, object], error: str | None) -> None:
    """Who, for whom, until when."""
    key = open(emulator.ready["jwt_private_key_file"]).read()  # noqa: SIM115, PTH123  a few bytes
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    answer = token(emulator, grant_type=grant, assertion=assertion(emulator, key, **claims))
    assert (answer.status_code, answer.json().get("error")) == (400 if error else 200, error)


def test_a_jwt_signed_by_another_key_is_refused(emulator: EmulatorProcess) -> None:
    """And so is one without a signature."""
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for text in (assertion(emulator, other), "a.b.c", ""):
        assert token(emulator, grant_type=grant, assertion=text).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "no", "client_secret": "no"}, "invalid_client_id"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
    ],
)
def test_wrong_logins_get_oauths_own_error(emulator: EmulatorProcess, form: dict[str, str], error: str) -> None:
    """Not the REST API's list."""
    answer = token(emulator, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"]


def test_soap_login(emulator: EmulatorProcess) -> None:
    """A session id and the server's address; a wrong password is a SOAP fault."""
    ready = emulator.ready
    envelope = (
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body>'
        '<n1:login xmlns:n1="urn:partner.soap.sforce.com"><n1:username>{}</n1:username>'
        "<n1:password>{}</n1:password></n1:login></env:Body></env:Envelope>"
    )
    url, headers = f"{ready['base_url']}/services/Soap/u/62.0", {"content-type": "text/xml", "SOAPAction": "login"}
    good = httpx.post(url, content=envelope.format(ready["username"], ready["password"]), headers=headers, timeout=60)
    session = good.text.partition("<sessionId>")[2].partition("</sessionId>")[0]
    assert works(emulator, session)
    assert f"<serverUrl>{ready['base_url']}/services/Soap/u/62.0/" in good.text
    bad = httpx.post(url, content=envelope.format(ready["username"], "wrong"), headers=headers, timeout=60)
    assert (bad.status_code, "<sf:exceptionCode>INVALID_LOGIN<" in bad.text) == (500, True)
    assert "<soapenv:Fault>" in httpx.post(url, content="<open", headers=headers, timeout=60).text
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    assert "<soapenv:Fault>" in httpx.post(url, content=bomb, headers=headers, timeout=60).text
    asked = "<e><h><sessionId>{}</sessionId></h><b><getUserInfo/></b></e>"
    told = httpx.post(url, content=asked.format(session), headers=headers, timeout=60).text
    assert f"<userId>{ready['user_id']}</userId>" in told
    assert "INVALID_SESSION_ID" in httpx.post(url, content=asked.format("x"), headers=headers, timeout=60).text


@pytest.mark.parametrize(("kind", "api"), [("u", "partner"), ("c", "enterprise")])
def test_typed_soap_clients_find_every_element_of_the_user(emulator: EmulatorProcess, kind: str, api: str) -> None:
    """In the API's own namespace, in the WSDL's order; what is null is there as nil."""
    ready = emulator.ready
    url = f"{ready['base_url']}/services/Soap/{kind}/62.0"
    content = f"<e><login><username>{ready['username']}</username><password>{ready['password']}</password></login></e>"
    answer = httpx.post(url, content=content, headers={"content-type": "text/xml"}, timeout=60)
    root = ElementTree.fromstring(answer.text)  # noqa: S314
    namespace = f"{{urn:{api}.soap.sforce.com}}"
    [user] = root.iter(f"{namespace}userInfo")
    names = [each.tag.removeprefix(namespace) for each in user]
    assert (len(names), names[0], names[-1]) == (24, "accessibilityMode", "userUiSkin")
    assert user.findtext(f"{namespace}userId") == ready["user_id"]
    [role] = user.iter(f"{namespace}roleId")
    assert list(role.attrib.values()) == ["true"]
    server = next(root.iter(f"{namespace}serverUrl")).text
    assert server == f"{url}/{ready['org_id'][:15]}"
    assert "INVALID_SESSION_ID" in httpx.post(server, content="<e><getUserInfo/></e>", timeout=60).text


def test_without_a_session_nothing_is_told(emulator: EmulatorProcess) -> None:
    """401 INVALID_SESSION_ID; only the list of versions is public."""
    base = emulator.ready["base_url"]
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = httpx.get(base + emulator.url("limits"), headers=headers, timeout=60)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    assert httpx.get(f"{base}/services/data", timeout=60).json()[-1]["version"]
    assert (
        httpx.get(f"{base}/services/oauth2/userinfo", headers={"Authorization": "Bearer no"}, timeout=60).status_code
        == 401
    )


# Faults


def test_a_fault_strikes_as_often_as_it_was_told(emulator: EmulatorProcess) -> None:
    """Two of three polls fail, after one that works."""
    job = emulator.create_job(SUPPLIER)
    fault(emulator, action="status", method="GET", path="/jobs/ingest/", status=503, skip=1, times=2)
    answers = [emulator.get(f"jobs/ingest/{job['id']}").status_code for _ in range(4)]
    assert answers == [200, 503, 503, 200]


def test_a_cut_close_was_still_done(emulator: EmulatorProcess) -> None:
    """The reply is lost, the job goes on: whoever repeats blindly is found out."""
    job = emulator.create_job(SUPPLIER)
    emulator.upload(job, lines("cut", 3))
    fault(emulator, action="cut_after", method="PATCH")
    with pytest.raises(httpx.TransportError):
        emulator.set_state(job)
    assert emulator.wait_for(job)["numberRecordsProcessed"] == 3


def test_a_cut_before_did_nothing(emulator: EmulatorProcess) -> None:
    """The job is still Open."""
    job = emulator.create_job(SUPPLIER)
    fault(emulator, action="cut_before", method="PATCH")
    with pytest.raises(httpx.TransportError):
        emulator.set_state(job)
    assert emulator.poll(job)["state"] == "Open"


def test_an_upload_that_broke_off_can_be_repeated(emulator: EmulatorProcess) -> None:
    """What came of it is thrown away."""
    job = emulator.create_job(SUPPLIER)
    fault(emulator, action="cut_body", method="PUT", after_bytes=100_000)
    with pytest.raises(httpx.TransportError):
        emulator.upload(job, lines("broken", 100_000))
    assert emulator.upload(job, lines("whole", 2)).status_code == 201
    emulator.set_state(job)
    assert emulator.wait_for(job)["numberRecordsProcessed"] == 2


def test_sessions_can_be_ended(emulator: EmulatorProcess) -> None:
    """Mid-run, by the admin API; a new login works."""
    ready = emulator.ready
    fault(emulator, action="expire_tokens", method="GET", path="limits$")
    assert emulator.get("limits").status_code == 401
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    fresh = token(emulator, grant_type="client_credentials", **client).json()["access_token"]
    emulator.client.headers["Authorization"] = f"Bearer {fresh}"
    assert emulator.get("limits").status_code == 200


def test_gzip_can_be_refused_or_misread(emulator: EmulatorProcess) -> None:
    """Both ways in which a real org might not take it."""
    content = gzip.compress(lines("gz", 5).encode())
    encoding = {"content-encoding": "gzip"}
    switch(emulator, gzip_upload="refuse")
    job = emulator.create_job(SUPPLIER)
    assert emulator.upload(job, content, **encoding).status_code == 415
    switch(emulator, gzip_upload="misread")
    assert emulator.upload(job, content, **encoding).status_code == 201
    emulator.set_state(job)
    assert emulator.wait_for(job)["state"] == "Failed"


def test_an_exhausted_allowance_leaves_the_rest_unprocessed_or_unrecorded(emulator: EmulatorProcess) -> None:
    """The batches before it stay; the next job is refused; a day later there is a new allowance."""
    used = emulator.client.get("/_emulator/").json()["used_in_24_hours"]["batches"]
    switch(emulator, daily_batches=used + 2)
    job = emulator.create_job(SUPPLIER)
    emulator.upload(job, lines("quota", 25_000))
    emulator.set_state(job)
    done = emulator.wait_for(job)
    assert (done["state"], done["numberRecordsProcessed"]) == ("Failed", 20_000)
    assert "ExceededQuota" in done["errorMessage"]
    assert len(rows(emulator.result(job, "successfulResults"))) == 20_000
    left = rows(emulator.result(job, "unprocessedrecords"))
    assert [row["External_ID__c"] for row in left] == [f"quota{n}" for n in range(20_000, 25_000)]
    switch(emulator, over_quota_rows="unrecorded")
    assert rows(emulator.result(job, "unprocessedrecords")) == []
    body = {"object": SUPPLIER, "operation": "insert"}
    refused = emulator.client.post(emulator.url("jobs/ingest"), json=body)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "EXCEEDEDQUOTA")
    assert emulator.get("limits").json()["DailyBulkApiBatches"] == {"Max": used + 2, "Remaining": 0}


def test_the_api_allowance_is_counted_and_enforced(emulator: EmulatorProcess) -> None:
    """Every answer tells it; beyond it there is only REQUEST_LIMIT_EXCEEDED."""
    answer = emulator.get("limits")
    used, most = answer.headers["Sforce-Limit-Info"].removeprefix("api-usage=").split("/")
    assert int(most) == 5_000_000
    switch(emulator, daily_api_requests=int(used))
    refused = emulator.get("limits")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")


def test_batches_that_time_out_are_tried_20_times(emulator: EmulatorProcess) -> None:
    """A few cost only retries; too many fail the job with the rest unprocessed."""
    switch(emulator, batch_timeouts=3)
    job = emulator.load(SUPPLIER, lines("retry", 10))
    assert (job["state"], job["retries"], job["numberRecordsProcessed"]) == ("JobComplete", 3, 10)
    switch(emulator, batch_timeouts=20)
    job = emulator.load(SUPPLIER, lines("never", 10))
    assert (job["state"], job["retries"], job["numberRecordsProcessed"]) == ("Failed", 20, 0)


def test_rows_can_be_locked_once(emulator: EmulatorProcess) -> None:
    """Every third row fails, and is taken at the second try."""
    switch(emulator, lock_rows_every=3)
    first = emulator.load(SUPPLIER, lines("lock", 9))
    failed = rows(emulator.result(first, "failedResults"))
    assert len(failed) == 3
    assert all(row["sf__Error"].startswith("UNABLE_TO_LOCK_ROW:") for row in failed)
    again = HEADER + "".join(f"{row['External_ID__c']},A\n" for row in failed)
    assert emulator.load(SUPPLIER, again)["numberRecordsFailed"] == 0


def test_two_jobs_with_children_of_one_parent_get_into_each_others_way(emulator: EmulatorProcess) -> None:
    """While the first job runs, the second one's rows are locked out."""
    emulator.load(SUPPLIER, HEADER + "shared,A\n")
    header = "External_ID__c,Pos_Supplier__r.External_ID__c,Pos_Supplier_Code__c,Seq__c\n"
    switch(emulator, lock_parents=True, rows_per_s=20.0)
    jobs = [emulator.create_job("KPS_EmailSupplier__c") for _ in range(2)]
    for number, job in enumerate(jobs):
        emulator.upload(job, header + "".join(f"lp{number}-{n},shared,A,{n}\n" for n in range(10)))
        emulator.set_state(job)
    failed = sorted(emulator.wait_for(job)["numberRecordsFailed"] for job in jobs)
    assert failed == [0, 10]


def test_a_slow_job_counts_in_chunks_of_200(emulator: EmulatorProcess) -> None:
    """Polls see it grow; the results come only at its end."""
    switch(emulator, rows_per_s=2000.0)
    job = emulator.create_job(SUPPLIER)
    emulator.upload(job, lines("slow", 1000))
    emulator.set_state(job)
    seen: set[int] = set()
    early = emulator.get(f"jobs/ingest/{job['id']}/failedResults").status_code
    while (info := emulator.poll(job))["state"] != "JobComplete":
        seen.add(info["numberRecordsProcessed"])
        time.sleep(0.01)
    assert early == 400
    assert len(seen) >= 3
    assert all(number % 200 == 0 for number in seen)


def test_a_null_parent_can_be_switched_to_clear_it(emulator: EmulatorProcess) -> None:
    """What a real org does with #N/A in a relationship column is not known."""
    switch(emulator, null_relationship="null")
    emulator.load("Account", "External_ID__c,Name\nnp1,Parent\n", "upsert")
    emulator.load("Account", "External_ID__c,Name,Parent.External_ID__c\nnp2,Child,np1\n", "upsert")
    job = emulator.load("Account", "External_ID__c,Parent.External_ID__c\nnp2,#N/A\n", "upsert")
    assert job["numberRecordsFailed"] == 0
    assert emulator.query("SELECT ParentId FROM Account WHERE External_ID__c = 'np2'")[0]["ParentId"] is None


def test_sink_mode_counts_and_stores_nothing(emulator: EmulatorProcess) -> None:
    """For measuring a client, not the emulator."""
    switch(emulator, sink=True)
    assert emulator.load(SUPPLIER, lines("sink", 10))["numberRecordsProcessed"] == 10
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'sink%'") == 0


def test_time_can_be_moved(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A day ends an Open job and renews the allowance, a week removes results, two hours a session."""
    emulator = EmulatorProcess(tmp_path_factory.mktemp("salesforce")).start()
    done, waiting = emulator.load(SUPPLIER, lines("old", 2)), emulator.create_job(SUPPLIER)
    assert emulator.get("limits").json()["DailyBulkApiBatches"]["Remaining"] == 14_999
    switch(emulator, token_lifetime_s=10_000_000)
    emulator.client.post("/_emulator/clock", json={"advance_s": 25 * 3600})
    assert emulator.get("limits").json()["DailyBulkApiBatches"]["Remaining"] == 15_000
    assert emulator.poll(waiting)["state"] == "Aborted"
    assert emulator.get(f"jobs/ingest/{done['id']}/successfulResults").status_code == 200
    emulator.client.post("/_emulator/clock", json={"advance_s": 7 * 24 * 3600})
    assert emulator.get(f"jobs/ingest/{done['id']}/successfulResults").status_code == 404
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER}") == 2
    switch(emulator, token_lifetime_s=7200)
    emulator.client.post("/_emulator/clock", json={"advance_s": 7201})
    assert emulator.get("limits").status_code == 401
    assert emulator.stop() == 0


def test_every_accepted_write_is_in_the_history(emulator: EmulatorProcess) -> None:
    """In order, with the job it came from; refused rows are not."""
    last = max((each["number"] for each in emulator.client.get("/_emulator/history").json()), default=0)
    job = emulator.load(SUPPLIER, HEADER + "h1,A\nh2,TOO LONG\nh3,A\n")
    emulator.load(SUPPLIER, HEADER + "h1,B\n")
    log = emulator.client.get("/_emulator/history", params={"after": last}).json()
    assert [(each["operation"], each["key"]) for each in log] == [("insert", "h1"), ("insert", "h3"), ("update", "h1")]
    assert {each["source"] for each in log[:2]} == {job["id"]}


# Hostile requests


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


def test_an_upload_over_the_limit_is_refused(emulator: EmulatorProcess) -> None:
    """Measured on what it decompresses to; the job takes a smaller one afterwards."""
    switch(emulator, upload_limit_bytes=100_000)
    job = emulator.create_job(SUPPLIER)
    bomb = gzip.compress(b"a" * 10_000_000)
    assert emulator.upload(job, bomb, **{"content-encoding": "gzip"}).status_code == 413
    assert emulator.upload(job, lines("small", 1)).status_code == 201


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
    second = emulator.upload(job, lines("second", 5))
    release.set()
    first.join(10)
    assert (second.status_code, second.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    emulator.set_state(job)
    emulator.wait_for(job)
    assert [row["External_ID__c"] for row in rows(emulator.result(job, "successfulResults"))] == ["slowly"]


def test_a_body_shorter_than_announced_leaves_the_job_open(emulator: EmulatorProcess) -> None:
    """The connection ends early; nothing is kept."""
    job = emulator.create_job(SUPPLIER)
    head = (
        f"PUT /{job['contentUrl']} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n"
        f"Authorization: {emulator.client.headers['Authorization']}\r\n\r\n{HEADER}"
    )
    raw(emulator, head.encode())
    assert emulator.poll(job)["state"] == "Open"
    assert emulator.upload(job, lines("after", 1)).status_code == 201


def test_bytes_that_are_no_http_do_no_harm(emulator: EmulatorProcess) -> None:
    """Garbage and a CONNECT to a stranger are turned away."""
    assert b"400" in raw(emulator, b"\x16\x03\x01 garbage\r\n\r\n")
    assert b"501" in raw(emulator, b"CONNECT login.salesforce.com:443 HTTP/1.1\r\n\r\n")
    assert emulator.get("limits").status_code == 200


def test_wrong_switches_faults_and_times_are_refused(emulator: EmulatorProcess) -> None:
    """By name, and with what there is instead."""
    answer = emulator.client.patch("/_emulator/switches", json={"gzip": True})
    assert (answer.status_code, "There is no switch 'gzip'" in answer.text) == (400, True)
    assert emulator.client.patch("/_emulator/switches", json={"processing": "maybe"}).status_code == 400
    assert emulator.client.post("/_emulator/faults", json={"action": "explode"}).status_code == 400
    assert emulator.client.post("/_emulator/faults", json={"action": "status", "path": "("}).status_code == 400
    assert emulator.client.post("/_emulator/clock", json={"advance_s": -5}).status_code == 400
