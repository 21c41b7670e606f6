"""What the ledger promises to a worker: a lease, a fence, one chain, one count, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kpc.errors import ConfigError, LeaseLost, QuotaExhausted, Superseded, Terminal, Transient
from kpc.ledger import Allowance, ChunkCounts, Compared, Failure, JobIntent, JobRow, Lease, Ledger, open_ledger
from kpc.partition import Partition, find_partition
from kpc.storage.store import Environment, FileEntry

SANDBOX = Environment("DB1.1", "00Dsandbox")
PRODUCTION = Environment("DB1.1", "00Dproduction")
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
JANUARY = find_partition("KPS_T_SALES_M", "2024-01")
STAGE = "sf_loaded"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/ledger.db" if is_sqlite else request.getfixturevalue("postgres_database")
    opened = open_ledger(url, clock=clock)
    yield opened
    opened.close()


def _take(ledger: Ledger, owner: str, partition: Partition = SUPPLIERS, *, wait_s: float = 0) -> Lease:
    return ledger.acquire_lease(SANDBOX, partition, STAGE, owner=owner, ttl_s=60, wait_s=wait_s)


def _generation(ledger: Ledger, lease: Lease, *, seal: bool = True) -> str:
    generation = ledger.start_generation(
        lease.environment, lease.partition, scn=1, mode="full", spec_hash="s", run_id="r", lease=lease
    )
    if seal:
        ledger.seal_generation(generation, rows=10, raw_bytes=100, lease=lease)
    return generation


def _intend(
    ledger: Ledger, lease: Lease, *, rows: int = 10_000, slots: int = 15, allowance: Allowance | None = None
) -> JobRow | None:
    intent = JobIntent("g", "m", "chunk-00001", 1, "Obj__c", "External_ID__c", rows, -(-rows // 10_000))
    return ledger.intend_job(intent, slots=slots, allowance=allowance or Allowance(), lease=lease)


def test_second_worker_waits_then_is_told_who_works(ledger: Ledger) -> None:
    """A lease that stays taken ends the wait with an error that names its holder and its end."""
    _take(ledger, "run-a")
    with pytest.raises(Transient, match=r"run-a; its lease runs until 2024-05-01 12:01:00 UTC"):
        _take(ledger, "run-b", wait_s=0.1)


def test_waiting_worker_gets_the_lease_when_it_is_free(ledger: Ledger) -> None:
    """The loser of a race gets the lease afterwards and knows that it waited."""
    first = _take(ledger, "run-a")
    release = threading.Timer(0.3, ledger.release_lease, [first])
    release.start()
    second = _take(ledger, "run-b", wait_s=20)
    release.join()
    assert second.has_waited
    assert second.token == first.token + 1


def test_same_owner_reenters_and_does_not_free_the_outer_lease(ledger: Ledger) -> None:
    """Tasks of one run share the run's lease; leaving an inner block keeps it."""
    outer = _take(ledger, "run-a")
    with ledger.lease(SANDBOX, SUPPLIERS, STAGE, owner="run-a", ttl_s=60, wait_s=0) as inner:
        assert inner.token == outer.token
        assert inner.is_reentered
    ledger.require_lease(outer)


def test_expired_holder_is_fenced_off(ledger: Ledger, clock: Clock) -> None:
    """After a takeover every write of the old holder fails, and leaves nothing behind."""
    old = _take(ledger, "run-a")
    clock.advance(seconds=61)
    new = _take(ledger, "run-b")
    assert new.token > old.token
    with pytest.raises(LeaseLost, match="run-b has taken it over"):
        _generation(ledger, old)
    assert old.lost.is_set()
    assert ledger.open_generation(SANDBOX, SUPPLIERS) is None
    ledger.release_lease(old)
    ledger.require_lease(new)


def test_expired_lease_that_nobody_took_still_counts(ledger: Ledger, clock: Clock) -> None:
    """A worker that was only slow goes on."""
    lease = _take(ledger, "run-a")
    clock.advance(hours=5)
    assert _generation(ledger, lease)


def test_held_lease_is_renewed_in_the_background(tmp_path: Path) -> None:
    """A worker that takes longer than the lease's life keeps it."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with ledger.lease(SANDBOX, SUPPLIERS, STAGE, owner="run-a", ttl_s=0.6, wait_s=0) as lease:
        time.sleep(1.2)
        with pytest.raises(Transient):
            _take(ledger, "run-b")
        ledger.require_lease(lease)
    assert _take(ledger, "run-b")
    ledger.close()


def test_only_one_of_many_gets_a_new_lease(ledger: Ledger) -> None:
    """Eight workers ask for a lease that never existed; one gets it."""

    def ask(number: int) -> bool:
        try:
            _take(ledger, f"run-{number}")
        except Transient:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


def test_leases_of_another_org_or_partition_are_free(ledger: Ledger) -> None:
    """A sandbox run blocks neither production nor another partition."""
    _take(ledger, "run-a")
    assert ledger.acquire_lease(PRODUCTION, SUPPLIERS, STAGE, owner="run-b", ttl_s=60, wait_s=0)
    assert _take(ledger, "run-b", JANUARY)


def test_generation_lives_from_open_to_current(ledger: Ledger) -> None:
    """An extract is resumable while open and current once sealed; a new one replaces an unfinished one."""
    lease = _take(ledger, "run-a")
    first = _generation(ledger, lease, seal=False)
    found = ledger.open_generation(SANDBOX, SUPPLIERS)
    assert found is not None
    assert found.id == first
    assert ledger.current_generation(SANDBOX, SUPPLIERS) is None
    second = _generation(ledger, lease)
    assert ledger.open_generation(SANDBOX, SUPPLIERS) is None
    current = ledger.current_generation(SANDBOX, SUPPLIERS)
    assert current is not None
    assert (current.id, current.ordinal, current.rows) == (second, 2, 10)
    assert ledger.current_generation(PRODUCTION, SUPPLIERS) is None
    with pytest.raises(Terminal, match="not open"):
        ledger.seal_generation(first, rows=1, raw_bytes=1, lease=lease)


def test_partition_is_loaded_only_at_its_current_generation(ledger: Ledger) -> None:
    """A new extract makes a loaded partition count as not loaded until it is loaded again."""
    lease = _take(ledger, "run-a")
    generation = _generation(ledger, lease)
    run = ledger.start_stage(
        SANDBOX, SUPPLIERS, STAGE, generation=generation, mapping_version="m", run_id="r", actor="a", mode="full"
    )
    assert not ledger.is_loaded(SANDBOX, SUPPLIERS)
    ledger.finish_stage(run, state="done", rows=10, bytes=100, detail={"created": 10}, lease=lease)
    assert ledger.is_loaded(SANDBOX, SUPPLIERS)
    assert not ledger.is_loaded(PRODUCTION, SUPPLIERS)
    _generation(ledger, lease)
    assert not ledger.is_loaded(SANDBOX, SUPPLIERS)


def test_status_shows_the_newest_run_of_each_stage(ledger: Ledger) -> None:
    """Old runs do not hide new ones, and a failure is kept with its reason."""
    for error in ("first", "second"):
        run = ledger.start_stage(
            SANDBOX, SUPPLIERS, STAGE, generation=None, mapping_version=None, run_id="r", actor="a", mode="full"
        )
        ledger.fail_stage(run, error)
    (row,) = ledger.stages(SANDBOX)
    assert (row.state, row.error) == ("failed", "second")
    assert ledger.stages(PRODUCTION) == []


def test_older_generation_cannot_load_after_a_newer_one(ledger: Ledger) -> None:
    """A late load of old data is refused; an interrupted attempt keeps its number."""
    lease = _take(ledger, "run-a")
    old, new = _generation(ledger, lease), _generation(ledger, lease)
    assert ledger.begin_attempt(old, "m", run_id="r", lease=lease) == 1
    assert ledger.begin_attempt(old, "m", run_id="r2", lease=lease) == 1
    assert ledger.begin_attempt(new, "m", run_id="r", lease=lease) == 1
    ledger.end_attempt(new, "m", 1, state="failed", error="x", lease=lease)
    assert ledger.begin_attempt(new, "m", run_id="r", lease=lease) == 2
    with pytest.raises(Superseded, match="older"):
        ledger.begin_attempt(old, "m", run_id="r", lease=lease)


def test_chunk_that_changed_after_planning_is_refused(ledger: Ledger) -> None:
    """The bytes that were planned are the bytes that are sent; what is done stays done."""
    lease = _take(ledger, "run-a")
    file = FileEntry(name="chunk-00001.csv.gz", rows=3, bytes=9, sha256="a" * 64, raw_bytes=30)
    (chunk,) = ledger.plan_chunks("g", "m", [file], lease=lease)
    assert chunk.state == "planned"
    ledger.finish_chunk("g", "m", chunk.name, ChunkCounts(loaded=2, created=1, failed=1, unprocessed=0), lease=lease)
    (again,) = ledger.plan_chunks("g", "m", [file], lease=lease)
    assert (again.state, again.loaded, again.failed) == ("done", 2, 1)
    with pytest.raises(Terminal, match="not the file that was planned"):
        ledger.plan_chunks("g", "m", [file.model_copy(update={"sha256": "b" * 64})], lease=lease)


def test_slots_are_counted_over_all_partitions(ledger: Ledger) -> None:
    """Twenty workers of two partitions ask for five slots; five get one, and a finished job frees its slot."""
    leases = [_take(ledger, "run-a"), _take(ledger, "run-b", JANUARY)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda n: _intend(ledger, leases[n % 2], slots=5), range(20)))
    taken = [job for job in claimed if job is not None]
    assert len(taken) == ledger.jobs_in_flight(SANDBOX.target_id) == 5
    mine = taken[0]
    lease = leases[0] if mine.table_name == SUPPLIERS.table.name else leases[1]
    ledger.end_job(mine.id, state="complete", lease=lease)
    assert _intend(ledger, lease, slots=5) is not None


def test_forgotten_job_frees_its_slot_in_time(ledger: Ledger, clock: Clock) -> None:
    """A job whose worker died does not block the others for ever."""
    lease = _take(ledger, "run-a")
    assert _intend(ledger, lease, slots=1)
    clock.advance(minutes=14)
    assert _intend(ledger, lease, slots=1) is None
    clock.advance(minutes=2)
    assert _intend(ledger, lease, slots=1)


def test_quota_is_never_exceeded_and_frees_after_a_day(ledger: Ledger, clock: Clock) -> None:
    """The job that does not fit is refused with the moment when it will; released reservations count no more."""
    lease = _take(ledger, "run-a")
    allowance = Allowance(rows=25_000, batches=3)
    first = _intend(ledger, lease, allowance=allowance)
    second = _intend(ledger, lease, allowance=allowance)
    assert first is not None
    assert second is not None
    clock.advance(hours=1)
    ledger.job_closing(first.id, lease=lease)
    with pytest.raises(QuotaExhausted) as caught:
        _intend(ledger, lease, allowance=allowance)
    assert caught.value.next_free_utc == datetime(2024, 5, 2, 12, 1, tzinfo=UTC)
    ledger.end_job(second.id, state="aborted", lease=lease)
    assert ledger.quota_used(SANDBOX.target_id) == (10_000, 1)
    assert _intend(ledger, lease, allowance=allowance)
    ledger.end_job(first.id, state="complete", lease=lease)
    assert ledger.quota_used(SANDBOX.target_id)[1] == 2
    clock.advance(hours=24, minutes=1, seconds=1)
    assert ledger.quota_used(SANDBOX.target_id) == (0, 0)


def test_failures_of_a_chunk_replace_each_other_and_close_with_the_next_load(ledger: Ledger) -> None:
    """Reading results twice does not double the failures; a later generation closes what it repaired."""
    lease = _take(ledger, "run-a")
    failure = Failure("K1", "STRING_TOO_LONG", "data", "too long", ("Name",), 1, "750x")
    for _ in range(2):
        assert ledger.replace_failures("g1", "m", "chunk-00001", iter([failure] * 2), lease=lease) == 2
    (record, _) = ledger.failed_records(SANDBOX, SUPPLIERS)
    assert (record.external_id, record.error_code, record.fields) == ("K1", "STRING_TOO_LONG", ["Name"])
    assert ledger.failure_counts(SANDBOX) == [("KPS_R_POS_SUPPLIER", "ALL", "STRING_TOO_LONG", 2)]
    assert ledger.resolve_failures("g1", "m", lease=lease) == 0
    assert ledger.resolve_failures("g2", "m", lease=lease) == 2
    ledger.replace_failures("g2", "m", "chunk-00001", iter([failure]), lease=lease)
    assert ledger.resolve_failures("g2", "another mapping", lease=lease) == 1
    assert ledger.failed_records(SANDBOX, SUPPLIERS) == []


def test_external_id_composition_is_frozen_while_the_org_holds_rows(ledger: Ledger) -> None:
    """Rows loaded under another composition of the key stop the table."""
    lease = _take(ledger, "run-a")
    version = ledger.remember_mapping(SUPPLIERS.table)
    file = FileEntry(name="c", rows=1, bytes=9, sha256="a" * 64)
    ledger.plan_chunks("g", version, [file], lease=lease)
    ledger.finish_chunk("g", version, "c", ChunkCounts(1, 1, 0, 0), lease=lease)
    ledger.check_external_id(SANDBOX, SUPPLIERS.table)
    with ledger.writing() as connection:
        connection.execute(text("UPDATE mapping_version SET external_id_version = 'other'"))
    with pytest.raises(ConfigError, match="external id was composed in another way"):
        ledger.check_external_id(SANDBOX, SUPPLIERS.table)


def test_memory_scope_and_proofs_are_read_back(ledger: Ledger) -> None:
    """What was learned, asked for, compared and signed is there in its newest form."""
    ledger.remember_endpoint("oracle", "h:1521", "DB1.1")
    ledger.remember_endpoint("oracle", "h:1521", "DB1.2")
    assert ledger.identity_of("oracle", "h:1521") == "DB1.2"
    assert ledger.identity_of("oracle", "elsewhere") is None
    ledger.remember_trait("00D1", "upload_encoding", "gzip")
    assert ledger.trait_of("00D1", "upload_encoding") == "gzip"
    for months in (["2024-01"], ["2024-01", "2024-02"]):
        ledger.set_scope(SANDBOX, months=months, tables=["KPS_T_SALES_M"], mode="full", run_id="r", actor="a")
    scope = ledger.scope(SANDBOX)
    assert scope is not None
    assert scope.months == ["2024-01", "2024-02"]
    lease = _take(ledger, "run-a")
    ledger.record_reconciliation("g", 1, [Compared(1, "old", "1", "2", passed=False)], lease=lease)
    ledger.record_reconciliation("g", 2, [Compared(1, "rows", "10", "10", passed=True, detail={"x": 1})], lease=lease)
    assert ledger.reconciliation(SANDBOX, SUPPLIERS) == [Compared(1, "rows", "10", "10", passed=True, detail={"x": 1})]
    ledger.sign(SANDBOX, "reference", actor="somchai", decision="accepted", note="ok")
    assert [(s.subject, s.decision) for s in ledger.sign_offs(SANDBOX)] == [("reference", "accepted")]


def _append(ledger: Ledger, count: int = 4) -> None:
    for number in range(count):
        ledger.append_audit(
            "stage",
            actor="สมชาย",
            run_id="r",
            partition=SUPPLIERS,
            detail={"rows": number, "share": 0.1, "by_size": {2: "b", 10: "a"}},
        )


def _triggers_off(ledger: Ledger) -> list[str]:
    if ledger.engine.dialect.name == "postgresql":
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
    assert [entry.seq for entry in ledger.audit_entries()] == list(range(1, 41))
    assert ledger.verify_audit() == []


@pytest.mark.parametrize(
    "statement", ["UPDATE migration_audit_log SET actor = 'x'", "DELETE FROM migration_audit_log WHERE seq = 4"]
)
def test_database_refuses_to_change_the_audit_log(ledger: Ledger, statement: str) -> None:
    """Append-only is enforced where every client passes."""
    _append(ledger)
    with pytest.raises(DBAPIError, match="append-only"), ledger.writing() as connection:
        connection.execute(text(statement))
    assert ledger.verify_audit() == []


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (["UPDATE migration_audit_log SET actor = 'x' WHERE seq = 2"], "Entry 2 was changed"),
        (["DELETE FROM migration_audit_log WHERE seq = 2"], "Entry 3 follows entry 1"),
        (["DELETE FROM migration_audit_log WHERE seq = 4"], "the end is changed or gone"),
        (["DELETE FROM migration_audit_log WHERE seq = 1"], "Entry 2 follows entry 0"),
        (["DELETE FROM migration_audit_log"], "the end is changed or gone"),
        (["DELETE FROM migration_audit_head"], "head of the log is gone"),
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
    assert ledger.verify_audit() == []
    with ledger.writing() as connection:
        for statement in [*_triggers_off(ledger), *tamper]:
            connection.execute(text(statement))
    assert any(finding in line for line in ledger.verify_audit()), ledger.verify_audit()
