"""The whole road: partitions travel from Oracle to Salesforce through the four stage functions, and are proven."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from assets.graph import materialize_lineage
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.errors import ConfigError, DamagedFile, Mismatch
from kpc.partition import Partition, find_partition, month_keys, partitions_of
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.result import StageResult
from kpc.stages.workspace import Workspace

MONTHS = month_keys("2024-01", 3)
Workspaces = Callable[..., Workspace]


def travel(partition: Partition, workspace: Workspace, **options: str) -> dict[str, StageResult]:
    """All four results by stage."""
    return results_by_stage(PartitionContext(workspace, partition), **options)


def with_ancestors(table: Table) -> list[Table]:
    """A table's parents, their parents, and the table itself, in load order."""
    wanted = {table.name}
    for candidate in reversed(TABLES.values()):
        if candidate.name in wanted:
            wanted |= {lookup.parent for lookup in candidate.lookups}
    return [candidate for candidate in TABLES.values() if candidate.name in wanted]


def test_every_table_arrives_and_is_proven(
    oracle: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """All 16 tables, months and ALL, end reconciled at all three levels, every row accounted for."""
    workspace = workspaces(oracle, salesforce)
    for table in TABLES.values():
        for partition in partitions_of(table, MONTHS):
            made = travel(partition, workspace)
            extracted, staged = made["oracle_extract"].rows, made["staged_csv"].detail
            proof = made["reconciled"]
            assert extracted == staged["staged"] + staged["unchanged"] + staged["rejected"], partition
            assert staged["rejected"] == 0, partition
            assert made["sf_loaded"].detail["loaded"] == staged["staged"], partition
            assert proof.state == "reconciled", partition
            assert [proof.detail[f"level{level}"] for level in (1, 3)] == ["pass", "pass"]
            assert proof.detail["level2"] == ("pass" if table.measures else "skipped")
            assert proof.detail["target_rows"] == extracted
    assert workspace.ledger.audit.verify() == []


def test_a_finished_partition_is_not_sent_again(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """Running it again reads a new generation, finds every row unchanged and creates no ingest job."""
    workspace = workspaces(oracle, emulated().settings)
    partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
    first = travel(partition, workspace)
    second = travel(partition, workspaces(oracle, workspace.settings.salesforce, "again"))
    assert first["staged_csv"].rows > 0
    assert second["staged_csv"].rows == 0
    assert second["staged_csv"].detail["unchanged"] == first["staged_csv"].rows
    assert second["sf_loaded"].detail["jobs"] == 0
    assert second["reconciled"].state == "reconciled"
    assert second["oracle_extract"].generation != first["oracle_extract"].generation


def test_only_changed_rows_are_sent(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """After an update of one row in Oracle exactly that row is sent, and the partition is proven again."""
    source = oracles("--rows", "1500", "--months", "2024-01")
    workspace = workspaces(source, emulated().settings)
    partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
    travel(partition, workspace)
    source.execute(
        "UPDATE KPS_R_EMAIL_TENANT SET EMAIL = 'new@example.org' "
        "WHERE ROWID = (SELECT MIN(ROWID) FROM KPS_R_EMAIL_TENANT)"
    )
    made = travel(partition, workspace)
    assert made["staged_csv"].detail["staged"] == 1
    assert made["reconciled"].state == "reconciled"


def test_a_full_run_sends_everything(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """Mode full does not trust what was loaded before."""
    workspace = workspaces(oracle, emulated().settings)
    partition = find_partition("KPS_R_POS_SUPPLIER", "ALL")
    first = travel(partition, workspace)
    second = travel(partition, workspace, mode="full")
    assert second["staged_csv"].rows == first["staged_csv"].rows > 0
    assert second["sf_loaded"].detail["created"] == 0


def test_an_empty_month_flows_through(
    oracle: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """A month without rows is a partition like any other, with zeros."""
    workspace = workspaces(oracle, salesforce)
    for table in ("KPS_T_SALES_M", "KPS_T_SALES_MD"):
        made = travel(find_partition(table, "2019-01"), workspace)
        assert [stage_result.rows for stage_result in made.values()] == [0, 0, 0, 0]
        assert made["reconciled"].state == "reconciled"


def test_a_child_waits_for_its_parent(
    oracle: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """A line is not loaded before its month's headers; the error names what to run first."""
    workspace = workspaces(oracle, salesforce)
    with pytest.raises(ConfigError, match=r"kpc run KPS_T_SALES_M 2024-01"):
        travel(find_partition("KPS_T_SALES_MD", "2024-01"), workspace)


def test_bad_rows_become_listed_exceptions(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """Each planted bad row is rejected with its rule; the rest arrives, and the difference is explained."""
    source = oracles("--rows", "3000", "--months", "2024-01", "--with-bad-rows", "12")
    workspace = workspaces(source, emulated().settings)
    rejected, states = 0, set()
    for table in TABLES.values():
        for partition in partitions_of(table, MONTHS[:1]):
            made = travel(partition, workspace)
            rejected += int(made["staged_csv"].detail["rejected"])
            states.add(made["reconciled"].state)
            listed = workspace.ledger.failures.of_partition(workspace.environment, partition)
            assert len(listed) == made["staged_csv"].detail["rejected"] + made["sf_loaded"].detail["failed"]
    assert rejected >= 12
    assert states == {"reconciled", "reconciled_with_exceptions"}


CHANGES = {
    "text": ("KPS_R_POS_SUPPLIER", {"Name_E__c": "somebody else"}),
    "checkbox": ("KPS_R_EMAIL_TENANT", {"Active__c": None}),  # flipped below
    "number": ("KPS_T_SALES_APPRV_DETAIL", {"Qty__c": 987.1234}),
    "currency": ("KPS_WEB_SALES", {"Total_Amt__c": 0.01}),
    "date": ("KPS_T_PREINV", {"Due_Date__c": "2001-02-03"}),
    "datetime": ("KPS_T_SALESBANK_MD", {"Createddate__c": "2001-02-03T04:05:06.000Z"}),
    "picklist": ("KPS_T_PREINV", {"Status__c": None}),
    "email": ("KPS_R_EMAIL_TENANT", {"Email__c": "someone@else.example"}),
}


@pytest.mark.parametrize(("table_name", "change"), CHANGES.values(), ids=list(CHANGES))
def test_one_planted_wrong_value_is_found(
    table_name: str,
    change: dict[str, object],
    oracle: OracleServer,
    salesforce: SalesforceSettings,
    workspaces: Workspaces,
) -> None:
    """Whatever the type of the field: one value changed in the org is a mismatch that names the record and field."""
    from assets.reconciled import reconciled
    from kpc.reconcile.report import last_report

    workspace = workspaces(oracle, salesforce)
    for table in with_ancestors(TABLES[table_name]):
        travel(find_partition(table.name, "ALL"), workspace, mode="full")
    partition = find_partition(table_name, "ALL")
    (field,) = change
    record = next(iter(workspace.salesforce.query(
        f"SELECT Id, External_ID__c, {field} FROM {partition.table.target} ORDER BY External_ID__c LIMIT 1"
    )))  # fmt: skip
    value = change[field]
    if field == "Active__c":
        value = not record[field]
    workspace.salesforce.tell("PATCH", f"/sobjects/{partition.table.target}/{record['Id']}", {field: value})
    with pytest.raises(Mismatch):
        reconciled.materialize(PartitionContext(workspace, partition))
    report = last_report(PartitionContext(workspace, partition))
    assert report.records is not None
    assert report.records.changed_fields == ((record["External_ID__c"], (field,)),)
    assert workspace.ledger.stages.reconciliation_state(workspace.environment, partition) == "mismatch"


def test_a_lost_and_a_foreign_record_are_found(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """One record deleted and one added leave the count equal; level 3 names both keys."""
    from assets.reconciled import reconciled
    from kpc.reconcile.report import last_report

    workspace = workspaces(oracle, emulated().settings)
    partition = find_partition("KPS_R_POS_SUPPLIER", "ALL")
    travel(partition, workspace)
    target = partition.table.target
    record = next(iter(workspace.salesforce.query(f"SELECT Id, External_ID__c FROM {target} LIMIT 1")))
    workspace.salesforce.tell("DELETE", f"/sobjects/{target}/{record['Id']}", {})
    foreign = {
        "External_ID__c": "ZZZ",
        "Pos_Supplier_Code__c": "ZZZ",
        "Migration_Partition__c": "ALL/000",
        "Migration_Generation__c": "x",
    }
    workspace.salesforce.tell("POST", f"/sobjects/{target}", foreign)
    with pytest.raises(Mismatch):
        reconciled.materialize(PartitionContext(workspace, partition))
    report = last_report(PartitionContext(workspace, partition))
    assert report.verdict(1) == "pass"
    assert report.records is not None
    assert report.records.missing_keys == (record["External_ID__c"],)
    assert report.records.surplus_keys == ("ZZZ",)


def test_a_truncated_extract_is_not_staged(
    oracle: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """A Parquet file that lost its end is an error with the remedy, and nothing looks staged."""

    workspace = workspaces(oracle, salesforce)
    partition = find_partition("KPS_T_PREINV", "ALL")
    stage_result = next(iter(materialize_lineage(PartitionContext(workspace, partition), stages=("oracle_extract",))))
    folder = PartitionContext(workspace, partition).paths.generation(stage_result.generation).extract
    file = next(folder.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match="kpc run KPS_T_PREINV ALL"):
        travel(partition, workspace, stages=("staged_csv",))
    assert not list(folder.parent.glob("staged-*/manifest.json"))


@pytest.mark.parametrize(
    ("damaged", "stage"), [("extract", "staged_csv"), ("staged-*", "sf_loaded"), ("loaded-*", "reconciled")]
)
def test_a_partition_whose_manifest_is_damaged_can_be_made_again(
    oracle: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces, damaged: str, stage: str
) -> None:
    """The stage that reads it stops and names the command; that command makes the partition anew."""
    partition = find_partition("KPS_R_POS_SUPPLIER", "ALL")
    workspace = workspaces(oracle, salesforce)
    travel(partition, workspace)
    (manifest,) = workspace.store.root.rglob(f"{damaged}/manifest.json")
    manifest.write_bytes(manifest.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match="kpc rerun TABLE KEY --mode full"):
        travel(partition, workspace, stages=(stage,))  # type: ignore[arg-type]
    assert travel(partition, workspace, mode="full")["reconciled"].state == "reconciled"


def test_a_truncated_chunk_is_not_loaded(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """A CSV chunk that changed since it was staged is refused before a job is created."""
    workspace = workspaces(oracle, emulated().settings)
    partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
    for _ in materialize_lineage(PartitionContext(workspace, partition), stages=("oracle_extract", "staged_csv")):
        pass
    (chunk,) = workspace.store.root.rglob("chunk-*.csv.gz")
    chunk.write_bytes(chunk.read_bytes()[:-10])
    with pytest.raises(DamagedFile, match="kpc rerun KPS_R_EMAIL_TENANT ALL"):
        travel(partition, workspace, stages=("sf_loaded",))
    assert workspace.salesforce.count(partition.table.target) == 0


def test_a_missing_column_stops_the_partition(
    oracles: Callable[..., OracleServer], salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """Schema drift names the column before a row is read."""
    source = oracles("--rows", "500", "--months", "2024-01")
    source.execute("ALTER TABLE KPS_R_POS_SUPPLIER DROP COLUMN CITY")
    with pytest.raises(ConfigError, match="CITY: declared as VARCHAR2"):
        travel(find_partition("KPS_R_POS_SUPPLIER", "ALL"), workspaces(source, salesforce))
