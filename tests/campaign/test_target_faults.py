"""Faults of an org, each planted in the emulator, and the check of preflight that must find it by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from emulated_org import Emulator, start_emulator

from kpc.campaign.system_check import CheckState, SystemCheck
from kpc.campaign.target_check import TargetPlan, check_target
from kpc.campaign.target_dry_run import MARK, made_up, run_dry
from kpc.catalog import TABLES
from kpc.salesforce import connect

WARNING, FAILED = CheckState.WARNING, CheckState.FAILED
ROWS = {"KPS_T_SALES_MD": 2_000_000}
USER = "integration@kpc.emulator"
_Json = dict[str, object]


@dataclass(frozen=True)
class PlantedInOrg:
    """A fault: how it is planted (permissions of the user, setup, switches), and what preflight must say."""

    subject: str
    check: str
    state: CheckState
    told: str
    permissions: _Json = field(default_factory=dict)
    setup: _Json = field(default_factory=dict)
    usage: _Json = field(default_factory=dict)


def right(name: str, which: str) -> _Json:
    return {"objects": {name: {which: False}}}


def automation(kind: str, name: str) -> _Json:
    return {kind: [{"object": name, "name": f"Planted_{kind}"}]}


FAULTS: dict[str, PlantedInOrg] = {
    "an object that the user may not see": PlantedInOrg(
        "KPS_WebSales__c", "schema", FAILED, "may not see it", right("KPS_WebSales__c", "read")
    ),
    "an object without Create": PlantedInOrg(
        "KPS_SalesBank__c", "access", FAILED, "no Create", right("KPS_SalesBank__c", "create")
    ),
    "an object without Edit": PlantedInOrg(
        "KPS_SalesPay__c", "access", FAILED, "no Edit", right("KPS_SalesPay__c", "edit")
    ),
    "an object without Delete": PlantedInOrg(
        "KPS_SalesApprv__c", "access", FAILED, "kpc rollback", right("KPS_SalesApprv__c", "delete")
    ),
    "a field that the user may not see": PlantedInOrg(
        "KPS_EmailTenant__c", "schema", FAILED, "Confflag__c: missing",
        {"fields": {"KPS_EmailTenant__c.Confflag__c": "none"}},
    ),
    "a field that the user may only read": PlantedInOrg(
        "KPS_PosSupplier__c", "schema", FAILED, "City__c: the integration user may not write it",
        {"fields": {"KPS_PosSupplier__c.City__c": "read"}},
    ),
    "foreign records are hidden": PlantedInOrg(
        "KPS_SalesM__c", "view all", FAILED, "sharing model Private",
        {"view_all_data": False, "modify_all_data": False}, {"sharing": {"KPS_SalesM__c": "Private"}},
    ),
    "foreign records are seen by sharing only": PlantedInOrg(
        "KPS_Sales__c", "view all", WARNING, "only because its sharing model is ReadWrite"
    ),
    "foreign records may not be changed": PlantedInOrg(
        "KPS_Preinv__c", "modify all", FAILED, "INSUFFICIENT_ACCESS_OR_READONLY",
        setup={"sharing": {"KPS_Preinv__c": "Read"}},
    ),
    "an active trigger": PlantedInOrg(
        "KPS_PreinvMin__c", "triggers", WARNING, "Planted_triggers", setup=automation("triggers", "KPS_PreinvMin__c")
    ),
    "an active flow": PlantedInOrg(
        "KPS_PreinvMin__c", "flows", WARNING, "Planted_flows", setup=automation("flows", "KPS_PreinvMin__c")
    ),
    "an active validation rule": PlantedInOrg(
        "KPS_PreinvDetail__c", "validation rules", WARNING, "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        setup=automation("validation_rules", "KPS_PreinvDetail__c"),
    ),
    "an active duplicate rule": PlantedInOrg(
        "KPS_EmailSupplier__c", "duplicate rules", WARNING, "DUPLICATES_DETECTED",
        setup=automation("duplicate_rules", "KPS_EmailSupplier__c"),
    ),
    "record types": PlantedInOrg(
        "KPS_PosSupplier__c", "record types", WARNING, "Planted_record_types",
        setup=automation("record_types", "KPS_PosSupplier__c"),
    ),
    "an external id that is none": PlantedInOrg(
        "KPS_PreinvRevgua__c", "schema", FAILED, "External_ID__c: is not an External ID",
        setup={"fields": {"KPS_PreinvRevgua__c.External_ID__c": {"external_id": False}}},
    ),
    "an external id that is not unique": PlantedInOrg(
        "KPS_PreinvRevsalesM__c", "schema", FAILED, "External_ID__c: is not unique",
        setup={"fields": {"KPS_PreinvRevsalesM__c.External_ID__c": {"unique": False}}},
    ),
    "an external id that treats case as different": PlantedInOrg(
        "KPS_PreinvRevsalesD__c", "external id case", WARNING, "differ only in case",
        setup={"fields": {"KPS_PreinvRevsalesD__c.External_ID__c": {"case_sensitive": True}}},
    ),
    "a partition marker without an index": PlantedInOrg(
        "KPS_SalesApprvDetail__c", "schema", FAILED, "Migration_Partition__c: is not an External ID",
        setup={"fields": {"KPS_SalesApprvDetail__c.Migration_Partition__c": {"external_id": False}}},
    ),
    "an encrypted partition marker": PlantedInOrg(
        "KPS_SalesM__c", "encryption", FAILED, "Migration_Partition__c of KPS_SalesM__c is encrypted",
        setup={"fields": {"KPS_SalesM__c.Migration_Partition__c": {"encrypted": True}}},
    ),
    "a lookup that locks nothing": PlantedInOrg(
        "KPS_Sales__c", "parent locks", WARNING, "wait needlessly for those of its sibling tables",
        setup={"fields": {"KPS_Sales__c.Sale__c": {"restricted_delete": False, "nillable": True}}},
    ),
    "an encrypted field": PlantedInOrg(
        "KPS_PosSupplier__c", "encryption", WARNING, "cannot be filtered",
        setup={"fields": {"KPS_PosSupplier__c.City__c": {"encrypted": True}}},
    ),
    "too little storage": PlantedInOrg(
        "org", "storage", FAILED, "STORAGE_LIMIT_EXCEEDED", setup={"storage_mb": 5_000, "storage_used_mb": 2_000}
    ),
    "no API calls left": PlantedInOrg("org", "API calls", WARNING, "are left today", usage={"api_requests": 4_999_000}),
    "no batches left": PlantedInOrg("org", "batches", WARNING, "are left today", usage={"batches": 14_990}),
    "no query jobs left": PlantedInOrg("org", "query jobs", WARNING, "are left today", usage={"query_jobs": 9_990}),
}  # fmt: skip


def admin(emulator: Emulator, method: str, path: str, body: object) -> None:
    address = f"{emulator.facts['base_url']}/_emulator/{path}"
    answer = httpx.request(method, address, json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text


def plant(emulator: Emulator, *faults: PlantedInOrg) -> None:
    permissions: _Json = {}
    setup: _Json = {}
    for fault in faults:
        merge(permissions, fault.permissions)
        merge(setup, fault.setup)
        admin(emulator, "POST", "usage", fault.usage)
    admin(emulator, "POST", "users", {"username": USER, "permissions": permissions})
    admin(emulator, "PATCH", "setup", setup)


def merge(into: _Json, more: _Json) -> None:
    for name, value in more.items():
        known = into.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            for inner, facts in value.items():
                known[inner] = {**known[inner], **facts} if isinstance(known.get(inner), dict) else facts
        elif isinstance(known, list) and isinstance(value, list):
            into[name] = [*known, *value]
        else:
            into[name] = dict(value) if isinstance(value, dict) else value


def checks_of(emulator: Emulator, **changes: object) -> dict[tuple[str, str], SystemCheck]:
    client = connect(emulator.settings.model_copy(update=changes))
    try:
        return {(each.subject, each.name): each for each in check_target(client, TargetPlan(rows=ROWS))}
    finally:
        client.close()


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = start_emulator(tmp_path_factory.mktemp("org"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def before(org: Emulator) -> dict[tuple[str, str], SystemCheck]:
    """What preflight says about the org without faults."""
    return checks_of(org)


@pytest.fixture(scope="module")
def after(org: Emulator, before: dict[tuple[str, str], SystemCheck]) -> dict[tuple[str, str], SystemCheck]:
    """What it says with all of them."""
    assert before
    plant(org, *FAULTS.values())
    return checks_of(org)


def test_an_org_without_faults_passes_every_check(before: dict[tuple[str, str], SystemCheck]) -> None:
    bad = [each for each in before.values() if each.state is not CheckState.OK]
    assert bad == []
    assert len(before) > 200


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_in_the_org(
    name: str, before: dict[tuple[str, str], SystemCheck], after: dict[tuple[str, str], SystemCheck]
) -> None:
    """By its own check of its own subject, which passed before, with what it means and a remedy."""
    planted = FAULTS[name]
    key = planted.subject, planted.check
    assert before[key].state is CheckState.OK
    assert after[key].state is planted.state
    assert planted.told in f"{after[key].message} {after[key].remedy}"
    assert after[key].remedy


@pytest.fixture
def own_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An org that one test may change."""
    emulator = start_emulator(tmp_path_factory.mktemp("own"))
    yield emulator
    emulator.stop()


def test_what_the_user_may_not_see_of_setup_is_a_warning(own_org: Emulator) -> None:
    plant(own_org, PlantedInOrg("", "", FAILED, "", {"view_setup": False}))
    found = checks_of(own_org)
    hidden = {subject for (subject, name), check in found.items() if name == "hidden setup" and check.state is WARNING}
    assert hidden == {"ObjectPermissions", "ApexTrigger", "FlowDefinitionView", "DuplicateRule", "ValidationRule"}
    assert ("KPS_SalesM__c", "triggers") not in found  # not said to be without any


def test_records_that_nobody_knows_are_a_warning_until_they_are_loaded(own_org: Emulator) -> None:
    client = connect(own_org.settings)
    supplier = TABLES["KPS_R_POS_SUPPLIER"]
    client.upsert_records(supplier.target, "External_ID__c", [made_up(supplier)])
    found = {(each.subject, each.name): each for each in check_target(client, TargetPlan())}
    assert found[supplier.target, "records"].state is WARNING
    assert "holds about 1 records although" in found[supplier.target, "records"].message
    plan = TargetPlan(loaded=frozenset({supplier.name}))
    found = {(each.subject, each.name): each for each in check_target(client, plan)}
    client.close()
    assert found[supplier.target, "records"].state is CheckState.OK


def test_without_a_plan_storage_cannot_be_judged(org: Emulator) -> None:
    client = connect(org.settings)
    found = {(each.subject, each.name): each for each in check_target(client, TargetPlan())}
    client.close()
    assert found["org", "storage"].state is WARNING
    assert "kpc plan --months" in found["org", "storage"].remedy


def test_a_user_without_the_api_is_told_so(own_org: Emulator) -> None:
    plant(own_org, PlantedInOrg("", "", FAILED, "", {"api_enabled": False}))
    found = checks_of(own_org)[own_org.facts["base_url"], "API"]
    assert found.state is FAILED
    assert "API_DISABLED_FOR_ORG" in found.message


def dry_run_of(emulator: Emulator) -> list[SystemCheck]:
    client = connect(emulator.settings)
    try:
        return list(run_dry(client))
    finally:
        client.close()


def left_in(emulator: Emulator) -> int:
    answer = httpx.get(f"{emulator.facts['base_url']}/_emulator/", timeout=60, trust_env=False).json()
    return sum(rows for name, rows in answer["records"].items() if name.endswith("__c"))


def test_a_dry_run_writes_reads_and_deletes_one_row_per_object(own_org: Emulator) -> None:
    checks = dry_run_of(own_org)
    assert [each for each in checks if each.state is not CheckState.OK] == []
    assert {each.subject for each in checks if each.name == "dry run"} == {table.target for table in TABLES.values()}
    written = httpx.get(f"{own_org.facts['base_url']}/_emulator/history", timeout=60, trust_env=False).json()
    assert [each["operation"] for each in written] == ["insert"] * 16 + ["delete"] * 16
    assert left_in(own_org) == 0


def test_a_dry_run_names_a_trigger_that_refuses_and_the_children_that_were_not_tried(own_org: Emulator) -> None:
    failing = {"triggers": [{"object": "KPS_PosSupplier__c", "fails": True}]}
    plant(own_org, PlantedInOrg("", "", FAILED, "", setup=failing))
    found = {each.subject: each for each in dry_run_of(own_org) if each.name == "dry run"}
    assert "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" in found["KPS_PosSupplier__c"].message
    assert "its parent's was refused" in found["KPS_EmailSupplier__c"].message
    assert found["KPS_SalesM__c"].state is CheckState.OK
    assert left_in(own_org) == 0


def test_a_dry_run_that_cannot_delete_leaves_what_the_next_one_removes(own_org: Emulator) -> None:
    """As after a kill, the records are found by their external id."""
    plant(own_org, PlantedInOrg("", "", FAILED, "", right("KPS_PosSupplier__c", "delete")))
    failed = [each for each in dry_run_of(own_org) if each.name == "dry run deleted" and not each.is_ok]
    assert [each.subject for each in failed] == ["KPS_PosSupplier__c"]
    assert left_in(own_org) == 1
    plant(own_org, PlantedInOrg("", "", FAILED, "", {"objects": {}}))
    found = [each for each in dry_run_of(own_org) if each.state is not CheckState.OK]
    assert [(each.subject, each.name) for each in found] == [("KPS_PosSupplier__c", "dry run leftover")]
    assert left_in(own_org) == 0


def test_an_interrupted_dry_run_deletes_what_it_has_written(own_org: Emulator) -> None:
    client = connect(own_org.settings)
    checks = run_dry(client)
    next(checks)
    assert left_in(own_org) == 1
    with pytest.raises(KeyboardInterrupt):
        checks.throw(KeyboardInterrupt())  # type: ignore[attr-defined]  it is a generator
    client.close()
    assert left_in(own_org) == 0


def test_a_version_that_the_org_does_not_know_is_named_with_one_that_it_does(own_org: Emulator) -> None:
    found = checks_of(own_org, api_version="42.0")
    assert found["org", "API version"].state is WARNING
    assert "KPC__SALESFORCE__API_VERSION to 66.0" in found["org", "API version"].remedy


def test_a_made_up_row_has_every_field_that_is_sent() -> None:
    for table in TABLES.values():
        sent = {column.field for column in table.sent_columns if column.field}
        assert sent <= set(made_up(table))
        assert made_up(table)["External_ID__c"] == MARK
