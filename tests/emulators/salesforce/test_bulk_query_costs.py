"""Bulk queries at full size: pieces by id, the two minutes of those that are not split, and the day's results."""

from __future__ import annotations

import time
from typing import Any

import pytest
from salesforce_emulator_process import SUPPLIER, EmulatorProcess, switch, token

pytestmark = pytest.mark.emulator_only

RECORDS = 20_000  # each stands for 1,000: an object of 20 million
MARK = "Migration_Partition__c"
KEYS = f"SELECT External_ID__c FROM {SUPPLIER}"


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    return ("--scale", "1000")


@pytest.fixture(scope="module", autouse=True)
def records(emulator: EmulatorProcess) -> None:
    """20,000 suppliers, 300 of them in bucket a."""
    lines = [f"k{n:05},A,{'a' if n < 300 else 'b'}" for n in range(RECORDS)]
    content = f"External_ID__c,Pos_Supplier_Code__c,{MARK}\n" + "\n".join(lines) + "\n"
    assert emulator.load(SUPPLIER, content)["numberRecordsFailed"] == 0


def created(emulator: EmulatorProcess, soql: str) -> dict[str, Any]:
    answer = emulator.client.post(emulator.url("jobs/query"), json={"operation": "query", "query": soql})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def run(emulator: EmulatorProcess, soql: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job at its end, and what the emulator noted of its query."""
    info = emulator.wait_for(created(emulator, soql), "query")
    return info, emulator.client.get("/_emulator/queries").json()[-1]


@pytest.mark.parametrize("where", ["", f" WHERE {MARK} = 'a'", f" WHERE {MARK} = 'b'"])
def test_a_query_is_split_by_the_ids_of_the_whole_object(emulator: EmulatorProcess, where: str) -> None:
    """200 pieces of 100,000 ids, a second each, whatever the filter; no two minutes for them together."""
    started = time.monotonic()
    info, noted = run(emulator, KEYS + where)
    assert info["state"] == "JobComplete"
    assert (noted["api"], noted["sub_queries"], noted["virtual_s"], noted["end"]) == ("bulk", 200, 200, "ok")
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("tail", ["LIMIT 25000", "ORDER BY Pos_Supplier_Code__c"])
def test_a_query_that_is_not_split_must_begin_in_two_minutes(emulator: EmulatorProcess, tail: str) -> None:
    """With LIMIT or ORDER BY the filter decides: a selective one is answered at once, another never."""
    info, noted = run(emulator, f"{KEYS} WHERE {MARK} = 'a' {tail}")
    assert (info["state"], info["numberRecordsProcessed"]) == ("JobComplete", 300)
    assert (noted["sub_queries"], noted["leading_operation"]) == (1, "Index")
    assert noted["virtual_s"] < 120
    info, noted = run(emulator, f"{KEYS} WHERE {MARK} = 'b' {tail}")
    assert info["state"] == "Failed"
    assert info["errorMessage"] == "QUERY_TIMEOUT : Your query request was running for too long."
    assert (noted["leading_operation"], noted["end"]) == ("TableScan", "QUERY_TIMEOUT")


def test_a_whole_object_in_the_order_of_an_index_begins_at_once(emulator: EmulatorProcess) -> None:
    """It takes its 200 seconds, but the first record is there before the two minutes are over."""
    info, noted = run(emulator, f"{KEYS} ORDER BY Id")
    assert (info["state"], info["numberRecordsProcessed"]) == ("JobComplete", RECORDS)
    assert (noted["sub_queries"], noted["virtual_s"]) == (1, 200)


def test_a_job_of_a_standard_object_is_not_split(emulator: EmulatorProcess) -> None:
    """Bulk API 2.0 splits custom objects only."""
    lines = "".join(f"p{n},A\n" for n in range(250))
    assert emulator.load("Account", f"External_ID__c,Name\n{lines}")["numberRecordsFailed"] == 0
    assert run(emulator, "SELECT Id FROM Account")[1]["sub_queries"] == 1


def test_an_aborted_job_waits_no_longer(switched: EmulatorProcess) -> None:
    """Whoever aborts a query that takes minutes gets the next one at once."""
    switch(switched, scan_records_per_s=100)  # 200 seconds, as the emulator waits them
    jobs = [created(switched, KEYS) for _ in range(2)]
    for job in jobs:
        answer = switched.client.patch(switched.url(f"jobs/query/{job['id']}"), json={"state": "Aborted"})
        assert answer.json()["state"] == "Aborted"
    switch(switched, scan_records_per_s=100_000)
    started = time.monotonic()
    assert run(switched, f"{KEYS} WHERE {MARK} = 'a' LIMIT 1000")[0]["state"] == "JobComplete"
    assert time.monotonic() - started < 10


def test_results_of_a_day_are_limited(switched: EmulatorProcess) -> None:
    """300 records of 9 bytes, each 1,000 times, are 3 of 4 MB; a second job is created, a third is not."""

    def left() -> int:
        remaining: int = switched.get("limits").json()["DailyBulkV2QueryFileStorageMB"]["Remaining"]
        return remaining

    switched.client.post("/_emulator/clock", json={"advance_s": 90_000})
    switched.client.headers["Authorization"] = f"Bearer {_session(switched)}"
    switch(switched, daily_query_result_mb=4, token_lifetime_s=10**9)
    assert left() == 4
    run(switched, f"{KEYS} WHERE {MARK} = 'a' LIMIT 1000")
    assert left() == 1
    run(switched, f"{KEYS} WHERE {MARK} = 'a' LIMIT 1000")
    assert left() == 0
    refused = switched.client.post(switched.url("jobs/query"), json={"operation": "query", "query": KEYS})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "EXCEEDEDQUOTA")
    switched.client.post("/_emulator/clock", json={"advance_s": 90_000})
    switched.client.headers["Authorization"] = f"Bearer {_session(switched)}"
    assert left() == 4


def test_results_are_gone_after_seven_days(switched: EmulatorProcess) -> None:
    """Neither the job nor its result can be read any more."""
    info, _ = run(switched, f"{KEYS} WHERE {MARK} = 'a' LIMIT 1000")
    path = f"jobs/query/{info['id']}/results"
    assert switched.get(path).status_code == 200
    switched.client.post("/_emulator/clock", json={"advance_s": 7 * 86_400 + 1})
    switched.client.headers["Authorization"] = f"Bearer {_session(switched)}"
    assert switched.get(path).status_code == 404
    assert switched.get(f"jobs/query/{info['id']}").status_code == 404


def test_used_jobs_and_results_are_shown(emulator: EmulatorProcess) -> None:
    """What other software used counts as well."""
    before = emulator.get("limits").json()
    emulator.client.post("/_emulator/usage", json={"query_jobs": 7, "query_result_bytes": 5 << 20})
    after = emulator.get("limits").json()
    used = {name: before[name]["Remaining"] - after[name]["Remaining"] for name in before}
    assert (used["DailyBulkV2QueryJobs"], used["DailyBulkV2QueryFileStorageMB"]) == (7, 5)


def _session(emulator: EmulatorProcess) -> str:
    """A new access token, after the clock was moved beyond the life of the last."""
    form = {"grant_type": "client_credentials"}
    form |= {name: emulator.ready[name] for name in ("client_id", "client_secret")}
    found: str = token(emulator, **form).json()["access_token"]
    return found
