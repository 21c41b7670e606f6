"""Keys of large objects are found by an index in memory; here it serves objects of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from salesforce_emulator_process import HEADER, SUPPLIER, EmulatorProcess, csv_rows, supplier_lines

from kpc.emulators.salesforce.org.key_index import KeyIndex

pytestmark = pytest.mark.emulator_only

CHILD = "KPS_PreinvDetail__c"
PARENT = "KPS_Preinv__c"
INDEXED = ("--switch", "key_index_records=0")


@pytest.fixture(scope="module")
def emulator_options() -> tuple[str, ...]:
    return INDEXED


def created(emulator: EmulatorProcess, content: str, sobject: str = SUPPLIER, operation: str = "upsert") -> list[str]:
    """Of each row of a job that must succeed, whether it was created; and the job's ids are in the org."""
    job = emulator.load(sobject, content, operation)
    assert (job["state"], job["numberRecordsFailed"]) == ("JobComplete", 0)
    return [row["sf__Created"] for row in csv_rows(emulator.result(job, "successfulResults"))]


def code(emulator: EmulatorProcess, key: str) -> list[str]:
    soql = f"SELECT Pos_Supplier_Code__c FROM {SUPPLIER} WHERE External_ID__c = '{key}'"
    return [record["Pos_Supplier_Code__c"] for record in emulator.query(soql)]


def test_known_keys_are_changed_and_new_ones_created(emulator: EmulatorProcess) -> None:
    """Job after job, and whatever the case of the key."""
    assert set(created(emulator, supplier_lines("a", 1000))) == {"true"}
    assert set(created(emulator, supplier_lines("a", 1000))) == {"false"}
    again = created(emulator, HEADER + "A7,C\nnew-one,B\n")
    assert sorted(again) == ["false", "true"]
    assert code(emulator, "a7") == ["C"]
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'a%'") == 1000


def test_a_key_that_comes_twice_in_a_batch_changes_its_record(emulator: EmulatorProcess) -> None:
    """The second row finds what the first one wrote in the same transaction."""
    lines = [f"twice{n},F" for n in range(300)] + ["twice5,S"]
    assert sorted(created(emulator, HEADER + "\n".join(lines) + "\n"))[:2] == ["false", "true"]
    assert code(emulator, "twice5") == ["S"]


def test_deleted_records_are_not_found_and_can_be_made_again(emulator: EmulatorProcess) -> None:
    """In the recycle bin, and gone for good."""
    for operation in ("delete", "hardDelete"):
        prefix = operation.lower()
        created(emulator, supplier_lines(prefix, 20))
        found = emulator.query(f"SELECT Id FROM {SUPPLIER} WHERE External_ID__c LIKE '{prefix}%'")
        ids = "Id\n" + "".join(f"{each['Id']}\n" for each in found[:10])
        assert len(created(emulator, ids, operation=operation)) == 10
        assert sorted(created(emulator, supplier_lines(prefix, 20))) == ["false"] * 10 + ["true"] * 10
        assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE '{prefix}%'") == 20


def test_a_changed_key_is_found_and_the_old_one_is_not(emulator: EmulatorProcess) -> None:
    """An update by id may change the external id."""
    created(emulator, supplier_lines("old", 3))
    [record] = emulator.query(f"SELECT Id FROM {SUPPLIER} WHERE External_ID__c = 'old1'")
    path = emulator.url(f"sobjects/{SUPPLIER}/{record['Id']}")
    assert emulator.client.patch(path, json={"External_ID__c": "renamed"}).status_code == 204
    assert sorted(created(emulator, HEADER + "renamed,B\nold1,C\n")) == ["false", "true"]
    assert (code(emulator, "renamed"), code(emulator, "old1")) == (["B"], ["C"])


def test_what_was_rolled_back_is_not_found(emulator: EmulatorProcess) -> None:
    """A record that never came to be leaves a trace in the index that misleads nobody."""
    created(emulator, supplier_lines("before", 3))
    keys = [*(f"undone{n}" for n in range(3)), "x" * 300]
    records = [{"attributes": {"type": SUPPLIER}, "External_ID__c": key, "Pos_Supplier_Code__c": "A"} for key in keys]
    body = {"allOrNone": True, "records": records}
    answer = emulator.client.post(emulator.url("composite/sobjects"), json=body)
    assert not any(each["success"] for each in answer.json())
    assert set(created(emulator, supplier_lines("undone", 3))) == {"true"}
    assert set(created(emulator, supplier_lines("undone", 3))) == {"false"}


def test_parents_are_found_by_key_and_by_id(emulator: EmulatorProcess) -> None:
    """One that is not there is refused."""
    created(
        emulator, "External_ID__c,Con_Code__c,Preinv_No__c\n" + "".join(f"p{n},01,{n}\n" for n in range(50)), PARENT
    )
    header = "External_ID__c,Preinv__r.External_ID__c,Con_Code__c,Preinv_No__c,Seq__c\n"
    created(emulator, header + "".join(f"c{n},P{n % 50},01,{n},1\n" for n in range(200)), CHILD)
    assert emulator.count(f"SELECT COUNT() FROM {CHILD} WHERE Preinv__r.External_ID__c = 'p7'") == 4
    job = emulator.load(CHILD, header + "c200,nobody,01,1,1\n")
    assert job["numberRecordsFailed"] == 1
    [parent] = emulator.query(f"SELECT Id FROM {PARENT} WHERE External_ID__c = 'p7'")
    header = header.replace("Preinv__r.External_ID__c", "Preinv__c")
    created(emulator, f"{header}c201,{parent['Id']},01,1,1\n", CHILD)
    assert emulator.count(f"SELECT COUNT() FROM {CHILD} WHERE Preinv__r.External_ID__c = 'p7'") == 5


def test_a_restarted_emulator_finds_the_keys_of_its_file(tmp_path: Path) -> None:
    """The index is made again from what is stored."""
    options = (*INDEXED, "--data-file", str(tmp_path / "org.duckdb"))
    first = EmulatorProcess(tmp_path, options).start()
    assert set(created(first, supplier_lines("kept", 30))) == {"true"}
    assert first.stop() == 0
    second = EmulatorProcess(tmp_path, options).start()
    assert set(created(second, supplier_lines("kept", 30))) == {"false"}
    assert set(created(second, supplier_lines("more", 30))) == {"true"}
    assert set(created(second, supplier_lines("more", 30))) == {"false"}
    assert second.stop() == 0


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12), st.lists(st.integers(0, 50), unique=True))
def test_an_index_finds_every_row_of_a_key(batches: list[list[int]], wanted: list[int]) -> None:
    """However the runs were merged, and however often a key is there."""
    index, expected, position = KeyIndex(), [], 0
    for batch in batches:
        positions = np.arange(position, position + len(batch))
        index.add(pl.Series([f"k{n}" for n in batch], dtype=pl.String), positions)
        expected += [(f"k{n}", int(at)) for n, at in zip(batch, positions, strict=True) if n in wanted]
        position += len(batch)
    found = index.candidates(pl.Series([f"k{n}" for n in wanted], dtype=pl.String))
    assert sorted(found.rows()) == sorted(expected)
