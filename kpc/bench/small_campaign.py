"""A small campaign, planned, run, reconciled in full and signed off, to be tampered with."""

from __future__ import annotations

from pathlib import Path

from kpc.bench.figures import Figure
from kpc.bench.load import emulator
from kpc.bench.oracle_emulator import started_emulator
from kpc.bench.oracle_tables import MONTH
from kpc.bench.stage_partition import STAGES_IN_ORDER, open_between
from kpc.bench.tamperings import CampaignFolders, TamperingsFound, find_tamperings
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import sign_off
from kpc.catalog import find_table
from kpc.catalog.types import ALL
from kpc.partition import Partition
from kpc.stages.context import PartitionContext

_TABLE = "KPS_R_EMAIL_TENANT"
_ROWS = 2_000  # over all tables
_LEAST = 30


def tampering_figures(folder: Path) -> tuple[TamperingsFound, list[Figure]]:
    """Tamper with ledger, files and results of a campaign that is made in `folder`; what the audit finds of it."""
    table = find_table(_TABLE)
    with (
        started_emulator(_ROWS, MONTH) as oracle,
        emulator(folder / "org") as org,
        open_between(str(folder), oracle.login, org) as workspace,
    ):
        plan_campaign(workspace, (table,), (), "full")
        context = PartitionContext(workspace, Partition(table, ALL))
        for stage in STAGES_IN_ORDER:
            stage.materialize(context)
        sign_off(table.phase.value, None, workspace, accepts=True, note="bench")
        places = CampaignFolders(folder / "ledger.db", workspace.store.root, workspace.settings.reconcile.docs_root)
    found = find_tamperings(places, folder / "tampered")
    return found, [
        Figure("tamperings with ledger, files and results", float(found.planted), f">= {_LEAST}"),
        Figure("of these found by the audit", float(found.found), f">= {found.planted}"),
        Figure("findings where nobody tampered", float(len(found.false_alarms)), "<= 0"),
    ]
