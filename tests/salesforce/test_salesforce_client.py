"""The client explains every refusal, keeps decimals exact, and never repeats blindly what may have taken effect."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from emulated_org import Emulator
from faulty_transport import Fault, FaultyTransport, answers, is_lost, is_refused
from pydantic import SecretStr
from staged_samples import sample_cell

from kpc.catalog import find_table
from kpc.errors import (
    ConfigError,
    KpcError,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    SalesforceDown,
    SchemaDrift,
)
from kpc.salesforce import BulkJobState, Refused, ResultKind, Salesforce, connect, parse_row_error
from kpc.salesforce.answers import refusal
from kpc.salesforce.auth import audience_of
from kpc.salesforce.collections import request_body
from kpc.salesforce.page_reading import RecordCounter
from kpc.salesforce.soql import in_conditions
from kpc.settings import SalesforceSettings

OBJECT, KEY = "KPS_PosSupplier__c", "External_ID__c"
HEADER = "External_ID__c,Pos_Supplier_Code__c,Name_E__c,Active__c,Migration_Partition__c,Migration_Generation__c"

pytestmark = pytest.mark.usefixtures("quick_retries")


def _changed(settings: SalesforceSettings, **changes: Any) -> SalesforceSettings:
    return settings.model_copy(update=changes)


def _upsert(salesforce: Salesforce, folder: Path, *rows: str) -> str:
    file = folder / "rows.csv.gz"
    file.write_bytes(gzip.compress("\n".join([HEADER, *rows, ""]).encode()))
    job = salesforce.create_job(OBJECT, KEY)
    salesforce.upload(job.id, file, encoding="gzip")
    salesforce.complete_upload(job.id)
    while not (info := salesforce.job(job.id)) or not info.state.is_final:
        time.sleep(0.02)
    assert info.state is BulkJobState.JOB_COMPLETE
    return job.id


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"client_secret": SecretStr("wrong")}, "CLIENT_SECRET"),
        ({"client_id": "wrong"}, "CLIENT_ID"),
        ({"client_id": ""}, "CLIENT_ID"),
        ({"base_url": "nonsense"}, "My Domain"),
        ({"base_url": "http://example.com"}, "https"),
        ({"ca_file": Path("/nowhere/ca.pem")}, "CA_FILE"),
        ({"private_key_file": Path("/nowhere/key.pem"), "username": "u"}, "PRIVATE_KEY_FILE"),
        ({"access_token": SecretStr("00D000000000001!wrong")}, "ACCESS_TOKEN"),
    ],
)
def test_wrong_setting_is_named_and_no_secret_shown(
    salesforce: SalesforceSettings, changes: dict[str, Any], remedy: str
) -> None:
    """Whatever is wrong with the log-in, the error says which setting to correct."""
    with pytest.raises(ConfigError, match=remedy) as caught:
        connect(_changed(salesforce, **changes))
    assert "wrong" not in caught.value.what.replace("is wrong", "")
    assert salesforce.client_secret.get_secret_value() not in str(caught.value)


def test_unreachable_org_is_transient_within_its_time(salesforce: SalesforceSettings) -> None:
    """Nobody listening is a reason to wait, not to change settings."""
    with pytest.raises(SalesforceDown, match="does not answer"):
        connect(_changed(salesforce, base_url="http://127.0.0.1:1"))


def test_given_access_token_is_used_as_it_is(emulated: Callable[..., Emulator]) -> None:
    """A token from elsewhere works, and knows its org like one of our own."""
    emulator = emulated()
    given = SalesforceSettings(
        base_url=emulator.facts["base_url"], access_token=SecretStr(emulator.facts["access_token"])
    )
    with_token, with_secret = connect(given), connect(emulator.settings)
    assert with_token.org_id == with_secret.org_id
    assert with_token.org_id.startswith("00D")
    assert len(with_token.org_id) == 18
    assert with_token.count(OBJECT) == 0


def test_jwt_bearer_logs_in_and_a_foreign_key_is_refused(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """The certificate flow works with the org's key; another key is a setting to correct."""
    emulator = emulated()
    foreign = tmp_path / "foreign.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    foreign.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    settings = _changed(emulator.settings, client_secret=SecretStr(""), username=emulator.facts["username"])
    assert connect(_changed(settings, private_key_file=Path(emulator.facts["jwt_private_key_file"]))).org_id
    with pytest.raises(ConfigError, match="invalid_grant"):
        connect(_changed(settings, private_key_file=foreign))


@pytest.mark.parametrize(
    ("address", "audience"),
    [
        ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
        ("https://login.salesforce.com", "https://login.salesforce.com"),
        ("https://acme--uat.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://acme--uat.my.salesforce.com", "https://test.salesforce.com"),
        ("https://test.salesforce.com", "https://test.salesforce.com"),
    ],
)
def test_an_assertion_is_for_the_log_in_host_of_the_org_s_kind(address: str, audience: str) -> None:
    assert audience_of(address) == audience


def test_a_wrong_audience_is_told_with_the_right_ones(emulated: Callable[..., Emulator]) -> None:
    """A sandbox behind an address that does not say so: the setting decides."""
    emulator = emulated("jwt_audience=sandbox")
    key = Path(emulator.facts["jwt_private_key_file"])
    settings = _changed(
        emulator.settings, client_secret=SecretStr(""), username=emulator.facts["username"], private_key_file=key
    )
    with pytest.raises(ConfigError, match="audience is invalid") as refused:
        connect(settings)
    assert "KPC__SALESFORCE__AUDIENCE to https://login.salesforce.com" in refused.value.remedy
    assert connect(_changed(settings, audience="https://test.salesforce.com")).org_id


def test_a_retired_api_version_names_the_setting(emulated: Callable[..., Emulator]) -> None:
    client = connect(_changed(emulated("oldest_api_version=60").settings, api_version="59.0"))
    with pytest.raises(ConfigError, match=r"410 UNSUPPORTED_API_VERSION.*59\.0 is retired") as retired:
        client.limits()
    assert "KPC__SALESFORCE__API_VERSION" in retired.value.remedy


def test_a_renamed_my_domain_is_told_with_its_new_address(emulated: Callable[..., Emulator]) -> None:
    """The redirect is not followed: it would carry the token to whatever host the answer names."""
    emulator = emulated()
    client = connect(emulator.settings)
    emulator.switch(moved_to="https://new-name.my.salesforce.com")
    with pytest.raises(ConfigError, match=r"a redirect to new-name\.my\.salesforce\.com; it is not followed") as moved:
        client.limits()
    assert "KPC__SALESFORCE__BASE_URL to https://new-name.my.salesforce.com" in moved.value.remedy


def test_expired_token_is_renewed_once(emulated: Callable[..., Emulator]) -> None:
    """A session that ends in the middle is replaced without anybody noticing."""
    emulator = emulated("token_lifetime_s=0.3")
    salesforce = connect(emulator.settings)
    time.sleep(0.5)
    assert salesforce.count(OBJECT) == 0


def test_certificate_is_always_checked(emulated: Callable[..., Emulator]) -> None:
    """A private authority works when it is named, and is refused when it is not."""
    emulator = emulated(tls=True)
    settings = _changed(emulator.settings, base_url=emulator.facts["https_url"])
    with closing(connect(_changed(settings, ca_file=Path(emulator.facts["ca_file"])))) as client:
        assert client.count(OBJECT) == 0
    with pytest.raises(ConfigError, match="CA_FILE"):
        connect(settings)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "REQUEST_LIMIT_EXCEEDED", QuotaExhausted),
        (400, "EXCEEDEDQUOTA", QuotaExhausted),
        (403, "INSUFFICIENT_ACCESS", ConfigError),
        (429, "", RateLimited),
        (503, "SERVER_UNAVAILABLE", OutcomeUnknown),
        (400, "INVALIDJOB", Refused),
        (401, "INVALID_SESSION_ID", ConfigError),
    ],
)
def test_refusal_has_one_meaning(
    salesforce: SalesforceSettings, status: int, code: str, expected: type[KpcError]
) -> None:
    """Each answer of the org becomes the error that says what happens next."""
    faulty = FaultyTransport([Fault("POST .*/jobs/ingest", answers(status, code), last=9)])
    with pytest.raises(expected):
        connect(salesforce, faulty).create_job(OBJECT, KEY)


def test_reading_is_repeated_and_creating_is_not(
    salesforce: SalesforceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A question may be asked again, and each time says why; a request whose effect is not known is not repeated."""
    faulty = FaultyTransport(
        [Fault("GET", answers(503, "SERVER_UNAVAILABLE"), last=2), Fault("POST .*ingest", is_lost)]
    )
    client = connect(salesforce, faulty)
    assert client.count(OBJECT) >= 0
    assert [message[-9:] for message in caplog.messages if "503" in message] == ["(2 of 8).", "(3 of 8)."]
    with pytest.raises(OutcomeUnknown):
        client.create_job(OBJECT, KEY)
    assert sum("POST" in request and "ingest" in request for request in faulty.requests) == 1


def test_create_that_never_left_is_only_an_outage(salesforce: SalesforceSettings) -> None:
    """A refused connection had no effect, so it need not be asked about."""
    faulty = FaultyTransport([Fault("POST .*ingest", is_refused, last=99)])
    with pytest.raises(SalesforceDown):
        connect(salesforce, faulty).create_job(OBJECT, KEY)


@pytest.mark.parametrize("after", [False, True])
def test_records_of_a_lost_upsert_count_as_created(salesforce: SalesforceSettings, tmp_path: Path, after: bool) -> None:
    """Whether the lost request arrived or not: what it created is told as created, and what it changed is not."""
    _upsert(connect(salesforce), tmp_path, "OLD,O,x,true,ALL,g1", "SAME,S,x,true,ALL,g2")
    rows = [
        {KEY: key, "Pos_Supplier_Code__c": "L", "Name_E__c": "y", "Migration_Generation__c": generation}
        for key, generation in (("NEW", "g2"), ("OLD", "g2"), ("NEWER", "g2"))
    ]
    client = connect(salesforce, FaultyTransport([Fault("PATCH .*composite", is_lost, after=after)]))
    saved = client.upsert_records(OBJECT, KEY, rows, mark_field="Migration_Generation__c")
    assert [(one.created, one.error) for one in saved] == [(True, ""), (False, ""), (True, "")]
    again = client.upsert_records(OBJECT, KEY, rows, mark_field="Migration_Generation__c")
    assert not any(one.created for one in again)


@pytest.mark.parametrize("after", [False, True])
def test_lost_reply_to_close_is_asked(salesforce: SalesforceSettings, tmp_path: Path, after: bool) -> None:
    """Whether the close arrived or not, the job is closed exactly once in the end."""
    faulty = FaultyTransport([Fault("PATCH", is_lost, after=after)])
    job_id = _upsert(connect(salesforce, faulty), tmp_path, "LOST,L,x,true,ALL,g")
    info = connect(salesforce).job(job_id)
    assert info is not None
    assert info.processed == 1


def test_decimals_stay_exact(salesforce: SalesforceSettings, tmp_path: Path) -> None:
    """Numbers come back as the org wrote them, not through a binary float."""
    client = connect(salesforce)
    table = find_table("KPS_T_SALESBANK_MD")
    field = next(c.field for c in table.sent_columns if c.type and c.type.kind == "currency")
    row = {c.field or "": sample_cell(c, "DEC") for c in table.sent_columns} | {
        field or "": "12345678901234.56",
        KEY: "DEC",
    }
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(f"{','.join(row)}\n{','.join(row.values())}\n".encode()))
    job = client.create_job(table.target, KEY)
    client.upload(job.id, file, encoding="identity")
    client.complete_upload(job.id)
    while not client.job(job.id).state.is_final:  # type: ignore[union-attr]
        time.sleep(0.02)
    found = client.aggregate(f"SELECT SUM({field}) s FROM {table.target} WHERE {KEY} = 'DEC'")
    assert found["s"] == Decimal("12345678901234.56")
    (record,) = client.query(f"SELECT {field} FROM {table.target} WHERE {KEY} = 'DEC'")
    assert record == {field: Decimal("12345678901234.56")}


def test_bulk_query_brings_every_page(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """Pages follow each other to the last one; Thai text, quotes and line breaks survive."""
    client = connect(emulated("query_page_rows=2").settings)
    _upsert(client, tmp_path, *(f'K{n},K{n},"ก ""{n}""\nx",true,ALL,g' for n in range(5)))
    pages = client.bulk_query(f"SELECT {KEY}, Name_E__c FROM {OBJECT} ORDER BY {KEY}", tmp_path / "pages")
    text = [gzip.decompress(file.read_bytes()).decode() for file in pages.files]
    assert pages.rows == 5
    assert len(text) == 3
    assert '"K4","ก ""4""\nx"' in text[2]


def test_results_of_a_job_are_three_files(salesforce: SalesforceSettings, tmp_path: Path) -> None:
    """Successes, failures and unprocessed rows are written as the org sends them."""
    client = connect(salesforce)
    job_id = _upsert(client, tmp_path, "R1,R1,ok,true,ALL,g", "R2,,bad,true,ALL,g")
    text = {}
    for kind in ResultKind:
        client.results(job_id, kind, tmp_path / kind.value, rows=2, raw_bytes=200)
        text[kind] = gzip.decompress((tmp_path / kind.value).read_bytes()).decode()
    assert '"R1"' in text[ResultKind.SUCCESSFUL]
    assert "REQUIRED_FIELD_MISSING" in text[ResultKind.FAILED]
    assert text[ResultKind.UNPROCESSED].strip() == HEADER


def test_an_unknown_object_is_named(salesforce: SalesforceSettings) -> None:
    """An object that the org lacks is an error that says what to create."""
    with pytest.raises(SchemaDrift, match="no object"):
        connect(salesforce).describe("Absent__c")


def test_numbers_travel_with_their_own_digits() -> None:
    """A record's decimals are written as they are, never through a binary float; its other values as JSON."""
    record = {
        "Amt__c": Decimal("12345678901234.50"),
        "Tiny__c": Decimal("0.0000000001"),
        "Flag__c": True,
        "Name__c": 'ก "x"',
        "Gone__c": None,
        "Sale__r": {KEY: "a|b"},
    }
    body = request_body(OBJECT, [record, {}]).decode()
    assert '"Amt__c":12345678901234.50,' in body
    assert '"Tiny__c":0.0000000001,' in body
    plain = {name: value for name, value in record.items() if not isinstance(value, Decimal)}
    attributes = {"attributes": {"type": OBJECT}}
    exact = json.loads(body, parse_float=Decimal)
    assert exact == {"allOrNone": False, "records": [attributes | record, attributes]}
    assert json.loads(body)["records"][0].items() >= plain.items()


@pytest.mark.parametrize(
    ("text", "code", "error_class", "message", "fields"),
    [
        (
            "STRING_TOO_LONG:Name: data value too large: สมชาย ใจดี (max length=3):Name__c --",
            "STRING_TOO_LONG", "data", "Name: data value too large: *** (max length=3)", ("Name__c",),
        ),
        (
            "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--",
            "UNABLE_TO_LOCK_ROW", "transient", "unable to obtain exclusive access to this record", (),
        ),
        (
            "INVALID_FIELD:Foreign key external ID: a|b not found for field External_ID__c in entity X__c:Sale__c --",
            "INVALID_FIELD", "dependency",
            "Foreign key external ID: a|b not found for field External_ID__c in entity X__c", ("Sale__c",),
        ),
        ("INVALID_FIELD:No such column:A,B --", "INVALID_FIELD", "data", "No such column", ("A", "B")),
        ("STORAGE_LIMIT_EXCEEDED:storage limit exceeded --", "STORAGE_LIMIT_EXCEEDED", "org",
         "storage limit exceeded", ()),
        ("something odd about Somchai", "UNKNOWN", "data", "something odd about ***", ()),
    ],
    ids=["too long", "locked row", "missing parent", "missing column", "storage limit", "no code"],
)  # fmt: skip
def test_row_error_is_classified_and_free_of_personal_values(
    text: str, code: str, error_class: str, message: str, fields: tuple[str, ...]
) -> None:
    """The code decides what happens next; the message shows no value of the row."""
    error = parse_row_error(text, ["Somchai"])
    assert (error.code, error.error_class, error.message, error.fields) == (code, error_class, message, fields)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_records_are_counted_through_quotes_and_block_borders(size: int) -> None:
    """Line breaks inside quotes, doubled quotes and a missing last line end do not change the count."""
    content = b'"a","b"\n"1","x\ny"\n"2","say ""\n"""\n"3",""'
    counter = RecordCounter()
    for start in range(0, len(content), size):
        counter.feed(content[start : start + size])
    assert counter.rows == 3


def test_refresh_token_logs_in(emulated: Callable[..., Emulator]) -> None:
    """A refresh token is enough, also without the client secret being kept."""
    emulator = emulated()
    facts = emulator.facts
    form = {
        "grant_type": "password",
        "client_id": facts["client_id"],
        "client_secret": facts["client_secret"],
        "username": facts["username"],
        "password": facts["password"] + facts["security_token"],
    }
    answer = httpx.post(f"{facts['base_url']}/services/oauth2/token", data=form, trust_env=False, timeout=60).json()
    settings = _changed(emulator.settings, refresh_token=SecretStr(answer["refresh_token"]))
    client = connect(settings)
    assert client.org_id == facts["org_id"]
    client.close()
    with pytest.raises(ConfigError, match="invalid_grant"):
        connect(_changed(settings, refresh_token=SecretStr("wrong")))


def test_old_token_is_renewed_before_it_is_refused(salesforce: SalesforceSettings) -> None:
    """A token of a certain age is exchanged before the next request, so that no upload is sent in vain."""
    transport = FaultyTransport()
    client = connect(_changed(salesforce, token_age_s=0.1), transport)
    client.limits()
    time.sleep(0.15)
    client.limits()
    client.limits()
    asked = [request.rpartition("/")[2] for request in transport.requests]
    assert asked == ["token", "limits", "token", "limits", "limits"]
    client.close()


def test_too_many_long_requests_at_once_pass_by_themselves() -> None:
    """The same code means two things: the day's calls are used up, or too many requests run just now."""
    request = httpx.Request("PUT", "https://kpc.my.salesforce.com/services/data/v62.0/jobs/ingest/750/batches")
    message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}]
    assert isinstance(refusal(httpx.Response(403, json=body, request=request), has_effect=True), RateLimited)


@pytest.mark.parametrize("length", [3, 60, 255])
def test_lists_of_keys_fit_into_an_address(length: int) -> None:
    """Every key is asked for once, in queries whose address no proxy refuses; quotes and Thai text included."""
    keys = [f"{number:04d}'|ก"[:length].ljust(length, "|") for number in range(250)]
    conditions = list(in_conditions(KEY, keys))
    assert len(conditions) >= 3
    for condition in conditions:
        assert len(str(httpx.URL("https://kpc.my.salesforce.com/query", params={"q": condition}))) < 9_000
    asked = ", ".join(condition.removeprefix(f"{KEY} IN (").removesuffix(")") for condition in conditions)
    assert asked == ", ".join("'" + key.replace("'", "\\'") + "'" for key in keys)
