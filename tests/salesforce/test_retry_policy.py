"""Every request is repeated by one policy: when, how often, after which wait; what may not be repeated is asked for."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from misbehaving_server import DATA, JOB, JOB_ANSWER, RECORD, MisbehavingServer

from kpc.errors import KpcError, NotReached, OutcomeUnknown, QuotaExhausted, RateLimited, SalesforceDown
from kpc.retry_policy import FEW_TRIES, TRIES, Patience, retried, retry_after_s
from kpc.salesforce import ResultKind, Salesforce, connect

QUICK = pytest.mark.usefixtures("quick_retries")
RIGHT = {"totalSize": 1, "done": True, "records": []}
ALLOWANCE = {"Max": 100, "Remaining": 90}
CSV = {"Content-Type": "text/csv", "Sforce-NumberOfRecords": "1"}


def answering_rightly(server: MisbehavingServer) -> Salesforce:
    """A client whose every request is answered as an org would."""
    server.plan("GET .*/limits", {"DailyBulkApiBatches": ALLOWANCE, "DailyApiRequests": ALLOWANCE})
    server.plan("GET .*/query", RIGHT)
    server.plan("GET .*/describe", {"name": "Account", "fields": []})
    server.plan("/jobs/", JOB_ANSWER)
    server.plan("GET .*/jobs/ingest[?]", {"done": True, "records": [JOB_ANSWER]})
    server.plan("PUT .*/batches", b"", 201)
    server.plan("GET .*/results", b"Id\n1\n", headers=CSV)
    server.plan("GET .*/successfulResults", b"sf__Id,sf__Created\n1,true\n", headers=CSV)
    server.plan(f"GET .*/jobs/query/{JOB}$", JOB_ANSWER | {"numberRecordsProcessed": 1})
    server.plan("/composite/sobjects", [{"success": True, "id": RECORD, "errors": []}])
    return connect(server.settings)


def _upload(client: Salesforce, folder: Path) -> None:
    file = folder / "rows.csv.gz"
    file.write_bytes(gzip.compress(b"Name\nx\n"))
    client.upload(JOB, file, encoding="gzip")


Request = Callable[[Salesforce, Path], object]
# By name: how the request looks on the wire, and what makes it.
REQUESTS: dict[str, tuple[str, Request]] = {
    "log-in": ("oauth2/token", lambda client, _: connect(client.settings)),
    "limits": ("GET .*/limits", lambda client, _: client.limits()),
    "describe": ("GET .*/describe", lambda client, _: client.describe("Account")),
    "query": ("GET .*/query[?]", lambda client, _: client.count("Account")),
    "creation of a job": ("POST .*/jobs/ingest", lambda client, _: client.create_job("Account", "Key__c")),
    "upload": ("PUT .*/batches", _upload),
    "close": ("PATCH .*/jobs/ingest/", lambda client, _: client.complete_upload(JOB)),
    "job": ("GET .*/jobs/ingest/", lambda client, _: client.job(JOB)),
    "list of jobs": ("GET .*/jobs/ingest[?]", lambda client, _: list(client.list_jobs())),
    "results": (
        "GET .*/successfulResults",
        lambda client, folder: client.results(JOB, ResultKind.SUCCESSFUL, folder / "r.gz", rows=1, raw_bytes=9),
    ),
    "creation of a query": ("POST .*/jobs/query", lambda client, folder: client.bulk_query("SELECT Id FROM A", folder)),
    "query job": (f"GET .*/jobs/query/{JOB}$", lambda client, folder: client.bulk_query("SELECT Id FROM A", folder)),
    "page of a query": ("GET .*/results", lambda client, folder: client.bulk_query("SELECT Id FROM A", folder)),
    "upsert": ("PATCH .*/composite", lambda client, _: client.upsert_records("A", "Key__c", [{"Name": "x"}])),
    "update": ("PATCH .*/composite", lambda client, _: client.update_records("A", [{"Id": RECORD}])),
    "deletion": ("DELETE .*/composite", lambda client, _: client.delete_records([RECORD])),
}


@QUICK
@pytest.mark.parametrize("status", [408, 425, 429, 503])
@pytest.mark.parametrize("name", REQUESTS)
def test_one_refusal_costs_only_time(server: MisbehavingServer, tmp_path: Path, name: str, status: int) -> None:
    """Whichever request it meets: the same one is made again, and what was wanted is done."""
    pattern, act = REQUESTS[name]
    client = answering_rightly(server)
    server.plan(pattern, [{"errorCode": "BUSY", "message": "later"}], status, times=1)
    if name == "creation of a job" and status == 503:
        with pytest.raises(OutcomeUnknown):
            act(client, tmp_path)
        return
    act(client, tmp_path)
    assert server.plans[0].times == 0


@QUICK
@pytest.mark.parametrize("name", sorted(set(REQUESTS) - {"creation of a job"}))
def test_one_broken_answer_costs_only_time(server: MisbehavingServer, tmp_path: Path, name: str) -> None:
    """An answer that ends too early, and one that is a proxy's page."""
    pattern, act = REQUESTS[name]
    client = answering_rightly(server)
    server.plan(pattern, b'{"id"', times=1, cut=True)
    act(client, tmp_path)
    if name in ("log-in", "upload", "close"):
        return  # the log-in's wrong address is named at once; the others read no answer
    server.plan(pattern, b"<html>One moment</html>", times=1, headers={"Content-Type": "text/html"})
    act(client, tmp_path)


@QUICK
@pytest.mark.parametrize("body", [b"", b"{}", b"<html>"])
def test_a_creation_that_was_answered_oddly_is_not_repeated(server: MisbehavingServer, body: bytes) -> None:
    """The job may exist: its creation is looked up, not sent again."""
    client = answering_rightly(server)
    server.plan("POST .*/jobs/ingest", body)
    with pytest.raises(OutcomeUnknown):
        client.create_job("Account", "Key__c")
    assert server.asked.count(f"POST {DATA}/jobs/ingest") == 1


@QUICK
def test_the_days_allowance_is_no_reason_to_ask_again(server: MisbehavingServer) -> None:
    """403 REQUEST_LIMIT_EXCEEDED lasts for hours: one request, and the error that says so."""
    client = answering_rightly(server)
    server.plan("GET .*/query", [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit"}], 403)
    with pytest.raises(QuotaExhausted):
        client.count("Account")
    assert len([request for request in server.asked if "/query" in request]) == 1


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_obeyed(server: MisbehavingServer, caplog: pytest.LogCaptureFixture, as_date: bool) -> None:
    """The next request comes no sooner than the server asked for, and the log says when."""
    client = answering_rightly(server)
    now = datetime(2031, 1, 1, tzinfo=UTC)
    headers = {"Retry-After": "2"}
    if as_date:  # counted from the answer's own date, because our clock may be wrong
        headers = {"Retry-After": format_datetime(now + timedelta(seconds=2), usegmt=True)}
        headers["Date"] = format_datetime(now, usegmt=True)
    server.plan("GET .*/query", [], 429, times=1, headers=headers)
    client.count("Account")
    assert 2 <= server.moments[-1] - server.moments[-2] < 4
    assert any("answered 429" in text and "asking again in 2 s (2 of 8)" in text for text in caplog.messages)


@pytest.mark.parametrize("header", ["86400", "9" * 15, "soon", "-5", "0", "1e9", "nan", "inf", "", "٣"])
def test_an_absurd_wait_is_not_obeyed(server: MisbehavingServer, caplog: pytest.LogCaptureFixture, header: str) -> None:
    """Neither days nor nonsense: the usual wait applies, and the message says what was asked."""
    client = answering_rightly(server)
    server.plan("GET .*/query", [], 503, times=1, headers={"Retry-After": header.encode("utf-8").decode("latin-1")})
    began = time.monotonic()
    client.count("Account")
    assert time.monotonic() - began < 3
    if header == "86400":
        assert any("asks to wait 86,400 s" in text for text in caplog.messages)
    elif header == "soon":
        assert any("its Retry-After 'soon' is not understood" in text for text in caplog.messages)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("7", 7), (" 7 ", 7), ("0", 0), ("-1", None), ("+1", None), ("7.5", None), ("1e3", None),
        ("nan", None), ("", None), ("٧", None), ("7 s", None), ("9" * 400, None),
        ("Wed, 01 Jan 2031 00:01:00 GMT", 60), ("Tue, 31 Dec 2030 23:59:00 GMT", 0),
        ("Wed, 01 Jan 2031 07:01:00 +0700", 60), ("Wed, 99 Jan 2031 00:01:00 GMT", None), ("Wed", None),
    ],
)  # fmt: skip
def test_retry_after_in_every_spelling(header: str | None, seconds: float | None) -> None:
    """Whole seconds and dates count, the past is no wait, and anything else is nothing."""
    assert retry_after_s(header, "Wed, 01 Jan 2031 00:00:00 GMT") == seconds


def test_waits_grow_and_are_not_all_alike() -> None:
    """Each wait is about twice the one before and never above the limit, and two workers do not wait equally long."""
    error = SalesforceDown("down")
    runs = [[float(patience.wait_after(error)) for _ in range(TRIES - 1)] for patience in (Patience(), Patience())]
    for waits in runs:
        assert all(low <= wait <= 1.25 * low for wait, low in zip(waits, (0.5, 1, 2, 4, 8, 10, 10), strict=True))
    assert runs[0] != runs[1]


@pytest.mark.parametrize(
    ("error", "tries"),
    [(SalesforceDown("down"), TRIES), (RateLimited("busy"), TRIES), (NotReached("nobody"), FEW_TRIES)],
)
def test_tries_are_bounded(error: KpcError, tries: int) -> None:
    """The last failure is given up, however short the waits are; an address never reached is given up sooner."""
    patience = Patience()
    assert all(patience.wait_after(error) for _ in range(tries - 1))
    assert patience.wait_after(error) is False


def test_other_errors_are_not_repeated() -> None:
    """A defect or a wrong setting comes out at once."""
    calls = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        retried(fail)
    assert len(calls) == 1
