"""Campaigns through a real Airflow: started by the DAG's form, continued, stopped, refused, dry, gated."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from kpc.airflow_client.records import DagRun
from kpc.campaign.lifecycle import stop_campaign
from kpc.campaign.sign_off import sign_off
from kpc.demo.servers import Data, World, started
from kpc.errors import ConfigError
from kpc.ledger import CampaignRow, SourceCheckRow
from kpc.ledger.states import CampaignState, SourceCheckState
from kpc.partition import Partition, find_partition, month_keys
from kpc.salesforce import connect
from kpc.stages.names import (
    CAMPAIGN,
    INCREMENTAL_CAMPAIGN,
    MIGRATION,
    ORACLE_EXTRACT,
    RECONCILED,
    SF_LOADED,
    STAGED_CSV,
    asset_name,
)
from kpc.stages.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

PATIENCE_S = 420.0
MONTHS = month_keys("2024-01", 3)
REFERENCE = ("KPS_R_POS_SUPPLIER", "KPS_R_EMAIL_SUPPLIER", "KPS_R_EMAIL_TENANT")
SALES = ("KPS_T_SALES_M", "KPS_T_SALES_MD")

T = TypeVar("T")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with started(tmp_path_factory.mktemp("world"), Data(rows=3000, months=MONTHS)) as world:
        world.api.ensure_pools()
        wait_for(lambda: {CAMPAIGN, MIGRATION} <= world.api.dag_ids())
        yield world


def wait_for(ask: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    until = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(1)
    return answer


@contextmanager
def ledger_of(world: World) -> Iterator[Workspace]:
    with open_workspace(world.settings, run_id="test", actor="test") as workspace:
        yield workspace


def trigger(world: World, **fields: Any) -> DagRun:
    return world.api.run(CAMPAIGN, world.api.trigger(CAMPAIGN, conf=fields))


def ended(world: World, run: DagRun) -> DagRun:
    wait_for(lambda: world.api.run(run.dag_id, run.run_id).is_final)
    return world.api.run(run.dag_id, run.run_id)


def tasks(world: World, run: DagRun) -> dict[str, str | None]:
    return {task.task_id: task.state for task in world.api.tasks(run)}


def campaigns(world: World) -> list[CampaignRow]:
    with ledger_of(world) as workspace:
        return workspace.ledger.campaigns.all(workspace.environment)


def campaign_of(world: World, run: DagRun) -> CampaignRow:
    wait_for(lambda: tasks(world, run).get("open") == "success")
    number = int(world.api.result(run, "open")["campaign"])
    return next(one for one in campaigns(world) if one.id == number)


def started_runs(world: World, stage: str = ORACLE_EXTRACT) -> Counter[tuple[str, str]]:
    """How often each partition's stage was started, by DAG and key."""
    return Counter((run.dag_id, run.key or "") for run in world.api.runs() if run.dag_id.endswith(f"__{stage}"))


def dag_keys(stage: str, tables: tuple[str, ...], keys: tuple[str, ...]) -> set[tuple[str, str]]:
    chosen = [find_partition(table, key) for table in tables for key in keys]
    return {(asset_name(one.table, stage), one.key) for one in chosen}


def records(world: World, partition: Partition) -> int:
    salesforce = connect(world.settings.salesforce)
    try:
        return salesforce.count(partition.table.target, f"Migration_Partition__c LIKE '{partition.key}/%'")
    finally:
        salesforce.close()


@contextmanager
def held_org(world: World) -> Iterator[None]:
    """The org takes ingest jobs and does not process them."""
    _switch(world, "hold")
    try:
        yield
    finally:
        _switch(world, "run")


def _switch(world: World, processing: str) -> None:
    url = f"{world.settings.salesforce.base_url}/_emulator/switches"
    request = urllib.request.Request(url, json.dumps({"processing": processing}).encode(), method="PATCH")  # noqa: S310  our own server
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  the same


def test_wrong_fields_are_refused_at_once(world: World) -> None:
    """The form refuses a malformed month before a run is made; what fields mean together fails in the first task."""
    with pytest.raises(ConfigError, match="first_month"):
        trigger(world, first_month="2024-1")
    for fields, message in (
        ({"first_month": "2567-01"}, "type 2024-01"),
        ({"tables": ["KPS_T_SALES_MD"], "first_month": "2024-01"}, "KPS_T_SALES_M, which is not in scope"),
        ({"phases": ["reference"], "tables": ["KPS_WEB_SALES"]}, "Give one of them"),
    ):
        run = ended(world, trigger(world, **fields))
        assert run.state == "failed"
        assert message in world.api.failure(run)
        assert [task.tries for task in world.api.tasks(run) if task.task_id == "open"] == [1]
    assert campaigns(world) == []
    assert not started_runs(world)


@pytest.fixture(scope="module")
def dry(world: World) -> CampaignRow:
    """A dry run of the reference phase and two months of headers and lines."""
    fields = {"tables": [*REFERENCE, *SALES], "first_month": "2024-01", "last_month": "2024-02"}
    run = ended(world, trigger(world, **fields, dry_run=True))
    assert run.state == "success", world.api.failure(run)
    return campaign_of(world, run)


def test_a_dry_run_stages_everything_and_sends_nothing(world: World, dry: CampaignRow) -> None:
    """Each partition is staged once, no load starts, and the report adds up to what was staged."""
    assert dry.state is CampaignState.FINISHED
    assert dry.result is not None
    report = dry.result["dry_run"]
    with ledger_of(world) as workspace:
        newest = workspace.ledger.stages.newest(workspace.environment)
    staged = [run for run in newest if run.stage == STAGED_CSV]
    assert report["partitions"] == len(staged) == 7
    assert report["to_send"] == sum(run.rows or 0 for run in staged) > 0
    assert report["extracted"] == report["to_send"] + report["rejected"]
    assert report["jobs"] == sum((run.detail or {})["chunks"] for run in staged)
    assert report["bytes"] > 0
    assert not started_runs(world, SF_LOADED)
    assert records(world, find_partition(REFERENCE[0], "ALL")) == 0
    with ledger_of(world) as workspace:
        scope = workspace.ledger.scope.current(workspace.environment)
    assert scope is not None
    assert (scope.tables, scope.months) == ([*REFERENCE, *SALES], ["2024-01", "2024-02"])
    assert set(scope.access) == set(scope.tables)


@pytest.fixture(scope="module")
def gated(world: World, dry: CampaignRow) -> Iterator[DagRun]:
    """A campaign whose sales wait for the sign-off of the reference phase."""
    del dry
    yield trigger(
        world, tables=[*REFERENCE, *SALES], first_month="2024-01", last_month="2024-02", wait_for_sign_off=True
    )


def test_a_phase_starts_when_the_earlier_one_is_signed_off(world: World, gated: DagRun) -> None:
    """Until then its driver waits deferred and says for what; the decision alone lets it go on, to the end."""
    reconciled = dag_keys(RECONCILED, REFERENCE, ("ALL",))
    wait_for(lambda: reconciled <= set(started_runs(world, RECONCILED)))
    wait_for(lambda: "sign-off of phase reference" in str(_waits(world, gated)))
    before = started_runs(world)
    assert before[(asset_name(find_partition(SALES[0], MONTHS[0]).table, ORACLE_EXTRACT), MONTHS[0])] == 1  # dry
    wait_for(lambda: tasks(world, gated)["drive"] == "deferred")  # it wakes now and then to look
    _refuse_a_second_campaign(world, gated)
    with ledger_of(world) as workspace:
        wait_for(lambda: _accepts(workspace, "reference"))
    run = ended(world, gated)
    assert run.state == "success", world.api.failure(run)
    assert campaign_of(world, run).state is CampaignState.FINISHED
    assert started_runs(world) == before + Counter(dag_keys(ORACLE_EXTRACT, SALES, MONTHS[:2]))
    for table in SALES:
        assert records(world, find_partition(table, MONTHS[0])) > 0


def _waits(world: World, run: DagRun) -> object:
    try:
        return world.api.result(run, "drive", key="waits_until")
    except ConfigError:  # it has not waited yet
        return None


def _accepts(workspace: Workspace, phase: str) -> bool:
    try:
        sign_off(phase, None, workspace, accepts=True, note="test")
    except ConfigError:  # the last partition has not been reconciled yet
        return False
    return True


def _refuse_a_second_campaign(world: World, first: DagRun) -> None:
    number = campaign_of(world, first).id
    run = ended(world, trigger(world, tables=[*SALES], first_month="2024-02", last_month="2024-03"))
    assert run.state == "failed"
    reason = world.api.failure(run)
    assert f"Campaign {number}, started by airflow:operator" in reason
    assert "has 2 of these partitions, such as KPS_T_SALES_M 2024-02" in reason
    assert f"kpc campaign stop {number}" in reason


def test_a_finished_scope_is_not_run_again(world: World, gated: DagRun) -> None:
    """A campaign over reconciled partitions ends without starting one."""
    del gated
    before = started_runs(world)
    run = ended(world, trigger(world, tables=[*REFERENCE, *SALES], first_month="2024-01", last_month="2024-02"))
    assert run.state == "success", world.api.failure(run)
    assert started_runs(world) == before


def test_a_stopped_campaign_continues_with_what_is_left(world: World, gated: DagRun) -> None:
    """Stopped while its headers load: lines are not started. Started again it ends, and headers ran only once."""
    del gated
    fields = {"tables": [*SALES], "first_month": "2024-03", "wait_for_sign_off": True}
    before = started_runs(world)
    with held_org(world):
        run = trigger(world, **fields)
        number = campaign_of(world, run).id
        wait_for(lambda: dag_keys(SF_LOADED, SALES[:1], MONTHS[2:]) <= set(started_runs(world, SF_LOADED)))
        with ledger_of(world) as workspace:
            stop_campaign(workspace, number, "lunch")
        assert ended(world, run).state == "success"
        assert tasks(world, run)["drive"] == tasks(world, run)["close"] == "skipped"
    again = trigger(world, **fields)
    assert campaign_of(world, again).id == number
    run = ended(world, again)
    assert run.state == "success", world.api.failure(run)
    assert started_runs(world) - before == Counter(dag_keys(ORACLE_EXTRACT, SALES, MONTHS[2:]))
    (campaign,) = [one for one in campaigns(world) if one.id == number]
    assert (campaign.state, campaign.round) == (CampaignState.FINISHED, 2)


def test_marking_a_campaign_s_run_failed_or_clearing_it_is_harmless(world: World, gated: DagRun) -> None:
    """What it started goes on; cleared, it opens the same campaign's next round and starts nothing twice."""
    del gated
    fields = {"tables": ["KPS_WEB_SALES", "KPS_T_SALESBANK_MD"]}
    before = started_runs(world)
    with held_org(world):
        run = trigger(world, **fields)
        number = campaign_of(world, run).id
        wait_for(lambda: len(started_runs(world) - before) == 2)
        world.api._call(object, "PATCH", f"dags/{CAMPAIGN}/dagRuns/{run.run_id}", json={"state": "failed"})  # noqa: SLF001  only tests do so
        assert ended(world, run).state == "failed"
    world.api._call(  # noqa: SLF001  the same
        object, "POST", f"dags/{CAMPAIGN}/dagRuns/{run.run_id}/clear", json={"dry_run": False, "only_failed": False}
    )
    wait_for(lambda: not world.api.run(CAMPAIGN, run.run_id).is_final)
    assert ended(world, run).state == "success"
    assert (started_runs(world) - before).total() == 2
    (campaign,) = [one for one in campaigns(world) if one.id == number]
    assert (campaign.state, campaign.round) == (CampaignState.FINISHED, 2)


def test_a_failed_partition_is_listed_and_then_tried_again(world: World, gated: DagRun) -> None:
    """The campaign ends incomplete with the next command; started again, it runs only what failed, where it failed."""
    del gated
    partition = find_partition("KPS_T_SALES_APPRV", "ALL")
    stage = asset_name(partition.table, SF_LOADED)
    fields = {"tables": [partition.table.name, "KPS_T_SALES_APPRV_DETAIL"]}
    with held_org(world):
        run = trigger(world, **fields)
        (load,) = wait_for(lambda: world.api.runs(dag_id=stage, key=partition.key))
        world.api._call(object, "PATCH", f"dags/{stage}/dagRuns/{load.run_id}", json={"state": "failed"})  # noqa: SLF001  only tests do so
        run = ended(world, run)
    assert run.state == "failed"
    reason = world.api.failure(run)
    assert "1 of 2 partitions failed: KPS_T_SALES_APPRV ALL" in reason
    assert "kpc rerun KPS_T_SALES_APPRV ALL --stage sf_loaded" in reason
    assert "1 partitions wait for one of them" in reason
    before = started_runs(world)
    run = ended(world, trigger(world, **fields))
    assert run.state == "success", world.api.failure(run)
    assert started_runs(world) == before
    assert records(world, partition) > 0


def test_the_daily_campaign_reads_the_planned_scope_again(world: World, gated: DagRun) -> None:
    """It is off until somebody unpauses it; each run, also the one that was due just before, reads the whole scope."""
    del gated
    assert world.api.dag_state(INCREMENTAL_CAMPAIGN).is_paused
    with ledger_of(world) as workspace:
        workspace.ledger.scope.set(
            workspace.environment, months=[], tables=list(REFERENCE), mode="incremental", run_id="t", actor="t",
            access=dict.fromkeys(REFERENCE, "whole table"), rows={name: {"ALL": 1} for name in REFERENCE},
        )  # fmt: skip
    before = started_runs(world)
    assert _daily(world).state == "success"
    runs = [ended(world, run) for run in world.api.runs(dag_id=INCREMENTAL_CAMPAIGN)]
    assert {run.state for run in runs} == {"success"}
    partitions = dag_keys(ORACLE_EXTRACT, REFERENCE, ("ALL",))
    assert started_runs(world) - before == Counter(dict.fromkeys(partitions, len(runs)))
    assert campaigns(world)[-1].options["day"]
    assert not _source_checks(world)


def test_the_first_daily_campaign_after_cut_over_ends_with_the_closing_check(world: World, gated: DagRun) -> None:
    """It compares every extract with Oracle as it is then; with nothing moved it is the last one, and later runs skip.

    Like the setting of a real installation, the cut-over reaches the tasks through `kpc.toml`.
    """
    del gated
    world.config.write_text(f'cut_over = "2026-01-01T00:00:00"\n{world.config.read_text("utf-8")}', "utf-8")
    last = _daily(world)
    assert last.state == "success", world.api.failure(last)
    campaign = campaign_of(world, last)
    assert (campaign.state, campaign.options["closes"]) == (CampaignState.FINISHED, True)
    checks = _source_checks(world)
    assert {one.table_name for one in checks} == set(REFERENCE)
    assert {one.state for one in checks} == {SourceCheckState.UNCHANGED}
    assert all(one.checked_utc > campaign.started_utc for one in checks)
    before = started_runs(world)
    after = _daily(world)
    assert set(tasks(world, after).values()) == {"skipped"}
    assert started_runs(world) == before


def _daily(world: World) -> DagRun:
    """One run of the daily campaign to its end, unpaused only meanwhile."""
    world.api.pause(INCREMENTAL_CAMPAIGN, is_paused=False)
    try:
        return ended(world, world.api.run(INCREMENTAL_CAMPAIGN, world.api.trigger(INCREMENTAL_CAMPAIGN)))
    finally:
        world.api.pause(INCREMENTAL_CAMPAIGN)


def _source_checks(world: World) -> list[SourceCheckRow]:
    with ledger_of(world) as workspace:
        return workspace.ledger.source_checks.newest(workspace.environment)
