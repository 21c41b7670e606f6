"""What a sign-off report promises: everything that is signed for, in one printable file that nothing replaces."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from assets.reconciled import reconciled
from expectations import build_data_docs
from expectations.sign_off_report import write_report
from kpc.campaign.audit import check_audit, places_of
from kpc.campaign.certificates import current_certificates
from kpc.campaign.completeness import counted_completeness
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import sign_off
from kpc.catalog import Phase, find_table
from kpc.errors import ConfigError
from kpc.partition import Partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

TENANTS = find_table("KPS_R_EMAIL_TENANT")
SUPPLIERS = find_table("KPS_R_POS_SUPPLIER")


@pytest.fixture
def workspace(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Workspace:
    """Two tables planned, one of them reconciled."""
    opened = workspaces(oracle, emulated().settings)
    plan_campaign(opened, (SUPPLIERS, TENANTS), (), "full")
    results_by_stage(PartitionContext(opened, Partition(TENANTS, "ALL")))
    return opened


def write(workspace: Workspace, phase: Phase | None = Phase.REFERENCE) -> tuple[str, Path]:
    """A report's text, and its file."""
    file = write_report(workspace.settings.reconcile.docs_root, workspace, phase).file
    html = re.sub(r"<style>.*?</style>", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split()), file


def test_an_incomplete_phase_says_what_is_missing(workspace: Workspace) -> None:
    """First of all, with the command that completes it; a partition without a result is listed as such."""
    text, _ = write(workspace)
    assert "Not complete 1 of 2 partitions are not reconciled: KPS_R_POS_SUPPLIER ALL." in text
    assert "KPS_R_POS_SUPPLIER 0 of 1 0 0 0 0" in text
    assert "ALL · Waiting not yet extracted" in text


def test_a_complete_phase_has_everything_that_is_signed_for(workspace: Workspace) -> None:
    """Totals, coverage, objects, sign-offs, the audit log's head, and the hash of each stored result."""
    results_by_stage(PartitionContext(workspace, Partition(SUPPLIERS, "ALL")))
    counted_completeness(Phase.REFERENCE, workspace)
    sign_off("reference", None, workspace, accepts=True, note="typed by a person")
    head = workspace.ledger.audit.entries(limit=1)[0]
    text, _ = write(workspace)
    rows = int(workspace.ledger.object_checks.newest(workspace.environment)[TENANTS.name].records)
    assert "Complete: nothing is missing for the sign-off All 2 partitions in scope are reconciled" in text
    assert re.search(rf"KPS_R_EMAIL_TENANT 1 of 1 {rows:,} 0 {rows:,} 0 {rows:,}, 100[\s%]+{rows:,}, 100", text)
    assert f"KPS_R_EMAIL_TENANT KPS_EmailTenant__c {rows:,} {rows:,} 0" in text
    assert re.search(r"reference accepted stands test operating system user on \S+, not authenticated", text)
    assert "typed by a person" not in text
    assert f"audit entry {head.seq} ({head.entry_hash}) of" in text
    assert head.entry_hash in text
    for result in (workspace.settings.reconcile.docs_root / "gx/uncommitted/validations").rglob("*.json"):
        assert hashlib.sha256(result.read_bytes()).hexdigest() in text
    for certificate in current_certificates(workspace):
        assert certificate.sha256 in text
    assert "Name Role Date Signature" in text


def test_each_call_keeps_its_report_and_leaves_its_hash_in_the_audit_log(workspace: Workspace) -> None:
    """Nothing is overwritten; the overview links to all, in the site itself."""
    _, first = write(workspace)
    content = first.read_bytes()
    _, second = write(workspace, None)
    assert first.name.startswith("reference-")
    assert second.name.startswith("migration-")
    assert first.read_bytes() == content
    entries = workspace.ledger.audit.of_action("sign-off report", workspace.environment)
    assert [(one.detail["file"], one.detail["sha256"]) for one in entries] == [
        (file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in (first, second)
    ]
    assert check_audit(workspace.ledger, places_of(workspace.settings)).findings == []
    index = build_data_docs(workspace.settings.reconcile.docs_root)
    for file in (first, second):
        assert f'href="reports/{file.name}"' in index.read_text(encoding="utf-8")
        assert (index.parent / "reports" / file.name).read_bytes() == file.read_bytes()


def test_a_changed_report_is_found(workspace: Workspace) -> None:
    """The audit log vouches for the file."""
    _, file = write(workspace)
    file.write_bytes(file.read_bytes().replace(b"Not complete", b"Complete"))
    (finding,) = check_audit(workspace.ledger, places_of(workspace.settings)).findings
    assert file.name in finding


def test_a_weaker_check_stands_on_the_page_of_the_verdict_that_it_does_not_replace(workspace: Workspace) -> None:
    """It has no page of its own, and is not hidden either."""
    context, root = PartitionContext(workspace, Partition(TENANTS, "ALL")), workspace.settings.reconcile.docs_root
    reconciled.materialize(context, level3="off")
    index = build_data_docs(root, workspace)
    (page,) = (index.parent / "validations").rglob("*.html")
    assert "A later, weaker check does not replace this verdict: " in page.read_text(encoding="utf-8")
    assert "no record compared: no difference." in page.read_text(encoding="utf-8")


def test_a_report_needs_nothing_but_itself(workspace: Workspace) -> None:
    """One file with its style, for light, dark and paper: no link, no script, no address."""
    _, file = write(workspace)
    html = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(|<script|<link rel=\"style| src=", html)
    assert "@media print" in html
    assert "prefers-color-scheme: dark" in html


def test_without_a_plan_there_is_nothing_to_report(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """The message says how to plan."""
    opened = workspaces(oracle, emulated().settings)
    with pytest.raises(ConfigError, match="No campaign has been planned yet"):
        write_report(opened.settings.reconcile.docs_root, opened, None)


def test_facts_of_the_campaign_are_plain_json(workspace: Workspace) -> None:
    """What `kpc docs` keeps beside the results: the plan, with where each partition is."""
    build_data_docs(workspace.settings.reconcile.docs_root, workspace)
    kept = json.loads((workspace.settings.reconcile.docs_root / "gx/uncommitted/campaign.json").read_text())
    found = {one["table"]: (one["reached"], one["verdict"]) for one in kept["partitions"]}
    assert found == {TENANTS.name: ("compared", "reconciled"), SUPPLIERS.name: ("planned", "")}
