"""Single rows and sObject collections of the Salesforce emulator."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from salesforce_emulator_process import EmulatorProcess, switch

pytestmark = pytest.mark.emulator_only

MANY = "composite/sobjects"


def send(emulator: EmulatorProcess, method: str, path: str, body: object) -> httpx.Response:
    return emulator.client.request(method, emulator.url(path), json=body)


def account(name: str, **more: object) -> dict[str, object]:
    return {"attributes": {"type": "Account"}, "Name": name, **more}


def test_a_collection_answers_each_record_in_order(emulator: EmulatorProcess) -> None:
    """Good ones are kept, the bad one has a typed error."""
    body = {"records": [account("One"), account("Two", Phone="1" * 50), account("Three")]}
    answer = send(emulator, "POST", MANY, body).json()
    assert [each["success"] for each in answer] == [True, False, True]
    [error] = answer[1]["errors"]
    assert (error["statusCode"], error["fields"]) == ("STRING_TOO_LONG", ["Phone"])
    assert "id" not in answer[1]


def test_all_or_none_keeps_none(emulator: EmulatorProcess) -> None:
    """One bad record undoes the others."""
    records = [account("Rolled back"), account("Bad", Phone="1" * 50)]
    answer = send(emulator, "POST", MANY, {"allOrNone": True, "records": records}).json()
    assert [each["errors"][0]["statusCode"] for each in answer] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "STRING_TOO_LONG",
    ]
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Rolled back'") == 0


def test_upsert_retrieve_update_and_delete_many(emulator: EmulatorProcess) -> None:
    """By external id, by id, with nulls where a record is not."""
    path = f"{MANY}/Account/External_ID__c"
    records = [account(f"Many {n}", External_ID__c=f"many{n}") for n in range(200)]
    made = send(emulator, "PATCH", path, {"records": records}).json()
    assert all(each["created"] for each in made)
    again = send(emulator, "PATCH", path, {"records": records[:2]}).json()
    assert [(each["id"], each["created"]) for each in again] == [(made[0]["id"], False), (made[1]["id"], False)]
    change = {"records": [{"attributes": {"type": "Account"}, "id": made[0]["id"], "Site": "A", "Name": "New"}]}
    assert send(emulator, "PATCH", MANY, change).json()[0]["success"]
    wanted = {"ids": [made[0]["id"], "001000000000000AAA", made[1]["id"]], "fields": ["Name", "Site"]}
    found = send(emulator, "POST", f"{MANY}/Account", wanted).json()
    assert [each and each["Name"] for each in found] == ["New", None, "Many 1"]
    ids = ",".join(each["id"] for each in made)
    gone = emulator.client.delete(emulator.url(MANY), params={"ids": ids, "allOrNone": "true"}).json()
    assert all(each["success"] for each in gone)
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name LIKE 'Many %'") == 0


def test_a_parent_may_be_named_by_its_external_id(emulator: EmulatorProcess) -> None:
    """As an object inside the record."""
    send(emulator, "PATCH", "sobjects/Account/External_ID__c/mother", {"Name": "Mother"})
    child = account("Child", Parent={"External_ID__c": "MOTHER"})
    assert send(emulator, "POST", "sobjects/Account", {**child}).status_code == 201
    [record] = emulator.query("SELECT Parent.Name FROM Account WHERE Name = 'Child'")
    assert record["Parent"]["Name"] == "Mother"
    orphan = account("Orphan", Parent={"External_ID__c": "nobody"})
    answer = send(emulator, "POST", "sobjects/Account", orphan)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_FIELD")


def test_amounts_in_json_keep_their_digits_if_the_switch_says_so(switched: EmulatorProcess) -> None:
    """A number with 18 digits is stored and read without a binary float in between."""
    switch(switched, numbers="exact")
    body = b'{"Con_Code__c":"01","Preinv_No__c":"x","Amt_Inc_Vat__c":1234567890123456.78,"Vat_Amt__c":null}'
    path = switched.url("sobjects/KPS_Preinv__c/External_ID__c/exact%7C1")
    headers = {"content-type": "application/json"}
    assert switched.client.patch(path, content=body, headers=headers).status_code == 201
    text = switched.get("sobjects/KPS_Preinv__c/External_ID__c/EXACT|1", fields="Amt_Inc_Vat__c,Vat_Amt__c").text
    assert '"Amt_Inc_Vat__c":1234567890123456.78' in text
    assert '"Vat_Amt__c":null' in text


def test_a_composite_request_uses_earlier_answers(emulator: EmulatorProcess) -> None:
    """One that fails does not stop the others; one that needs it is halted."""
    base = emulator.url("sobjects/Account")
    asked = [
        {"method": "POST", "url": base, "referenceId": "made", "body": {"Name": "Composite"}},
        {"method": "PATCH", "url": f"{base}/@{{made.id}}", "referenceId": "changed", "body": {"Site": "@{made.id}"}},
        {"method": "GET", "url": f"{base}/@{{made.id}}?fields=Site", "referenceId": "read"},
        {"method": "POST", "url": base, "referenceId": "bad", "body": {}},
        {"method": "GET", "url": f"{base}/@{{bad.id}}", "referenceId": "halted"},
        {"method": "PUT", "url": base, "referenceId": "wrong"},
    ]
    results = send(emulator, "POST", "composite", {"compositeRequest": asked}).json()["compositeResponse"]
    assert [each["httpStatusCode"] for each in results] == [201, 204, 200, 400, 400, 405]
    assert results[2]["body"]["Site"] == results[0]["body"]["id"]
    assert results[4]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    batch = {"batchRequests": [{"method": "GET", "url": "v62.0/limits"}, {"method": "GET", "url": "v62.0/nothing"}]}
    answer = send(emulator, "POST", "composite/batch", batch).json()
    assert ([each["statusCode"] for each in answer["results"]], answer["hasErrors"]) == ([200, 404], True)


@pytest.mark.parametrize("url", ["", "http://[::1", "/_emulator/clock", "/services/oauth2/userinfo", "/id/a/b", "é?é"])
def test_a_subrequest_reaches_only_the_rest_api(emulator: EmulatorProcess, url: str) -> None:
    """Anything else is not found, and the others are worked off."""
    asked = [
        {"method": "POST", "url": url, "referenceId": "a", "body": {"advance_s": 1}},
        {"method": "GET", "url": emulator.url("limits"), "referenceId": "b"},
    ]
    results = send(emulator, "POST", "composite", {"compositeRequest": asked}).json()["compositeResponse"]
    assert [each["httpStatusCode"] for each in results] == [404, 200]


def nodes(emulator: EmulatorProcess, prefix: str, last: dict[str, object]) -> list[dict[str, object]]:
    """A parent, its child by the answer about the parent, a question, and one more."""
    base = emulator.url("sobjects")
    contact = {"LastName": prefix, "AccountId": "@{a.id}"}
    return [
        {"method": "POST", "url": f"{base}/Account", "referenceId": "a", "body": {"Name": prefix}},
        {"method": "POST", "url": f"{base}/Contact", "referenceId": "c", "body": contact},
        {"method": "GET", "url": f"{base}/Contact/@{{c.id}}?fields=Account.Name", "referenceId": "read"},
        {"method": "POST", "url": f"{base}/Account", "referenceId": "last", "body": last},
    ]


def test_a_composite_request_can_be_all_or_none(emulator: EmulatorProcess) -> None:
    """Later subrequests see the earlier ones' records; one failure, and none of them is kept."""
    bad = {"allOrNone": True, "compositeRequest": nodes(emulator, "Undone", {"Phone": "1"})}
    results = send(emulator, "POST", "composite", bad).json()["compositeResponse"]
    assert [each["httpStatusCode"] for each in results] == [400, 400, 400, 400]
    assert [each["body"][0]["errorCode"] for each in results] == [*["PROCESSING_HALTED"] * 3, "REQUIRED_FIELD_MISSING"]
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Undone'") == 0
    good = {"allOrNone": True, "compositeRequest": nodes(emulator, "Kept", {"Name": "Kept too"})}
    results = send(emulator, "POST", "composite", good).json()["compositeResponse"]
    assert [each["httpStatusCode"] for each in results] == [201, 201, 200, 201]
    assert results[2]["body"]["Account"]["Name"] == "Kept"
    assert emulator.count("SELECT COUNT() FROM Contact WHERE Account.Name = 'Kept'") == 1


def test_a_collection_undone_inside_undoes_the_whole(emulator: EmulatorProcess) -> None:
    """It answers 200 with errors, but what it wrote is gone, and so is the rest."""
    collection = {"allOrNone": True, "records": [account("Half"), account("Half", Phone="2" * 50)]}
    asked = [
        {"method": "POST", "url": emulator.url("sobjects/Account"), "referenceId": "a", "body": {"Name": "Half"}},
        {"method": "POST", "url": emulator.url(MANY), "referenceId": "many", "body": collection},
    ]
    send(emulator, "POST", "composite", {"allOrNone": True, "compositeRequest": asked})
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Half'") == 0


def test_each_graph_stands_by_itself(emulator: EmulatorProcess) -> None:
    """One is kept, the other is not."""
    graphs = [
        {"graphId": "1", "compositeRequest": nodes(emulator, "Graph 1", {"Name": "x"})},
        {"graphId": "2", "compositeRequest": nodes(emulator, "Graph 2", {})},
    ]
    answers = send(emulator, "POST", "composite/graph", {"graphs": graphs}).json()["graphs"]
    assert [(each["graphId"], each["isSuccessful"]) for each in answers] == [("1", True), ("2", False)]
    assert len(answers[0]["graphResponse"]["compositeResponse"]) == 4
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Graph 1'") == 1
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Graph 2'") == 0


def test_many_composite_requests_at_once_all_end(emulator: EmulatorProcess) -> None:
    """More than the server has threads, each with a transaction of its own."""
    body = {"allOrNone": True, "compositeRequest": nodes(emulator, "Crowd", {"Name": "Crowd"})}
    with ThreadPoolExecutor(60) as pool:
        statuses = list(pool.map(lambda _: send(emulator, "POST", "composite", body).status_code, range(60)))
    assert statuses == [200] * 60
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Crowd'") == 120


def test_a_tree_is_stored_whole_or_not_at_all(emulator: EmulatorProcess) -> None:
    """The answer names records by the client's own references."""
    records = [
        {"attributes": {"type": "Account", "referenceId": f"r{n}"}, "Name": "Tree", "Phone": phone}
        for n, phone in enumerate(["1", "2" * 50])
    ]
    bad = send(emulator, "POST", "composite/tree/Account", {"records": records})
    assert (bad.status_code, [each["referenceId"] for each in bad.json()["results"]]) == (400, ["r1"])
    good = send(emulator, "POST", "composite/tree/Account", {"records": records[:1]})
    assert (good.status_code, good.json()["hasErrors"]) == (201, False)
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Tree'") == 1


def tree_node(kind: str, reference: str, children: dict[str, list[object]] | None = None, **values: str) -> object:
    nested = {name: {"records": records} for name, records in (children or {}).items()}
    return {"attributes": {"type": kind, "referenceId": reference}, **values, **nested}


def test_children_are_stored_under_their_parents(emulator: EmulatorProcess) -> None:
    """Several levels in one request; one bad leaf, and nothing is stored."""
    leaf = tree_node("Contact", "c1", LastName="Leaf")
    middle = tree_node("Account", "a2", {"Contacts": [leaf]}, Name="Below", Phone="1")
    root = tree_node("Account", "a1", {"ChildAccounts": [middle]}, Name="Above")
    good = send(emulator, "POST", "composite/tree/Account", {"records": [root]})
    assert (good.status_code, [each["referenceId"] for each in good.json()["results"]]) == (201, ["a1", "a2", "c1"])
    [found] = emulator.query("SELECT Account.Parent.Name FROM Contact WHERE LastName = 'Leaf'")
    assert found["Account"]["Parent"]["Name"] == "Above"
    bad_leaf = tree_node("Contact", "c2", LastName="x" * 100)
    bad = tree_node("Account", "a3", {"Contacts": [bad_leaf]}, Name="Not stored")
    answer = send(emulator, "POST", "composite/tree/Account", {"records": [bad]})
    assert (answer.status_code, [each["referenceId"] for each in answer.json()["results"]]) == (400, ["c2"])
    assert emulator.count("SELECT COUNT() FROM Account WHERE Name = 'Not stored'") == 0


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"Name": "x"}, "INVALID_TYPE"),
        (tree_node("Contact", "r", LastName="x"), "INVALID_TYPE"),
        (tree_node("Account", "", Name="x"), "INVALID_INPUT"),
        (tree_node("Account", "r", {"Contacts": [tree_node("Contact", "r", LastName="x")]}, Name="x"), "INVALID_INPUT"),
        ({"attributes": {"type": "Account", "referenceId": "r"}, "Contacts": {"records": 5}}, "JSON_PARSER_ERROR"),
        (tree_node("Account", "r", {"Nobody": [tree_node("Contact", "c")]}, Name="x"), "JSON_PARSER_ERROR"),
    ],
)
def test_what_is_no_tree_is_refused(emulator: EmulatorProcess, record: object, code: str) -> None:
    """Wrong objects, references that are missing or double, children that are none."""
    answer = send(emulator, "POST", "composite/tree/Account", {"records": [record]})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_updated_and_deleted(emulator: EmulatorProcess) -> None:
    """Replication calls list ids in a span of time."""
    made = send(emulator, "POST", "sobjects/Account", account("Short-lived")).json()
    span = {"start": "2020-01-01T00:00:00+00:00", "end": "2100-01-01T00:00:00Z"}
    assert made["id"] in emulator.get("sobjects/Account/updated", **span).json()["ids"]
    emulator.client.delete(emulator.url(f"sobjects/Account/{made['id']}"))
    deleted = emulator.get("sobjects/Account/deleted", **span).json()["deletedRecords"]
    assert made["id"] in [each["id"] for each in deleted]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "sobjects/Nothing", {}, 404, "NOT_FOUND"),
        ("POST", "sobjects/Account", {}, 400, "REQUIRED_FIELD_MISSING"),
        ("POST", "sobjects/Account", {"Name": "x", "Colour": 1}, 400, "INVALID_FIELD"),
        ("POST", "sobjects/Account", {"Name": ["x"]}, 400, "JSON_PARSER_ERROR"),
        ("POST", "sobjects/Account", [1], 400, "JSON_PARSER_ERROR"),
        (
            "POST",
            "sobjects/Account",
            {"Name": "x", "CreatedDate": "2024-01-01"},
            400,
            "INVALID_FIELD_FOR_INSERT_UPDATE",
        ),
        ("PATCH", "sobjects/Account/001000000000000AAA", {"Name": "x"}, 404, "NOT_FOUND"),
        ("PATCH", "sobjects/Account/nonsense", {"Name": "x"}, 404, "NOT_FOUND"),
        ("PATCH", "sobjects/Account/Phone/1", {"Name": "x"}, 404, "NOT_FOUND"),
        ("DELETE", "sobjects/Account/001000000000000AAA", None, 404, "NOT_FOUND"),
        ("POST", MANY, {"records": []}, 400, "REQUIRED_FIELD_MISSING"),
        ("POST", MANY, {"records": [{"Name": "x"}]}, 400, "INVALID_TYPE"),
        ("POST", MANY, {"records": [account("x")] * 201}, 400, "EXCEEDED_ID_LIMIT"),
        ("POST", MANY, {"records": 5}, 400, "JSON_PARSER_ERROR"),
        ("PUT", "sobjects/Account", {}, 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_wrong_requests_get_salesforces_error_list(
    emulator: EmulatorProcess, method: str, path: str, body: Any, status: int, code: str
) -> None:
    """Never a 500, always a list with errorCode and message."""
    answer = send(emulator, method, path, body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)
    assert answer.json()[0]["message"]
