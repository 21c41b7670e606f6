"""`kpc audit verify` finds what was changed outside of the migration, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer
from pydantic import SecretStr
from sqlalchemy import text

from assets.reconciled import reconciled
from kpc.campaign.audit import AuditCheck, Places, check_audit, check_export, export_log, places_of, read_anchors
from kpc.campaign.certificates import public_key_pem, read_public_key
from kpc.campaign.certificates.signing import private_key
from kpc.campaign.plan import plan_campaign
from kpc.catalog import find_table
from kpc.ledger import open_ledger
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import leased
from kpc.stages.workspace import Workspace
from kpc.staging.cleanup import clean_up
from kpc.storage.store import Store

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


def test_a_new_chain_is_found_by_an_anchor_from_elsewhere(finished: PartitionContext, tmp_path: Path) -> None:
    """Whoever owns ledger, files and results can undo everything since an export, but not the export."""
    file = Path(str(finished.ledger.database.engine.url.database))
    before = tmp_path / "before.db"
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(before)) as target:
        source.backup(target)
    reconciled.materialize(finished)
    anchor = tmp_path / "log.jsonl"
    anchor.write_text("".join(f"{line}\n" for line in export_log(finished.ledger)))
    assert check_audit(finished.ledger, places_of(finished.settings), anchors=read_anchors(anchor)).findings == []
    with closing(open_ledger(f"sqlite:///{before}")) as ledger:
        elsewhere = Places(Store(tmp_path / "no-staging"), tmp_path / "no-docs")
        findings = check_audit(ledger, elsewhere, anchors=read_anchors(anchor)).findings
    assert any("which" in line and "log.jsonl" in line and "cut" in line for line in findings)


def test_an_export_is_signed(finished: PartitionContext, tmp_path: Path) -> None:
    """A changed line, a changed head, another key, and a missing signature are each found, without the ledger."""
    settings = finished.settings.model_copy(update={"certificate_key": SecretStr("5" * 64)})
    other = finished.settings.model_copy(update={"certificate_key": SecretStr("6" * 64)})
    key, other_key = ((tmp_path / name) for name in ("key.pem", "other.pem"))
    key.write_text(public_key_pem(settings))
    other_key.write_text(public_key_pem(other))
    path = tmp_path / "log.jsonl"
    lines = list(export_log(finished.ledger, private_key(settings)))

    def findings(changed: list[str], public: Path | None = key) -> str:
        path.write_text("".join(f"{line}\n" for line in changed))
        return " ".join(check_export(path, read_public_key(public) if public else ""))

    assert findings(lines) == findings(lines, None) == ""
    assert read_anchors(path)[0].seq == len(lines) - 1
    assert "its lines do not have the sha256" in findings([lines[0].replace("test", "nobody"), *lines[1:]])
    assert "its lines do not have the sha256" in findings(lines[1:], None)
    assert "was not signed by the key" in findings([*lines[:-1], lines[-1].replace('"seq":', '"seq":1')], None)
    assert "signed by another key" in findings(lines, other_key)
    unsigned = list(export_log(finished.ledger))
    assert findings(unsigned, None) == ""
    assert "is not a signed export" in findings(unsigned)


def test_an_interrupted_stage_is_no_tampering(finished: PartitionContext) -> None:
    """Its rows may change until it is repeated; a change without recorded work remains a finding."""
    with leased(finished, SF_LOADED) as held:
        finished.ledger.attempts.begin("01HWT0DWZG1N8SXCMYSKGYGQJW", "version", run_id="r", lease=held.lease)
    found = _checked(finished.workspace)
    assert found.findings == []
    assert ["sf_loaded" in work for work in found.in_work] == [True]
    results_by_stage(finished)
    found = _checked(finished.workspace)
    assert (found.findings, found.in_work) == ([], ())
    with finished.ledger.database.writing() as connection:
        connection.execute(text("UPDATE job SET rows = rows + 1"))
    results_by_stage(finished)
    assert any(
        "ingest jobs" in line and "while no stage was at work" in line for line in _checked(finished.workspace).findings
    )


def test_archived_chunks_are_no_tampering(finished: PartitionContext) -> None:
    """Each has a tombstone; a chunk that vanishes without one is found."""
    (chunk,) = finished.store.root.glob("*/*/*/*/*/staged-*/chunk-*.csv.gz")
    content = chunk.read_bytes()
    chunk.unlink()
    (finding,) = _checked(finished.workspace).findings
    assert chunk.name in finding
    chunk.write_bytes(content)
    assert clean_up(finished, "delete") is not None
    assert not chunk.exists()
    assert _checked(finished.workspace).findings == []
