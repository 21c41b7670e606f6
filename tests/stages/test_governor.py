"""The quota governor: one window for everybody, exact times, and the org's word above ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from emulated_org import Emulator
from staged_samples import close, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import ConfigError, Paused, QuotaExhausted, SalesforceDown
from kpc.ledger import JobIntent, JobRow, Lease, Ledger, open_ledger
from kpc.ledger.quota_entries import SAFETY, WINDOW
from kpc.load.mapped_chunks import check_room, plan_load
from kpc.partition import Environment, find_partition
from kpc.salesforce import Limit
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.quota_governor import Governor

HERE = Environment("DB", "00Dhere")
MONTH = find_partition("KPS_T_SALES_M", "2024-01")
SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
DAY = WINDOW + SAFETY
MINUTE = timedelta(minutes=1)


@dataclass
class MovedClock:
    """A clock that a test moves."""

    now: datetime = datetime(2024, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """A governor, its clock, and an org that says what it is told to say."""

    ledger: Ledger
    lease: Lease
    clock: MovedClock
    settings: SalesforceSettings = field(default_factory=SalesforceSettings)
    batches_used: int = 0
    calls_used: int = 0
    batches_max: int = 15_000
    is_down: bool = False
    reads: int = 0

    @property
    def now(self) -> datetime:
        return self.clock.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self.clock.now = moment

    def limits(self) -> Mapping[str, Limit]:
        self.reads += 1
        if self.is_down:
            raise SalesforceDown("down")
        return {
            "DailyBulkApiBatches": Limit(self.batches_max, self.batches_max - self.batches_used),
            "DailyApiRequests": Limit(100_000, 100_000 - self.calls_used),
        }

    @property
    def governor(self) -> Governor:
        return Governor(self.ledger, self.settings, HERE.target_id, self.limits)

    def begin(self, batches: int, purpose: str = "chunk") -> JobRow:
        """A job is admitted and closed; the org counts it at once."""
        intent = JobIntent(
            "g", "m", f"c{self.now.timestamp()}", 1, "O", "E", batches * 10_000, batches, purpose=purpose
        )
        job = self.governor.intend(intent, self.lease)
        assert job is not None
        self.ledger.jobs.mark_closing(job.id, lease=self.lease)
        self.ledger.jobs.mark_closed(job.id, lease=self.lease)
        self.ledger.jobs.end(job.id, state="complete", lease=self.lease)
        self.batches_used += batches
        return job

    def refusal(self, batches: int, purpose: str = "chunk") -> QuotaExhausted:
        with pytest.raises(QuotaExhausted) as caught:
            self.begin(batches, purpose)
        return caught.value

    def pass_time(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = MovedClock()
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock, is_durable=False)
    lease = ledger.leases.acquire(HERE, MONTH, "sf_loaded", owner="me", ttl_s=1e9, wait_s=0)
    made = World(ledger, lease, clock)
    yield made
    ledger.close()


def test_first_uploads_leave_the_reserve_to_repairs(world: World) -> None:
    """95 % of the share is for chunks; the last 5 % only retries and undo may use; then it is full for all."""
    world.begin(14_250)
    world.refusal(1)
    world.begin(700, "retry")
    world.begin(50, "undo")
    world.refusal(1, "undo")


def test_share_leaves_the_rest_to_others(world: World) -> None:
    """With 70 % of the quota for us, we stop at 70 %, and others' use of their 30 % costs us nothing."""
    world.settings.quota_share, world.settings.retry_reserve = 0.7, 0.0
    world.batches_used = 4_500
    world.begin(10_500)
    world.refusal(1)


def test_time_is_the_exact_moment_at_which_enough_expires(world: World) -> None:
    """The second job's batches are needed too: the time is 24 h and the safety minute after it."""
    world.settings.retry_reserve = 0.0
    world.begin(5_000)
    world.pass_time(timedelta(hours=1))
    second = world.now
    world.begin(5_000)
    world.pass_time(timedelta(hours=1))
    world.begin(5_000)
    refusal = world.refusal(6_000)
    assert refusal.next_free_utc == second + DAY
    assert f"{second + DAY:%Y-%m-%d %H:%M:%S}" in str(refusal)
    world.now, world.batches_used = refusal.next_free_utc - timedelta(seconds=1), 5_000
    world.refusal(6_000)
    world.now = refusal.next_free_utc
    world.begin(6_000)


def test_others_beyond_their_share_are_seen_and_given_way(world: World) -> None:
    """What /limits shows above ours belongs to others; their batches free a day after they were seen."""
    world.settings.retry_reserve = 0.0
    world.begin(10_000)
    world.pass_time(timedelta(minutes=11))
    world.batches_used += 4_990
    seen = world.now
    refusal = world.refusal(20)
    state = world.ledger.quota.state(HERE.target_id)
    assert (state.batches, state.others_batches, state.others_rows) == (10_000, 4_990, 49_900_000)
    assert refusal.next_free_utc == seen - timedelta(minutes=11) + DAY  # ours expire first
    world.begin(10)


def test_batches_under_way_are_not_taken_for_others(world: World) -> None:
    """The org counts a job between its close and its end; meanwhile nobody else is suspected, and nobody forgotten."""
    intent = JobIntent("g", "m", "c", 1, "O", "E", 500_000, 50)
    job = world.governor.intend(intent, world.lease)
    assert job is not None
    world.ledger.jobs.mark_closing(job.id, lease=world.lease)
    world.batches_used = 100 + 20  # a hundred of others, twenty of ours counted so far
    world.pass_time(timedelta(minutes=11))
    world.governor.check(intent)
    assert world.ledger.quota.state(HERE.target_id).others_batches in range(70, 101)
    world.batches_used = 150
    world.ledger.jobs.end(job.id, state="complete", lease=world.lease)
    world.pass_time(timedelta(minutes=11))
    world.governor.check(intent)
    assert world.ledger.quota.state(HERE.target_id).others_batches == 100


def test_org_that_says_less_is_believed(world: World) -> None:
    """When /limits shows that others' use is gone, it is gone, whenever we saw it first."""
    world.batches_used = 8_000
    world.refusal(7_000)
    world.batches_used = 0
    world.pass_time(timedelta(minutes=11))
    world.begin(7_000)
    assert world.ledger.quota.state(HERE.target_id).others_batches == 0


def test_smaller_org_has_a_smaller_quota(world: World) -> None:
    """The org's own maximum counts, not the setting."""
    world.batches_max = 100
    world.begin(95)
    world.refusal(1)


def test_api_calls_are_a_budget_too(world: World) -> None:
    """Above the share of the org's calls no job begins until enough of them have passed."""
    world.calls_used = 50_000
    world.begin(1)
    first_seen = world.now
    world.pass_time(timedelta(minutes=20))
    world.calls_used = 89_990
    refusal = world.refusal(1)
    assert "API calls" in str(refusal)
    assert refusal.next_free_utc == first_seen + DAY


def test_limits_are_read_seldom_and_more_often_when_it_gets_tight(world: World) -> None:
    """Every ten minutes; every minute above four fifths."""
    for _ in range(9):
        world.begin(1)
        world.pass_time(MINUTE)
    assert world.reads == 1
    world.pass_time(MINUTE)
    world.begin(12_500)
    assert world.reads == 2
    for _ in range(5):
        world.pass_time(MINUTE)
        world.begin(1)
    assert world.reads == 7


def test_without_an_answer_the_ledger_decides(world: World) -> None:
    """An org whose /limits does not answer is not loaded blindly: the error says so."""
    world.is_down = True
    with pytest.raises(SalesforceDown):
        world.begin(1)


def test_refusal_of_the_org_stops_everybody_until_it_can_be_asked_again(world: World) -> None:
    """After EXCEEDEDQUOTA /limits is read at once, and no job of any partition begins before the time."""
    world.begin(100)
    reads = world.reads
    error = world.governor.stop("EXCEEDEDQUOTA")
    assert world.reads == reads + 1
    assert error.next_free_utc == world.now + timedelta(hours=1)
    assert world.refusal(1).next_free_utc == error.next_free_utc
    assert world.refusal(1, "retry").next_free_utc == error.next_free_utc
    state = world.ledger.quota.state(HERE.target_id)
    assert (state.blocked_until_utc, state.blocked_reason) == (error.next_free_utc, "EXCEEDEDQUOTA")
    world.now = error.next_free_utc
    world.begin(1)


def test_job_that_can_never_fit_is_a_setting(world: World) -> None:
    """More than a whole day's allowance is no matter of waiting."""
    with pytest.raises(ConfigError, match="can never start"):
        world.begin(14_251)


def test_quota_and_pause_come_before_a_slot(world: World) -> None:
    """With every slot taken, a load still learns at once that it may not begin."""
    world.settings.jobs_in_flight = 1
    intent = JobIntent("g", "m", "c", 1, "O", "E", 10_000, 1)
    assert world.governor.intend(intent, world.lease) is not None
    assert world.governor.intend(intent, world.lease) is None
    world.governor.stop("EXCEEDEDQUOTA")
    with pytest.raises(QuotaExhausted):
        world.governor.intend(intent, world.lease)
    world.ledger.pauses.start(HERE, "phase", "sales", actor="me")
    with pytest.raises(Paused, match="kpc resume phase sales"):
        world.governor.intend(intent, world.lease)


def test_load_gives_way_to_other_software_in_the_org(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """Batches that others used are learned from the org itself; nothing is created, and nothing is sent in vain."""
    emulator = emulated("daily_batches=20")
    httpx.post(
        f"{emulator.facts['base_url']}/_emulator/usage", json={"batches": 19}, trust_env=False, timeout=60
    ).raise_for_status()
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    workspace.settings.salesforce.jobs_in_flight = 1
    workspace.settings.salesforce.retry_reserve = 0
    stage(workspace, SUPPLIERS, [f"k-{number}" for number in range(4)], chunk_rows=2)
    with pytest.raises(QuotaExhausted, match="other software included"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert workspace.salesforce.count(SUPPLIERS.table.target) == 2
    specs = plan_load(PartitionContext(workspace, SUPPLIERS))
    with pytest.raises(QuotaExhausted) as caught:
        check_room(PartitionContext(workspace, SUPPLIERS), specs)
    assert timedelta(hours=23) < caught.value.next_free_utc - workspace.clock() < timedelta(hours=25)
    assert len(list(workspace.salesforce.list_jobs())) == 1
    close(workspace)


def test_lost_ledger_does_not_lead_over_the_quota(emulated: Callable[..., Emulator], tmp_path: Path) -> None:
    """A new ledger takes what the org says is used for the use of others."""
    emulator = emulated("daily_batches=2")
    for number in range(3):
        workspace = make_workspace(tmp_path / str(number), emulator.settings, "run-1")
        stage(workspace, SUPPLIERS, [f"k{number}"])
        if number < 2:
            sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
        else:
            with pytest.raises(QuotaExhausted):
                sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
        close(workspace)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_refused_api_calls_stop_new_jobs_and_never_rows(
    emulated: Callable[..., Emulator], tmp_path: Path, method: str
) -> None:
    """REQUEST_LIMIT_EXCEEDED at whatever request is a matter of the whole org; the load goes on after it."""
    emulator = emulated()
    workspace = make_workspace(tmp_path, emulator.settings, "run-1")
    stage(workspace, SUPPLIERS, ["a", "b"])
    rule = {
        "action": "status",
        "status": 403,
        "code": "REQUEST_LIMIT_EXCEEDED",
        "method": method,
        "path": "/jobs/ingest",
    }
    httpx.post(
        f"{emulator.facts['base_url']}/_emulator/faults", json=rule, trust_env=False, timeout=60
    ).raise_for_status()
    with pytest.raises(QuotaExhausted):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert workspace.ledger.quota.state(workspace.environment.target_id).blocked_until_utc is not None
    assert workspace.ledger.failures.of_partition(workspace.environment, SUPPLIERS) == []
    workspace.ledger.quota.unblock(workspace.environment.target_id)
    assert sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["created"] == 2
    close(workspace)
