"""What was learned, planned, compared and signed is read back in its newest form."""

from __future__ import annotations

import pytest
from ledger_samples import PRODUCTION, SANDBOX, SUPPLIERS, take_lease
from sqlalchemy import text

from kpc.errors import ConfigError
from kpc.ledger import ChunkCounts, Compared, Ledger, Signer, SourceFinding
from kpc.ledger.states import SignOffDecision, SourceCheckState
from kpc.storage.store import FileEntry


def test_external_id_composition_is_frozen_while_the_org_holds_rows(ledger: Ledger) -> None:
    """Rows loaded under another composition of the key stop the table."""
    lease = take_lease(ledger, "run-a")
    version = ledger.mappings.remember(SUPPLIERS.table)
    file = FileEntry(name="c", rows=1, bytes=9, sha256="a" * 64)
    ledger.chunks.plan("g", version, [file], lease=lease)
    ledger.chunks.finish("g", version, "c", ChunkCounts(1, 1, 0, 0), lease=lease)
    ledger.mappings.check_external_id(SANDBOX, SUPPLIERS.table)
    with ledger.database.writing() as connection:
        connection.execute(text("UPDATE mapping_version SET external_id_version = 'other'"))
    with pytest.raises(ConfigError, match="external id was composed differently"):
        ledger.mappings.check_external_id(SANDBOX, SUPPLIERS.table)


def test_facts_scope_comparisons_and_sign_offs_are_read_back(ledger: Ledger) -> None:
    """What was learned, asked for, compared and signed is there in its newest form."""
    ledger.endpoints.remember("oracle", "h:1521", "DB1.1")
    ledger.endpoints.remember("oracle", "h:1521", "DB1.2")
    assert ledger.endpoints.identity_of("oracle", "h:1521") == "DB1.2"
    assert ledger.endpoints.identity_of("oracle", "elsewhere") is None
    ledger.org_facts.remember("00D1", "upload_encoding", "gzip")
    assert ledger.org_facts.find("00D1", "upload_encoding") == "gzip"
    for months in (["2024-01"], ["2024-01", "2024-02"]):
        ledger.scope.set(SANDBOX, months=months, tables=["KPS_T_SALES_M"], mode="full", run_id="r", actor="a")
    scope = ledger.scope.current(SANDBOX)
    assert scope is not None
    assert scope.months == ["2024-01", "2024-02"]
    lease = take_lease(ledger, "run-a")
    ledger.reconciliations.record("g", 1, [Compared(1, "old", "1", "2", passed=False)], lease=lease)
    ledger.reconciliations.record("g", 2, [Compared(1, "rows", "10", "10", passed=True, detail={"x": 1})], lease=lease)
    assert ledger.reconciliations.newest(SANDBOX, SUPPLIERS) == [
        Compared(1, "rows", "10", "10", passed=True, detail={"x": 1})
    ]
    signer = Signer("somchai", "OS user on kpc-1")
    ledger.sign_offs.record(SANDBOX, "reference", signer, decision=SignOffDecision.ACCEPTED, note="ok")
    assert [(s.subject, s.decision) for s in ledger.sign_offs.all(SANDBOX)] == [("reference", SignOffDecision.ACCEPTED)]


def test_the_newest_finding_of_each_partition_applies(ledger: Ledger) -> None:
    """Findings are kept, and the last one of a partition is read back with the SCN and time of its check."""
    table, moved = SUPPLIERS.table.name, {"rows": [4, 5], "numbers": {}}
    for scn, state, detail in ((10, SourceCheckState.UNCHANGED, {"rows": [4, 4]}), (20, SourceCheckState.MOVED, moved)):
        findings = [
            SourceFinding(table, "ALL", state, "g", 5, detail),
            SourceFinding("KPS_T_SALES_M", "2024-01", SourceCheckState.NOT_EXTRACTED, None, None, {"rows": 7}),
        ]
        ledger.source_checks.record(SANDBOX, findings, final_scn=scn, run_id="r", actor="dba")
    newest = {one.partition_key: one for one in ledger.source_checks.newest(SANDBOX)}
    assert {key: (one.state, one.scn, one.final_scn) for key, one in newest.items()} == {
        "ALL": (SourceCheckState.MOVED, 5, 20),
        "2024-01": (SourceCheckState.NOT_EXTRACTED, None, 20),
    }
    assert ledger.source_checks.of_partition(SANDBOX, SUPPLIERS) == newest["ALL"]
    assert newest["ALL"].detail == moved
    assert newest["ALL"].checked_utc == ledger.clock()
    assert ledger.source_checks.of_partition(PRODUCTION, SUPPLIERS) is None
