"""Unmodified third-party clients against the Salesforce emulator."""

from __future__ import annotations

import csv
import io
import json
import ssl
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from node_packages import run_node
from salesforce_emulator_process import EmulatorProcess
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceOperationError,
)

pytestmark = pytest.mark.emulator_only
JSFORCE = "3.6.6"  # the newest that runs on Node.js 20


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    return ("--tls",)


@pytest.fixture(scope="module")
def session(emulator: EmulatorProcess) -> requests.Session:
    """Salesforce's host names lead to the emulator as HTTPS_PROXY would."""
    session = requests.Session()
    session.trust_env = False
    session.verify = emulator.ready["ca_file"]
    session.proxies = {"https": emulator.ready["base_url"]}
    return session


@pytest.fixture
def salesforce(emulator: EmulatorProcess, session: requests.Session) -> Any:  # its types are narrower than its uses
    return Salesforce(
        session_id=emulator.ready["access_token"], instance_url="https://kpc.my.salesforce.com", session=session
    )


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_simple_salesforce_logs_in_with_client_credentials(
    emulator: EmulatorProcess, session: requests.Session
) -> None:
    """The secret travels in a Basic header; the session then works."""
    ready = emulator.ready
    client = Salesforce(
        consumer_key=ready["client_id"], consumer_secret=ready["client_secret"], domain="kpc.my", session=session
    )
    assert client.query("SELECT Id FROM Organization")["records"][0]["Id"] == ready["org_id"]


def test_simple_salesforce_logs_in_with_a_jwt(emulator: EmulatorProcess, session: requests.Session) -> None:
    """An assertion signed with the emulator's key is taken, one signed with another is not."""
    ready = emulator.ready
    client = Salesforce(
        username=ready["username"],
        consumer_key=ready["client_id"],
        privatekey_file=ready["jwt_private_key_file"],
        session=session,
    )
    assert client.limits()["DailyBulkApiBatches"]["Max"] == 15_000


def test_simple_salesforce_logs_in_with_user_name_and_password(
    emulator: EmulatorProcess, session: requests.Session
) -> None:
    """OAuth's password grant."""
    ready = emulator.ready
    client = Salesforce(
        username=ready["username"],
        password=ready["password"],
        consumer_key=ready["client_id"],
        consumer_secret=ready["client_secret"],
        session=session,
    )
    assert client.query("SELECT COUNT() FROM Account")["totalSize"] >= 0


def test_a_wrong_secret_is_refused_as_such(emulator: EmulatorProcess, session: requests.Session) -> None:
    """The client shows OAuth's error code."""
    with pytest.raises(SalesforceAuthenticationFailed) as refused:
        Salesforce(consumer_key=emulator.ready["client_id"], consumer_secret="no", domain="kpc.my", session=session)
    assert refused.value.code == "invalid_client"


def test_https_needs_no_proxy_and_connect_leads_nowhere_else(emulator: EmulatorProcess) -> None:
    """The certificate fits 127.0.0.1; a tunnel to a stranger is refused."""
    context = ssl.create_default_context(cafile=emulator.ready["ca_file"])
    assert (
        httpx.get(
            f"{emulator.ready['https_url']}/services/data", verify=context, trust_env=False, timeout=60
        ).status_code
        == 200
    )
    with pytest.raises(httpx.ProxyError, match="403"):
        httpx.get("https://example.com", proxy=emulator.ready["base_url"], verify=context, timeout=60)


def test_bulk_upsert_and_all_three_results(salesforce: Any) -> None:
    """Good rows are stored, bad ones explained, none is left unprocessed."""
    records = [
        {"External_ID__c": f"c1-{n}", "Pos_Supplier_Code__c": "A", "Name_E__c": f"ร้าน {n}", "Active__c": "true"}
        for n in range(450)
    ]
    records[7]["Pos_Supplier_Code__c"] = "TOO LONG"
    bulk = salesforce.bulk2.KPS_PosSupplier__c
    [job] = bulk.upsert(records=records, external_id_field="External_ID__c", wait=0.1)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (450, 1)
    good = rows(bulk.get_successful_records(job["job_id"]))
    [bad] = rows(bulk.get_failed_records(job["job_id"]))
    assert len(good) == 449
    assert {row["sf__Created"] for row in good} == {"true"}
    assert all(row["Name_E__c"].startswith("ร้าน") for row in good)
    assert bad["External_ID__c"] == "c1-7"
    assert bad["sf__Error"].startswith("STRING_TOO_LONG:Pos_Supplier_Code__c: data value too large")
    assert rows(bulk.get_unprocessed_records(job["job_id"])) == []
    assert (
        salesforce.query("SELECT COUNT() FROM KPS_PosSupplier__c WHERE External_ID__c LIKE 'c1-%'")["totalSize"] == 449
    )


def test_bulk_query_in_pages(salesforce: Any, tmp_path: Path) -> None:
    """Every record comes once, over several pages, into memory and onto disk."""
    records = [{"External_ID__c": f"c2-{n}", "Pos_Supplier_Code__c": "B"} for n in range(250)]
    bulk = salesforce.bulk2.KPS_PosSupplier__c
    bulk.upsert(records=records, external_id_field="External_ID__c", wait=0.1)
    soql = "SELECT Id, External_ID__c, Active__c FROM KPS_PosSupplier__c WHERE Pos_Supplier_Code__c = 'B'"
    pages = list(bulk.query(soql, max_records=100, wait=0.1))
    assert [len(rows(page)) for page in pages] == [100, 100, 50]
    keys = {row["External_ID__c"] for page in pages for row in rows(page)}
    assert keys == {f"c2-{n}" for n in range(250)}
    files = bulk.download(soql, str(tmp_path), max_records=200, wait=0.1)
    assert sorted(each["number_of_records"] for each in files) == [50, 200]


def test_bulk_insert_update_delete(salesforce: Any) -> None:
    """The other operations work by id."""
    bulk = salesforce.bulk2.Account
    [job] = bulk.insert(records=[{"Name": "One"}, {"Name": "Two"}], wait=0.1)
    ids = [row["sf__Id"] for row in rows(bulk.get_successful_records(job["job_id"]))]
    bulk.update(records=[{"Id": ids[0], "Phone": "02 123"}], wait=0.1)
    assert salesforce.Account.get(ids[0])["Phone"] == "02 123"
    [gone] = bulk.delete(records=[{"Id": each} for each in ids], wait=0.1)
    assert gone["numberRecordsFailed"] == 0
    assert salesforce.query(f"SELECT COUNT() FROM Account WHERE Id IN ('{ids[0]}', '{ids[1]}')")["totalSize"] == 0
    assert salesforce.query(f"SELECT Id, IsDeleted FROM Account WHERE Id = '{ids[0]}'", include_deleted=True)["records"]


def test_a_job_with_an_unknown_column_fails_whole(salesforce: Any) -> None:
    """The client raises the job's message."""
    with pytest.raises(SalesforceOperationError, match="InvalidBatch : Field name not found : Colour__c"):
        salesforce.bulk2.KPS_PosSupplier__c.upsert(
            records=[{"External_ID__c": "x", "Colour__c": "red"}], external_id_field="External_ID__c", wait=0.1
        )


def test_rows_of_an_object(salesforce: Any) -> None:
    """Create, read, change, upsert, find by external id, delete."""
    account = salesforce.Account
    made = account.create({"Name": "Acme", "AnnualRevenue": 12.5, "External_ID__c": "acme|1"})
    assert made["success"] is True
    assert account.update(made["id"], {"Phone": "1"}) == 204
    assert account.upsert("External_ID__c/acme|1", {"Site": "BKK"}) == 200
    assert account.upsert("External_ID__c/acme|2", {"Name": "New"}) == 201
    read = account.get_by_custom_id("External_ID__c", "ACME|1")
    assert (read["Id"], read["Site"], read["Phone"], read["AnnualRevenue"]) == (made["id"], "BKK", "1", 13.0)
    assert account.delete(made["id"]) == 204
    with pytest.raises(SalesforceMalformedRequest):
        account.create({"Name": "Bad", "Colour": "red"})


def test_describe_is_enough_for_a_dry_run(salesforce: Any) -> None:
    """Types, lengths and required fields are told."""
    fields = {each["name"]: each for each in salesforce.KPS_EmailSupplier__c.describe()["fields"]}
    lookup = fields["Pos_Supplier__c"]
    assert (lookup["type"], lookup["referenceTo"], lookup["relationshipName"]) == (
        "reference",
        ["KPS_PosSupplier__c"],
        "Pos_Supplier__r",
    )
    assert (fields["External_ID__c"]["externalId"], fields["External_ID__c"]["length"]) == (True, 255)
    assert fields["Seq__c"]["nillable"] is False
    assert {"KPS_Sales__c", "Account", "User"} <= {each["name"] for each in salesforce.describe()["sobjects"]}


def test_query_all_pages_and_a_sum_of_cents(salesforce: Any) -> None:
    """More than 2,000 records page by page; a sum of doubles, rounded to cents, has no drift."""
    records = [
        {"External_ID__c": f"p{n}", "Con_Code__c": "01", "Preinv_No__c": str(n), "Amt_Inc_Vat__c": "0.10"}
        for n in range(4001)
    ]
    salesforce.bulk2.KPS_Preinv__c.upsert(records=records, external_id_field="External_ID__c", wait=0.1)
    found = salesforce.query_all("SELECT External_ID__c, Amt_Inc_Vat__c FROM KPS_Preinv__c")
    assert found["totalSize"] == len({each["External_ID__c"] for each in found["records"]}) == 4001
    [total] = salesforce.query("SELECT SUM(Amt_Inc_Vat__c) s FROM KPS_Preinv__c")["records"]
    assert round(Decimal(str(total["s"])), 2) == Decimal("400.10")


def test_jsforce_makes_its_whole_tour(emulator: EmulatorProcess) -> None:
    """Log-in by SOAP and OAuth, bulk upsert with results, bulk query, rows."""
    script = Path(__file__).with_name("jsforce_tour.cjs")
    seen = json.loads(run_node(script, "jsforce", JSFORCE, str(emulator.ready_file)))
    assert seen["soapUser"] == seen["oauthUser"] == emulator.ready["user_id"]
    assert (seen["successful"], seen["failed"], seen["unprocessed"]) == (249, ["js7"], 0)
    assert seen["queried"] == ['ร้าน "1"']
    assert (seen["created"], seen["found"], seen["fields"]) == (True, ["one", "two"], True)
