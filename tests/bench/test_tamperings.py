"""Every tampering with a finished, signed-off campaign is found, and nothing is found where nobody tampered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from kpc.bench.tamperings import TAMPERINGS, CampaignFolders, find_tamperings
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import sign_off
from kpc.catalog import find_table
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace


def test_tamperings_are_found(
    oracle: OracleServer,
    emulated: Callable[..., Emulator],
    workspaces: Callable[..., Workspace],
    tmp_path: Path,
) -> None:
    """At least thirty of them, by `kpc audit verify` or `kpc certificate verify`."""
    workspace = workspaces(oracle, emulated().settings)
    partition = find_partition("KPS_R_EMAIL_TENANT", "ALL")
    plan_campaign(workspace, (find_table(partition.table.name),), (), "full")
    results_by_stage(PartitionContext(workspace, partition))
    sign_off("reference", None, workspace, accepts=True, note="checked")
    ledger = Path(str(workspace.ledger.database.engine.url.database))
    campaign = CampaignFolders(ledger, workspace.store.root, workspace.settings.reconcile.docs_root)
    found = find_tamperings(campaign, tmp_path / "scratch")
    assert found.false_alarms == ()
    assert found.missed == ()
    assert found.found == found.planted == len(TAMPERINGS) >= 30
