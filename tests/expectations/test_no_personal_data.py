"""No value and no key of a row is on any page, in any result or report: planted ones are looked for in every file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer
from staged_samples import put_foreign

from expectations import build_data_docs
from expectations.sign_off_report import write_report
from kpc.campaign.plan import plan_campaign
from kpc.catalog import find_table
from kpc.catalog.table import Table
from kpc.catalog.types import FieldKind
from kpc.errors import Mismatch
from kpc.partition import Partition
from kpc.reconcile.whole_object import check_object
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

PLANTED = "zqx"  # in front of every text; no word of ours contains it
TABLES = tuple(find_table(name) for name in ("KPS_R_POS_SUPPLIER", "KPS_R_EMAIL_TENANT"))
TEXTS = (FieldKind.STRING, FieldKind.EMAIL, FieldKind.PHONE)


@pytest.fixture
def campaign(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Workspace:
    """Two tables whose texts are planted; of one, a row is refused, a record altered, and two records are foreign."""
    source = oracles("--rows", "1500", "--months", "2024-01")
    for table in TABLES:
        plant(source, table)
    source.execute(f"UPDATE KPS_R_EMAIL_TENANT SET EMAIL = '{PLANTED} is no address' WHERE ROWNUM = 1")
    workspace = workspaces(source, emulated().settings)
    plan_campaign(workspace, TABLES, (), "full")
    for table in TABLES:
        results_by_stage(PartitionContext(workspace, Partition(table, "ALL")))
    return workspace


def plant(source: OracleServer, table: Table) -> None:
    """Put the mark in front of every text that is long enough, keys included; a short key stays unique as it is."""
    for column in table.columns:
        if column.type.kind in TEXTS and (column.source.size or 0) > 5:
            planted = f"SUBSTR('{PLANTED}' || {column.name}, 1, {column.source.size})"
            source.execute(f"UPDATE {table.name} SET {column.name} = {planted} WHERE {column.name} IS NOT NULL")


def leaking(folder: Path) -> list[str]:
    """The files in which a planted value stands, or whose name has one."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [file.name for file in files if PLANTED in (file.name + file.read_text(encoding="utf-8")).lower()]


def differ(workspace: Workspace, table: Table) -> None:
    """One altered record, and one of somebody else with this partition's marker: a mismatch with keys."""
    context = PartitionContext(workspace, Partition(table, "ALL"))
    query = f"SELECT External_ID__c FROM {table.target} WHERE Migration_Partition__c = 'ALL/000' LIMIT 1"
    (record,) = workspace.salesforce.query(query)
    put_foreign(workspace, context.partition, [record["External_ID__c"]], Migration_Partition__c="ALL/000")
    put_foreign(workspace, context.partition, [f"{PLANTED}-foreign|1"], Migration_Partition__c="ALL/000")
    put_foreign(workspace, context.partition, [f"{PLANTED}-foreign|2"], Migration_Partition__c="?")


def test_planted_values_are_on_no_page(campaign: Workspace) -> None:
    """Refused rows, differing and foreign records: the pages count them, only the restricted file names them."""
    root, (_, tenants) = campaign.settings.reconcile.docs_root, TABLES
    assert campaign.ledger.failures.counts(campaign.environment)
    build_data_docs(root, campaign)
    write_report(root, campaign, None)
    assert leaking(root) == []

    differ(campaign, tenants)
    from assets.reconciled import reconciled

    with pytest.raises(Mismatch):
        reconciled.materialize(PartitionContext(campaign, Partition(tenants, "ALL")))
    check_object(campaign, tenants)
    index = build_data_docs(root, campaign)
    report = write_report(root, campaign, None)
    assert "KPS_R_EMAIL_TENANT ALL</a> differs" in index.read_text(encoding="utf-8")
    assert not report.is_complete
    pages = [page.read_text(encoding="utf-8") for page in index.parent.rglob("*KPS_R_EMAIL_TENANT*/*/*.html")]
    (page,) = (page for page in pages if "Mismatch: " in page)
    assert "1 record: <strong>not from Oracle</strong>" in page
    assert "kpc rerun KPS_R_EMAIL_TENANT ALL --only-keys /" in page
    assert leaking(root) == []
    assert any(name.startswith("report-") for name in leaking_json(campaign))


def leaking_json(workspace: Workspace) -> list[str]:
    """The reports below the staging root do name keys: what the pages are searched for is there to be found."""
    files = workspace.store.root.rglob("report-*.json")
    return [file.name for file in files if PLANTED in file.read_text(encoding="utf-8").lower()]
