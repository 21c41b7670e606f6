"""A ledger and an org that were loaded when markers named the partition alone: the next load gives them buckets."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from assets.reconciled import reconciled
from kpc.errors import Mismatch
from kpc.partition import Partition, find_partition
from kpc.reconcile.report import last_report
from kpc.salesforce import Salesforce
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")


def _markers(salesforce: Salesforce, partition: Partition) -> set[str]:
    found = salesforce.query(f"SELECT Migration_Partition__c FROM {partition.table.target}")
    return {str(record["Migration_Partition__c"]) for record in found}


def _made_old(workspace: Workspace, context: PartitionContext) -> None:
    """Records and loaded index as an older version left them."""
    target = PARTITION.table.target
    ids = [record["Id"] for record in workspace.salesforce.query(f"SELECT Id FROM {target}")]
    bodies = [{"Id": record_id, "Migration_Partition__c": "ALL"} for record_id in ids]
    assert not any(saved.error for saved in workspace.salesforce.update_records(target, bodies))
    index = context.paths.loaded_index
    pl.read_parquet(index).drop("has_bucket").write_parquet(index)


def test_the_next_load_gives_every_record_its_bucket(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """Until then a reconciliation names the field and the command; then all rows are sent once, and proven."""
    workspace = workspaces(oracle, emulated().settings)
    context = PartitionContext(workspace, PARTITION)
    rows = results_by_stage(context)["staged_csv"].rows
    assert _markers(workspace.salesforce, PARTITION) == {"ALL/000"}
    _made_old(workspace, context)
    with pytest.raises(Mismatch, match=r"kpc run KPS_R_EMAIL_TENANT ALL --only-keys "):
        reconciled.materialize(context)
    records = last_report(context).records
    assert records is not None
    assert (records.changed, records.missing, records.surplus) == (rows, 0, 0)
    assert {fields for _, fields in records.changed_fields} == {("Migration_Partition__c",)}
    again = results_by_stage(PartitionContext(workspaces(oracle, workspace.settings.salesforce, "again"), PARTITION))
    assert again["staged_csv"].rows == rows
    assert _markers(workspace.salesforce, PARTITION) == {"ALL/000"}
    assert again["reconciled"].state == "reconciled"
    third = results_by_stage(PartitionContext(workspaces(oracle, workspace.settings.salesforce, "third"), PARTITION))
    assert third["staged_csv"].rows == 0
