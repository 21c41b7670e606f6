"""The audit log is one chain that nobody can change unseen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import process_time

import pytest
from ledger_samples import SANDBOX, SUPPLIERS
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kpc.ledger import Compared, Ledger, Signer, Vouched
from kpc.ledger.audit_replay import AuditReplay
from kpc.ledger.states import SignOffDecision
from kpc.partition import Environment


def _append(ledger: Ledger, count: int = 4) -> None:
    for number in range(count):
        ledger.audit.append(
            "stage",
            actor="สมชาย",
            run_id="r",
            partition=SUPPLIERS,
            detail={"rows": number, "share": 0.1, "by_size": {2: "b", 10: "a"}},
        )


def _triggers_off(ledger: Ledger) -> list[str]:
    if ledger.database.engine.dialect.name == "postgresql":
        return [
            f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in ("migration_audit_log", "migration_audit_head")
        ]
    return [
        "DROP TRIGGER migration_audit_log_no_update",
        "DROP TRIGGER migration_audit_log_no_delete",
        "DROP TRIGGER migration_audit_head_no_delete",
    ]


def test_concurrent_entries_form_one_chain(ledger: Ledger) -> None:
    """Eight workers append together: no gap, no fork."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _append(ledger, 5), range(8)))
    assert [entry.seq for entry in ledger.audit.entries()] == list(range(1, 41))
    assert ledger.audit.verify() == []


def test_an_entry_that_vouches_for_rows_is_written_in_their_transaction(ledger: Ledger) -> None:
    """The rows are read through a cursor where there are many; what is written afterwards is not."""
    environment = Environment("1-KPC", "00D")
    with ledger.together():
        number = ledger.scope.set(
            environment, months=["2024-01"], tables=["KPS_T_SALES_M"], mode="full", run_id="r", actor="a"
        )
        ledger.audit.append("plan", actor="a", run_id="r", vouched=Vouched((("scope", str(number)),)))
    (entry,) = ledger.audit.entries()
    assert list(entry.detail["vouched"]["rows"]["scope"]) == [str(number)]
    assert ledger.audit.verify() == []


@pytest.mark.parametrize(
    "statement", ["UPDATE migration_audit_log SET actor = 'x'", "DELETE FROM migration_audit_log WHERE seq = 4"]
)
def test_database_refuses_to_change_the_audit_log(ledger: Ledger, statement: str) -> None:
    """Append-only is enforced where every client passes."""
    _append(ledger)
    with pytest.raises(DBAPIError, match="append-only"), ledger.database.writing() as connection:
        connection.execute(text(statement))
    assert ledger.audit.verify() == []


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (["UPDATE migration_audit_log SET actor = 'x' WHERE seq = 2"], "Entry 2 was changed"),
        (["DELETE FROM migration_audit_log WHERE seq = 2"], "Entry 3 follows entry 1"),
        (["DELETE FROM migration_audit_log WHERE seq = 4"], "the end was changed or cut"),
        (["DELETE FROM migration_audit_log WHERE seq = 1"], "Entry 2 follows entry 0"),
        (["DELETE FROM migration_audit_log"], "the end was changed or cut"),
        (["DELETE FROM migration_audit_head"], "head of the log is missing"),
        (
            [
                "UPDATE migration_audit_log SET seq = 99 WHERE seq = 2",
                "UPDATE migration_audit_log SET seq = 2 WHERE seq = 3",
                "UPDATE migration_audit_log SET seq = 3 WHERE seq = 99",
            ],
            "Entry 2 does not continue",
        ),
        (
            [
                (
                    "INSERT INTO migration_audit_log SELECT 5, at_utc, actor, run_id, 'forged', source_id, target_id, "
                    "table_name, partition_key, stage, generation, mapping_version, detail, entry_hash, entry_hash "
                    "FROM migration_audit_log WHERE seq = 4"
                )
            ],
            "Entry 5 was changed",
        ),
    ],
)
def test_tampering_is_found(ledger: Ledger, tamper: list[str], finding: str) -> None:
    """Changed, removed, inserted and reordered entries show, even to somebody who got around the triggers."""
    _append(ledger)
    assert ledger.audit.verify() == []
    with ledger.database.writing() as connection:
        for statement in [*_triggers_off(ledger), *tamper]:
            connection.execute(text(statement))
    assert any(finding in line for line in ledger.audit.verify()), ledger.audit.verify()


def _row_findings(ledger: Ledger) -> list[str]:
    replay = AuditReplay()
    with ledger.database.reading() as connection:
        broken = list(ledger.audit.chain(connection, replay.add))
        return [*broken, *replay.findings, *replay.compare(connection)]


def test_a_row_and_what_vouches_for_it_are_one_transaction(ledger: Ledger) -> None:
    """Both are there or neither is, and a row that is changed, removed or added later is found."""
    signer = Signer("somchai", "operating system user on kpc-1")

    def sign(subject: str) -> None:
        with ledger.together():
            number = ledger.sign_offs.record(SANDBOX, subject, signer, decision=SignOffDecision.ACCEPTED)
            vouched = Vouched((("sign_off", str(number)),))
            ledger.audit.append("sign-off accepted", actor="somchai", run_id="r", vouched=vouched)
            if subject == "broken":
                raise KeyboardInterrupt

    sign("reference")
    with pytest.raises(KeyboardInterrupt):
        sign("broken")
    sign("sales")
    assert [one.subject for one in ledger.sign_offs.all(SANDBOX)] == ["reference", "sales"]
    assert _row_findings(ledger) == []
    ledger.sign_offs.record(SANDBOX, "masters", signer, decision=SignOffDecision.ACCEPTED)
    with ledger.database.writing() as connection:
        connection.execute(text("UPDATE sign_off SET note = 'x' WHERE subject = 'reference'"))
        connection.execute(text("DELETE FROM sign_off WHERE subject = 'sales'"))
    changed, vanished, added = sorted(_row_findings(ledger), key=lambda line: line[-3:])
    assert {"changed after entry 1", "vanished from the ledger after entry 2", "without an audit entry"} == {
        words
        for line in (changed, vanished, added)
        for words in ("changed after entry 1", "vanished from the ledger after entry 2", "without an audit entry")
        if words in line
    }


def test_stage_runs_are_checked_in_milliseconds(ledger: Ledger) -> None:
    """Thirty comparisons each: 4,000 runs take seconds. Measured in CPU time of this process."""
    owner = ledger.leases.acquire(SANDBOX, SUPPLIERS, "reconciled", owner="r", ttl_s=600, wait_s=0)
    compared = [Compared(2, f"measure {number}", "1.5", "1.5", passed=True) for number in range(30)]
    with ledger.together():
        for _ in range(400):
            run = ledger.stages.start(
                SANDBOX,
                SUPPLIERS,
                "reconciled",
                generation="g",
                mapping_version="m",
                run_id="r",
                actor="a",
                mode="full",
            )
            ledger.reconciliations.record("g", run, compared, lease=owner)
            groups = (("stage_run", str(run)), ("reconciliation", str(run)))
            ledger.audit.append("reconciled", actor="a", run_id="r", partition=SUPPLIERS, vouched=Vouched(groups))
    began_s = process_time()
    assert _row_findings(ledger) == []
    assert process_time() - began_s < 2
