"""The life of a campaign in the ledger: opened, continued, stopped, ended, repeated daily; each change is audited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from ledger_samples import PRODUCTION, SANDBOX
from moved_clock import MovedClock

from kpc.campaign.daily import daily_request
from kpc.campaign.lifecycle import (
    comparison_options,
    end_campaign,
    find_campaign,
    open_campaign,
    plan_if_needed,
    stop_campaign,
)
from kpc.campaign.pulse import has_moved, pulse_of
from kpc.campaign.request import CampaignRequest, make_request
from kpc.campaign.situation import PartitionStanding, PartitionState, Situation
from kpc.errors import ConfigError
from kpc.ledger import CampaignRow, Ledger, open_ledger
from kpc.ledger.states import CampaignState
from kpc.partition import find_partition, month_keys
from kpc.settings import Settings
from kpc.stages.workspace import Workspace

REFERENCE = make_request(phases=["reference"])
HEADERS = make_request(tables=["KPS_T_SALES_M"], first_month="2024-01", last_month="2024-03")
Open = Callable[..., Workspace]


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: MovedClock) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock, is_durable=False)
    yield opened
    opened.close()


@pytest.fixture
def run_as(ledger: Ledger, clock: MovedClock) -> Open:
    """A workspace for a person and a run; no system is asked for its identity."""

    def make(actor: str = "somchai", run_id: str = "run-1", **settings: object) -> Workspace:
        changed = Settings.model_validate(settings)
        return Workspace(changed, ledger, run_id, actor, clock=clock, environment=SANDBOX)

    return make


def ended(workspace: Workspace, campaign: CampaignRow, *states: PartitionState) -> CampaignRow:
    partition = find_partition("KPS_R_POS_SUPPLIER", "ALL")
    end_campaign(
        workspace, campaign, Situation(tuple(PartitionStanding(partition, state) for state in states)), {"x": 1}
    )
    return find_campaign(workspace.ledger, campaign.id)


def test_a_campaign_is_recorded_with_who_and_when(run_as: Open, ledger: Ledger, clock: MovedClock) -> None:
    opened = open_campaign(run_as(), HEADERS)
    assert (opened.state, opened.round, opened.actor, opened.run_id) == (CampaignState.RUNNING, 1, "somchai", "run-1")
    assert (opened.tables, opened.months) == (["KPS_T_SALES_M"], ["2024-01", "2024-02", "2024-03"])
    assert opened.started_utc == clock()
    (entry,) = ledger.audit.entries()
    assert (entry.action, entry.actor, entry.detail["campaign"]) == ("campaign started", "somchai", opened.id)
    assert entry.detail["months"] == opened.months


def test_the_same_scope_continues_the_campaign(run_as: Open, ledger: Ledger) -> None:
    """Running, stopped or incomplete: the same number in its next round. A finished one is followed by a new one."""
    first = open_campaign(run_as(), REFERENCE)
    second = open_campaign(run_as(run_id="run-2"), REFERENCE)
    assert (second.id, second.round, second.run_id) == (first.id, 2, "run-2")
    stop_campaign(run_as(), first.id, "lunch")
    assert open_campaign(run_as(), REFERENCE).round == 3
    incomplete = ended(run_as(), find_campaign(ledger, first.id), PartitionState.DONE, PartitionState.FAILED)
    assert incomplete.state is CampaignState.INCOMPLETE
    again = open_campaign(run_as(), REFERENCE)
    assert (again.id, again.round, again.ended_utc) == (first.id, 4, None)
    assert ended(run_as(), again, PartitionState.DONE).state is CampaignState.FINISHED
    assert open_campaign(run_as(), REFERENCE).id == first.id + 1
    actions = [entry.action for entry in ledger.audit.entries()]
    assert actions == [
        "campaign started",
        "campaign continued",
        "campaign stopped",
        "campaign continued",
        "campaign incomplete",
        "campaign continued",
        "campaign finished",
        "campaign started",
    ]


def test_a_second_campaign_over_the_same_partitions_is_refused(run_as: Open, ledger: Ledger) -> None:
    """The reason names the first, its partitions and the way out. Others, and other environments, may run beside it."""
    first = open_campaign(run_as(), HEADERS)
    overlapping = make_request(tables=["KPS_T_SALES_M"], first_month="2024-03", last_month="2024-05")
    with pytest.raises(
        ConfigError,
        match=rf"Campaign {first.id}, started by somchai.*has 1 of these partitions, such as KPS_T_SALES_M 2024-03.*"
        rf"kpc campaign stop {first.id}",
    ):
        open_campaign(run_as("somsak"), overlapping)
    with pytest.raises(ConfigError, match=f"Campaign {first.id}"):  # other options are another campaign
        open_campaign(run_as(), make_request(tables=["KPS_T_SALES_M"], first_month="2024-01", mode="full"))
    assert open_campaign(run_as(), REFERENCE).id == first.id + 1
    elsewhere = Workspace(Settings(), ledger, "r", "a", environment=PRODUCTION)
    assert open_campaign(elsewhere, overlapping).round == 1
    stop_campaign(run_as(), first.id, "")
    assert open_campaign(run_as(), overlapping).state is CampaignState.RUNNING
    with pytest.raises(ConfigError, match="is running"):  # the stopped one cannot continue beside it
        open_campaign(run_as(), HEADERS)


def test_a_table_without_its_parent_is_refused(run_as: Open, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="refers to KPS_T_SALES_M, which is not in scope"):
        open_campaign(run_as(), make_request(tables=["KPS_T_SALES_MD"], first_month="2024-01"))
    assert ledger.campaigns.all(SANDBOX) == []


def test_only_a_running_campaign_is_stopped(run_as: Open, ledger: Ledger) -> None:
    """Whoever stops it and why is kept; a second stop says who was first; an unknown number is refused."""
    opened = open_campaign(run_as(), REFERENCE)
    stopped = stop_campaign(run_as("somsri"), opened.id, "lunch")
    assert (stopped.state, stopped.ended_by, stopped.reason) == (CampaignState.STOPPED, "somsri", "lunch")
    with pytest.raises(ConfigError, match=r"is not running: it is stopped, ended by somsri.*kpc campaign list"):
        stop_campaign(run_as(), opened.id, "")
    with pytest.raises(ConfigError, match="no campaign 99"):
        stop_campaign(run_as(), 99, "")
    assert ledger.audit.verify() == []


def test_a_former_round_cannot_end_a_campaign(run_as: Open, ledger: Ledger) -> None:
    """The driver of a former round no longer judges the campaign."""
    first = open_campaign(run_as(), REFERENCE)
    open_campaign(run_as(run_id="run-2"), REFERENCE)
    assert ended(run_as(), first, PartitionState.DONE).state is CampaignState.RUNNING


def test_a_start_is_recorded_once_per_round(run_as: Open, ledger: Ledger) -> None:
    opened = open_campaign(run_as(), REFERENCE)
    partition = REFERENCE.partitions[0]
    assert ledger.campaigns.start(opened.id, partition, 1, "a")
    assert not ledger.campaigns.start(opened.id, partition, 1, "b")
    assert ledger.campaigns.start(opened.id, partition, 2, "c")
    (newest,) = ledger.campaigns.starts(opened.id)
    assert (newest.round, newest.run_id) == (2, "c")


def test_the_pulse_moves_with_what_a_step_could_use(run_as: Open, ledger: Ledger) -> None:
    """A started partition, another round and a stop wake the driver; nothing else does."""
    opened = open_campaign(run_as(), REFERENCE)
    pulse = pulse_of(ledger, opened)
    assert not has_moved(ledger, opened.id, 1, pulse)
    ledger.campaigns.start(opened.id, REFERENCE.partitions[0], 1, "a")
    assert has_moved(ledger, opened.id, 1, pulse)
    pulse = pulse_of(ledger, opened)
    assert not has_moved(ledger, opened.id, 1, pulse)
    open_campaign(run_as(), REFERENCE)
    assert has_moved(ledger, opened.id, 1, pulse)
    stop_campaign(run_as(), opened.id, "")
    assert has_moved(ledger, opened.id, 2, pulse)


def test_how_partitions_are_compared_follows_the_running_campaign(run_as: Open, ledger: Ledger) -> None:
    """Its options apply to its partitions while it runs; otherwise the settings do."""
    sampled = make_request(phases=["reference"], level3="sample", sample_rows=7)
    opened = open_campaign(run_as(), sampled)
    of_it, other = sampled.partitions[0], HEADERS.partitions[0]
    assert comparison_options(ledger, SANDBOX, of_it) == {"level3": "sample", "sample_rows": 7}
    assert comparison_options(ledger, SANDBOX, other) == {}
    stop_campaign(run_as(), opened.id, "")
    assert comparison_options(ledger, SANDBOX, of_it) == {}


def scope_of(ledger: Ledger, request: CampaignRequest) -> None:
    names = [table.name for table in request.tables]
    ledger.scope.set(
        SANDBOX, months=request.months, tables=names, mode="incremental", run_id="r", actor="a",
        access=dict.fromkeys(names, "index"), rows={name: {"ALL": 1} for name in names},
    )  # fmt: skip


def test_what_was_planned_is_not_counted_again(run_as: Open, ledger: Ledger) -> None:
    """A campaign within the planned scope does not change it; no system is asked."""
    scope_of(ledger, HEADERS)
    some = make_request(tables=["KPS_T_SALES_M"], first_month="2024-02")
    assert not plan_if_needed(run_as(), open_campaign(run_as(), some))
    scope = ledger.scope.current(SANDBOX)
    assert scope is not None
    assert scope.months == list(month_keys("2024-01", 3))


def test_the_daily_campaign_repeats_the_scope_until_cut_over_is_checked(
    run_as: Open, ledger: Ledger, clock: MovedClock
) -> None:
    """Each day is a campaign of its own; an unfinished one is continued; after cut-over the last one checks."""
    with pytest.raises(ConfigError, match="nothing to repeat"):
        daily_request(run_as())
    scope_of(ledger, REFERENCE)
    today = daily_request(run_as())
    assert today is not None
    assert (today.tables, today.options.repeats, today.options.closes) == (REFERENCE.tables, True, False)
    monday = open_campaign(run_as(), today)
    clock.advance(days=1)
    assert daily_request(run_as()) == today  # it still runs
    ended(run_as(), monday, PartitionState.FAILED)
    tomorrow = daily_request(run_as())
    assert tomorrow is not None
    assert tomorrow != today
    assert open_campaign(run_as(), tomorrow).id == monday.id + 1
    ended(run_as(), find_campaign(ledger, monday.id + 1), PartitionState.DONE)
    cut_over = datetime(2024, 5, 3, 20, 0).isoformat()  # 13:00 UTC  # noqa: DTZ001  as a person writes it
    clock.now = datetime.fromisoformat("2024-05-03T12:59:00+00:00")
    before = daily_request(run_as(cut_over=cut_over))
    assert before is not None
    assert not before.options.closes
    clock.advance(minutes=2)
    last = daily_request(run_as(cut_over=cut_over))
    assert last is not None
    assert last.options.closes
    closing = open_campaign(run_as(), last)
    ended(run_as(), closing, PartitionState.DONE)
    clock.advance(days=1)
    assert daily_request(run_as(cut_over=cut_over)) is None
