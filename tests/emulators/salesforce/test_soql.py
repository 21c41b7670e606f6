"""SOQL and bulk queries as the Salesforce emulator speaks them."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from salesforce_emulator_process import EmulatorProcess, switch

pytestmark = pytest.mark.emulator_only

SALE = "KPS_Preinv__c"
# Key, shop, date, status, amount, remark. Thai, a quote, wildcards, an empty date and no remark among them.
ROWS = [
    ("k1", "S1", "2024-01-31", "Active", "10.10", "ไทย"),
    ("k2", "S1", "2024-02-01", "Active", "20.20", "it''s"),
    ("k3", "S2", "2024-02-29", "Cancelled", "30.30", "100%"),
    ("k4", "S2", "", "Unknown", "-0.01", ""),
    ("k5", "s1", "2023-12-31", "Active", "9999999999999999.99", "1000"),
]


@pytest.fixture(scope="module", autouse=True)
def records(emulator: EmulatorProcess) -> None:
    """What the queries of this file find."""
    lines = [
        f"{key},01,{key},{shop},{day},{status},{amount},{remark.replace(chr(39) * 2, chr(39))}"
        for key, shop, day, status, amount, remark in ROWS
    ]
    header = "External_ID__c,Con_Code__c,Preinv_No__c,Shop_Code__c,Preinv_Date__c,Status__c,Amt_Inc_Vat__c,Remark__c"
    job = emulator.load(SALE, "\n".join([header, *lines]) + "\n")
    assert job["numberRecordsFailed"] == 0
    children = "External_ID__c,Preinv__r.External_ID__c,Con_Code__c,Preinv_No__c,Seq__c\n"
    children += "d1,k1,01,k1,1\nd2,k2,01,k2,1\nd3,k1,01,k1,3\n"
    assert emulator.load("KPS_PreinvDetail__c", children)["numberRecordsFailed"] == 0


def keys(emulator: EmulatorProcess, where: str) -> str:
    """The keys that a condition finds, in order, as one word."""
    answer = emulator.get("query", q=f"SELECT External_ID__c FROM {SALE} WHERE {where} ORDER BY External_ID__c")
    assert answer.status_code == 200, answer.text
    return " ".join(record["External_ID__c"] for record in answer.json()["records"])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("External_ID__c = 'K1'", "k1"),
        ("Shop_Code__c = 'S1'", "k1 k2 k5"),
        ("Shop_Code__c != 'S1'", "k3 k4"),
        ("Shop_Code__c IN ('s1', 'zz') AND Amt_Inc_Vat__c > 15", "k2 k5"),
        ("Shop_Code__c NOT IN ('S1')", "k3 k4"),
        ("NOT Shop_Code__c = 'S1'", "k3 k4"),
        ("NOT (Shop_Code__c = 'S1' OR Status__c = 'Cancelled')", "k4"),
        ("Preinv_Date__c = 2024-02-29", "k3"),
        ("Preinv_Date__c != 2024-02-29", "k1 k2 k4 k5"),
        ("NOT Preinv_Date__c = 2024-02-29", "k1 k2 k4 k5"),
        ("Preinv_Date__c >= 2024-02-01 AND Preinv_Date__c < 2024-03-01", "k2 k3"),
        ("Preinv_Date__c = null", "k4"),
        ("Preinv_Date__c != NULL", "k1 k2 k3 k5"),
        ("Preinv_Date__c < LAST_N_DAYS:30", "k1 k2 k3 k5"),
        ("CreatedDate = TODAY", "k1 k2 k3 k4 k5"),
        ("CreatedDate > 2020-01-01T00:00:00Z AND CreatedDate < TOMORROW", "k1 k2 k3 k4 k5"),
        ("CreatedDate = LAST_YEAR", ""),
        ("Remark__c LIKE '%ทย'", "k1"),
        ("Remark__c = 'it\\'s'", "k2"),
        ("Remark__c LIKE '100\\%'", "k3"),
        ("Remark__c LIKE '100_'", "k3 k5"),
        ("Remark__c LIKE '1%'", "k3 k5"),
        ("Remark__c = null", "k4"),
        ("Amt_Inc_Vat__c = 9999999999999999.99", "k5"),
        ("Amt_Inc_Vat__c < 0", "k4"),
        ("IsDeleted = false AND Status__c = 'active'", "k1 k2 k5"),
        ("Id IN (SELECT Preinv__c FROM KPS_PreinvDetail__c)", "k1 k2"),
        (
            "Id NOT IN (SELECT Preinv__c FROM KPS_PreinvDetail__c WHERE Preinv__r.Shop_Code__c = 'none')",
            "k1 k2 k3 k4 k5",
        ),
        ("Owner.Username LIKE 'integration@%' AND (External_ID__c = 'k1' OR External_ID__c = 'k3')", "k1 k3"),
        ("CALENDAR_YEAR(Preinv_Date__c) = 2024 AND CALENDAR_MONTH(Preinv_Date__c) = 2", "k2 k3"),
    ],
)
def test_conditions(emulator: EmulatorProcess, where: str, expected: str) -> None:
    """Case, null, dates, wildcards and exact amounts compare as in Salesforce."""
    assert keys(emulator, where) == expected


def answered(emulator: EmulatorProcess, soql: str) -> Any:
    """The answer with its numbers exact."""
    answer = emulator.get("query", q=soql)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_float=Decimal)


def test_aggregates_are_exact_if_the_switch_says_so(switched: EmulatorProcess) -> None:
    """18 digits keep their cents; unnamed columns are numbered."""
    switch(switched, numbers="exact")
    columns = "COUNT(Id) n, SUM(Amt_Inc_Vat__c), MIN(Amt_Inc_Vat__c), MAX(Preinv_Date__c) last, COUNT(Preinv_Date__c)"
    soql = f"SELECT {columns} FROM {SALE}"
    [record] = answered(switched, soql)["records"]
    assert record == {
        "attributes": {"type": "AggregateResult"},
        "n": 5,
        "expr0": Decimal("10000000000000060.58"),
        "expr1": Decimal("-0.01"),
        "last": "2024-02-29",
        "expr2": 4,
    }


def test_groups(emulator: EmulatorProcess) -> None:
    """GROUP BY, HAVING, an alias in ORDER BY."""
    soql = (
        f"SELECT Status__c s, COUNT(Id) n, AVG(Amt_Inc_Vat__c) a, COUNT_DISTINCT(Shop_Code__c) FROM {SALE} "
        "WHERE External_ID__c != 'k5' GROUP BY Status__c HAVING COUNT(Id) > 0 "
        "ORDER BY COUNT(Id) DESC, Status__c LIMIT 2"
    )
    records = answered(emulator, soql)["records"]
    assert [(each["s"], each["n"], each["a"], each["expr0"]) for each in records] == [
        ("Active", 2, pytest.approx(Decimal("15.15")), 1),
        ("Cancelled", 1, Decimal("30.3"), 1),
    ]


def test_group_by_parts_of_a_date(emulator: EmulatorProcess) -> None:
    """Date functions group and are named like other expressions."""
    month = "CALENDAR_MONTH(Preinv_Date__c)"
    soql = f"SELECT {month}, COUNT(Id) n FROM {SALE} GROUP BY {month} ORDER BY {month} NULLS LAST"
    assert [(each["expr0"], each["n"]) for each in answered(emulator, soql)["records"]] == [
        (1, 1),
        (2, 2),
        (12, 1),
        (None, 1),
    ]


def test_bare_count_has_no_records(emulator: EmulatorProcess) -> None:
    """COUNT() answers in totalSize."""
    assert answered(emulator, f"select count() from {SALE}") == {"totalSize": 5, "done": True, "records": []}


def test_parents_are_nested_and_null_where_missing(emulator: EmulatorProcess) -> None:
    """A parent is a record of its own with a type and an address."""
    columns = "Preinv__r.Preinv_No__c, Preinv__r.Id, CreatedBy.Name"
    soql = f"SELECT {columns} FROM KPS_PreinvDetail__c ORDER BY External_ID__c LIMIT 1"
    [record] = answered(emulator, soql)["records"]
    assert record["Preinv__r"]["Preinv_No__c"] == "k1"
    assert record["Preinv__r"]["attributes"]["type"] == SALE
    assert record["Preinv__r"]["attributes"]["url"].endswith(record["Preinv__r"]["Id"])
    emulator.load("Account", "Name\nOrphan\n", "insert")
    [account] = answered(emulator, "SELECT Parent.Name, Parent.Parent.Name FROM Account WHERE Name = 'Orphan'")[
        "records"
    ]
    assert account["Parent"] is None


def test_order_limit_and_offset(emulator: EmulatorProcess) -> None:
    """Nulls come first unless they are sent last."""
    first = answered(emulator, f"SELECT External_ID__c FROM {SALE} ORDER BY Preinv_Date__c LIMIT 2")["records"]
    assert [each["External_ID__c"] for each in first] == ["k4", "k5"]
    soql = f"SELECT External_ID__c FROM {SALE} ORDER BY Preinv_Date__c DESC NULLS LAST LIMIT 2 OFFSET 3"
    assert [each["External_ID__c"] for each in answered(emulator, soql)["records"]] == ["k5", "k4"]


def test_pages_of_a_query(emulator: EmulatorProcess) -> None:
    """nextRecordsUrl leads through all records once; a batch size may be asked for."""
    rows = "".join(f"page{n},A\n" for n in range(2500))
    emulator.load("KPS_PosSupplier__c", "External_ID__c,Pos_Supplier_Code__c\n" + rows)
    soql = "SELECT External_ID__c FROM KPS_PosSupplier__c"
    for options, sizes in (("", [2000, 500]), ("batchSize=1000", [1000, 1000, 500])):
        page = emulator.client.get(
            emulator.url("query/"), params={"q": soql}, headers={"Sforce-Query-Options": options}
        ).json()
        pages = [page]
        while not page["done"]:
            page = emulator.client.get(page["nextRecordsUrl"]).json()
            pages.append(page)
        assert [len(each["records"]) for each in pages] == sizes
        assert {each["totalSize"] for each in pages} == {2500}
        assert len({record["External_ID__c"] for each in pages for record in each["records"]}) == 2500


def test_children_come_with_their_parents(emulator: EmulatorProcess) -> None:
    """Each parent has its own children, in order, as many as the limit lets; null where there are none."""
    children = "SELECT Seq__c, Preinv__r.Shop_Code__c FROM KPS_PreinvDetail__r ORDER BY Seq__c DESC LIMIT 1"
    found = emulator.query(f"SELECT External_ID__c, ({children}) FROM {SALE} p WHERE p.Status__c != 'x' ORDER BY Id")
    by_key = {record["External_ID__c"]: record["KPS_PreinvDetail__r"] for record in found}
    assert by_key["k3"] is None
    [one] = by_key["k1"]["records"]
    assert (by_key["k1"]["totalSize"], by_key["k1"]["done"]) == (1, True)
    assert (one["attributes"]["type"], one["Seq__c"]) == ("KPS_PreinvDetail__c", 3)
    assert one["Preinv__r"]["Shop_Code__c"] == "S1"
    assert "Preinv__c" not in one
    named = {
        each["relationshipName"] for each in emulator.get(f"sobjects/{SALE}/describe").json()["childRelationships"]
    }
    assert "KPS_PreinvDetail__r" in named


def test_every_child_relationship_has_a_name_of_its_own(emulator: EmulatorProcess) -> None:
    """A parent's query can reach each of them."""
    for sobject in emulator.get("sobjects").json()["sobjects"]:
        relationships = emulator.get(f"sobjects/{sobject['name']}/describe").json()["childRelationships"]
        names = [each["relationshipName"] for each in relationships if each["relationshipName"]]
        assert len(names) == len(set(names)), sobject["name"]


def test_subtotals(emulator: EmulatorProcess) -> None:
    """ROLLUP adds a row of all; GROUPING tells it from the others."""
    soql = f"SELECT Status__c, GROUPING(Status__c) g, COUNT(Id) n FROM {SALE} GROUP BY ROLLUP(Status__c)"
    found = {(record["Status__c"], record["g"]): record["n"] for record in emulator.query(soql)}
    assert found == {("Active", 0): 3, ("Cancelled", 0): 1, ("Unknown", 0): 1, (None, 1): 5}


def test_columns_of_a_query_are_told_with_their_parents_and_children(emulator: EmulatorProcess) -> None:
    """As Salesforce's command line wants them for the head of its table."""
    soql = (
        "SELECT Id, toLabel(Status__c), Owner.Name, Owner.Username, (SELECT Seq__c FROM KPS_PreinvDetail__r)"
        f" FROM {SALE}"
    )
    columns = emulator.get("query", q=soql, columns="true").json()["columnMetadata"]
    told = [(each["columnName"], each["aggregate"], [c["columnName"] for c in each["joinColumns"]]) for each in columns]
    assert told == [
        ("Id", False, []),
        ("Status__c", False, []),
        ("Owner", False, ["Name", "Username"]),
        ("KPS_PreinvDetail__r", True, ["Seq__c"]),
    ]
    [count] = emulator.get("query", q=f"SELECT COUNT(Id) n FROM {SALE}", columns="true").json()["columnMetadata"]
    assert (count["columnName"], count["displayName"], count["aggregate"]) == ("n", "COUNT(Id)", True)


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'open", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id, Id FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id; DROP TABLE x", "MALFORMED_QUERY"),
        ("SELECT Id, (SELECT Id FROM Contact) FROM Account", "INVALID_TYPE"),
        ("SELECT Id, (SELECT Nope FROM Contacts) FROM Account", "INVALID_FIELD"),
        ("SELECT Id, (SELECT COUNT() FROM Contacts) FROM Account", "MALFORMED_QUERY"),
        ("SELECT COUNT(Id), (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id, (SELECT Id FROM Contacts FROM Account", "MALFORMED_QUERY"),
        ("SELECT " + "(SELECT Id, " * 500 + "Id FROM Account", "MALFORMED_QUERY"),
        ("SELECT GROUPING(Name) FROM Account", "MALFORMED_QUERY"),
        ("SELECT Name FROM Account GROUP BY Name ORDER BY CreatedDate", "MALFORMED_QUERY"),
        ("SELECT Name FROM Account GROUP BY Name HAVING COUNT(Id) > 1 AND Site = 'x'", "MALFORMED_QUERY"),
        ("SELECT Name FROM Account GROUP BY ROLLUP(Name", "MALFORMED_QUERY"),
        ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY"),
        ("SELECT SUM(Name) FROM Account", "MALFORMED_QUERY"),
        ("SELECT COUNT(Id) FROM Account LIMIT 1", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = NOW_OR_NEVER", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE CreatedDate = SOMEDAY", "MALFORMED_QUERY"),
        ("SELECT Colour FROM Account", "INVALID_FIELD"),
        ("SELECT Nobody.Name FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE AnnualRevenue = '5'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE CreatedDate = 2024-01-01", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE CreatedDate > 2024-13-01T00:00:00Z", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("SELECT Id FROM Account WHERE " + "(" * 500 + "Name = 'x'" + ")" * 500, "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE " + "NOT " * 500 + "Name = 'x'", "MALFORMED_QUERY"),
    ],
)
def test_wrong_queries_are_refused_with_salesforces_codes(emulator: EmulatorProcess, soql: str, code: str) -> None:
    """400 and a list of one error; the same for a bulk query."""
    answer = emulator.get("query", q=soql)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code), answer.text
    bulk = emulator.client.post(emulator.url("jobs/query"), json={"operation": "query", "query": soql})
    assert bulk.status_code == 400


def bulk_query(emulator: EmulatorProcess, soql: str, **more: str) -> dict[str, Any]:
    answer = emulator.client.post(emulator.url("jobs/query"), json={"operation": "query", "query": soql, **more})
    assert (answer.status_code, answer.json()["state"]) == (200, "UploadComplete")
    return emulator.wait_for(answer.json(), "query")


def test_pages_of_bulk_query_results_can_be_read_in_parallel(emulator: EmulatorProcess) -> None:
    """Their addresses are known at once, and together they hold every record once."""
    job = bulk_query(emulator, f"SELECT External_ID__c FROM {SALE} ORDER BY External_ID__c")
    answer = emulator.get(f"jobs/query/{job['id']}/resultPages", maxRecords=2).json()
    assert (answer["done"], answer["nextRecordsUrl"], len(answer["resultPages"])) == (True, None, 3)
    texts = [emulator.client.get(page["resultUrl"]).text for page in reversed(answer["resultPages"])]
    assert [each.replace('"', "").split() for each in texts] == [
        ["External_ID__c", "k5"],
        ["External_ID__c", "k3", "k4"],
        ["External_ID__c", "k1", "k2"],
    ]
    none = bulk_query(emulator, f"SELECT Id FROM {SALE} WHERE Shop_Code__c = 'none'")
    [page] = emulator.get(f"jobs/query/{none['id']}/resultPages").json()["resultPages"]
    assert emulator.client.get(page["resultUrl"]).text == '"Id"\n'
    other_version = emulator.client.get(f"/services/data/v60.0/jobs/query/{job['id']}/resultPages")
    assert other_version.status_code == 409


def test_bulk_query_results_in_pages_with_a_literal_null_at_the_end(emulator: EmulatorProcess) -> None:
    """A locator can be read again; each header is there on every page."""
    job = bulk_query(
        emulator, f"SELECT External_ID__c, Amt_Inc_Vat__c, Preinv_Date__c, Remark__c, CreatedBy.Name FROM {SALE}"
    )
    assert (job["jobType"], job["numberRecordsProcessed"]) == ("V2Query", 5)
    found: list[dict[str, str]] = []
    locators: list[str] = []
    while "null" not in locators:
        parameters: dict[str, str | int] = {"maxRecords": 2, **({"locator": locators[-1]} if locators else {})}
        answer = emulator.get(f"jobs/query/{job['id']}/results", **parameters)
        assert answer.text == emulator.get(f"jobs/query/{job['id']}/results", **parameters).text
        page = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(page) == int(answer.headers["Sforce-NumberOfRecords"])
        found += page
        locators.append(answer.headers["Sforce-Locator"])
    assert len(locators) == 3
    by_key = {row["External_ID__c"]: row for row in found}
    assert by_key["k5"]["Amt_Inc_Vat__c"] == "1.0E16"
    assert by_key["k1"]["Amt_Inc_Vat__c"] == "10.1"
    assert by_key["k1"]["Remark__c"] == "ไทย"
    assert by_key["k4"]["Preinv_Date__c"] == ""
    assert by_key["k1"]["CreatedBy.Name"] == "Integration Emulator"


def test_bulk_query_in_other_spellings(emulator: EmulatorProcess) -> None:
    """The delimiter and line ending that were asked for; times in UTC with a Z."""
    job = bulk_query(
        emulator, f"SELECT External_ID__c, CreatedDate FROM {SALE} LIMIT 1", columnDelimiter="TAB", lineEnding="CRLF"
    )
    lines = emulator.get(f"jobs/query/{job['id']}/results").text.split("\r\n")
    assert lines[0] == '"External_ID__c"\t"CreatedDate"'
    assert lines[1].endswith('Z"')


def test_bulk_query_refuses_what_only_rest_can(emulator: EmulatorProcess) -> None:
    """Aggregates, groups, offsets; another API version; a locator that is none."""
    for soql in (f"SELECT COUNT() FROM {SALE}", f"SELECT COUNT(Id) FROM {SALE}", f"SELECT Id FROM {SALE} OFFSET 1"):
        answer = emulator.client.post(emulator.url("jobs/query"), json={"operation": "query", "query": soql})
        assert answer.status_code == 400
    job = bulk_query(emulator, f"SELECT Id FROM {SALE}")
    other = emulator.client.get(f"/services/data/v60.0/jobs/query/{job['id']}/results")
    assert other.status_code == 409
    assert emulator.get(f"jobs/query/{job['id']}/results", locator="@@").status_code == 400
    assert emulator.client.delete(emulator.url(f"jobs/query/{job['id']}")).status_code == 204
    assert emulator.get(f"jobs/query/{job['id']}").status_code == 404


def test_deleted_records_are_seen_only_by_query_all(emulator: EmulatorProcess) -> None:
    """Both for REST and for bulk."""
    emulator.load("Account", "Name,External_ID__c\nGone,gone\n", "insert")
    [record] = emulator.query("SELECT Id FROM Account WHERE External_ID__c = 'gone'")
    emulator.client.delete(emulator.url(f"sobjects/Account/{record['Id']}"))
    soql = "SELECT Id, IsDeleted FROM Account WHERE External_ID__c = 'gone'"
    assert emulator.query(soql) == []
    assert emulator.get("queryAll", q=soql).json()["records"][0]["IsDeleted"] is True
    body = {"operation": "queryAll", "query": soql}
    job = emulator.client.post(emulator.url("jobs/query"), json=body).json()
    assert emulator.wait_for(job, "query")["numberRecordsProcessed"] == 1


def test_record_counts(emulator: EmulatorProcess) -> None:
    """Counts by object without a query."""
    counts = emulator.get("limits/recordCount", sObjects=f"{SALE},KPS_PreinvDetail__c").json()["sObjects"]
    assert counts == [{"count": 5, "name": SALE}, {"count": 3, "name": "KPS_PreinvDetail__c"}]
