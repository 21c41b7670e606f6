"""Faults, allowances, time and history of the Salesforce emulator."""

from __future__ import annotations

import gzip
import time

import httpx
import pytest
from salesforce_emulator_process import (
    HEADER,
    SUPPLIER,
    EmulatorProcess,
    csv_rows,
    fault,
    supplier_lines,
    switch,
    token,
)

pytestmark = pytest.mark.emulator_only


def test_a_fault_strikes_as_often_as_it_was_told(switched: EmulatorProcess) -> None:
    """Two of three polls fail, after one that works."""
    job = switched.create_job(SUPPLIER)
    fault(switched, action="status", method="GET", path="/jobs/ingest/", status=503, skip=1, times=2)
    answers = [switched.get(f"jobs/ingest/{job['id']}").status_code for _ in range(4)]
    assert answers == [200, 503, 503, 200]


def test_a_cut_close_was_still_done(switched: EmulatorProcess) -> None:
    """The reply is lost, the job goes on: whoever repeats blindly is found out."""
    job = switched.create_job(SUPPLIER)
    switched.upload(job, supplier_lines("cut", 3))
    fault(switched, action="cut_after", method="PATCH")
    with pytest.raises(httpx.TransportError):
        switched.set_state(job)
    assert switched.wait_for(job)["numberRecordsProcessed"] == 3


def test_a_cut_before_did_nothing(switched: EmulatorProcess) -> None:
    """The job is still Open."""
    job = switched.create_job(SUPPLIER)
    fault(switched, action="cut_before", method="PATCH")
    with pytest.raises(httpx.TransportError):
        switched.set_state(job)
    assert switched.poll(job)["state"] == "Open"


def test_an_upload_that_broke_off_can_be_repeated(switched: EmulatorProcess) -> None:
    """What came of it is thrown away."""
    job = switched.create_job(SUPPLIER)
    fault(switched, action="cut_body", method="PUT", after_bytes=100_000)
    with pytest.raises(httpx.TransportError):
        switched.upload(job, supplier_lines("broken", 100_000))
    assert switched.upload(job, supplier_lines("whole", 2)).status_code == 201
    switched.set_state(job)
    assert switched.wait_for(job)["numberRecordsProcessed"] == 2


def test_sessions_can_be_ended(switched: EmulatorProcess) -> None:
    """Mid-run, by the admin API; a new login works."""
    ready = switched.ready
    fault(switched, action="expire_tokens", method="GET", path="limits$")
    assert switched.get("limits").status_code == 401
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    fresh = token(switched, grant_type="client_credentials", **client).json()["access_token"]
    switched.client.headers["Authorization"] = f"Bearer {fresh}"
    assert switched.get("limits").status_code == 200


def test_gzip_can_be_refused_or_misread(switched: EmulatorProcess) -> None:
    """Both ways in which a real org might not take it."""
    content = gzip.compress(supplier_lines("gz", 5).encode())
    encoding = {"content-encoding": "gzip"}
    switch(switched, gzip_upload="refuse")
    job = switched.create_job(SUPPLIER)
    assert switched.upload(job, content, **encoding).status_code == 415
    switch(switched, gzip_upload="misread")
    assert switched.upload(job, content, **encoding).status_code == 201
    switched.set_state(job)
    assert switched.wait_for(job)["state"] == "Failed"


def test_an_exhausted_allowance_leaves_the_rest_unprocessed_or_unrecorded(switched: EmulatorProcess) -> None:
    """The batches before it stay; the next job is refused; a day later there is a new allowance."""
    used = switched.client.get("/_emulator/").json()["used_in_24_hours"]["batches"]
    switch(switched, daily_batches=used + 2)
    job = switched.create_job(SUPPLIER)
    switched.upload(job, supplier_lines("quota", 25_000))
    switched.set_state(job)
    done = switched.wait_for(job)
    assert (done["state"], done["numberRecordsProcessed"]) == ("Failed", 20_000)
    assert "ExceededQuota" in done["errorMessage"]
    assert len(csv_rows(switched.result(job, "successfulResults"))) == 20_000
    left = csv_rows(switched.result(job, "unprocessedrecords"))
    assert [row["External_ID__c"] for row in left] == [f"quota{n}" for n in range(20_000, 25_000)]
    switch(switched, over_quota_rows="unrecorded")
    assert csv_rows(switched.result(job, "unprocessedrecords")) == []
    body = {"object": SUPPLIER, "operation": "insert"}
    refused = switched.client.post(switched.url("jobs/ingest"), json=body)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "EXCEEDEDQUOTA")
    assert switched.get("limits").json()["DailyBulkApiBatches"] == {"Max": used + 2, "Remaining": 0}


def test_the_api_allowance_is_counted_and_enforced(switched: EmulatorProcess) -> None:
    """Every answer tells it; beyond it there is only REQUEST_LIMIT_EXCEEDED."""
    answer = switched.get("limits")
    used, most = answer.headers["Sforce-Limit-Info"].removeprefix("api-usage=").split("/")
    assert int(most) == 5_000_000
    switch(switched, daily_api_requests=int(used))
    refused = switched.get("limits")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")


def test_batches_that_time_out_are_tried_20_times(switched: EmulatorProcess) -> None:
    """A few cost only retries; too many fail the job with the rest unprocessed."""
    switch(switched, batch_timeouts=3)
    job = switched.load(SUPPLIER, supplier_lines("retry", 10))
    assert (job["state"], job["retries"], job["numberRecordsProcessed"]) == ("JobComplete", 3, 10)
    switch(switched, batch_timeouts=20)
    job = switched.load(SUPPLIER, supplier_lines("never", 10))
    assert (job["state"], job["retries"], job["numberRecordsProcessed"]) == ("Failed", 20, 0)


def test_rows_can_be_locked_once(switched: EmulatorProcess) -> None:
    """Every third row fails, and is taken at the second try."""
    switch(switched, lock_rows_every=3)
    first = switched.load(SUPPLIER, supplier_lines("lock", 9))
    failed = csv_rows(switched.result(first, "failedResults"))
    assert len(failed) == 3
    assert all(row["sf__Error"].startswith("UNABLE_TO_LOCK_ROW:") for row in failed)
    again = HEADER + "".join(f"{row['External_ID__c']},A\n" for row in failed)
    assert switched.load(SUPPLIER, again)["numberRecordsFailed"] == 0


def test_two_jobs_with_children_of_one_parent_get_into_each_others_way(switched: EmulatorProcess) -> None:
    """While the first job runs, the second one's rows are locked out."""
    switched.load(SUPPLIER, HEADER + "shared,A\n")
    header = "External_ID__c,Pos_Supplier__r.External_ID__c,Pos_Supplier_Code__c,Seq__c\n"
    switch(switched, rows_per_s=20.0)
    jobs = [switched.create_job("KPS_EmailSupplier__c") for _ in range(2)]
    for number, job in enumerate(jobs):
        switched.upload(job, header + "".join(f"lp{number}-{n},shared,A,{n}\n" for n in range(10)))
        switched.set_state(job)
    failed = sorted(switched.wait_for(job)["numberRecordsFailed"] for job in jobs)
    assert failed == [0, 10]


def test_an_optional_lookup_that_is_cleared_with_its_parent_locks_nothing(switched: EmulatorProcess) -> None:
    """Only required lookups, restricted ones and master-detail relationships lock; describe tells which they are."""
    switched.load(SUPPLIER, HEADER + "free,A\n")
    field = "KPS_EmailSupplier__c.Pos_Supplier__c"
    described = {each["name"]: each for each in switched.get("sobjects/KPS_EmailSupplier__c/describe").json()["fields"]}
    assert described["Pos_Supplier__c"]["restrictedDelete"]
    assert not described["Pos_Supplier__c"]["nillable"]
    optional = {"fields": {field: {"restricted_delete": False, "nillable": True}}}
    assert switched.client.patch("/_emulator/setup", json=optional).status_code == 200
    header = "External_ID__c,Pos_Supplier__r.External_ID__c,Pos_Supplier_Code__c,Seq__c\n"
    switch(switched, rows_per_s=20.0)
    jobs = [switched.create_job("KPS_EmailSupplier__c") for _ in range(2)]
    for number, job in enumerate(jobs):
        switched.upload(job, header + "".join(f"fr{number}-{n},free,A,{n}\n" for n in range(10)))
        switched.set_state(job)
    assert [switched.wait_for(job)["numberRecordsFailed"] for job in jobs] == [0, 0]
    switched.client.patch("/_emulator/setup", json={"fields": {}})


def test_a_slow_job_counts_in_chunks_of_200(switched: EmulatorProcess) -> None:
    """Polls see it grow; the results come only at its end."""
    switch(switched, rows_per_s=2000.0)
    job = switched.create_job(SUPPLIER)
    switched.upload(job, supplier_lines("slow", 1000))
    switched.set_state(job)
    seen: set[int] = set()
    early = switched.get(f"jobs/ingest/{job['id']}/failedResults").status_code
    while (info := switched.poll(job))["state"] != "JobComplete":
        seen.add(info["numberRecordsProcessed"])
        time.sleep(0.01)
    assert early == 400
    assert len(seen) >= 3
    assert all(number % 200 == 0 for number in seen)


def test_a_null_parent_can_be_switched_to_clear_it(switched: EmulatorProcess) -> None:
    """What a real org does with #N/A in a relationship column is not known."""
    switch(switched, null_relationship="null")
    switched.load("Account", "External_ID__c,Name\nnp1,Parent\n", "upsert")
    switched.load("Account", "External_ID__c,Name,Parent.External_ID__c\nnp2,Child,np1\n", "upsert")
    job = switched.load("Account", "External_ID__c,Parent.External_ID__c\nnp2,#N/A\n", "upsert")
    assert job["numberRecordsFailed"] == 0
    assert switched.query("SELECT ParentId FROM Account WHERE External_ID__c = 'np2'")[0]["ParentId"] is None


def test_sink_mode_counts_and_stores_nothing(switched: EmulatorProcess) -> None:
    """For measuring a client, not the switched."""
    switch(switched, sink=True)
    assert switched.load(SUPPLIER, supplier_lines("sink", 10))["numberRecordsProcessed"] == 10
    assert switched.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'sink%'") == 0


def test_time_can_be_moved(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A day ends an Open job and renews the allowance, a week removes results, two hours a session."""
    emulator = EmulatorProcess(tmp_path_factory.mktemp("salesforce")).start()
    done, waiting = emulator.load(SUPPLIER, supplier_lines("old", 2)), emulator.create_job(SUPPLIER)
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


def test_every_accepted_write_is_in_the_history(switched: EmulatorProcess) -> None:
    """In order, with the job it came from; refused rows are not."""
    last = max((each["number"] for each in switched.client.get("/_emulator/history").json()), default=0)
    job = switched.load(SUPPLIER, HEADER + "h1,A\nh2,TOO LONG\nh3,A\n")
    switched.load(SUPPLIER, HEADER + "h1,B\n")
    log = switched.client.get("/_emulator/history", params={"after": last}).json()
    assert [(each["operation"], each["key"]) for each in log] == [("insert", "h1"), ("insert", "h3"), ("update", "h1")]
    assert {each["source"] for each in log[:2]} == {job["id"]}


# Hostile requests


def test_wrong_switches_faults_and_times_are_refused(switched: EmulatorProcess) -> None:
    """By name, and with what there is instead."""
    answer = switched.client.patch("/_emulator/switches", json={"gzip": True})
    assert (answer.status_code, "There is no switch 'gzip'" in answer.text) == (400, True)
    assert switched.client.patch("/_emulator/switches", json={"processing": "maybe"}).status_code == 400
    assert switched.client.post("/_emulator/faults", json={"action": "explode"}).status_code == 400
    assert switched.client.post("/_emulator/faults", json={"action": "status", "path": "("}).status_code == 400
    assert switched.client.post("/_emulator/clock", json={"advance_s": -5}).status_code == 400


def test_planted_answers_are_sent_as_they_are(switched: EmulatorProcess) -> None:
    """Any body, status and header in place of the org's answer; a bomb; an answer cut short after it took effect."""
    fault(switched, action="status", path="limits$", status=429, code="BUSY", headers={"Retry-After": "7"})
    assert switched.get("limits").headers["retry-after"] == "7"
    page = {"Content-Type": "text/html", "X-Proxy": "yes"}
    fault(switched, action="answer", path="limits$", body="<html>", headers=page)
    answer = switched.get("limits")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "<html>", "text/html")
    fault(switched, action="answer", path="limits$", status=302, headers={"Location": "https://elsewhere.example"})
    assert switched.get("limits").headers["location"] == "https://elsewhere.example"
    fault(switched, action="bomb", path="limits$", after_bytes=5_000_000)
    answer = switched.get("limits")
    assert len(answer.content) == 5_000_000
    assert answer.num_bytes_downloaded < 20_000
    fault(switched, action="cut_answer", method="POST", path="/jobs/ingest$", after_bytes=20)
    before = len(switched.get("jobs/ingest").json()["records"])
    with pytest.raises(httpx.RemoteProtocolError):
        switched.create_job(SUPPLIER)
    assert len(switched.get("jobs/ingest").json()["records"]) == before + 1
