"""A ledger that an earlier version wrote is read in full and written on.

`ledger-0001.sql` is a dump of such a ledger; it has at least one row in every table, and every state in its column.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import JANUARY, PRODUCTION, SUPPLIERS
from moved_clock import MovedClock
from sqlalchemy import Column, select

from kpc.errors import Paused, QuotaExhausted, Transient
from kpc.ledger import Allowance, ChunkCounts, Compared, JobIntent, Lease, Ledger, QuotaRequest, open_ledger
from kpc.ledger.audit_replay import AuditReplay
from kpc.ledger.schema import metadata
from kpc.ledger.schema.columns import EnumText, JsonText, UtcDateTime
from kpc.ledger.states import (
    AttemptState,
    ChunkState,
    FailureClass,
    GenerationState,
    JobPurpose,
    JobState,
    PauseScope,
    SignOffDecision,
    StageState,
)
from kpc.partition import find_partition

DUMP = Path(__file__).with_name("ledger-0001.sql")
WRITTEN_UNTIL = datetime(2024, 5, 1, 12, 3, tzinfo=UTC)
VERSION = "92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608"
ABANDONED, OLDER, CURRENT = (
    "01HWT0DM680PJMV810JH1RJCPF",
    "01HWT0DP4RNZDFQ77DF3A01M6Z",
    "01HWT0DWZG1N8SXCMYSKGYGQJW",
)  # of the suppliers
ROLLED_BACK = "01HWT0FPK8Q1D61VJDGBG0DA19"  # of January
FEBRUARY = find_partition("KPS_T_SALES_M", "2024-02")
LOADING, UNFINISHED = "01HWT0G85RHM8VKZ0GTK6HY2H3", "01HWT0GC2R3BV6FXW25151HBY4"  # of February
# of later migrations
NEW_TABLES = {
    "alert",
    "alert_message",
    "campaign",
    "campaign_constant",
    "campaign_start",
    "failure_report",
    "object_check",
    "query_job",
    "snapshot",
    "source_check",
    "source_database",
}  # of later migrations
TABLES = sorted(set(metadata.tables) - NEW_TABLES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(DUMP.read_text(encoding="utf-8"))
    connection.close()
    return path


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock(WRITTEN_UNTIL)


@pytest.fixture
def old(file: Path, clock: MovedClock) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{file}", clock=clock)
    yield ledger
    ledger.close()


def _plainly(column: Column[Any], text: Any) -> Any:
    """A value as the database file holds it, decoded without the ledger's code."""
    if text is None:
        return None
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    if isinstance(column.type, JsonText):
        return json.loads(text)
    return text


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_read_as_it_was_written(file: Path, old: Ledger, name: str) -> None:
    """The tables' columns give back exactly what the file holds, and no table of the sample is empty."""
    table = metadata.tables[name]
    with sqlite3.connect(file) as connection:
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        rows = connection.execute(f"SELECT {names} FROM {name}")
        written = [tuple(map(_plainly, table.columns, row)) for row in rows]
    connection.close()
    with old.database.reading() as reading:
        read = [tuple(row) for row in reading.execute(select(table))]
    assert sorted(read, key=str) == sorted(written, key=str)
    assert written


ADDED_SINCE = {AttemptState.SUPERSEDED, SignOffDecision.REVOKED, StageState.SAMPLED}


@pytest.mark.parametrize("name", TABLES)
def test_sample_has_every_state(old: Ledger, name: str) -> None:
    """No member that an enum had at that time is missing in the sample, so none can have become unreadable."""
    for column in metadata.tables[name].columns:
        if isinstance(column.type, EnumText):
            with old.database.reading() as connection:
                found = set(connection.execute(select(column)).scalars())
                assert found == set(column.type.members) - ADDED_SINCE, column


def test_extracts_and_stages_stand_where_they_stood(old: Ledger) -> None:
    """Current, unfinished, abandoned and rolled back extracts, and what each partition's stages came to."""
    current = old.generations.current(PRODUCTION, SUPPLIERS)
    assert current is not None
    assert (current.id, current.ordinal, current.scn, current.rows) == (CURRENT, 3, 1003, 20)
    unfinished = old.generations.unfinished(PRODUCTION, FEBRUARY)
    assert unfinished is not None
    assert unfinished.id == UNFINISHED
    assert old.generations.current(PRODUCTION, JANUARY) is None
    abandoned, rolled_back = old.generations.find(ABANDONED), old.generations.find(ROLLED_BACK)
    assert abandoned is not None
    assert rolled_back is not None
    assert (abandoned.state, abandoned.reason) == (GenerationState.ABANDONED, "its SCN can no longer be read")
    assert rolled_back.state is GenerationState.ROLLED_BACK
    assert old.generations.known([CURRENT, "elsewhere"]) == {CURRENT}
    assert old.stages.is_loaded(PRODUCTION, SUPPLIERS)
    assert not old.stages.is_loaded(PRODUCTION, JANUARY)
    assert old.stages.loaded_generation(PRODUCTION, SUPPLIERS) == current
    assert old.stages.reconciliation_state(PRODUCTION, SUPPLIERS) is StageState.RECONCILED_WITH_EXCEPTIONS
    assert old.stages.staged_before(PRODUCTION, SUPPLIERS, CURRENT) == [(OLDER, VERSION)]
    newest = {(run.partition_key, run.stage): run.state for run in old.stages.newest(PRODUCTION)}
    assert newest == {
        ("ALL", "oracle_extract"): StageState.DONE,
        ("ALL", "staged_csv"): StageState.DONE,
        ("ALL", "sf_loaded"): StageState.DONE,
        ("ALL", "reconciled"): StageState.RECONCILED_WITH_EXCEPTIONS,
        ("2024-01", "oracle_extract"): StageState.DONE,
        ("2024-01", "sf_loaded"): StageState.ROLLED_BACK,
        ("2024-02", "oracle_extract"): StageState.RUNNING,
    }
    loaded = old.stages.last(PRODUCTION, SUPPLIERS, "sf_loaded", generation=CURRENT)
    assert loaded is not None
    assert (loaded.actor, loaded.detail) == ("สมชาย", {"loaded": 4, "created": 3})


def test_loads_stand_where_they_stood(old: Ledger) -> None:
    """Chunks, jobs and failed rows are known with their states, and a lease is still held by its owner."""
    done, planned = old.chunks.of_generation(CURRENT, VERSION)
    assert (done.state, done.loaded, done.created, done.failed, done.unprocessed) == (ChunkState.DONE, 4, 3, 5, 1)
    assert (planned.state, planned.loaded) == (ChunkState.PLANNED, None)
    assert old.chunks.planned(PRODUCTION, SUPPLIERS) == [done, planned]
    states = [job.state for job in old.jobs.of_chunk(CURRENT, VERSION, done.name)]
    assert states == [JobState.GIVEN_UP, JobState.ABORTED, JobState.FAILED, JobState.COMPLETE]
    at_work = [(job.state, job.job_id) for job in old.jobs.at_work(PRODUCTION, FEBRUARY)]
    assert at_work == [
        (JobState.INTENDED, None),
        (JobState.OPEN, "750000000000000008"),
        (JobState.CLOSING, "750000000000000009"),
        (JobState.CLOSED, "750000000000000010"),
    ]
    (retried,) = old.jobs.at_work(PRODUCTION, SUPPLIERS)
    assert (retried.state, retried.purpose) == (JobState.ENDED, JobPurpose.RETRY)
    assert old.jobs.in_flight(PRODUCTION.target_id) == 4
    assert old.jobs.is_known(PRODUCTION.target_id, "750000000000000006")
    failed = {record.external_id: record.error_class for record in old.failures.of_partition(PRODUCTION, SUPPLIERS)}
    assert failed == {f"K{number}": each for number, each in enumerate(FailureClass, 1)}
    assert old.failures.count_of_class(PRODUCTION, SUPPLIERS.table, FailureClass.ORG) == 1
    assert ("KPS_R_POS_SUPPLIER", "ALL", "DATA", 1) in old.failures.counts(PRODUCTION)
    with pytest.raises(Transient, match=r"run-3; its lease runs until 2024-05-01 12:11:45 UTC"):
        old.leases.acquire(PRODUCTION, FEBRUARY, "sf_loaded", owner="run-4", ttl_s=60, wait_s=0)


def test_quota_and_pauses_still_stop_jobs(old: Ledger, clock: MovedClock) -> None:
    """What was used counts for its 24 h, a refusal of the org until its end, and a pause until it is lifted."""
    target = PRODUCTION.target_id
    assert old.quota.used(target) == (80, 8)
    state = old.quota.state(target)
    assert (state.rows, state.batches, state.others_batches, state.calls, state.calls_max) == (80, 8, 34, 1234, 100_000)
    assert state.blocked_reason == "ExceededQuota"
    with pytest.raises(QuotaExhausted) as caught:
        old.quota.check(target, QuotaRequest(1, 1), Allowance())
    assert caught.value.next_free_utc == state.blocked_until_utc == datetime(2024, 5, 1, 18, 0, tzinfo=UTC)
    assert old.quota.next_expiry(target) == datetime(2024, 5, 2, 12, 1, 45, tzinfo=UTC)
    active = [(pause.kind, pause.name, pause.reason) for pause in old.pauses.active(PRODUCTION)]
    assert active == [
        (PauseScope.ALL, "all", "maintenance"),
        (PauseScope.PHASE, "sales", None),
        (PauseScope.TABLE, "KPS_T_SALES_M", "refused by the org"),
    ]
    assert len(old.pauses.active(PRODUCTION, SUPPLIERS.table)) == 1
    with pytest.raises(Paused, match="maintenance"):
        old.pauses.check(PRODUCTION, SUPPLIERS.table)
    clock.advance(hours=24, minutes=1)
    assert old.quota.used(target) == (0, 0)


def test_decisions_and_facts_are_known(old: Ledger) -> None:
    """Scope, comparisons, sign-offs, mapping, identities and what was learned about the org."""
    scope = old.scope.current(PRODUCTION)
    assert scope is not None
    assert (scope.months, scope.mode, scope.actor) == (["2024-01", "2024-02"], "full", "สมชาย")
    assert scope.unassigned == {"KPS_T_SALES_M": {"no date": 3}}
    assert old.reconciliations.newest(PRODUCTION, SUPPLIERS) == [
        Compared(1, "rows", "20", "20", passed=True),
        Compared(2, "sum Amount__c", "12.50", None, passed=True, detail={"column": "AMOUNT"}),
    ]
    signed = [(each.subject, each.actor, each.decision) for each in old.sign_offs.all(PRODUCTION)]
    assert signed == [
        ("reference", "สมชาย", SignOffDecision.ACCEPTED),
        ("sales", "สมหญิง", SignOffDecision.REFUSED),
    ]
    assert old.endpoints.identity_of("oracle", "db.example:1521/KPC") == PRODUCTION.source_id
    assert old.endpoints.identity_of("salesforce", "https://example.my.salesforce.com") == PRODUCTION.target_id
    assert old.endpoints.root_of(PRODUCTION) == old.endpoints.claim_root(PRODUCTION, "another") == "root-0001"
    assert old.org_facts.find(PRODUCTION.target_id, "upload_encoding") == "gzip"


def _row_findings(ledger: Ledger) -> list[str]:
    replay = AuditReplay()
    with ledger.database.reading() as connection:
        broken = list(ledger.audit.chain(connection, replay.add))
        return [*broken, *replay.findings, *replay.compare(connection)]


def test_audit_chain_is_whole_and_continues(old: Ledger) -> None:
    """The entries' hashes are those that the earlier version computed, and new entries join the same chain."""
    assert [entry.action for entry in old.audit.entries()] == [
        "campaign planned",
        "sf_loaded done",
        "sign-off accepted",
        "ledger upgraded",  # vouches for what was there before entries did
    ]
    assert old.audit.verify() == []
    assert _row_findings(old) == []
    assert old.audit.append("stage", actor="สมชาย", run_id="run-4", partition=SUPPLIERS, detail={"rows": 1}) == 5
    assert old.audit.verify() == []


def _february(old: Ledger) -> Lease:
    return old.leases.acquire(PRODUCTION, FEBRUARY, "sf_loaded", owner="run-4", ttl_s=600, wait_s=0)


def test_interrupted_load_goes_on(old: Ledger, clock: MovedClock) -> None:
    """A new worker takes over the dead one's lease, ends its jobs, loads the chunk and books the stage."""
    clock.now = datetime(2024, 5, 1, 18, 1, tzinfo=UTC)  # after the lease and the refusal of the org
    lease = _february(old)
    assert lease.token == 2
    assert old.pauses.lift(PRODUCTION, PauseScope.ALL, "all", actor="DBA") == 3
    assert old.attempts.begin(LOADING, VERSION, run_id="run-4", lease=lease) == 1
    for job in old.jobs.at_work(PRODUCTION, FEBRUARY):
        old.jobs.end(job.id, state=JobState.ABORTED, lease=lease)
    assert old.jobs.at_work(PRODUCTION, FEBRUARY) == []
    assert old.quota.used(PRODUCTION.target_id) == (60, 6)  # what was only reserved is free again
    intent = JobIntent(LOADING, VERSION, "chunk-00001.csv.gz", 1, "KPS_SalesM__c", "External_ID__c", 10, 1)
    job = old.jobs.intend(intent, slots=15, allowance=Allowance(), lease=lease)
    assert job is not None
    assert job.id == 11
    assert old.jobs.mark_open(job.id, "750000000000000011", lease=lease)
    old.jobs.mark_closing(job.id, lease=lease)
    old.jobs.end(job.id, state=JobState.COMPLETE, lease=lease)
    assert old.quota.used(PRODUCTION.target_id) == (70, 7)


def test_interrupted_partition_is_finished(old: Ledger, clock: MovedClock) -> None:
    """The open chunk of the suppliers is finished by the run that holds the lease, and a newer extract replaces all."""
    lease = old.leases.acquire(PRODUCTION, SUPPLIERS, "sf_loaded", owner="run-1", ttl_s=600, wait_s=0)
    assert (lease.token, lease.is_reentered) == (1, True)
    old.chunks.finish(CURRENT, VERSION, "chunk-00002.csv.gz", ChunkCounts(10, 10, 0, 0), lease=lease)
    assert {chunk.state for chunk in old.chunks.of_generation(CURRENT, VERSION)} == {ChunkState.DONE}
    clock.advance(hours=1)
    extract = old.leases.acquire(PRODUCTION, SUPPLIERS, "oracle_extract", owner="run-4", ttl_s=600, wait_s=0)
    newer = old.generations.start(
        PRODUCTION, SUPPLIERS, scn=2000, mode="full", spec_hash="spec-1", run_id="run-4", lease=extract
    )
    old.generations.seal(newer, rows=21, raw_bytes=2100, lease=extract)
    current = old.generations.current(PRODUCTION, SUPPLIERS)
    assert current is not None
    assert (current.id, current.ordinal) == (newer, 4)
    assert current.ended_utc == WRITTEN_UNTIL + timedelta(hours=1)
    assert not old.stages.is_loaded(PRODUCTION, SUPPLIERS)
