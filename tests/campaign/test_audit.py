"""`kpc audit verify` finds what was changed behind the migration's back, and nothing in what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from kpc.campaign.audit import AuditCheck, check_audit, places_of
from kpc.campaign.plan import plan_campaign
from kpc.catalog import find_table
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")


def _checked(workspace: Workspace) -> AuditCheck:
    return check_audit(workspace.ledger, places_of(workspace.settings), reads_all=True)


@pytest.fixture
def finished(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Iterator[PartitionContext]:
    workspace = workspaces(oracle, emulated().settings)
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    context = PartitionContext(workspace, PARTITION)
    results_by_stage(context)
    yield context


def test_an_untouched_campaign_gives_no_finding(finished: PartitionContext) -> None:
    """Count, span and head are those of the log, and repeating a stage changes nothing about it."""
    found = _checked(finished.workspace)
    assert found.findings == []
    assert found.in_work == ()
    assert (found.entries, found.head) == finished.ledger.audit.head()
    assert found.first_utc is not None
    assert found.last_utc is not None
    assert found.files > 5
    results_by_stage(finished)
    assert _checked(finished.workspace).findings == []
