"""Ids of records: their order, their gaps, and the pods that they come from."""

from __future__ import annotations

import json
from itertools import pairwise

import httpx
import pytest
from salesforce_emulator_process import SUPPLIER, EmulatorProcess, supplier_lines

pytestmark = pytest.mark.emulator_only

RECORDS = 1500
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def created(emulator: EmulatorProcess) -> list[str]:
    """The ids of 1,500 records in the order in which they were created."""
    assert emulator.load(SUPPLIER, supplier_lines("k", RECORDS))["numberRecordsFailed"] == 0
    history = emulator.client.get("/_emulator/history").json()
    return [entry["id"] for entry in history]


def number(record_id: str) -> int:
    value = 0
    for char in record_id[6:15]:
        value = value * 62 + DIGITS.index(char)
    return value


def test_ids_are_ordered_as_fifteen_ascii_characters(emulator: EmulatorProcess, created: list[str]) -> None:
    """Digits before upper case before lower case; what follows the fifteenth character does not count."""
    found = [record["Id"] for record in emulator.query(f"SELECT Id FROM {SUPPLIER} ORDER BY Id")]
    assert found == sorted(created, key=lambda each: each[:15].encode("ascii"))


def test_ids_come_from_several_pods(created: list[str]) -> None:
    """The characters after the prefix differ within one object."""
    assert len({each[:3] for each in created}) == 1
    assert len({each[3:6] for each in created}) >= 3


def test_a_later_record_may_have_a_smaller_id(created: list[str]) -> None:
    """So an id does not tell what was created after it."""
    assert any(later[:15] < earlier[:15] for earlier, later in pairwise(created))


def test_ids_have_gaps(created: list[str]) -> None:
    """Within a pod hardly any id follows directly on another."""
    by_pod: dict[str, list[int]] = {}
    for each in sorted(created):
        by_pod.setdefault(each[3:6], []).append(number(each))
    steps = [high - low for numbers in by_pod.values() for low, high in pairwise(numbers)]
    assert max(steps) > 3844
    assert sum(step == 1 for step in steps) < len(steps) / 10


@pytest.mark.parametrize("length", [15, 18])
def test_bounds_are_cut_to_fifteen_characters(emulator: EmulatorProcess, created: list[str], length: int) -> None:
    """A bound of 18 characters means its first 15, even if the last three are not those of the id."""
    ordered = sorted(created)
    low, high = ordered[100], ordered[700]
    wrong = "AAA" if length == 18 else ""
    where = f"Id > '{low[:15]}{wrong}' AND Id <= '{high[:15]}{wrong}'"
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE {where}") == 600


def test_case_decides_in_a_range(emulator: EmulatorProcess, created: list[str]) -> None:
    """A bound in upper case lies before the same one in lower case."""
    prefix = created[0][:3]
    below = [
        emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE Id < '{prefix}{pod}0000000000'") for pod in ("Z0", "a0")
    ]
    assert below[0] == below[1] == sum(each[3] < "Z" for each in created)
    assert below[0] < RECORDS


def test_the_same_seed_gives_the_same_ids(emulator: EmulatorProcess, created: list[str]) -> None:
    """A new org of the same seed: so a test that fails can be repeated."""
    answer = emulator.client.post("/_emulator/reset")
    emulator.ready |= json.loads(answer.text)
    emulator.client.headers["Authorization"] = f"Bearer {emulator.ready['access_token']}"
    assert emulator.load(SUPPLIER, supplier_lines("k", RECORDS))["numberRecordsFailed"] == 0
    again: httpx.Response = emulator.client.get("/_emulator/history")
    assert [entry["id"] for entry in again.json()] == created
