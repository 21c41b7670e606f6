"""GET /query?explain=: the plans of a query, which is not run."""

from __future__ import annotations

from typing import Any

import pytest
from salesforce_emulator_process import SUPPLIER, EmulatorProcess

pytestmark = pytest.mark.emulator_only

MARK = "Migration_Partition__c"
RECORDS, MATCHING = 1500, 277  # an object of 1.5 million, in which a custom index serves up to 125,000 records


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    return ("--scale", "1000")


@pytest.fixture(scope="module", autouse=True)
def records(emulator: EmulatorProcess) -> None:
    """1,500 suppliers: 277 in one bucket, 100 in another."""
    marks = ["a"] * MATCHING + ["b"] * 100 + [""] * (RECORDS - MATCHING - 100)
    lines = [f"k{n:05},A,{mark}" for n, mark in enumerate(marks)]
    content = f"External_ID__c,Pos_Supplier_Code__c,{MARK}\n" + "\n".join(lines) + "\n"
    assert emulator.load(SUPPLIER, content)["numberRecordsFailed"] == 0


def plans(emulator: EmulatorProcess, where: str, select: str = "Id") -> list[dict[str, Any]]:
    answer = emulator.get("query", explain=f"SELECT {select} FROM {SUPPLIER} WHERE {where}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["plans"]
    return found


def test_the_plan_that_is_used_comes_first(emulator: EmulatorProcess) -> None:
    """Below the threshold the index leads; the scan would cost more than 1."""
    index, scan = plans(emulator, f"{MARK} = 'b'")
    assert index == {
        "cardinality": 100_000,
        "fields": [MARK],
        "leadingOperationType": "Index",
        "notes": [
            {
                "description": "Not considering filter for optimization because unindexed",
                "fields": ["IsDeleted"],
                "tableEnumOrId": SUPPLIER,
            }
        ],
        "relativeCost": 0.8,
        "sobjectCardinality": 1_500_000,
        "sobjectType": SUPPLIER,
    }
    assert (scan["leadingOperationType"], scan["fields"]) == ("TableScan", [])
    assert scan["relativeCost"] > 1


def test_costs_are_those_of_published_plans(emulator: EmulatorProcess) -> None:
    """277,000 of 1.5 million by a custom index: published plans give the scan 1.48 and the index 2.2."""
    scan, index = plans(emulator, f"{MARK} = 'a'")
    assert (scan["leadingOperationType"], scan["relativeCost"]) == ("TableScan", pytest.approx(1.48, abs=0.005))
    assert (index["leadingOperationType"], index["relativeCost"]) == ("Index", pytest.approx(2.216))


def test_notes_say_what_no_index_serves(emulator: EmulatorProcess) -> None:
    """A filter without an index, and one whose operator cannot use it."""
    (scan,) = plans(emulator, f"Pos_Supplier_Code__c = 'A' AND {MARK} > 'a'")
    assert [(note["fields"], note["description"].rpartition(" because ")[2]) for note in scan["notes"]] == [
        (["Pos_Supplier_Code__c"], "unindexed"),
        ([MARK], "the operator cannot use an index"),
        (["IsDeleted"], "unindexed"),
    ]


def test_an_explained_query_is_not_run(emulator: EmulatorProcess) -> None:
    """A count that would time out is explained at once, and leaves no trace in the log of queries."""
    emulator.client.delete("/_emulator/queries")
    assert plans(emulator, "Pos_Supplier_Code__c = 'A'", "COUNT()")[0]["sobjectCardinality"] == 1_500_000
    assert emulator.client.get("/_emulator/queries").json() == []


def test_a_wrong_query_is_refused_as_if_it_were_run(emulator: EmulatorProcess) -> None:
    """Explaining does not excuse a mistake."""
    answer = emulator.get("query", explain=f"SELECT Id FROM {SUPPLIER} WHERE")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "MALFORMED_QUERY")


def test_the_plan_of_an_object_without_records_has_zero_cardinality(emulator: EmulatorProcess) -> None:
    """Without records a plan has zeros, not an error."""
    found = emulator.get("query", explain="SELECT Id FROM Contact WHERE LastName = 'x'").json()["plans"]
    assert found[0]["cardinality"] == 0
