"""The second opinion in the whole chain: extract, stage, load, reconcile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from assets.reconciled import reconciled
from kpc.catalog import find_table
from kpc.errors import Mismatch
from kpc.partition import find_partition
from kpc.reconcile.mismatch_remedy import mismatch_remedy
from kpc.reconcile.report import last_report
from kpc.reconcile.second_opinion.coverage import SOME_BUCKETS, asked_buckets
from kpc.reconcile.second_opinion.result import DIFFERING
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")
Workspaces = Callable[..., Workspace]


def test_all_rows_of_a_small_table_are_compared(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """A value changed in the org differs from what Oracle said as well, and is named."""
    context = PartitionContext(workspaces(oracle, emulated().settings), PARTITION)
    rows = results_by_stage(context)["oracle_extract"].rows
    opinion = last_report(context).second_opinion
    assert opinion is not None
    assert (opinion.buckets, opinion.compared, opinion.differing, opinion.uncovered) == (256, rows, 0, ())
    target = PARTITION.table.target
    record = next(iter(context.salesforce.query(f"SELECT Id, External_ID__c FROM {target} LIMIT 1")))
    context.salesforce.tell("PATCH", f"/sobjects/{target}/{record['Id']}", {"Email__c": "invented@example.org"})
    with pytest.raises(Mismatch, match=DIFFERING):
        reconciled.materialize(context)
    opinion = last_report(context).second_opinion
    assert opinion is not None
    assert [one.key for one in opinion.differences] == [record["External_ID__c"]]


def test_rejected_rows_are_no_difference(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """Each planted bad row breaks a rule in Oracle's opinion too; all other rows of the month are compared."""
    source = oracles("--rows", "1500", "--months", "2024-01", "--with-bad-rows", "12")
    workspace = workspaces(source, emulated().settings)
    workspace.settings.reconcile.second_opinion = "full"
    rejected = 0
    for table in ("KPS_R_EMAIL_TENANT", "KPS_WEB_SALES", "KPS_T_SALES_M", "KPS_T_SALESPAY_MD"):
        key = "2024-01" if find_table(table).is_monthly else "ALL"
        context = PartitionContext(workspace, find_partition(table, key))
        made = results_by_stage(context)
        opinion = last_report(context).second_opinion
        assert opinion is not None
        assert opinion.differing == 0
        assert opinion.compared == made["sf_loaded"].detail["loaded"]
        rejected += int(made["staged_csv"].detail["rejected"])
    assert rejected > 0


def test_without_it_nothing_is_asked(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    workspace = workspaces(oracle, emulated().settings)
    workspace.settings.reconcile.second_opinion = "off"
    context = PartitionContext(workspace, PARTITION)
    assert results_by_stage(context)["reconciled"].state == "reconciled"
    assert sealed_extract(context).opinion_buckets == ()
    assert last_report(context).second_opinion is None


def test_a_difference_of_opinion_alone_has_a_remedy_of_its_own(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """Sending the rows again would send the same."""
    context = PartitionContext(workspaces(oracle, emulated().settings), PARTITION)
    results_by_stage(context)
    report = last_report(context)
    assert report.second_opinion is not None
    differing = report.second_opinion.model_copy(update={"differing": 1})
    remedy = mismatch_remedy(context, report.model_copy(update={"second_opinion": differing, "state": "mismatch"}))
    assert "docs/values.md" in remedy
    assert "sends every row again" not in remedy


def test_other_buckets_in_each_month() -> None:
    """Four of the 256, not the same ones."""
    chosen = [asked_buckets(find_partition("KPS_T_SALES_MD", f"2024-{month:02d}"), "some") for month in range(1, 13)]
    assert {len(buckets) for buckets in chosen} == {SOME_BUCKETS}
    assert len(set(chosen)) == 12
    assert asked_buckets(find_partition("KPS_T_SALES_MD", "2024-01"), "off") == ()
