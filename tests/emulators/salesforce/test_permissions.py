"""Users without every right: what they see, what they may write, and what an org answers them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from salesforce_emulator_process import HEADER, SUPPLIER, EmulatorProcess, csv_rows, supplier_lines, token

USERNAME = "clerk@kpc.emulator"
EMAIL = "KPS_EmailSupplier__c"
FIELD = f"{SUPPLIER}.City__c"


@dataclass
class Clerk:
    """A second user; the emulator's own one has every right."""

    owner: EmulatorProcess
    session: EmulatorProcess
    facts: dict[str, Any]

    def allow(self, **permissions: object) -> None:
        body = {"username": USERNAME, "permissions": permissions}
        answer = self.owner.client.post("/_emulator/users", json=body)
        assert answer.status_code == 200, answer.text


def setup(emulator: EmulatorProcess, **changes: object) -> None:
    answer = emulator.client.patch("/_emulator/setup", json=changes)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def clerk(emulator: EmulatorProcess) -> Iterator[Clerk]:
    """Who may do everything with objects and fields, but sees foreign records only as sharing says."""
    emulator.ready |= emulator.client.post("/_emulator/reset").json()
    emulator.client.headers["Authorization"] = f"Bearer {emulator.ready['access_token']}"
    permissions = {"view_all_data": False, "modify_all_data": False}
    facts = emulator.client.post("/_emulator/users", json={"username": USERNAME, "permissions": permissions}).json()
    session = EmulatorProcess(emulator.folder, ready=emulator.ready)
    session.client = httpx.Client(base_url=emulator.ready["base_url"], timeout=60)
    session.client.headers["Authorization"] = f"Bearer {facts['access_token']}"
    yield Clerk(emulator, session, facts)
    session.client.close()


def errors(session: EmulatorProcess, job: dict[str, Any]) -> set[str]:
    return {row["sf__Error"].split(":")[0] for row in csv_rows(session.result(job, "failedResults"))}


def test_a_private_object_hides_foreign_records_from_every_query(clerk: Clerk) -> None:
    setup(clerk.owner, sharing={SUPPLIER: "Private"})
    clerk.owner.load(SUPPLIER, supplier_lines("THEIRS", 3))
    clerk.session.load(SUPPLIER, supplier_lines("MINE", 2))
    assert clerk.owner.count(f"SELECT count() FROM {SUPPLIER}") == 5
    assert clerk.session.count(f"SELECT count() FROM {SUPPLIER}") == 2
    assert clerk.session.count(f"SELECT count() FROM {SUPPLIER} WHERE External_ID__c = 'THEIRS1'") == 0
    assert clerk.session.get(f"sobjects/{SUPPLIER}/External_ID__c/THEIRS1").status_code == 404
    body = {"operation": "query", "query": f"SELECT External_ID__c FROM {SUPPLIER}"}
    job = clerk.session.client.post(clerk.session.url("jobs/query"), json=body).json()
    clerk.session.wait_for(job, "query")
    found = csv_rows(clerk.session.get(f"jobs/query/{job['id']}/results").text)
    assert {row["External_ID__c"] for row in found} == {"MINE0", "MINE1"}


def test_view_all_shows_foreign_records(clerk: Clerk) -> None:
    setup(clerk.owner, sharing={SUPPLIER: "Private"})
    clerk.owner.load(SUPPLIER, supplier_lines("THEIRS", 3))
    clerk.allow(objects={SUPPLIER: {"view_all": True}})
    assert clerk.session.count(f"SELECT count() FROM {SUPPLIER}") == 3


def test_upserting_a_hidden_record_is_a_duplicate(clerk: Clerk) -> None:
    """The user cannot match what he does not see, and the unique field refuses a second record."""
    setup(clerk.owner, sharing={SUPPLIER: "Private"})
    clerk.owner.load(SUPPLIER, supplier_lines("S", 2))
    job = clerk.session.load(SUPPLIER, supplier_lines("S", 3))
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (3, 2)
    assert errors(clerk.session, job) == {"DUPLICATE_VALUE"}
    assert clerk.owner.count(f"SELECT count() FROM {SUPPLIER}") == 3


def test_a_read_only_record_cannot_be_changed_or_deleted(clerk: Clerk) -> None:
    setup(clerk.owner, sharing={SUPPLIER: "Read"})
    clerk.owner.load(SUPPLIER, supplier_lines("S", 2))
    job = clerk.session.load(SUPPLIER, supplier_lines("S", 2))
    assert errors(clerk.session, job) == {"INSUFFICIENT_ACCESS_OR_READONLY"}
    ids = [row["Id"] for row in clerk.session.query(f"SELECT Id FROM {SUPPLIER}")]
    job = clerk.session.load(SUPPLIER, "Id\n" + "\n".join(ids) + "\n", "delete")
    assert errors(clerk.session, job) == {"INSUFFICIENT_ACCESS_OR_READONLY"}
    assert clerk.owner.count(f"SELECT count() FROM {SUPPLIER}") == 2


def test_a_hidden_record_named_by_its_id_is_an_access_error(clerk: Clerk) -> None:
    setup(clerk.owner, sharing={SUPPLIER: "Private"})
    clerk.owner.load(SUPPLIER, supplier_lines("S", 1))
    [record] = clerk.owner.query(f"SELECT Id FROM {SUPPLIER}")
    job = clerk.session.load(SUPPLIER, f"Id\n{record['Id']}\n", "delete")
    assert errors(clerk.session, job) == {"INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"}


@pytest.mark.parametrize(
    ("right", "operation", "code"),
    [
        ("create", "upsert", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
        ("edit", "upsert", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
        ("delete", "delete", "INSUFFICIENT_ACCESS_OR_READONLY"),
    ],
)
def test_a_right_on_the_object_that_is_missing_refuses_its_rows(
    clerk: Clerk, right: str, operation: str, code: str
) -> None:
    clerk.session.load(SUPPLIER, supplier_lines("S", 1))
    [record] = clerk.session.query(f"SELECT Id FROM {SUPPLIER}")
    clerk.allow(objects={SUPPLIER: {right: False}})
    content = {
        "create": supplier_lines("NEW", 1),
        "edit": supplier_lines("S", 1),
        "delete": f"Id\n{record['Id']}\n",
    }[right]
    job = clerk.session.load(SUPPLIER, content, operation)
    assert errors(clerk.session, job) == {code}
    described = clerk.session.get(f"sobjects/{SUPPLIER}/describe").json()
    flag = {"create": "createable", "edit": "updateable", "delete": "deletable"}[right]
    assert described[flag] is False


def test_a_parent_with_children_cannot_be_deleted(clerk: Clerk) -> None:
    """By a lookup that does not allow it: children go first, and count even where the user does not see them."""
    clerk.owner.load(SUPPLIER, supplier_lines("S", 2))
    header = "External_ID__c,Pos_Supplier__r.External_ID__c,Pos_Supplier_Code__c,Seq__c\n"
    clerk.owner.load(EMAIL, header + "E1,S1,A,1\n")
    ids = {row["External_ID__c"]: row["Id"] for row in clerk.owner.query(f"SELECT Id, External_ID__c FROM {SUPPLIER}")}
    job = clerk.owner.load(SUPPLIER, f"Id\n{ids['S0']}\n{ids['S1']}\n", "delete")
    assert (job["numberRecordsProcessed"], errors(clerk.owner, job)) == (2, {"DELETE_FAILED"})
    [child] = clerk.owner.query(f"SELECT Id FROM {EMAIL}")
    clerk.owner.load(EMAIL, f"Id\n{child['Id']}\n", "delete")
    assert clerk.owner.load(SUPPLIER, f"Id\n{ids['S1']}\n", "delete")["numberRecordsFailed"] == 0


def test_an_object_without_read_does_not_exist(clerk: Clerk) -> None:
    clerk.allow(objects={SUPPLIER: {"read": False}})
    assert clerk.session.get(f"sobjects/{SUPPLIER}/describe").status_code == 404
    answer = clerk.session.get("query", q=f"SELECT Id FROM {SUPPLIER}")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_TYPE")
    names = {each["name"] for each in clerk.session.get("sobjects").json()["sobjects"]}
    assert SUPPLIER not in names
    assert EMAIL in names


def test_a_field_without_access_is_unknown_everywhere(clerk: Clerk) -> None:
    clerk.allow(fields={FIELD: "none"})
    described = clerk.session.get(f"sobjects/{SUPPLIER}/describe").json()
    assert "City__c" not in {each["name"] for each in described["fields"]}
    answer = clerk.session.get("query", q=f"SELECT City__c FROM {SUPPLIER}")
    assert answer.json()[0]["errorCode"] == "INVALID_FIELD"
    job = clerk.session.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,City__c\nS1,A,Here\n")
    assert job["state"] == "Failed"
    assert job["errorMessage"] == "InvalidBatch : Field name not found : City__c"


def test_a_read_only_field_refuses_rows_that_set_it(clerk: Clerk) -> None:
    clerk.allow(fields={FIELD: "read"})
    job = clerk.session.load(SUPPLIER, "External_ID__c,Pos_Supplier_Code__c,City__c\nS1,A,Here\n")
    assert errors(clerk.session, job) == {"INVALID_FIELD_FOR_INSERT_UPDATE"}


def test_a_user_without_the_api_is_refused(clerk: Clerk) -> None:
    clerk.allow(api_enabled=False)
    answer = clerk.session.get("limits")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (403, "API_DISABLED_FOR_ORG")


def test_hard_delete_needs_its_permission(clerk: Clerk) -> None:
    clerk.allow(bulk_api_hard_delete=False)
    body = {"object": SUPPLIER, "operation": "hardDelete"}
    answer = clerk.session.client.post(clerk.session.url("jobs/ingest"), json=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "FEATURENOTENABLED")


def test_permissions_are_queried_as_in_an_org(clerk: Clerk) -> None:
    clerk.allow(objects={SUPPLIER: {"delete": False}}, fields={FIELD: "read"})
    [mine] = clerk.session.query("SELECT PermissionsViewAllData, PermissionsApiEnabled FROM UserPermissionAccess")
    assert (mine["PermissionsViewAllData"], mine["PermissionsApiEnabled"]) == (False, True)
    assigned = f"(SELECT PermissionSetId FROM PermissionSetAssignment WHERE AssigneeId = '{clerk.facts['user_id']}')"
    [rights] = clerk.session.query(
        "SELECT PermissionsDelete, PermissionsEdit, PermissionsViewAllRecords FROM ObjectPermissions"
        f" WHERE SobjectType = '{SUPPLIER}' AND ParentId IN {assigned}"
    )
    assert (rights["PermissionsDelete"], rights["PermissionsEdit"]) == (False, True)
    assert rights["PermissionsViewAllRecords"] is False
    [field] = clerk.session.query(
        f"SELECT PermissionsEdit FROM FieldPermissions WHERE Field = '{FIELD}' AND ParentId IN {assigned}"
    )
    assert field["PermissionsEdit"] is False
    clerk.allow(view_setup=False)
    answer = clerk.session.get("query", q="SELECT Id FROM ObjectPermissions")
    assert answer.json()[0]["errorCode"] == "INVALID_TYPE"


def test_access_to_single_records_is_queried_as_in_an_org(clerk: Clerk) -> None:
    setup(clerk.owner, sharing={SUPPLIER: "Read"})
    clerk.owner.load(SUPPLIER, supplier_lines("THEIRS", 1))
    clerk.session.load(SUPPLIER, supplier_lines("MINE", 1))
    ids = {row["External_ID__c"]: row["Id"] for row in clerk.owner.query(f"SELECT Id, External_ID__c FROM {SUPPLIER}")}
    asked = "SELECT RecordId, HasReadAccess, HasEditAccess, HasDeleteAccess FROM UserRecordAccess"
    where = f"UserId = '{clerk.facts['user_id']}' AND RecordId IN ('{ids['THEIRS0']}', '{ids['MINE0']}')"
    rows = {row["RecordId"]: row for row in clerk.session.query(f"{asked} WHERE {where}")}
    rights = ("HasReadAccess", "HasEditAccess", "HasDeleteAccess")
    assert [rows[ids["THEIRS0"]][right] for right in rights] == [True, False, False]
    assert [rows[ids["MINE0"]][right] for right in rights] == [True, True, True]


def test_sharing_models_are_queried_as_in_an_org(clerk: Clerk) -> None:
    setup(clerk.owner, sharing={SUPPLIER: "Private"})
    asked = f"SELECT InternalSharingModel FROM EntityDefinition WHERE QualifiedApiName IN ('{SUPPLIER}', '{EMAIL}')"
    assert {row["InternalSharingModel"] for row in clerk.session.query(asked)} == {"Private", "ReadWrite"}


def test_the_second_user_logs_in_by_password_and_by_jwt(clerk: Clerk) -> None:
    ready, facts = clerk.owner.ready, clerk.facts
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    form = {"grant_type": "password", "username": USERNAME, "password": facts["password"], **client}
    by_password = token(clerk.owner, **form).json()
    key = Path(ready["jwt_private_key_file"]).read_bytes()
    claims = {"iss": ready["client_id"], "sub": USERNAME, "aud": "https://login.salesforce.com", "exp": 4_000_000_000}
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    by_jwt = token(clerk.owner, grant_type=grant, assertion=jwt.encode(claims, key, algorithm="RS256")).json()
    for answer in (by_password, by_jwt):
        assert answer["id"].endswith(f"/{facts['user_id']}")
        header = {"Authorization": f"Bearer {answer['access_token']}"}
        user = httpx.get(f"{ready['base_url']}/services/oauth2/userinfo", headers=header).json()
        assert user["preferred_username"] == USERNAME


@pytest.mark.parametrize(
    ("kind", "entry", "code"),
    [
        (
            "validation_rules",
            {"field": "City__c", "message": "Where?"},
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        ),
        ("triggers", {"fails": True}, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
        ("flows", {"fails": True}, "CANNOT_EXECUTE_FLOW_TRIGGER"),
        ("duplicate_rules", {"field": "City__c"}, "DUPLICATES_DETECTED"),
    ],
)
def test_an_active_rule_refuses_rows(clerk: Clerk, kind: str, entry: dict[str, object], code: str) -> None:
    header = HEADER.replace("\n", ",City__c\n")
    clerk.owner.load(SUPPLIER, header + "OLD,A,Same\n")
    rows = header + "NEW1,A,\nNEW2,B,Same\n"
    setup(clerk.owner, **{kind: [{"object": SUPPLIER, **entry}]})
    job = clerk.owner.load(SUPPLIER, rows)
    assert errors(clerk.owner, job) == {code}
    setup(clerk.owner, **{kind: [{"object": SUPPLIER, "active": False, **entry}]})
    assert clerk.owner.load(SUPPLIER, rows)["numberRecordsFailed"] == 0


def test_rules_are_queried_as_in_an_org(clerk: Clerk) -> None:
    rule = {"object": SUPPLIER, "name": "Mine"}
    kinds = ("validation_rules", "triggers", "flows", "duplicate_rules", "record_types")
    setup(clerk.owner, **{kind: [rule] for kind in kinds})
    asked = "SELECT ValidationName, EntityDefinition.QualifiedApiName FROM ValidationRule WHERE Active = true"
    [found] = clerk.owner.get("tooling/query", q=asked).json()["records"]
    assert (found["ValidationName"], found["EntityDefinition"]["QualifiedApiName"]) == ("Mine", SUPPLIER)
    assert clerk.owner.get("query", q=asked).json()[0]["errorCode"] == "INVALID_TYPE"
    for query in (
        f"SELECT Name FROM ApexTrigger WHERE Status = 'Active' AND TableEnumOrId = '{SUPPLIER}'",
        f"SELECT ApiName FROM FlowDefinitionView WHERE TriggerObjectOrEvent.QualifiedApiName = '{SUPPLIER}'",
        f"SELECT DeveloperName FROM DuplicateRule WHERE IsActive = true AND SobjectType = '{SUPPLIER}'",
        f"SELECT DeveloperName FROM RecordType WHERE IsActive = true AND SobjectType = '{SUPPLIER}'",
    ):
        assert len(clerk.owner.query(query)) == 1, query
    described = clerk.owner.get(f"sobjects/{SUPPLIER}/describe").json()
    assert [each["name"] for each in described["recordTypeInfos"]] == ["Mine", "Master"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("users", {"username": "a@b", "permissions": {"fly": True}}, "There is no permission fly"),
        ("users", {"username": "a@b", "permissions": {"objects": {"Nothing__c": {}}}}, "objects cannot be"),
        ("users", {"username": "a@b", "permissions": {"fields": {"Account.Nothing": "read"}}}, "fields cannot be"),
        ("setup", {"weather": 1}, "There is no setup weather"),
        ("setup", {"sharing": {"Account": "Public"}}, "sharing cannot be"),
        ("setup", {"triggers": [{"object": "Nothing__c"}]}, "triggers cannot hold"),
        ("setup", {"validation_rules": [{"object": "Account", "field": "Nothing"}]}, "Account has no field Nothing"),
        ("setup", {"fields": {"Account.Name": {"blue": True}}}, "fields cannot be"),
    ],
)
def test_unknown_setup_is_refused_by_name(clerk: Clerk, path: str, body: dict[str, object], told: str) -> None:
    answer = clerk.owner.client.post(f"/_emulator/{path}", json=body)
    assert answer.status_code == 400
    assert told in answer.json()[0]["message"]
