"""Which verdict stands: a sample is a state of its own, and a weaker check replaces no stronger one of that data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from assets.reconciled import reconciled
from kpc.campaign.completeness import completeness, counted_completeness
from kpc.campaign.plan import plan_campaign
from kpc.catalog import Phase, find_table
from kpc.errors import Mismatch
from kpc.partition import find_partition
from kpc.reconcile.report import ReconciliationReport, last_report
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")


@pytest.fixture
def loaded(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Iterator[PartitionContext]:
    context = PartitionContext(workspaces(oracle, emulated().settings), PARTITION)
    results_by_stage(context)
    yield context


def _damage(context: PartitionContext) -> Callable[[], None]:
    """Change a field that no aggregate measures; returns what sets it right."""
    target = PARTITION.table.target
    record = next(iter(context.salesforce.query(f"SELECT Id, Email__c FROM {target} LIMIT 1")))
    path = f"/sobjects/{target}/{record['Id']}"
    context.salesforce.tell("PATCH", path, {"Email__c": "invented@example.org"})
    return lambda: context.salesforce.tell("PATCH", path, {"Email__c": record["Email__c"]})


def test_a_weaker_check_changes_no_mismatch(loaded: PartitionContext) -> None:
    """No record is read: the mismatch stays, also once the record is right, until all were compared again."""
    heal = _damage(loaded)
    with pytest.raises(Mismatch):
        reconciled.materialize(loaded)
    found = last_report(loaded)
    with pytest.raises(Mismatch, match="every record was compared"):
        reconciled.materialize(loaded, level3="off")
    assert last_report(loaded) == found
    heal()
    with pytest.raises(Mismatch, match="every record was compared"):
        reconciled.materialize(loaded, level3="off")
    assert reconciled.materialize(loaded).state == "reconciled"


def test_a_sample_changes_no_mismatch(loaded: PartitionContext) -> None:
    """Whether or not the one record of the sample is the damaged one."""
    loaded.settings.reconcile.sample_rows = 1
    _damage(loaded)
    for level3 in ("full", "sample", "sample", "sample"):
        with pytest.raises(Mismatch):
            reconciled.materialize(loaded, level3=level3)


def test_a_weaker_check_leaves_a_proof(loaded: PartitionContext) -> None:
    """All records were compared; a sample that agrees later takes nothing away, and each check keeps its report."""
    result = reconciled.materialize(loaded, level3="sample")
    assert result.state == "reconciled"
    assert "no difference" in str(result.detail["weaker_check"])
    assert last_report(loaded).level3 == "full"
    folder = loaded.paths.generation(result.generation).reconciled
    kept = [loaded.store.manifest(folder, ReconciliationReport, path.name) for path in folder.glob("report-*.json")]
    assert sorted(report.level3 for report in kept if report) == ["full", "sample"]


def test_a_weaker_check_that_finds_something_counts(loaded: PartitionContext) -> None:
    """A difference is a difference, however few records were compared."""
    target = PARTITION.table.target
    record = next(iter(loaded.salesforce.query(f"SELECT Id FROM {target} LIMIT 1")))
    loaded.salesforce.tell("DELETE", f"/sobjects/{target}/{record['Id']}", {})
    with pytest.raises(Mismatch):
        reconciled.materialize(loaded, level3="off")
    assert last_report(loaded).state == "mismatch"


def test_a_sample_is_no_proof(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """The state says `sampled` and how many of how many; the phase is incomplete and names the command."""
    workspace = workspaces(oracle, emulated().settings)
    workspace.settings.reconcile.level3 = "sample"
    workspace.settings.reconcile.sample_rows = 3
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    context = PartitionContext(workspace, PARTITION)
    result = results_by_stage(context)["reconciled"]
    assert result.state == "sampled"
    assert result.detail["share"] == f"3 of {result.detail['source_rows']}"
    seeds = {last_report(context).seed}
    for _ in range(2):
        reconciled.materialize(context)
        seeds.add(last_report(context).seed)
    assert len(seeds) == 3
    found = completeness(Phase.REFERENCE, workspace)
    assert found is not None
    assert not found.is_complete
    assert "`kpc reconcile KPS_R_EMAIL_TENANT ALL --level3 full`" in found.summary
    assert reconciled.materialize(context, level3="full").state == "reconciled"
    found = counted_completeness(Phase.REFERENCE, workspace)
    assert found is not None
    assert found.is_complete, found.summary


def test_a_new_load_ends_the_verdict(loaded: PartitionContext, workspaces: Callable[..., Workspace]) -> None:
    """What was proven of an older load says nothing about a newer one."""
    again = PartitionContext(loaded.workspace, PARTITION)
    loaded.settings.reconcile.level3 = "off"
    assert results_by_stage(again)["reconciled"].state == "sampled"
