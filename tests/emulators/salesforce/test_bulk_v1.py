"""Bulk API 1.0 as its clients speak it: XML or JSON around batches of CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import requests
from salesforce_emulator_process import EmulatorProcess
from simple_salesforce.api import Salesforce

pytestmark = pytest.mark.emulator_only

ASYNC = "/services/async/40.0"
NAMESPACE = "{http://www.force.com/2009/06/asyncapi/dataload}"


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    return ("--tls",)


@pytest.fixture(scope="module")
def loader(emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    """A client with this API's own header of the session."""
    headers = {"X-SFDC-Session": emulator.ready["access_token"], "Content-Type": "application/xml; charset=UTF-8"}
    with httpx.Client(base_url=emulator.ready["base_url"] + ASYNC, headers=headers, timeout=60) as client:
        yield client


def told(answer: httpx.Response) -> dict[str, str]:
    """The elements of an answer in XML."""
    root = ElementTree.fromstring(answer.text)  # noqa: S314  the emulator's own answer
    return {each.tag.removeprefix(NAMESPACE): each.text or "" for each in root}


def job_xml(**facts: str) -> str:
    elements = "".join(f"<{name}>{value}</{name}>" for name, value in facts.items())
    return f'<?xml version="1.0"?><jobInfo xmlns="{NAMESPACE[1:-1]}">{elements}</jobInfo>'


def new_job(loader: httpx.Client, operation: str, **more: str) -> str:
    facts = {"operation": operation, "object": "Account", **more, "contentType": "CSV"}
    answer = loader.post("/job", content=job_xml(**facts))
    assert answer.status_code == 201, answer.text
    assert told(answer)["state"] == "Open"
    return told(answer)["id"]


def add_batch(loader: httpx.Client, job: str, content: str) -> str:
    answer = loader.post(f"/job/{job}/batch", content=content.encode(), headers={"Content-Type": "text/csv"})
    assert (answer.status_code, told(answer)["state"]) == (201, "Queued")
    return told(answer)["id"]


def csv_rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"] == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_batches_of_csv_have_a_result_per_row_in_order(emulator: EmulatorProcess, loader: httpx.Client) -> None:
    """An empty cell changes nothing, `#N/A` empties a field, a bad row does not stop the others."""
    job = new_job(loader, "upsert", externalIdFieldName="External_ID__c")
    add_batch(loader, job, 'External_ID__c,Name,Site,Phone\nb1,"One, ร้าน",a,1\n')
    batch = add_batch(loader, job, "External_ID__c,Name,Site,Phone\nb1,,#N/A,\nb2,,,\nb3,Three,,\n")
    results = csv_rows(loader.get(f"/job/{job}/batch/{batch}/result"))
    assert [(each["Success"], each["Created"]) for each in results] == [
        ("true", "false"),
        ("false", "false"),
        ("true", "true"),
    ]
    assert results[1]["Error"].startswith("REQUIRED_FIELD_MISSING:")
    [one] = emulator.query("SELECT Name, Site, Phone FROM Account WHERE External_ID__c = 'b1'")
    assert (one["Name"], one["Site"], one["Phone"]) == ("One, ร้าน", None, "1")
    state = told(loader.get(f"/job/{job}/batch/{batch}"))
    assert (state["state"], state["numberRecordsProcessed"], state["numberRecordsFailed"]) == ("Completed", "3", "1")
    assert told(loader.post(f"/job/{job}", content=job_xml(state="Closed")))["state"] == "Closed"
    facts = told(loader.get(f"/job/{job}"))
    assert (facts["numberBatchesTotal"], facts["numberRecordsProcessed"]) == ("2", "4")
    assert loader.post(f"/job/{job}/batch", content="External_ID__c\nx\n").status_code == 400


def test_every_write_is_in_the_history(emulator: EmulatorProcess, loader: httpx.Client) -> None:
    """It names the job, and the batch counts against the day's batches."""
    before = batches_left(emulator)
    job = new_job(loader, "insert")
    add_batch(loader, job, "Name\nHistoric\n")
    entries = emulator.client.get("/_emulator/history").json()
    assert job in {each["source"] for each in entries}
    assert batches_left(emulator) == before - 1


def batches_left(emulator: EmulatorProcess) -> int:
    return int(emulator.get("limits").json()["DailyBulkApiBatches"]["Remaining"])


def test_a_query_gives_its_rows_by_the_id_of_a_result(emulator: EmulatorProcess, loader: httpx.Client) -> None:
    """The list of results has one; without rows it says so in words."""
    emulator.load("Account", "Name\nQueried 1\nQueried 2\n", "insert")
    job = new_job(loader, "query")
    batch = add_batch(loader, job, "SELECT Id, Name, Owner.Name FROM Account WHERE Name LIKE 'Queried%' ORDER BY Name")
    result = told(loader.get(f"/job/{job}/batch/{batch}/result"))["result"]
    rows = csv_rows(loader.get(f"/job/{job}/batch/{batch}/result/{result}"))
    assert [(each["Name"], each["Owner.Name"]) for each in rows] == [
        ("Queried 1", "Integration Emulator"),
        ("Queried 2", "Integration Emulator"),
    ]
    batch = add_batch(loader, job, "SELECT Id FROM Account WHERE Name = 'nobody'")
    result = told(loader.get(f"/job/{job}/batch/{batch}/result"))["result"]
    assert loader.get(f"/job/{job}/batch/{batch}/result/{result}").text == "Records not found for this query"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Name,Colour\nx,red\n", "Colour"),
        ("Name\nx,y\n", "length"),
        ('Name\n"x\n', "CSV"),
        ("Name\n" + "x\n" * 10_001, "10000"),
    ],
)
def test_a_batch_that_cannot_be_read_fails_whole(loader: httpx.Client, content: str, message: str) -> None:
    """Its state says why, and it has no results."""
    job = new_job(loader, "insert")
    batch = add_batch(loader, job, content)
    state = told(loader.get(f"/job/{job}/batch/{batch}"))
    assert state["state"] == "Failed"
    assert message in state["stateMessage"]
    assert told(loader.get(f"/job/{job}/batch/{batch}/result"))["exceptionCode"] == "InvalidBatch"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (job_xml(operation="insert", object="Nothing", contentType="CSV"), "InvalidJob"),
        (job_xml(operation="merge", object="Account", contentType="CSV"), "InvalidJob"),
        (job_xml(operation="upsert", object="Account", contentType="CSV"), "InvalidJob"),
        (job_xml(operation="insert", object="Account", contentType="ZIP_CSV"), "FeatureNotEnabled"),
        ("<jobInfo>", "InvalidJob"),
        ('<!DOCTYPE x [<!ENTITY y "z">]><jobInfo/>', "InvalidJob"),
    ],
)
def test_a_wrong_job_is_refused_in_this_apis_form(loader: httpx.Client, body: str, code: str) -> None:
    """XML with a code in its own spelling; JSON for a client that speaks JSON."""
    answer = loader.post("/job", content=body)
    assert (answer.status_code, told(answer)["exceptionCode"]) == (400, code)


def test_a_stranger_is_refused_in_this_apis_form(emulator: EmulatorProcess) -> None:
    """Whatever the header."""
    url = f"{emulator.ready['base_url']}{ASYNC}/job/750000000000000"
    for headers in ({}, {"X-SFDC-Session": "no"}, {"Authorization": "Bearer no"}):
        answer = httpx.get(url, headers=headers, timeout=60)
        assert (answer.status_code, told(answer)["exceptionCode"]) == (400, "InvalidSessionId")
        answer = httpx.get(url, headers={**headers, "Accept": "application/json"}, timeout=60)
        assert answer.json()["exceptionCode"] == "InvalidSessionId"


def test_a_client_of_json_jobs_reads_xml_about_batches_of_csv(emulator: EmulatorProcess) -> None:
    """Singer's tap does: the form of the batch's content counts, not that of its own headers."""
    url, headers = emulator.ready["base_url"] + ASYNC, {"X-SFDC-Session": emulator.ready["access_token"]}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        facts = {"operation": "queryAll", "object": "Account", "contentType": "CSV", "concurrencyMode": 1}
        job = client.post("/job", json=facts).json()
        assert (job["concurrencyMode"], job["apiVersion"]) == ("Serial", "40.0")
        assert client.post(f"/job/{job['id']}/batch", json="x").text.startswith("<?xml")
        json_kind = {"Content-Type": "application/json"}
        batch = add_batch(client, job["id"], "SELECT Id FROM Account")
        assert told(client.get(f"/job/{job['id']}/batch/{batch}", headers=json_kind))["state"] == "Completed"
        assert told(client.get(f"/job/{job['id']}/batch/{batch}/result", headers=json_kind))["result"]
        missing = client.get("/job/750000000000000", headers=json_kind)
        assert missing.json()["exceptionCode"] == "InvalidJob"


def test_simple_salesforce_loads_and_queries_by_bulk_1_0(emulator: EmulatorProcess) -> None:
    """Its `bulk` speaks JSON throughout, and asks for what it sent."""
    session = requests.Session()
    session.trust_env, session.verify = False, emulator.ready["ca_file"]
    token, url = emulator.ready["access_token"], emulator.ready["https_url"]
    client: Any = Salesforce(session_id=token, instance_url=url, session=session)
    records = [{"External_ID__c": "s1", "Name": "One", "Parent": {"External_ID__c": "nobody"}}, {"Name": "Two"}]
    results = client.bulk.Account.insert(records, include_detailed_results=True)
    assert [(each["success"], each["Name"]) for each in results] == [(False, "One"), (True, "Two")]
    assert results[0]["errors"][0]["statusCode"] == "INVALID_FIELD"
    [found] = client.bulk.Account.query("SELECT Id, Name FROM Account WHERE Name = 'Two'")
    assert found["Id"] == results[1]["id"]
    assert client.bulk.Account.delete([{"Id": found["Id"]}]) == [
        {"success": True, "created": False, "id": found["Id"], "errors": []}
    ]
    assert json.loads(json.dumps(client.bulk.Account.query("SELECT Id FROM Account WHERE Name = 'Two'"))) == []
