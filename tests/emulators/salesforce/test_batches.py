"""What the Salesforce emulator does with whole batches at once is what it does with each row."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from salesforce_emulator_process import EmulatorProcess

from kpc.emulators.salesforce.bulk.result_rows import as_lines, as_text, shuffled, text_of_lines
from kpc.emulators.salesforce.org.jobs import DELIMITERS, LINE_ENDINGS, Job
from kpc.emulators.salesforce.org.schema import SObjectField
from kpc.emulators.salesforce.writing.plain_columns import convert_plain
from kpc.emulators.salesforce.writing.values import SET_NULL, convert

pytestmark = pytest.mark.emulator_only

SUPPLIER = "KPS_PosSupplier__c"
HEADER = "External_ID__c,Pos_Supplier_Code__c,Name_E__c\n"
ROWS = 10_450  # more than a batch

FIELDS = [
    SObjectField("T", "string", 6),
    SObjectField("P", "picklist", 255, picklist=("Male", "Female"), restricted=True),
    SObjectField("E", "email", 80),
    SObjectField("N", "double", precision=9, scale=2),
    SObjectField("C", "currency", precision=18, scale=2),
    SObjectField("I", "int"),
    SObjectField("B", "boolean"),
    SObjectField("D", "date"),
    SObjectField("M", "datetime"),
]
ODD_CELLS = [
    *("a", "äöü ß", "ชื่อ 12", "too long a text", "Male", "male", "Robot", "x@example.org", "x@", "true", "TRUE", "no"),
    *("1", "-1.005", "1.015", "0.995", "1e3", "9999999.99", "9999999.995", "10000000", "2147483648", "-2147483648"),
    *("9999999999999999.99", "99999999999999999", "12345678901234567890.5", "nan", "1,5", "+5", ".5", "--1", "1_0"),
    *("2024-02-29", "2023-02-29", "1699-12-31", "4000-12-31", "4001-01-01", "2024-01-31T17:00:00.000Z"),
    *("2024-01-31T17:00:00Z", "2024-01-31T17:00:00+07:00", "yesterday", SET_NULL, None),
]


def results(emulator: EmulatorProcess, job: dict[str, str], kind: str) -> dict[str, dict[str, str]]:
    """A result file's rows by external id, of which each stands there once."""
    read = list(csv.DictReader(io.StringIO(emulator.result(job, kind))))
    by_key = {row["External_ID__c"]: row for row in read}
    assert len(by_key) == len(read)
    return by_key


@given(st.lists(st.sampled_from(ODD_CELLS), min_size=1, max_size=4))
@settings(max_examples=300)
def test_a_plain_column_is_converted_as_its_cells_are_one_by_one(cells: list[str | None]) -> None:
    """Or is not taken for plain; a wrong value never is."""
    specs = {spec.name: spec for spec in FIELDS}
    frame = pl.DataFrame({name: pl.Series(cells, dtype=pl.String) for name in specs})
    for name, plain in convert_plain(specs, frame).items():
        careful = convert(specs[name], frame[name])
        assert not careful.errors
        assert (plain.values.to_list(), plain.values.dtype) == (careful.values.to_list(), careful.values.dtype)
        assert plain.given.to_list() == careful.given.to_list()


def test_columns_of_right_values_are_plain() -> None:
    """Also with cells that are not given."""
    right = {"T": "ชื่อ 1", "P": "Male", "N": "-1.005", "C": "9999999999999.99", "I": "7", "B": "true"}
    right |= {"D": "2024-02-29", "M": "2024-01-31T17:00:00.000Z"}
    specs = {spec.name: spec for spec in FIELDS if spec.name in right}
    frame = pl.DataFrame({name: pl.Series([cell, None], dtype=pl.String) for name, cell in right.items()})
    assert set(convert_plain(specs, frame)) == set(right)


@given(
    st.lists(st.tuples(st.text(max_size=8), st.text(alphabet='a",;\t|^`\r\n ', max_size=6)), min_size=1, max_size=9),
    st.sampled_from(sorted(DELIMITERS)),
    st.sampled_from(sorted(LINE_ENDINGS)),
    st.sampled_from(["always", "necessary"]),
)
def test_result_lines_are_read_back_as_they_were(
    rows: list[tuple[str, str]], delimiter: str, line_ending: str, quotes: str
) -> None:
    """With any text, delimiter and line end; all of them, in another order."""
    job = Job("750", "ingest", "insert", "X", "005", 0.0, "62.0", None, None, delimiter, line_ending)
    columns = [as_text([row[place] for row in rows]) for place in (0, 1)]
    for start in (0, len(rows) // 2):
        lines = as_lines([each[start:] for each in columns], job, quotes)
        text = bytes(text_of_lines(shuffled(lines, 7))).decode()
        read = list(csv.reader(io.StringIO(text, newline=""), delimiter=job.separator, strict=True))
        assert sorted(map(tuple, read)) == sorted(rows[start:])
        assert bytes(text_of_lines(lines[1:])).decode() == "".join(lines.to_pylist()[1:])


def test_new_known_wrong_and_repeated_rows_of_a_batch_keep_their_own_results(emulator: EmulatorProcess) -> None:
    """Each row's id, its sf__Created and its error are its own, and the record holds what the row said."""
    known = emulator.load(SUPPLIER, HEADER + "".join(f"Mix|{n},A,old {n}\n" for n in range(0, ROWS, 3)))
    ids = {key.lower(): row["sf__Id"] for key, row in results(emulator, known, "successfulResults").items()}
    names = [f'"new, ""{n}"""' if n % 2 else f"ใหม่ {n}" for n in range(ROWS)]
    codes = ["x" * 300 if n % 1000 == 7 else "A" for n in range(ROWS)]
    twice = {100: "MIX|101", 5000: "mix|9000"}  # within 200 rows of its like, and far from it
    keys = [twice.get(n, f"mix|{n}") for n in range(ROWS)]
    lines = (f"{key},{code},{name}\n" for key, code, name in zip(keys, codes, names, strict=True))
    job = emulator.load(SUPPLIER, HEADER + "".join(lines))
    failed = list(csv.DictReader(io.StringIO(emulator.result(job, "failedResults"))))
    assert (
        sorted(row["sf__Error"].split(":")[0] for row in failed) == ["DUPLICATE_VALUE"] * 2 + ["STRING_TOO_LONG"] * 11
    )
    good = list(csv.DictReader(io.StringIO(emulator.result(job, "successfulResults"))))
    assert len(good) == ROWS - 13
    for row in good:
        number = int(row["External_ID__c"].split("|")[1])
        is_known = number % 3 == 0
        assert row["sf__Created"] == ("false" if is_known or (number == 9000) else "true")
        assert not is_known or row["sf__Id"] == ids[f"mix|{number}"]
    assert len({row["sf__Id"] for row in good}) == len(good) - 1  # mix|9000 stood there twice
    read = emulator.query(f"SELECT Name_E__c FROM {SUPPLIER} WHERE External_ID__c IN ('mix|1', 'mix|9000', 'mix|7')")
    assert sorted(str(record["Name_E__c"]) for record in read) == ['new, "1"', "ใหม่ 9000"]
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'mix|%'") == len(
        ids.keys() | {row["External_ID__c"].lower() for row in good}
    )


def test_results_are_the_same_packed_and_plain(emulator: EmulatorProcess) -> None:
    """gzip only for a client that takes it."""
    job = emulator.load(SUPPLIER, HEADER + "".join(f"Pack|{n},A,Name {n}\n" for n in range(2_000)))
    url = emulator.url(f"jobs/ingest/{job['id']}/successfulResults")
    answers = [emulator.client.get(url, headers={"Accept-Encoding": how}) for how in ("gzip", "identity")]
    assert [each.headers.get("Content-Encoding") for each in answers] == ["gzip", None]
    assert answers[0].text == answers[1].text
    assert answers[0].text.count("\n") == 2_001
