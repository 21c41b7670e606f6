"""Whatever a server sends, the token stays where it may be, memory stays small, and the refusal is one sentence."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from misbehaving_server import DATA, JOB, JOB_ANSWER, ORG, RECORD, TOKEN, USER, MisbehavingServer, misbehaving_server

from kpc.errors import ConfigError, KpcError, OutcomeUnknown, UnusableAnswer
from kpc.salesforce import Refused, ResultKind, Salesforce, connect
from kpc.salesforce.origins import check_instance, path_within
from kpc.settings import SalesforceSettings

pytestmark = pytest.mark.usefixtures("quick_retries")

MIB = 1 << 20


def one_sentence(error: KpcError) -> str:
    """The error's text, which must be fit for a terminal: printable, on one line, not long."""
    text = str(error)
    assert text.isprintable(), text
    assert len(text) < 900, text
    assert "Traceback" not in text
    return text


# Where the token goes

MY_DOMAIN = "https://kpc.my.salesforce.com"


@pytest.mark.parametrize(
    ("base_url", "named"),
    [
        (MY_DOMAIN, MY_DOMAIN),
        (MY_DOMAIN, MY_DOMAIN + "/"),
        (MY_DOMAIN, "https://KPC.my.salesforce.com:443"),
        ("https://login.salesforce.com", MY_DOMAIN),
        ("https://test.salesforce.com", "https://kpc--uat.sandbox.my.salesforce.com"),
        (MY_DOMAIN, "https://eu1.force.com"),
        (MY_DOMAIN, "https://kpc.my.salesforce.mil"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://gateway.kpc.example", "https://gateway.kpc.example"),
        ("https://gateway.kpc.example:8443", "https://gateway.kpc.example:8443"),
        (MY_DOMAIN, "https://gateway.kpc.example"),
    ],
)
def test_the_token_may_go_to_the_org(base_url: str, named: str) -> None:
    """The configured host, Salesforce's domains, and the hosts of the setting."""
    settings = SalesforceSettings(base_url=base_url, token_hosts="other.example, Gateway.kpc.example")
    assert check_instance(named, settings, base_url) == named.rstrip("/")


@pytest.mark.parametrize(
    ("base_url", "named"),
    [
        (MY_DOMAIN, "https://evil.example"),
        (MY_DOMAIN, "https://evilsalesforce.com"),
        (MY_DOMAIN, "https://salesforce.com.evil.example"),
        (MY_DOMAIN, "https://kpc.my.salesforce.com@evil.example"),
        (MY_DOMAIN, "https://evil.example/.salesforce.com"),
        (MY_DOMAIN, "https://evil.example?x=.salesforce.com"),
        (MY_DOMAIN, "https://evil.example#.salesforce.com"),
        (MY_DOMAIN, "https://evil.example\\.salesforce.com"),
        (MY_DOMAIN, "https://evil.example%2f.salesforce.com"),
        (MY_DOMAIN, "http://kpc.my.salesforce.com"),
        (MY_DOMAIN, "https://kpc.my.salesforce.com:8443"),
        (MY_DOMAIN, "https://kpc.my.salesforce.com:99999"),
        (MY_DOMAIN, "//evil.example"),
        (MY_DOMAIN, "https://xn--slesforce-23a.com"),
        (MY_DOMAIN, "https://my.sаlesforce.com"),
        (MY_DOMAIN, "https://127.0.0.1"),
        (MY_DOMAIN, "https://kpc.my.salesforce.com\r\nX: y"),
        (MY_DOMAIN, ""),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081"),
        ("http://127.0.0.1:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080", MY_DOMAIN),
        ("https://gateway.kpc.example", "http://gateway.kpc.example"),
    ],
)
def test_the_token_goes_nowhere_else(base_url: str, named: str) -> None:
    """A host that only looks like Salesforce, another port, plain http, another server on this machine."""
    with pytest.raises(ConfigError, match="TOKEN_HOSTS") as caught:
        check_instance(named, SalesforceSettings(base_url=base_url), base_url)
    one_sentence(caught.value)


def test_no_request_reaches_a_host_that_the_log_in_named(server: MisbehavingServer) -> None:
    """The other server hears nothing at all, least of all the token."""
    with misbehaving_server() as other:
        server.log_in_with(instance_url=other.url)
        with pytest.raises(ConfigError, match="TOKEN_HOSTS"):
            connect(server.settings)
        assert other.received == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server: MisbehavingServer, status: int) -> None:
    """Neither with the secret of the log-in nor with the token; the message names the host."""
    with misbehaving_server() as other:
        client = connect(server.settings)
        there = {"Location": f"{other.url}/elsewhere"}
        server.plan("GET .*limits", b"", status, headers=there)
        with pytest.raises(ConfigError, match=r"GET .*/limits was answered 30\d, a redirect to 127\.0\.0\.1"):
            client.limits()
        server.plan("oauth2/token", b"", status, headers=there)
        with pytest.raises(ConfigError, match="redirect"):
            connect(server.settings)
        assert other.received == []


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/services/data/v62.0/query/01g-2000",
        "//evil.example/services/data/v62.0/query/01g-2000",
        "@evil.example/x",
        "/services/data/v62.0/../../oauth2/revoke",
        "/services/data/v62.0/query/../sobjects",
        "/services/data/v62.0/sobjects/Account",
        "/services/data/v62.0/query/",
        "/services/data/v62.0/query/01g\r\nHost: evil",
        "/services/data/v62.0/query/01g\n",
        "",
    ],
)
def test_next_pages_come_from_the_same_list(server: MisbehavingServer, address: str) -> None:
    """A page's address that leads anywhere else is named and not followed."""
    server.plan("GET .*/query", {"totalSize": 9, "done": False, "records": [{"Id": RECORD}], "nextRecordsUrl": address})
    with pytest.raises(UnusableAnswer) as caught:
        list(connect(server.settings).query("SELECT Id FROM Account"))
    one_sentence(caught.value)
    assert len([request for request in server.asked if "query" in request]) == 1


def test_right_addresses_of_pages_are_followed() -> None:
    """Those of a query's pages and of the list of jobs, as Salesforce writes them."""
    for address, prefix in (
        (f"{DATA}/query/01g5g000001AbCdEAK-2000", "/query"),
        (f"{DATA}/jobs/ingest?queryLocator=MTAwMA==&jobType=V2Ingest", "/jobs/ingest"),
    ):
        assert path_within(address, prefix) == address


def test_pages_that_never_end_are_refused(server: MisbehavingServer, tmp_path: Path) -> None:
    """The same page again, pages without records, and the same locator again do not go on for ever."""
    client = connect(server.settings)
    again = {"totalSize": 10**9, "done": False, "records": [{"Id": RECORD}], "nextRecordsUrl": f"{DATA}/query/01g-1"}
    server.plan("GET .*/query", again)
    with pytest.raises(UnusableAnswer, match="do not come to"):
        list(client.query("SELECT Id FROM Account"))
    server.plan("GET .*/query", again | {"records": []})
    with pytest.raises(UnusableAnswer, match="do not come to"):
        list(client.query("SELECT Id FROM Account"))
    server.plan("POST .*/jobs/query", JOB_ANSWER)
    server.plan(f"GET .*/jobs/query/{JOB}$", JOB_ANSWER)
    page = {"Content-Type": "text/csv", "Sforce-Locator": "MTAw", "Sforce-NumberOfRecords": "1"}
    server.plan("GET .*/results", b"Id\n1\n", headers=page)
    with pytest.raises(UnusableAnswer, match="do not come to"):
        client.bulk_query("SELECT Id FROM Account", tmp_path)


# How much is read


def _peak_mib(act: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_bomb_is_refused_before_it_unfolds(server: MisbehavingServer, status: int) -> None:
    """A megabyte that would become a gigabyte costs a few megabytes, also as the answer of an error."""
    bomb = gzip.compress(b'{"a": "' + bytes(1 << 20) * 512 + b'"}')
    client = connect(server.settings)
    server.plan("GET .*limits", bomb, status, headers={"Content-Encoding": "gzip"})

    def ask() -> None:
        with pytest.raises(UnusableAnswer, match="when it is decompressed") as caught:
            client.limits()
        one_sentence(caught.value)

    assert _peak_mib(ask) < 40


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "compress", "x\x1b[31m"])
def test_only_the_compression_that_was_asked_for_is_read(server: MisbehavingServer, encoding: str) -> None:
    """Any other, and one inside another, is refused without a look at the content."""
    server.plan("GET .*limits", gzip.compress(gzip.compress(b"{}")), headers={"Content-Encoding": encoding})
    with pytest.raises(UnusableAnswer, match="not asked for"):
        connect(server.settings).limits()


def test_results_are_bounded_by_what_was_sent(server: MisbehavingServer, tmp_path: Path) -> None:
    """A result that is far larger than its rows allow is given up, packed or plain; a right one is stored."""
    client = connect(server.settings)
    line = b'"001000000000001AAA","true","K","' + b"x" * 1000 + b'"\n'
    text = b'"sf__Id","sf__Created","External_ID__c","Name"\n'
    for content, headers in (
        (gzip.compress(text + line * 100_000), {"Content-Encoding": "gzip"}),
        (text + line * 20_000, {}),
    ):
        server.plan("GET .*Results", content, headers={"Content-Type": "text/csv"} | headers)
        with pytest.raises(UnusableAnswer, match="that it may have"):
            client.results(JOB, ResultKind.SUCCESSFUL, tmp_path / "large.gz", rows=100, raw_bytes=110_000)
        assert (tmp_path / "large.gz").stat().st_size < 4 * MIB
    right = gzip.compress(text + line * 100)
    server.plan("GET .*Results", right, headers={"Content-Type": "text/csv", "Content-Encoding": "gzip"})
    client.results(JOB, ResultKind.SUCCESSFUL, tmp_path / "right.gz", rows=100, raw_bytes=110_000)
    assert (tmp_path / "right.gz").read_bytes() == right


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n1\n", "is empty"),
        (b"External_ID__c\nK\n", "no column sf__Id"),
        (b"<html>one moment</html>", "no column sf__Id"),
        (b"\xff\xfe\x00\x1b[31m", "no column sf__Id"),
        (b"x" * 3_000_000, "may have"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_result_that_is_none_is_asked_for_again(
    server: MisbehavingServer, tmp_path: Path, content: bytes, why: str
) -> None:
    """A file without the columns of a result is not read as one: it is asked for again, and refused at last."""
    client = connect(server.settings)
    server.plan("GET .*Results", content, headers={"Content-Type": "text/csv"})
    with pytest.raises(UnusableAnswer, match=why) as caught:
        client.results(JOB, ResultKind.FAILED, tmp_path / "r.gz", rows=1, raw_bytes=100)
    one_sentence(caught.value)
    assert sum("Results" in request for request in server.asked) == 3


@pytest.mark.parametrize("cut", [1, 9, 90])
def test_a_result_that_ends_early_is_not_taken_for_whole(server: MisbehavingServer, tmp_path: Path, cut: int) -> None:
    """Cut inside its compressed content, with a right length of what came: asked for again."""
    packed = gzip.compress(b"sf__Id,sf__Created\n" + b"001000000000001AAA,true\n" * 5000)
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    server.plan("GET .*Results", packed, headers=headers)
    server.plan("GET .*Results", packed[:-cut], headers=headers, times=1)
    server.plan("GET .*Results", packed, headers=headers, times=1, cut=True)
    connect(server.settings).results(JOB, ResultKind.SUCCESSFUL, tmp_path / "r.gz", rows=5000, raw_bytes=100_000)
    assert (tmp_path / "r.gz").read_bytes() == packed


# What an answer must be

ODD_BODIES = {
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "text": b'"JobComplete"',
    "number": b"7",
    "not JSON": b"OK",
    "HTML": b"<html><body>Scheduled maintenance</body></html>",
    "cut": b'{"id": "750',
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"totalSize": NaN, "done": true, "records": []}',
    "Infinity": b'{"totalSize": Infinity, "done": true, "records": []}',
    "huge number": b'{"totalSize": ' + b"9" * 100_000 + b', "done": true}',
    "exponent": b'{"totalSize": 1e999999999, "done": true}',
    "key twice": b'{"totalSize": 1, "totalSize": 2, "done": true, "records": []}',
    "not UTF-8": b'{"totalSize": 1, "done": true, "records": [{"a": "\xff"}]}',
    "UTF-16": '{"totalSize": 1}'.encode("utf-16"),
    "surrogate": b'{"totalSize": 1, "done": true, "records": [{"a": "\\ud800"}]}',
}
ASKING: dict[str, Callable[[Salesforce], object]] = {
    "limits": lambda client: client.limits(),
    "count": lambda client: client.count("Account"),
    "query": lambda client: list(client.query("SELECT Id FROM Account")),
    "aggregate": lambda client: client.aggregate("SELECT COUNT(Id) n FROM Account"),
    "describe": lambda client: client.describe("Account"),
    "job": lambda client: client.job(JOB),
    "jobs": lambda client: list(client.list_jobs()),
    "upsert": lambda client: client.upsert_records("Account", "External_ID__c", [{"Name": "x"}]),
    "delete": lambda client: client.delete_records([RECORD]),
    "bulk query": lambda client: client.bulk_query("SELECT Id FROM Account", Path("/nowhere")),
    "create": lambda client: client.create_job("Account", "External_ID__c"),
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=list(ODD_BODIES))
def test_an_odd_answer_is_refused_in_one_sentence(server: MisbehavingServer, body: bytes) -> None:
    """For each request that reads JSON; the sentence names the request; a creation's outcome is unknown."""
    client = connect(server.settings)
    server.plan(".", body)
    for name, ask in ASKING.items():
        expected = OutcomeUnknown if name == "create" else UnusableAnswer
        with pytest.raises(expected) as caught:
            ask(client)
        assert "/" in one_sentence(caught.value)
    with pytest.raises(ConfigError, match="not a Salesforce token"):
        connect(server.settings)


ODD_COUNTS = {
    "negative": b'{"totalSize": -1, "done": true, "records": []}',
    "fraction": b'{"totalSize": 1.5, "done": true, "records": []}',
    "number as text": b'{"totalSize": "1", "done": true, "records": []}',
    "true as number": b'{"totalSize": true, "done": true, "records": []}',
    "text as true": b'{"totalSize": 1, "done": "true", "records": []}',
    "large number": b'{"totalSize": 99999999999999999999, "done": true, "records": []}',
    "records of null": b'{"totalSize": 1, "done": true, "records": [null]}',
    "no pages left": b'{"totalSize": 5, "done": false, "records": [{}]}',
    "fewer records": b'{"totalSize": 5, "done": true, "records": [{}]}',
    "more records": b'{"totalSize": 1, "done": true, "records": [{}, {}]}',
}


@pytest.mark.parametrize("body", ODD_COUNTS.values(), ids=list(ODD_COUNTS))
def test_an_impossible_count_is_refused(server: MisbehavingServer, body: bytes) -> None:
    """A number of records is a number, not negative, and as many records come as it says."""
    client = connect(server.settings)
    server.plan("GET .*/query", body)
    for name in ("count", "query", "aggregate"):
        with pytest.raises(UnusableAnswer) as caught:
            ASKING[name](client)
        one_sentence(caught.value)


@pytest.mark.parametrize("kind", ["text/html; charset=UTF-8", "application/xml", "text/plain", ""])
def test_a_page_instead_of_json_is_named_by_its_type(server: MisbehavingServer, kind: str) -> None:
    """A log-in or maintenance page comes with status 200; its type tells."""
    server.plan("GET .*limits", b"{}", headers={"Content-Type": kind})
    with pytest.raises(UnusableAnswer, match=kind.partition(";")[0] or "of no type"):
        connect(server.settings).limits()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../sobjects/Account/001"},
        {"id": "7505g00000000XYAAA"},
        {"state": "Finished"},
        {"state": None},
        {"numberRecordsProcessed": -1},
        {"numberRecordsProcessed": 10**30},
        {"numberRecordsFailed": "0"},
        {"createdDate": "yesterday"},
        {"createdDate": "2024-05-01T12:00:00"},
        {"createdDate": 1714557600},
        {"object": {"name": "x"}},
        {"createdById": "Somchai"},
    ],
    ids=str,
)
def test_an_impossible_job_is_refused(server: MisbehavingServer, changes: dict[str, object]) -> None:
    """Ids, states, times and counters are what they must be; another job's state is not taken for this one's."""
    client = connect(server.settings)
    server.plan("GET .*/jobs/ingest/", JOB_ANSWER | changes)
    with pytest.raises(UnusableAnswer) as caught:
        client.job(JOB)
    one_sentence(caught.value)
    server.plan("GET .*/jobs/ingest/", JOB_ANSWER)
    found = client.job(JOB)
    assert found is not None
    assert found.processed == 3


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [{"success": True, "id": RECORD}] * 2,
        [{"success": "true", "id": RECORD}],
        [{"success": True, "id": "x"}],
        [{"success": False, "errors": "no"}],
        [{"success": True, "id": RECORD, "created": 1}],
        {"success": True},
    ],
    ids=["none", "two", "text as true", "no id", "errors as text", "number as true", "no list"],
)
def test_results_of_a_collection_belong_to_its_records(server: MisbehavingServer, answer: object) -> None:
    """One result for each record, in order: a missing or surplus one would be given to the wrong record."""
    server.plan("PATCH .*composite", answer)
    with pytest.raises(UnusableAnswer):
        connect(server.settings).upsert_records("Account", "External_ID__c", [{"Name": "x"}])


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": f"{TOKEN}\r\nX-Evil: 1"},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": TOKEN + "ก"},
        {"instance_url": None},
        {"id": "nothing"},
        {"id": f"https://login.salesforce.com/id/{USER}/{ORG}"},
        {"id": f"https://login.salesforce.com/id/{ORG}/../../x"},
    ],
    ids=str,
)
def test_an_impossible_token_is_refused(server: MisbehavingServer, changes: dict[str, object]) -> None:
    """A token that cannot be sent, an org or a user that is none."""
    server.log_in_with(**changes)
    with pytest.raises(ConfigError, match="not a Salesforce token") as caught:
        connect(server.settings)
    assert TOKEN not in one_sentence(caught.value)


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Sforce-NumberOfRecords": "many"}, b"Id\n1\n"),
        ({"Sforce-NumberOfRecords": "-1"}, b"Id\n1\n"),
        ({"Sforce-NumberOfRecords": "9" * 40}, b"Id\n1\n"),
        ({"Sforce-NumberOfRecords": "1", "Sforce-Locator": "../../x?y"}, b"Id\n1\n"),
        ({"Sforce-NumberOfRecords": "1", "Sforce-Locator": ""}, b"Id\n1\n"),
        ({"Sforce-NumberOfRecords": "1", "Content-Type": "text/html"}, b"<html>"),
        ({"Sforce-NumberOfRecords": "1", "Content-Type": "application/json"}, b"{}"),
        ({"Sforce-NumberOfRecords": "1"}, b"Id\n" + b"x" * (2 * MIB)),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_odd_page_of_a_bulk_query_is_refused(
    server: MisbehavingServer, tmp_path: Path, headers: dict[str, str], content: bytes
) -> None:
    """Its announced rows and its next page are checked, and its size follows from them."""
    client = connect(server.settings)
    server.plan("POST .*/jobs/query", JOB_ANSWER)
    server.plan(f"GET .*/jobs/query/{JOB}$", JOB_ANSWER | {"numberRecordsProcessed": 1})
    server.plan("GET .*/results", content, headers={"Content-Type": "text/csv"} | headers)
    with pytest.raises(UnusableAnswer) as caught:
        client.bulk_query("SELECT Id FROM Account", tmp_path)
    one_sentence(caught.value)


# Text of servers

EVIL = "\x1b[2J\x1b]0;owned\x07 \u202egpj.exe\u2066 line\r\nERROR forged\u2028\x9b31m\x00" + "x" * 5000


def test_text_of_a_server_is_harmless_wherever_it_is_shown(server: MisbehavingServer) -> None:
    """Escapes, changes of direction, line breaks and length: in errors, codes, states of jobs and log-ins."""
    client = connect(server.settings)
    server.plan("GET .*limits", [{"errorCode": EVIL, "message": EVIL}], 400)
    with pytest.raises(Refused) as refused:
        client.limits()
    assert "\\x1b[2J" in one_sentence(refused.value)
    assert refused.value.code.isprintable()
    server.plan("GET .*/jobs/ingest/", JOB_ANSWER | {"state": "Failed", "errorMessage": EVIL})
    info = client.job(JOB)
    assert info is not None
    assert info.error_message.isprintable()
    assert len(info.error_message) <= 300
    server.plan("GET .*/jobs/ingest/", JOB_ANSWER | {"state": EVIL})
    with pytest.raises(UnusableAnswer) as odd:
        client.job(JOB)
    one_sentence(odd.value)
    server.plan("GET .*limits", f"<html><title>{EVIL}</title>".encode(), 403, headers={"Content-Type": "text/html"})
    with pytest.raises(ConfigError) as page:
        client.limits()
    one_sentence(page.value)
    server.plan("oauth2/token", {"error": EVIL, "error_description": EVIL}, 400)
    with pytest.raises(ConfigError) as login:
        connect(server.settings)
    one_sentence(login.value)
    assert json.dumps(EVIL) not in str(login.value)
