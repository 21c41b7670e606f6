"""Bulk API 2.0 ingest as the Salesforce emulator speaks it."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
from salesforce_emulator_process import VERSION, EmulatorProcess

pytestmark = pytest.mark.emulator_only

SUPPLIER = "KPS_PosSupplier__c"
EMAIL = "KPS_EmailSupplier__c"


def rows(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def errors(emulator: EmulatorProcess, job: dict[str, str]) -> dict[str, str]:
    """The failed rows' error by external id."""
    return {row["External_ID__c"]: row["sf__Error"] for row in rows(emulator.result(job, "failedResults"))}


def supplier(emulator: EmulatorProcess, key: str, fields: str = "Name_E__c") -> dict[str, object]:
    [record] = emulator.query(f"SELECT {fields} FROM {SUPPLIER} WHERE External_ID__c = '{key}'")
    return record


def test_the_answers_have_exactly_the_documented_members(emulator: EmulatorProcess) -> None:
    """Create has no counters and no jobType, the answer to PATCH no content address, a poll all of them."""
    job = emulator.create_job(SUPPLIER)
    assert job["contentUrl"] == f"services/data/{VERSION}/jobs/ingest/{job['id']}/batches"
    assert (job["apiVersion"], job["state"], len(job["id"])) == (62.0, "Open", 18)
    assert not {"jobType", "numberRecordsProcessed"} & set(job)
    answer = emulator.upload(job, "External_ID__c,Pos_Supplier_Code__c\nm1,A\n")
    assert (answer.status_code, answer.content) == (201, b"")
    closed = emulator.set_state(job).json()
    assert closed["state"] == "UploadComplete"
    assert not {"contentUrl", "lineEnding", "columnDelimiter"} & set(closed)
    done = emulator.wait_for(job)
    assert (done["jobType"], done["numberRecordsProcessed"], done["numberRecordsFailed"]) == ("V2Ingest", 1, 0)
    assert "errorMessage" not in done


def test_an_upsert_inserts_and_then_updates(emulator: EmulatorProcess) -> None:
    """The same key twice is one record; sf__Created tells the difference."""
    first = emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,Name_E__c\nu1,A,One\n")
    again = emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,Name_E__c\nu1,A,Two\n")
    [made] = rows(emulator.result(first, "successfulResults"))
    [changed] = rows(emulator.result(again, "successfulResults"))
    assert (made["sf__Created"], changed["sf__Created"]) == ("true", "false")
    assert made["sf__Id"] == changed["sf__Id"]
    assert supplier(emulator, "u1")["Name_E__c"] == "Two"


def test_a_record_without_a_name_is_called_by_its_id(emulator: EmulatorProcess) -> None:
    """And can be found by it."""
    emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,Name\nname1,A,\nname2,A,Ann\n")
    record = supplier(emulator, "name1", "Id, Name")
    assert record["Name"] == record["Id"]
    for name in (record["Id"], "ann"):
        assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE Name = '{name}'") == 1


def test_an_external_id_is_matched_without_case_and_white_space(emulator: EmulatorProcess) -> None:
    """Two keys that differ only so are one record."""
    emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,Name_E__c\nCase|1,A,One\n")
    emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,Name_E__c\n  cASE|1 ,A, Two \n")
    assert supplier(emulator, "case|1")["Name_E__c"] == "Two"
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'case|%'") == 1


def test_an_empty_cell_changes_nothing_and_a_null_token_clears(emulator: EmulatorProcess) -> None:
    """Also where both stand in one batch."""
    header = "External_ID__c,Pos_Supplier_Code__c,Name_E__c,City__c\n"
    emulator.load(SUPPLIER, header + "n1,A,Name,City\nn2,A,Name,City\n")
    emulator.load(SUPPLIER, header + "n1,,,#N/A\nn2,,#N/A,\n")
    read = [supplier(emulator, key, "Name_E__c, City__c") for key in ("n1", "n2")]
    assert [(each["Name_E__c"], each["City__c"]) for each in read] == [("Name", None), (None, "City")]


def test_each_bad_row_is_explained_and_the_others_are_stored(emulator: EmulatorProcess) -> None:
    """One row per rule of reference 1.4."""
    content = (
        "External_ID__c,Con_Code__c,Shop_Code__c,Branch_Code__c,Pos_No__c,Sale_No__c,Sale_Date__c,"
        "Net_Inc_Vat__c,Doc_Date__c,Sex__c\n"
        "good,01,S,B,P,1,2024-01-31,12.345,2024-01-31T17:00:00.000Z,Male\n"
        "number,01,S,B,P,1,2024-01-31,twelve,,\n"
        "range,01,S,B,P,1,2024-01-31,99999999999999999.99,,\n"
        "date,01,S,B,P,1,31/01/2024,1,,\n"
        "moment,01,S,B,P,1,2024-01-31,1,yesterday,\n"
        "picklist,01,S,B,P,1,2024-01-31,1,,Robot\n"
        "long,012,S,B,P,1,2024-01-31,1,,\n"
        "missing,01,S,,P,1,2024-01-31,1,,\n"
        ",01,S,B,P,1,2024-01-31,1,,\n"
    )
    job = emulator.load("KPS_SalesM__c", content)
    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 9, 8)
    found = errors(emulator, job)
    assert {key: text.split(":")[0] for key, text in found.items()} == {
        "number": "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "range": "NUMBER_OUTSIDE_VALID_RANGE",
        "date": "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "moment": "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "picklist": "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "long": "STRING_TOO_LONG",
        "missing": "REQUIRED_FIELD_MISSING",
        "": "MISSING_ARGUMENT",
    }
    assert found["missing"] == (
        "REQUIRED_FIELD_MISSING:Required fields are missing: [Branch_Code__c]:Branch_Code__c --"
    )
    [record] = emulator.query("SELECT Net_Inc_Vat__c, Doc_Date__c, Sale_Date__c FROM KPS_SalesM__c")
    assert (record["Net_Inc_Vat__c"], record["Doc_Date__c"], record["Sale_Date__c"]) == (
        12.35,
        "2024-01-31T17:00:00.000+0000",
        "2024-01-31",
    )


def test_a_child_finds_its_parent_by_external_id(emulator: EmulatorProcess) -> None:
    """A parent that is missing, or given as null, refuses the row."""
    emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c\nparent,P\n")
    content = (
        "External_ID__c,Pos_Supplier__r.External_ID__c,Pos_Supplier_Code__c,Seq__c\n"
        "child1,PARENT,P,1\nchild2,nobody,P,2\nchild3,#N/A,P,3\n"
    )
    job = emulator.load(EMAIL, content)
    found = errors(emulator, job)
    assert set(found) == {"child2", "child3"}
    assert found["child2"].startswith("INVALID_FIELD:Foreign key external ID: nobody not found")
    [record] = emulator.query(f"SELECT Pos_Supplier__r.External_ID__c, Pos_Supplier__r.Owner.Name FROM {EMAIL}")
    assert record["Pos_Supplier__r"]["External_ID__c"] == "parent"
    assert record["Pos_Supplier__r"]["Owner"]["Name"] == "Integration Emulator"


def test_a_key_twice_in_200_rows_fails_both_and_further_apart_the_later_wins(emulator: EmulatorProcess) -> None:
    """The transaction unit is a chunk of 200 rows."""
    keys = ["twin", "twin", *(f"d{n}" for n in range(400))]
    lines = [f"{key},A,row {n}" for n, key in enumerate(keys)] + ["d0,A,later"]
    job = emulator.load(SUPPLIER, "\n".join(["External_ID__c,Pos_Supplier_Code__c,Name_E__c", *lines]) + "\n")
    found = rows(emulator.result(job, "failedResults"))
    assert [row["External_ID__c"] for row in found] == ["twin", "twin"]
    assert all(row["sf__Error"].startswith("DUPLICATE_VALUE:Duplicate external id specified") for row in found)
    assert supplier(emulator, "d0")["Name_E__c"] == "later"


def test_results_come_in_another_order_than_the_rows(emulator: EmulatorProcess) -> None:
    """Whoever joins by position is found out; the same seed gives the same order."""
    keys = [f"o{n}" for n in range(300)]
    job = emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c\n" + "".join(f"{key},A\n" for key in keys))
    got = [row["External_ID__c"] for row in rows(emulator.result(job, "successfulResults"))]
    assert got != keys
    assert sorted(got) == sorted(keys)


def test_result_headers_echo_the_upload_in_the_jobs_own_delimiter(emulator: EmulatorProcess) -> None:
    """Our columns are quoted, the others as they came; the charset is told."""
    job = emulator.create_job(SUPPLIER, columnDelimiter="PIPE", lineEnding="CRLF")
    emulator.upload(job, "external_id__c|Pos_Supplier_Code__c\r\nr1|A\r\nr2|LONG\r\n")
    emulator.set_state(job)
    emulator.wait_for(job)
    answer = emulator.get(f"jobs/ingest/{job['id']}/successfulResults/")
    assert answer.headers["content-type"].lower() == "text/csv; charset=utf-8"
    head, row, end = answer.text.split("\r\n")
    assert head == '"sf__Id"|"sf__Created"|external_id__c|Pos_Supplier_Code__c'
    assert (row.split("|")[2:], end) == (['"r1"', '"A"'], "")
    assert emulator.result(job, "unprocessedrecords") == "external_id__c|Pos_Supplier_Code__c\r\n"


def chunked(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


@pytest.mark.parametrize(
    ("encode", "encoding"),
    [(lambda raw: raw, "identity"), (gzip.compress, "gzip"), (zlib.compress, "deflate")],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_content_may_be_compressed_and_chunked(
    emulator: EmulatorProcess, encode: Callable[[bytes], bytes], encoding: str, *, is_chunked: bool
) -> None:
    """Any mixture arrives whole."""
    key = f"{encoding}-{is_chunked}"
    raw = "External_ID__c,Pos_Supplier_Code__c,Name_E__c\n" + "".join(f"{key}{n},A,ไทย {n}\n" for n in range(500))
    body = encode(raw.encode())
    job = emulator.create_job(SUPPLIER)
    answer = emulator.client.put(
        "/" + job["contentUrl"],
        content=chunked(body) if is_chunked else body,
        headers={"content-type": "text/csv; charset=UTF-8", "content-encoding": encoding},
    )
    assert answer.status_code == 201
    emulator.set_state(job)
    assert emulator.wait_for(job)["numberRecordsProcessed"] == 500
    assert supplier(emulator, f"{key}499")["Name_E__c"] == "ไทย 499"


def test_quotes_line_breaks_and_delimiters_survive(emulator: EmulatorProcess) -> None:
    """What CSV must quote is stored as it was, and comes back from the results."""
    value = 'a "quoted", line\nbroken; ไทย'
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [["External_ID__c", "Pos_Supplier_Code__c", "Name_E__c"], ["q1", "A", value]]
    )
    job = emulator.load(SUPPLIER, buffer.getvalue())
    assert supplier(emulator, "q1")["Name_E__c"] == value
    assert rows(emulator.result(job, "successfulResults"))[0]["Name_E__c"] == value


def test_an_abort_in_the_middle_leaves_results_that_add_up(emulator: EmulatorProcess) -> None:
    """What is not in the two results is unprocessed, at any moment; what was committed stays."""
    emulator.client.patch("/_emulator/switches", json={"rows_per_s": 100_000.0})
    keys = [f"ab{n}" for n in range(60_000)]
    job = emulator.create_job(SUPPLIER)
    emulator.upload(job, "External_ID__c,Pos_Supplier_Code__c\n" + "".join(f"{key},A\n" for key in keys))
    emulator.set_state(job)
    while emulator.poll(job)["numberRecordsProcessed"] < 10_000:
        pass
    assert emulator.set_state(job, "Aborted").json()["state"] == "Aborted"
    emulator.client.patch("/_emulator/switches", json={"rows_per_s": 0})
    good, bad, left = (
        [row["External_ID__c"] for row in rows(emulator.result(job, kind))]
        for kind in ("successfulResults", "failedResults", "unprocessedRecords")
    )
    assert sorted([*good, *bad, *left]) == sorted(keys)
    assert left
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'ab%'") == len(good)


def test_several_batches_are_one_job(emulator: EmulatorProcess) -> None:
    """25,001 rows are three batches of the day's allowance."""
    before = emulator.get("limits").json()["DailyBulkApiBatches"]["Remaining"]
    lines = "".join(f"b{n},A\n" for n in range(25_001))
    job = emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c\n" + lines)
    assert job["numberRecordsProcessed"] == 25_001
    answer = emulator.get(f"jobs/ingest/{job['id']}/successfulResults")
    assert answer.headers["content-encoding"] == "gzip"
    assert len(rows(answer.text)) == 25_001
    after = emulator.get("limits").json()["DailyBulkApiBatches"]["Remaining"]
    assert before - after == 3


def test_insert_update_and_delete_by_id(emulator: EmulatorProcess) -> None:
    """Wrong ids are row errors."""
    made = emulator.load("Account", "Name\nBulk one\nBulk two\n", "insert")
    ids = [row["sf__Id"] for row in rows(emulator.result(made, "successfulResults"))]
    changed = emulator.load(
        "Account", f"Id,Phone\n{ids[0][:15]},1\n{ids[1]},2\n001000000000000AAA,3\nnonsense,4\n", "update"
    )
    assert changed["numberRecordsFailed"] == 2
    codes = sorted(row["sf__Error"].split(":")[0] for row in rows(emulator.result(changed, "failedResults")))
    assert codes == ["INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"]
    gone = emulator.load("Account", f"Id\n{ids[0]}\n{ids[1]}\n", "delete")
    assert gone["numberRecordsFailed"] == 0
    again = emulator.load("Account", f"Id\n{ids[0]}\n", "delete")
    assert rows(emulator.result(again, "failedResults"))[0]["sf__Error"].startswith("ENTITY_IS_DELETED")


def test_an_empty_id_column_means_nothing(emulator: EmulatorProcess) -> None:
    """jsforce puts one first in its upserts."""
    job = emulator.load(SUPPLIER, "Id,External_ID__c,Pos_Supplier_Code__c\n,e1,A\n,e2,A\n")
    assert job["numberRecordsFailed"] == 0


def test_a_job_made_with_its_content_in_one_request(emulator: EmulatorProcess) -> None:
    """multipart/form-data: the job is at once UploadComplete."""
    body = (
        '--B\r\nContent-Disposition: form-data; name="job"\r\nContent-Type: application/json\r\n\r\n'
        f'{{"object":"{SUPPLIER}","operation":"upsert","externalIdFieldName":"External_ID__c","contentType":"CSV"}}'
        '\r\n--B\r\nContent-Disposition: form-data; name="content"; filename="content"\r\nContent-Type: text/csv'
        "\r\n\r\nExternal_ID__c,Pos_Supplier_Code__c\nmulti,A\n\r\n--B--\r\n"
    )
    headers = {"content-type": 'multipart/form-data; boundary="B"'}
    answer = emulator.client.post(emulator.url("jobs/ingest"), content=body.encode(), headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (200, "UploadComplete")
    assert emulator.wait_for(answer.json())["numberRecordsProcessed"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("External_ID__c,Colour__c\n1,red\n", "InvalidBatch : Field name not found : Colour__c"),
        ("External_ID__c,Nobody__r.External_ID__c\n1,red\n", "Field name not found : Nobody__r.External_ID__c"),
        ("External_ID__c,External_ID__c\n1,1\n", "Duplicate field name found"),
        ("External_ID__c,Name_E__c\r\n1,x\r\n", "ClientInputError : LineEnding is invalid on user data"),
        ("External_ID__c,Name_E__c\n1,x,y\n", "Failed to parse CSV"),
        ('External_ID__c,Name_E__c\n1,"open\n', "a quoted value is not closed"),
        ("", "content is empty"),
        (b"External_ID__c,Name_E__c\n1,\xff\xfe\n", "not valid UTF-8"),
        (b"\xff\xfeE\x00x\x00", "not valid UTF-8"),
    ],
)
def test_content_that_cannot_be_read_fails_the_job(
    emulator: EmulatorProcess, content: str | bytes, message: str
) -> None:
    """Nothing of it is stored, all rows are unprocessed."""
    job = emulator.create_job(SUPPLIER)
    assert emulator.upload(job, content).status_code == 201
    emulator.set_state(job)
    done = emulator.wait_for(job)
    assert done["state"] == "Failed"
    assert message in done["errorMessage"]
    assert done["numberRecordsProcessed"] == 0
    raw = content.encode() if isinstance(content, str) else content
    unprocessed = emulator.get(f"jobs/ingest/{job['id']}/unprocessedrecords").content
    assert unprocessed.partition(b"\n")[2].strip() == raw.partition(b"\n")[2].strip()


def test_content_is_taken_once_and_only_while_open(emulator: EmulatorProcess) -> None:
    """Everything else is 400 INVALIDJOBSTATE."""
    job = emulator.create_job(SUPPLIER)
    assert emulator.upload(job, "External_ID__c,Pos_Supplier_Code__c\ns1,A\n").status_code == 201

    def refused(answer: httpx.Response) -> bool:
        return answer.status_code == 400 and answer.json()[0]["errorCode"] == "INVALIDJOBSTATE"

    assert refused(emulator.upload(job, "External_ID__c\nx\n"))
    assert refused(emulator.client.delete(emulator.url(f"jobs/ingest/{job['id']}")))
    assert refused(emulator.set_state(job, "Sleeping"))
    emulator.set_state(job)
    emulator.wait_for(job)
    assert refused(emulator.upload(job, "External_ID__c\nx\n"))
    assert refused(emulator.set_state(job))
    assert refused(emulator.set_state(job, "Aborted"))


def test_an_aborted_job_is_not_processed_and_can_be_deleted(emulator: EmulatorProcess) -> None:
    """Its rows are unprocessed; after the deletion it is not found."""
    job = emulator.create_job(SUPPLIER)
    emulator.upload(job, "External_ID__c,Pos_Supplier_Code__c\naborted,A\n")
    assert emulator.set_state(job, "Aborted").json()["state"] == "Aborted"
    assert rows(emulator.result(job, "unprocessedrecords")) == [
        {"External_ID__c": "aborted", "Pos_Supplier_Code__c": "A"}
    ]
    assert emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c = 'aborted'") == 0
    assert emulator.client.delete(emulator.url(f"jobs/ingest/{job['id']}")).status_code == 204
    assert emulator.get(f"jobs/ingest/{job['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"object": "Nothing__c", "operation": "insert"}, "INVALIDJOB"),
        ({"object": SUPPLIER, "operation": "explode"}, "INVALIDJOB"),
        ({"object": SUPPLIER, "operation": "upsert"}, "INVALIDJOB"),
        ({"object": SUPPLIER, "operation": "upsert", "externalIdFieldName": "Name_E__c"}, "INVALIDJOB"),
        ({"object": SUPPLIER, "operation": "insert", "columnDelimiter": "SNOWMAN"}, "INVALIDJOB"),
        ({"operation": "insert"}, "INVALIDJOB"),
    ],
)
def test_a_wrong_job_is_refused_at_once(emulator: EmulatorProcess, body: dict[str, str], code: str) -> None:
    """400 with a code, before anything is uploaded."""
    answer = emulator.client.post(emulator.url("jobs/ingest"), json=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_jobs_are_listed(emulator: EmulatorProcess) -> None:
    """Without counters, with the state."""
    job = emulator.create_job(SUPPLIER)
    listed = emulator.get("jobs/ingest", jobType="V2Ingest").json()
    [mine] = [each for each in listed["records"] if each["id"] == job["id"]]
    assert (mine["state"], mine["jobType"], listed["done"]) == ("Open", "V2Ingest", True)
    assert "numberRecordsProcessed" not in mine


def test_a_parent_named_by_an_id_that_is_not_there_is_refused(emulator: EmulatorProcess) -> None:
    """An id of the right form is not enough."""
    emulator.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c\nbyid,P\n")
    parent = str(supplier(emulator, "byid", "Id")["Id"])
    header = "External_ID__c,Pos_Supplier__c,Pos_Supplier_Code__c,Seq__c\n"
    job = emulator.load(EMAIL, f"{header}i1,{parent},P,1\ni2,{parent[:15]},P,1\ni3,a005g0000010005AAA,P,1\ni4,x,P,1\n")
    codes = {key: text.split(":")[0] for key, text in errors(emulator, job).items()}
    assert codes == {"i3": "INVALID_CROSS_REFERENCE_KEY", "i4": "MALFORMED_ID"}


def test_two_jobs_with_the_same_keys_at_once_make_no_duplicates(emulator: EmulatorProcess) -> None:
    """Whoever comes second updates."""
    content = "External_ID__c,Pos_Supplier_Code__c\n" + "".join(f"same{n},A\n" for n in range(15_000))
    jobs = [emulator.create_job(SUPPLIER) for _ in range(3)]
    for job in jobs:
        emulator.upload(job, content)
    for job in jobs:
        emulator.set_state(job)
    for job in jobs:
        assert emulator.wait_for(job)["numberRecordsFailed"] == 0
    created = sum(emulator.result(job, "successfulResults").count('"true"') for job in jobs)
    assert created == emulator.count(f"SELECT COUNT() FROM {SUPPLIER} WHERE External_ID__c LIKE 'same%'") == 15_000


def test_the_admin_list_tells_when_a_job_was_closed_started_and_ended(emulator: EmulatorProcess) -> None:
    """Times of the org's clock, in this order; an Open job has none of them."""
    done, still_open = emulator.load(SUPPLIER, "External_ID__c,Name_E__c\ntimes1,One\n"), emulator.create_job(SUPPLIER)
    jobs = {job["id"]: job for job in emulator.client.get("/_emulator/jobs").json()}
    times = jobs[done["id"]]
    assert 0 < times["closed"] <= times["started"] <= times["ended"]
    assert times["state"] == "JobComplete"
    assert [jobs[still_open["id"]][name] for name in ("closed", "started", "ended")] == [0, 0, 0]
