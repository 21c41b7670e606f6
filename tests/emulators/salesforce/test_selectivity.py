"""What queries cost at full size: which index serves a filter, up to how many records, and what ends after 120 s."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from salesforce_emulator_process import SUPPLIER, EmulatorProcess, switch

pytestmark = pytest.mark.emulator_only

RECORDS = 20_000  # each stands for 1,000: an object of 20 million
SMALL, LARGE = "2024-01/000", "2024-02/000"  # 300 and 400 stored records; the threshold is at 333
LIMIT_S = 0.12  # 120 seconds at a scale of 1,000
MARK = "Migration_Partition__c"


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    return ("--scale", "1000")


@pytest.fixture(scope="module", autouse=True)
def records(emulator: EmulatorProcess) -> None:
    """20,000 suppliers: 300 in the small bucket, 400 in the large one, all others in one more."""
    marks = [SMALL] * 300 + [LARGE] * 400 + ["2024-03/000"] * (RECORDS - 700)
    lines = [f"k{n:05},A{n % 7},{mark}" for n, mark in enumerate(marks)]
    content = f"External_ID__c,Pos_Supplier_Code__c,{MARK}\n" + "\n".join(lines) + "\n"
    assert emulator.load(SUPPLIER, content)["numberRecordsFailed"] == 0


def asked(emulator: EmulatorProcess, where: str, select: str = "COUNT()", tail: str = "") -> httpx.Response:
    return emulator.get("query", q=f"SELECT {select} FROM {SUPPLIER} WHERE {where} {tail}")


def last(emulator: EmulatorProcess) -> dict[str, Any]:
    """The query that was asked last, as the emulator noted it."""
    found: dict[str, Any] = emulator.client.get("/_emulator/queries").json()[-1]
    return found


@pytest.mark.parametrize(
    ("where", "fields", "cardinality"),
    [
        (f"{MARK} = '{SMALL}'", [MARK], 300_000),
        (f"{MARK} IN ('{SMALL}', '2030-01/000')", [MARK], 300_000),
        (f"{MARK} LIKE '2024-01/%'", [MARK], 300_000),
        (f"{MARK} = '{LARGE}' AND External_ID__c IN ('k00301', 'k00302')", ["External_ID__c"], 2),
        (f"{MARK} = '{SMALL}' AND Pos_Supplier_Code__c != 'A1'", [MARK], 300_000),
        (f"{MARK} = '{SMALL}' OR External_ID__c = 'k19999'", [MARK, "External_ID__c"], 300_001),
        ("CreatedDate > TOMORROW", ["CreatedDate"], 0),
    ],
)
def test_an_index_leads_a_selective_filter(
    emulator: EmulatorProcess, where: str, fields: list[str], cardinality: int
) -> None:
    """Below the threshold the index finds the records, and the answer comes in time."""
    answer = asked(emulator, where)
    assert answer.status_code == 200, answer.text
    noted = last(emulator)
    assert (noted["leading_operation"], noted["fields"], noted["cardinality"]) == ("Index", fields, cardinality)
    assert noted["is_selective"]
    assert noted["end"] == "ok"


@pytest.mark.parametrize(
    "where",
    [
        f"{MARK} = '{LARGE}'",  # 400,000 records: over the threshold of a custom index
        f"{MARK} IN ('{SMALL}', '{LARGE}')",
        f"{MARK} >= '2024-01/000' AND {MARK} < '2024-01/001'",  # ranges of text
        f"{MARK} LIKE '%-01/000'",
        f"{MARK} LIKE '_024-01/000'",
        f"{MARK} != '2024-03/000' AND {MARK} != '{LARGE}'",
        f"{MARK} NOT IN ('2024-03/000', '{LARGE}')",
        f"{MARK} = null",
        f"NOT {MARK} = '2024-03/000'",
        f"{MARK} = '{SMALL}' OR Pos_Supplier_Code__c = 'A1'",  # one branch has no index
        f"({MARK} = '{SMALL}' OR {MARK} = '{SMALL}')",  # together over the threshold
        "Pos_Supplier_Code__c = 'A1'",
        "CreatedDate > YESTERDAY",  # a standard index serves ranges, up to a million records
    ],
)
@pytest.mark.parametrize("select", ["COUNT()", "MAX(Pos_Supplier_Code__c)", "Id"])
def test_a_filter_that_is_not_selective_times_out(emulator: EmulatorProcess, where: str, select: str) -> None:
    """In an object of 20 million the scan takes 200 s; after 120 s Salesforce gives up."""
    started = time.monotonic()
    answer = asked(emulator, where, select)
    waited_s = time.monotonic() - started
    assert answer.status_code == 400
    assert answer.json() == [{"message": "Your query request was running for too long.", "errorCode": "QUERY_TIMEOUT"}]
    assert LIMIT_S <= waited_s < LIMIT_S + 2
    noted = last(emulator)
    assert (noted["leading_operation"], noted["is_selective"]) == ("TableScan", False)
    assert (noted["virtual_s"], noted["end"]) == (200, "QUERY_TIMEOUT")


def test_ids_are_found_by_their_index_in_ranges(emulator: EmulatorProcess) -> None:
    """Both bounds are one range of the index; a further filter is checked on what the range finds."""
    ids = [record["Id"] for record in emulator.query(f"SELECT Id FROM {SUPPLIER} ORDER BY Id LIMIT 2000")]
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE Id >= '{ids[0]}' AND Id < '{ids[900]}'") == 900
    assert (last(emulator)["fields"], last(emulator)["cardinality"]) == (["Id"], 900_000)
    where = f"Id >= '{ids[0]}' AND Id < '{ids[900]}' AND {MARK} = '2024-03/000'"
    assert asked(emulator, where).status_code == 200
    assert last(emulator)["fields"] == ["Id"]
    assert asked(emulator, f"Id >= '{ids[0]}' AND Id < '{ids[1100]}'").status_code == 400


def test_limit_ends_a_scan_that_finds_enough(emulator: EmulatorProcess) -> None:
    """The first record by id is known at once; a record behind everything else is not."""
    assert len(emulator.query(f"SELECT Id FROM {SUPPLIER} ORDER BY Id LIMIT 1")) == 1
    assert last(emulator)["virtual_s"] < 1
    assert (
        emulator.get("query", q=f"SELECT Id FROM {SUPPLIER} ORDER BY Pos_Supplier_Code__c LIMIT 1").status_code == 400
    )
    assert asked(emulator, f"{MARK} != '2024-03/000'", "Id", "LIMIT 5000").status_code == 400


def test_speeds_of_whole_objects_are_switches(switched: EmulatorProcess) -> None:
    """COUNT() of 20 million takes 48 s, a sum 80 s; half as fast, neither ends in time."""
    assert switched.count(f"SELECT COUNT() FROM {SUPPLIER}") == RECORDS
    assert round(last(switched)["virtual_s"]) == 48
    assert switched.query(f"SELECT COUNT(Id) n, MAX(Pos_Supplier_Code__c) FROM {SUPPLIER}")[0]["n"] == RECORDS
    assert last(switched)["virtual_s"] == 80
    switch(switched, count_records_per_s=160_000, aggregate_records_per_s=160_000)
    for select in ("COUNT()", "COUNT(Id)"):
        answer = switched.get("query", q=f"SELECT {select} FROM {SUPPLIER}")
        assert answer.json()[0]["errorCode"] == "QUERY_TIMEOUT"
    switch(switched, query_timeout_s=0)
    assert switched.count(f"SELECT COUNT() FROM {SUPPLIER}") == RECORDS


def test_the_scale_is_a_switch(switched: EmulatorProcess) -> None:
    """The same records as an object of 20,000 are small; with 0 nothing costs time."""
    where = f"{MARK} != '2024-03/000'"
    for scale, virtual_s in ((1, 0.2), (0, 0)):
        switch(switched, scale=scale)
        assert asked(switched, where).json()["totalSize"] == 700
        assert last(switched)["virtual_s"] == virtual_s
    switch(switched, scale=1000)
    assert asked(switched, where).json()[0]["errorCode"] == "QUERY_TIMEOUT"


def test_old_statistics_take_a_fresh_object_for_small(switched: EmulatorProcess) -> None:
    """Ten minutes ago the object was empty: by the statistics no filter is selective in it."""
    assert asked(switched, f"{MARK} = '{SMALL}'").status_code == 200
    switch(switched, index_statistics_age_s=600)
    assert asked(switched, f"{MARK} = '{SMALL}'").json()[0]["errorCode"] == "QUERY_TIMEOUT"
    assert asked(switched, "External_ID__c = 'k00001'").status_code == 200
    switched.client.post("/_emulator/clock", json={"advance_s": 601})
    assert asked(switched, f"{MARK} = '{SMALL}'").status_code == 200


def test_a_query_in_a_filter_costs_its_own_scan(emulator: EmulatorProcess) -> None:
    """A semi-join whose inner query is not selective does not end either."""
    inner = f"SELECT External_ID__c FROM {SUPPLIER} WHERE Pos_Supplier_Code__c = 'A1'"
    answer = emulator.get("query", q=f"SELECT Id FROM Account WHERE Name IN ({inner})")
    assert answer.json()[0]["errorCode"] == "QUERY_TIMEOUT"


def test_the_log_of_queries_can_be_cleared(emulator: EmulatorProcess) -> None:
    """What a test did before does not stand in its way."""
    emulator.query(f"SELECT Id FROM {SUPPLIER} LIMIT 1")
    assert emulator.client.delete("/_emulator/queries").json() == []
    assert emulator.client.get("/_emulator/queries").json() == []
